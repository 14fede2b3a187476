//! The namespaces that a connection's client is in, and what it does there.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use tidings_core::Pattern;
use tidings_core::link::ServerLink;
use tidings_core::message::{CloseCode, SubId, Subscribe};
use tidings_core::server::{Feed, Ledger, Seen};
use tidings_core::socketio::{self, Args, Body, Grant, INVALID_NAMESPACE, Namespace as Path};
use tidings_core::socketio::{NamespaceMessage, is_control};
use tidings_core::websocket::{self, Opcode};

use super::{Session, encode, queue_frames};
use crate::auth::Identity;
use crate::connection::Command;
use crate::ids::random_id;
use crate::socketio::{
    ConnectError, Connecting, DisconnectReason, HandledBy, Handshake, Opening, SessionLeft,
    SessionReturned, Socket,
};

/// The sockets of a connection.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    /// The request with which the connection began, if there were namespaces then.
    pub(super) opening: Option<Arc<Opening>>,
    connected: Vec<Socket>,
    /// Those that middlewares have not let in yet.
    judged: Vec<Socket>,
    /// Why the connection ends, once that is known.
    pub(super) reason: Option<DisconnectReason>,
}

impl Sockets {
    fn find(&self, path: &Path) -> Option<&Socket> {
        self.connected.iter().find(|socket| socket.namespace().wire_path() == path)
    }

    fn take(&mut self, path: &Path) -> Option<Socket> {
        let at = self.connected.iter().position(|s| s.namespace().wire_path() == path)?;
        Some(self.connected.swap_remove(at))
    }

    /// All are gone.
    pub(super) fn end(&mut self, reason: DisconnectReason) {
        for socket in self.connected.drain(..).chain(self.judged.drain(..)) {
            socket.end(reason);
        }
    }
}

impl Session {
    fn socketio(&mut self) -> Option<&mut socketio::ServerLink> {
        match &mut self.link {
            ServerLink::SocketIo(link) => Some(link),
            ServerLink::Ws(_) | ServerLink::Engine(_) | ServerLink::Sse(_) => None,
        }
    }

    /// The next thing the client asks of the application.
    pub(super) fn poll_namespace(&mut self) -> Option<NamespaceMessage> {
        self.socketio()?.poll_namespace()
    }

    fn is_tidings(&self, path: &Path) -> bool {
        path.as_str() == self.app.config.namespaces.tidings
    }

    pub(super) fn in_namespace(&mut self, message: NamespaceMessage) -> ControlFlow<()> {
        match message {
            NamespaceMessage::Connect { namespace, auth, token } => {
                let identity = match self.present(token.as_deref()) {
                    Ok(identity) => identity,
                    Err(denied) => {
                        self.app.stats.denied(&denied);
                        if let Some(link) = self.socketio() {
                            link.refuse_namespace_for(&namespace, &denied.close());
                        }
                        return ControlFlow::Continue(());
                    }
                };
                return self.wants_in(&namespace, auth, identity);
            }
            NamespaceMessage::Event { namespace, ack, args } => self.event(&namespace, ack, &args),
            NamespaceMessage::Ack { namespace, ack, args } => {
                if let Some(socket) = self.sockets.find(&namespace) {
                    socket.acknowledged(ack, args);
                }
            }
            NamespaceMessage::Disconnect { namespace } => {
                if let Some(socket) = self.sockets.take(&namespace) {
                    socket.end(DisconnectReason::ClientNamespaceDisconnect);
                }
                if self.is_tidings(&namespace) {
                    self.leave();
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn wants_in(
        &mut self,
        path: &Path,
        auth: Option<Bytes>,
        identity: Identity,
    ) -> ControlFlow<()> {
        let app = Arc::clone(&self.app);
        let namespace = app.namespaces.find(path, &app.config);
        let is_tidings = self.is_tidings(path);
        let opening = self.sockets.opening.clone().unwrap_or_default();
        let connection = Arc::clone(&self.connection);
        let Some(link) = self.socketio() else { return ControlFlow::Continue(()) };
        let Some(namespace) = namespace else {
            if is_tidings {
                link.grant(path, Grant { sid: random_id(), pid: None, claimed: false });
            } else {
                link.refuse_namespace(path, INVALID_NAMESPACE, None);
            }
            return ControlFlow::Continue(());
        };
        let parser = link.parser();
        let handshake = Handshake::new(opening, auth, identity);
        let socket = namespace.socket(Connecting { connection, parser, handshake });
        match namespace.judge(&socket) {
            None => return self.let_in(socket),
            Some(judgement) => {
                self.sockets.judged.push(socket.clone());
                tokio::spawn(async move {
                    let judged = judge(judgement).await;
                    let connection = Arc::clone(socket.connection());
                    connection.command(Command::Judged(socket, judged));
                });
            }
        }
        ControlFlow::Continue(())
    }

    /// The middlewares have judged.
    pub(super) fn judged(
        &mut self,
        socket: Socket,
        judgement: Result<(), ConnectError>,
    ) -> ControlFlow<()> {
        self.sockets.judged.retain(|judged| *judged != socket);
        match judgement {
            Ok(()) => self.let_in(socket),
            Err(ConnectError { message, data }) => {
                socket.end(DisconnectReason::ServerNamespaceDisconnect);
                if let Some(link) = self.socketio() {
                    let path = socket.namespace().wire_path();
                    link.refuse_namespace(path, &message, data.as_deref());
                }
                ControlFlow::Continue(())
            }
        }
    }

    fn let_in(&mut self, socket: Socket) -> ControlFlow<()> {
        let grant = Grant {
            sid: socket.id().to_owned(),
            pid: socket.pid().map(str::to_owned),
            claimed: true,
        };
        let path = socket.namespace().wire_path().clone();
        let ordinary = self.socketio().is_some_and(|link| !link.knows_tidings());
        if self.is_tidings(&path) && socket.pid().is_some() && ordinary {
            self.remember_session(socket.take_session());
        }
        if !self.socketio().is_some_and(|link| link.grant(&path, grant)) {
            socket.end(DisconnectReason::TransportClose);
            return ControlFlow::Continue(());
        }
        // In the namespace of Tidings the session welcomes the client first.
        let step = self.drain();
        // Queued before anybody can emit to it.
        queue_frames(&mut self.link, &self.connection);
        self.sockets.connected.push(socket.clone());
        socket.enter();
        step
    }

    /// The client of the namespace of Tidings can come back to its session: what is written to it is
    /// remembered from now on. `returned` is what it comes back to now.
    fn remember_session(&mut self, returned: Option<SessionReturned>) {
        let (seen, last) = match returned {
            Some(SessionReturned { subscriptions, seen, last }) => {
                let subscribe = |(id, pattern): (SubId, Pattern)| Subscribe {
                    id,
                    pattern: pattern.as_str().to_owned(),
                    since: None,
                };
                let subscriptions = subscriptions.into_iter().map(subscribe).collect();
                if let Some(link) = self.socketio() {
                    link.restore(subscriptions, seen.cursor.clone());
                }
                (seen, Some(last))
            }
            None => (Seen::default(), None),
        };
        let ledger = Ledger::new(self.app.config.recovery.max_sent, seen, last);
        self.connection.with_feed(|feed| feed.outbox_mut().remember(ledger));
    }

    /// A client that goes away may come back to its session.
    pub(super) fn leave_session(&mut self) {
        let left = self.connection.with_feed(Feed::remembered);
        let tidings = self.app.config.tidings_namespace();
        if let (Some((subscriptions, sent)), Some(socket)) = (left, self.sockets.find(&tidings)) {
            socket.leave_session(SessionLeft { subscriptions, sent });
        }
    }

    fn event(&mut self, path: &Path, ack: Option<u64>, args: &Args) {
        let socket = self.sockets.find(path);
        let handled = socket.map_or(HandledBy::Nobody, |socket| socket.event(ack, args));
        let max = self.app.config.namespaces.max_pending_events;
        if socket.is_some_and(|socket| socket.waiting() >= max) {
            self.connection.set_crowded(true);
        }
        let left_to_tidings = match handled {
            HandledBy::Name => false,
            HandledBy::CatchAll => self.is_for_tidings(args),
            // As in Node, an event that nobody handles is no mistake; a question is.
            HandledBy::Nobody => ack.is_some() || self.is_for_tidings(args),
        };
        if left_to_tidings
            && self.is_tidings(path)
            && let Some(link) = self.socketio()
        {
            link.unclaimed(ack, args);
        }
    }

    /// Whether Tidings takes events of this name, as far as the application does not.
    fn is_for_tidings(&self, args: &Args) -> bool {
        let name = args.value(0).and_then(|name| Some(name.as_str()?.into_owned()));
        name.is_some_and(|name| is_control(&name) || self.app.handlers.has(&name))
    }

    /// Whether so many events wait for their handlers that no more should be read.
    pub(super) fn is_crowded(&self) -> bool {
        let crowded = self.connection.is_crowded()
            && self.sockets.connected.iter().any(|socket| socket.waiting() > 0);
        if !crowded && self.connection.is_crowded() {
            self.connection.set_crowded(false);
        }
        crowded
    }

    /// The application has disconnected a socket.
    pub(super) fn left_namespace(&mut self, socket: &Socket) {
        let path = socket.namespace().wire_path();
        self.sockets.connected.retain(|connected| connected != socket);
        if let Some(link) = self.socketio() {
            link.end_namespace(path);
        }
        if self.is_tidings(path) {
            self.leave();
        }
    }

    /// The application wants the client gone: it is, after what was emitted before.
    pub(super) fn disconnect_sockets(&mut self) -> ControlFlow<()> {
        for socket in &self.sockets.connected {
            socket.send_body(Body::Disconnect);
        }
        self.sockets.end(DisconnectReason::ServerNamespaceDisconnect);
        let close = encode(Opcode::Close, &websocket::close_payload(CloseCode::NORMAL, ""));
        self.connection.with_feed(|feed| feed.outbox_mut().push_application(close, None));
        self.connection.close_polling();
        self.closing = true;
        ControlFlow::Break(())
    }
}

/// What the middlewares say; one that panics refuses.
async fn judge(
    judgement: impl Future<Output = Result<(), ConnectError>>,
) -> Result<(), ConnectError> {
    use futures_util::FutureExt;
    std::panic::AssertUnwindSafe(judgement).catch_unwind().await.unwrap_or_else(|_panic| {
        tracing::error!("a middleware of Socket.IO panicked");
        Err(ConnectError::new("the server failed to judge the connection"))
    })
}
