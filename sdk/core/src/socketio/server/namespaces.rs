//! What an application is asked: namespaces, and the events in them.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::json::{self, Writer};
use crate::lane::Cursor;
use crate::message::{Close, LinkError, Refusal, Subscribe};

use super::super::control;
use super::super::packet::{Args, Body, Namespace, Packet};
use super::ask::FIRST_MADE_UP_SUB;
use super::{ServerLink, State, uninvited};

/// What a client asks of the application in a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamespaceMessage {
    /// It wants to be let in: to be answered by [`ServerLink::grant`] or
    /// [`ServerLink::refuse_namespace`].
    Connect {
        /// Where.
        namespace: Namespace,
        /// The client's `auth`, a JSON object.
        auth: Option<Bytes>,
        /// The token in it, if there is one.
        token: Option<String>,
    },
    /// It emits an event.
    Event {
        /// Where.
        namespace: Namespace,
        /// The id of the acknowledgement it waits for.
        ack: Option<u64>,
        /// The event's name and what comes with it.
        args: Args,
    },
    /// It acknowledges an event.
    Ack {
        /// Where.
        namespace: Namespace,
        /// The event's id.
        ack: u64,
        /// The answer.
        args: Args,
    },
    /// It leaves.
    Disconnect {
        /// Where.
        namespace: Namespace,
    },
}

/// How a client is let into a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The socket's id.
    pub sid: String,
    /// The private id by which the client can have its state recovered later.
    pub pid: Option<String>,
    /// Whether the application takes the events there. It makes a difference only in the
    /// namespace of Tidings: elsewhere nobody else could.
    pub claimed: bool,
}

/// The namespaces other than that of Tidings which a client has asked for.
#[derive(Debug, Default)]
pub(super) struct Members {
    /// Few enough to be looked through.
    stages: Vec<(Namespace, Stage)>,
    messages: VecDeque<NamespaceMessage>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Asked,
    Joined,
    /// The application has ended it: what was on its way is nobody's.
    Ended,
}

impl Members {
    pub(super) fn tell(&mut self, message: NamespaceMessage) {
        self.messages.push_back(message);
    }

    pub(super) fn has_joined(&self, namespace: &Namespace) -> bool {
        self.stage(namespace) == Some(Stage::Joined)
    }

    fn stage(&self, namespace: &Namespace) -> Option<Stage> {
        self.stages.iter().find(|(known, _)| known == namespace).map(|(_, stage)| *stage)
    }

    fn set(&mut self, namespace: &Namespace, stage: Option<Stage>) {
        self.stages.retain(|(known, _)| known != namespace);
        self.stages.extend(stage.map(|stage| (namespace.clone(), stage)));
    }

    fn len(&self) -> usize {
        self.stages.iter().filter(|(_, stage)| *stage != Stage::Ended).count()
    }
}

impl ServerLink {
    /// The next message for the application.
    pub fn poll_namespace(&mut self) -> Option<NamespaceMessage> {
        self.members.messages.pop_front()
    }

    /// Lets the client into a namespace that it has asked for. Into that of Tidings it comes when
    /// its session welcomes it. Returns whether it still waits for that.
    pub fn grant(&mut self, namespace: &Namespace, grant: Grant) -> bool {
        if *namespace == self.config.socketio.namespace {
            let State::Asked(hello) = std::mem::replace(&mut self.state, State::Outside) else {
                return false;
            };
            (self.ids.socket, self.pid, self.claimed) = (grant.sid, grant.pid, grant.claimed);
            self.join(*hello);
            return true;
        }
        if self.members.stage(namespace) != Some(Stage::Asked) {
            return false;
        }
        self.members.set(namespace, Some(Stage::Joined));
        self.deadline = None;
        let mut answer = Vec::new();
        let mut w = Writer::new(&mut answer);
        w.begin_object().key("sid").str(&grant.sid);
        if let Some(pid) = &grant.pid {
            w.key("pid").str(pid);
        }
        w.end_object();
        let body = Body::Connect(Some(answer.into()));
        self.send_packet(&Packet { namespace: namespace.clone(), body });
        true
    }

    /// A client that has asked for the namespace of Tidings comes back to these subscriptions, up to
    /// which it has seen everything. To be called before [`grant`](Self::grant).
    pub fn restore(&mut self, subscriptions: Vec<Subscribe>, seen: Cursor) {
        let State::Asked(hello) = &mut self.state else { return };
        for Subscribe { id, pattern, .. } in &subscriptions {
            if id.0 >= self.next_sub {
                self.next_sub = id.0.checked_add(1).unwrap_or(FIRST_MADE_UP_SUB);
            }
            if id.0 >= FIRST_MADE_UP_SUB {
                self.numbered.insert(*id, pattern.clone());
            }
        }
        (hello.subscriptions, hello.cursor) = (subscriptions, seen);
    }

    /// Answers CONNECT_ERROR to a client that has asked for a namespace; `data` is JSON.
    pub fn refuse_namespace(&mut self, namespace: &Namespace, message: &str, data: Option<&[u8]>) {
        if *namespace == self.config.socketio.namespace {
            self.state = State::Outside;
        } else {
            self.members.set(namespace, None);
        }
        let mut error = Vec::new();
        let mut w = Writer::new(&mut error);
        w.begin_object().key("message").str(message);
        if let Some(data) = data {
            w.key("data").raw(data);
        }
        w.end_object();
        let body = Body::ConnectError(error.into());
        self.send_packet(&Packet { namespace: namespace.clone(), body });
    }

    /// The application has told the client that it is not in the namespace any more. What the
    /// client sent before it knew is ignored.
    pub fn end_namespace(&mut self, namespace: &Namespace) {
        if *namespace != self.config.socketio.namespace {
            self.members.set(namespace, Some(Stage::Ended));
        } else if matches!(self.state, State::Joining | State::Joined) {
            self.state = State::Left;
        }
    }

    /// An event that the application did not want: it goes to the session, as if there were no
    /// application.
    pub fn unclaimed(&mut self, ack: Option<u64>, args: &Args) {
        self.event(ack, args);
    }

    /// An event in the namespace of Tidings, for the session or for the application.
    pub(super) fn event_here(&mut self, namespace: Namespace, ack: Option<u64>, args: Args) {
        let for_session = self.tidings
            && args
                .value(0)
                .and_then(|name| name.as_str())
                .is_some_and(|name| control::is_control(&name));
        if self.claimed && !for_session {
            self.members.tell(NamespaceMessage::Event { namespace, ack, args });
        } else {
            self.event(ack, &args);
        }
    }

    pub(super) fn member_connect(
        &mut self,
        namespace: Namespace,
        auth: Option<Bytes>,
    ) -> Result<(), LinkError> {
        let max = self.config.socketio.max_namespaces;
        if !self.config.socketio.application {
            self.refuse_namespace(&namespace, super::super::INVALID_NAMESPACE, None);
        } else if matches!(self.members.stage(&namespace), Some(Stage::Asked | Stage::Joined)) {
            let reason = "a second CONNECT to the namespace";
            return Err(LinkError::new(crate::message::CloseCode::BAD_FRAME, reason));
        } else if self.members.len() >= max {
            let message = format!("a connection may be in {max} namespaces (max_namespaces)");
            self.refuse_namespace(&namespace, &message, None);
        } else {
            let token = auth.as_deref().map_or(Ok(None), |auth| self.token_in(auth));
            match token {
                Ok(token) => {
                    self.members.set(&namespace, Some(Stage::Asked));
                    self.members.tell(NamespaceMessage::Connect { namespace, auth, token });
                }
                Err(refusal) => self.refuse_namespace(&namespace, &refusal.message, None),
            }
        }
        Ok(())
    }

    /// The token in a client's `auth`. What is no text is for the application to judge.
    fn token_in(&self, auth: &[u8]) -> Result<Option<String>, Refusal> {
        let auth = json::parse(auth, json::MAX_DEPTH).ok();
        let token = auth.and_then(|auth| Some(auth.get("token")?.as_str()?.into_owned()));
        token.as_deref().map_or(Ok(()), |token| self.config.check_token(token))?;
        Ok(token)
    }

    /// Answers CONNECT_ERROR as if the connection were to be closed like this: a Tidings client
    /// does what the code tells it.
    pub fn refuse_namespace_for(&mut self, namespace: &Namespace, close: &Close) {
        let mut data = Vec::new();
        let mut w = Writer::new(&mut data);
        w.begin_object();
        control::write_close(&mut w, close);
        w.end_object();
        self.refuse_namespace(namespace, &close.reason, Some(&data));
    }

    pub(super) fn member_packet(
        &mut self,
        namespace: Namespace,
        body: Body,
    ) -> Result<(), LinkError> {
        match self.members.stage(&namespace) {
            Some(Stage::Joined) => {}
            Some(Stage::Ended) => return Ok(()),
            Some(Stage::Asked) | None => return Err(uninvited(&namespace)),
        }
        let message = match body {
            Body::Event { ack, args } => NamespaceMessage::Event { namespace, ack, args },
            Body::Ack { ack, args } => NamespaceMessage::Ack { namespace, ack, args },
            Body::Disconnect | Body::Connect(_) | Body::ConnectError(_) => {
                self.members.set(&namespace, None);
                NamespaceMessage::Disconnect { namespace }
            }
        };
        self.members.tell(message);
        Ok(())
    }

    /// Tells a client in an application's namespace what of its doings was refused.
    pub(super) fn refuse_there(
        &mut self,
        namespace: Namespace,
        refusal: &Refusal,
    ) -> Result<(), LinkError> {
        let args = control::error_event_args(refusal);
        self.send_packet(&Packet { namespace, body: Body::Event { ack: None, args } });
        Ok(())
    }
}
