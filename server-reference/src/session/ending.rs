//! How a connection ends, and what is still written before it does.

use std::ops::ControlFlow;
use std::sync::Arc;

use tidings_core::engineio::{self, Carrier};
use tidings_core::message::{Close, CloseCode, LinkError, ServerMessage};
use tidings_core::server::Outbox;
use tidings_core::websocket::{self, Opcode};

use super::held::Held;
use super::{READ, Session, encode, finished, is_transient, queue_frames};
use crate::socketio::DisconnectReason;
use crate::stats::Totals;

impl Session {
    /// Ends the connection because of what the client did, or left out. A polling session is not
    /// known any more from here on: what it is told goes to the poll that is open.
    pub(super) fn fail(&mut self, error: &LinkError) -> ControlFlow<()> {
        self.sockets.reason.get_or_insert(DisconnectReason::of_close(error.close.code));
        self.ended_by_client = error.close.code == CloseCode::NORMAL;
        self.close.get_or_insert_with(|| error.close.clone());
        if self.ended_by_client && self.connection.carrier() == Some(Carrier::Polling) {
            // It has said so itself: there is nothing to tell.
            self.connection.with_feed(|feed| *feed.outbox_mut() = Outbox::new());
            if !self.connection.is_polled() {
                // A poll may be on its way, on another connection than what closed the session: it
                // was sent before, and is answered as if it had come before.
                self.connection.push_control(finished(&engineio::Packet::Noop.encode()));
                self.connection.close_but_for_one_poll();
                return ControlFlow::Break(());
            }
        } else {
            self.app.stats.closed_for(error.close.code);
            self.begin_close(error.close.clone());
        }
        self.connection.end_polling();
        ControlFlow::Break(())
    }

    /// Tells the client that and why the connection ends.
    pub(super) fn begin_close(&mut self, close: Close) {
        self.sockets.reason.get_or_insert(DisconnectReason::of_close(close.code));
        self.close.get_or_insert_with(|| close.clone());
        let payload = websocket::close_payload(close.code, &close.reason);
        let frame = encode(Opcode::Close, &payload);
        self.send(&ServerMessage::Close(close));
        queue_frames(&mut self.link, &self.connection);
        self.connection.push_control(frame);
        self.connection.close_polling();
        self.closing = true;
    }

    /// The client is not connected any more, in no namespace.
    pub(super) fn end_sockets(&mut self) {
        let reason = match self.sockets.reason {
            _ if self.ended_by_client && self.member.is_some() => {
                DisconnectReason::ClientNamespaceDisconnect
            }
            Some(reason) => reason,
            None => DisconnectReason::TransportClose,
        };
        if reason.is_recoverable() {
            self.leave_session();
        }
        self.sockets.end(reason);
    }

    /// Ends the membership: no more events are offered.
    pub(super) fn leave(&mut self) {
        self.held = Held::default();
        if let Some(member) = self.member.take() {
            let mut hub = member.shard.hub.lock();
            hub.remove(member.key);
            member.shard.update_interest(&mut hub, &*self.app.backplane);
            drop(hub);

            self.app.sessions.leave(&member.session, &self.connection);
            if let Some(store) = &self.app.store {
                store.session_ended(&member.session, member.since_ms, self.close.as_ref());
            }
            // Another connection may carry it by now: then the client has only left this one.
            if self.ended_by_client && self.app.sessions.find(&member.session).is_none() {
                self.app.collections.session_ended(&member.session);
            }
            member.shard.stats.left(Totals::of(&self.connection));
            // A Socket.IO client may come again on the same connection.
            self.connection.forget_session();
        }
    }

    /// Lets what was queued reach the client before the socket is closed: closing it with bytes
    /// unread would destroy what is still on its way.
    pub(super) async fn linger(&mut self) {
        let connection = Arc::clone(&self.connection);
        let rest = async {
            while (connection.carrier().is_some() || connection.is_body_taken())
                && connection.has_unwritten()
            {
                if connection.flush().broken || connection.drained().await.is_err() {
                    return;
                }
                connection.unblock();
            }
            if connection.stream().is_none() || !self.closing {
                return;
            }
            while connection.readable().await.is_ok() {
                let read = READ.with_borrow_mut(|buffer| connection.read(buffer));
                match read {
                    Ok(0) => return,
                    Err(error) if !is_transient(&error) => return,
                    _ => {}
                }
            }
        };
        // The client had its time; there is nothing else to do about it.
        let _ = tokio::time::timeout(self.app.config.timeouts.closing, rest).await;
        connection.end_polling();
    }
}
