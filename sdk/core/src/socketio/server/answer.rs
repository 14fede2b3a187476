//! What clients are told: session messages to packets.

use crate::json::Writer;
use crate::message::{Advice, Close, Gap, Refusal, ServerMessage, SubId, Welcome};
use crate::spelling;

use super::super::broadcast::EventForm;
use super::super::control::{self, AT, CLOSE, ENDED, ERROR, GAP};
use super::super::packet::Body;
use super::ask::AnsweredAs;
use super::{Awaited, ServerLink, State};

impl ServerLink {
    pub(super) fn answer(&mut self, message: &ServerMessage) {
        match (&self.state, message) {
            (State::Joining, ServerMessage::Welcome(welcome)) => self.welcome(welcome),
            (State::Joining, ServerMessage::Close(close)) => self.refuse_connect(close),
            (State::Joined, message) => self.tell(message),
            // Nobody is there who could be told.
            _ => {}
        }
    }

    fn welcome(&mut self, welcome: &Welcome) {
        self.state = State::Joined;
        let mut answer = Vec::new();
        let mut w = Writer::new(&mut answer);
        w.begin_object().key("sid").str(&self.ids.socket);
        if let Some(pid) = &self.pid {
            w.key("pid").str(pid);
        }
        if self.tidings {
            spelling::write_welcome(w.key("tidings"), welcome);
        }
        w.end_object();
        let packet = self.config.socketio.packet(Body::Connect(Some(answer.into())));
        self.send_packet(&packet);
    }

    /// Refuses the namespace. An ordinary client that should simply try again is not told: it
    /// reconnects by itself when the connection closes, but not after a CONNECT_ERROR.
    pub(super) fn refuse_connect(&mut self, close: &Close) {
        self.state = State::Outside;
        if !self.tidings && close.code.advice() == Advice::Retry {
            return;
        }
        let mut error = Vec::new();
        let mut w = Writer::new(&mut error);
        w.begin_object().key("message").str(&close.reason).key("data").begin_object();
        control::write_close(&mut w, close);
        w.end_object().end_object();
        let packet = self.config.socketio.packet(Body::ConnectError(error.into()));
        self.send_packet(&packet);
    }

    fn tell(&mut self, message: &ServerMessage) {
        match message {
            ServerMessage::Welcome(_) => {}
            ServerMessage::Subscribed { id, cursor } => {
                self.outcome(Awaited::Subscribed(*id), Ok(()), |w| {
                    spelling::write_cursor(w.key("id").u64(id.0.into()).key("cursor"), cursor);
                });
            }
            ServerMessage::SubscribeRefused { id, refusal } => {
                self.numbered.remove(id);
                if !self.outcome(Awaited::Subscribed(*id), Err(refusal), |_| {}) {
                    self.ended(*id, Some(refusal));
                }
            }
            ServerMessage::Unsubscribed(id) => {
                // Not there any more if the client asked for it by the pattern.
                let unasked = self.numbered.remove(id).is_some() || self.tidings;
                let write_id = |w: &mut Writer<'_>| {
                    w.key("id").u64(id.0.into());
                };
                if !self.outcome(Awaited::Unsubscribed(*id), Ok(()), write_id) && unasked {
                    self.ended(*id, None);
                }
            }
            ServerMessage::Event(delivery) => {
                let form = if self.tidings { EventForm::Tidings } else { EventForm::Plain };
                self.send_event(None, control::delivery_args(delivery, form));
            }
            ServerMessage::Progress(cursor) => {
                // Only of use to those who hold a cursor.
                if self.tidings {
                    self.send_control(AT, |w| spelling::write_cursor(w, cursor));
                }
            }
            ServerMessage::Gap(gap) => self.gap(*gap),
            ServerMessage::Published { seq, position } => {
                self.outcome(Awaited::Published(*seq), Ok(()), |w| {
                    control::write_position(w, *position);
                });
            }
            ServerMessage::PublishRefused { seq, refusal } => {
                if !self.outcome(Awaited::Published(*seq), Err(refusal), |_| {}) {
                    self.refused(refusal);
                }
            }
            ServerMessage::Request { id, name, payload } => {
                let args = control::request_args(true, name, payload);
                self.send_event(Some(control::ack_of(*id)), args);
            }
            ServerMessage::Reply { id, result } => {
                if let Some(ack) = self.unanswered.remove(&Awaited::Reply(*id)) {
                    self.send_ack(ack, control::reply_args(result));
                }
            }
            ServerMessage::TokenAnswer(result) => match (self.tokens.pop_front(), result) {
                (Some(Some(ack)), result) => {
                    let expires_in = result.as_ref().ok().copied().flatten();
                    let result = result.as_ref().map(|_| ());
                    let more = |w: &mut Writer<'_>| spelling::write_expires_in(w, expires_in);
                    self.send_ack(ack, control::outcome_args(result, more));
                }
                (_, Err(refusal)) => self.refused(refusal),
                (_, Ok(_)) => {}
            },
            ServerMessage::Refused(refusal) => self.refused(refusal),
            ServerMessage::Close(close) => self.close(close),
        }
    }

    /// Answers what a client waits for; false if it does not wait for it.
    fn outcome(
        &mut self,
        awaited: Awaited,
        result: Result<(), &Refusal>,
        more: impl FnOnce(&mut Writer<'_>),
    ) -> bool {
        let Some(ack) = self.unanswered.remove(&awaited) else { return false };
        self.send_ack(ack, control::outcome_args(result, more));
        true
    }

    /// Refuses an event of the client where its sender sees it.
    pub(super) fn refuse(&mut self, form: AnsweredAs, ack: Option<u64>, refusal: &Refusal) {
        match (ack, form) {
            (None, _) => self.refused(refusal),
            (Some(ack), AnsweredAs::Control) => {
                self.send_ack(ack, control::outcome_args(Err(refusal), |_| {}));
            }
            (Some(ack), AnsweredAs::Request) => {
                self.send_ack(ack, control::reply_args(&Err(refusal.clone())));
            }
        }
    }

    fn send_control(&mut self, name: &str, write: impl FnOnce(&mut Writer<'_>)) {
        let mut args = control::control(name);
        args.push_written(write);
        self.send_event(None, args);
    }

    fn refused(&mut self, refusal: &Refusal) {
        self.send_control(ERROR, |w| spelling::write_refusal(w, refusal));
    }

    fn ended(&mut self, id: SubId, refusal: Option<&Refusal>) {
        self.send_control(ENDED, |w| {
            w.begin_object().key("id").u64(id.0.into());
            if let Some(refusal) = refusal {
                spelling::write_refusal(w.key("error"), refusal);
            }
            w.end_object();
        });
    }

    fn gap(&mut self, gap: Gap) {
        self.send_control(GAP, |w| control::write_gap(w, gap));
    }

    /// Tells why the connection is about to be closed. An ordinary client that should not come
    /// back gets a DISCONNECT too, after which it does not reconnect by itself.
    fn close(&mut self, close: &Close) {
        self.send_control(CLOSE, |w| {
            w.begin_object();
            control::write_close(w, close);
            w.key("reason").str(&close.reason).end_object();
        });
        if !self.tidings && close.code.advice() == Advice::GiveUp {
            let packet = self.config.socketio.packet(Body::Disconnect);
            self.send_packet(&packet);
        }
        self.state = State::Left;
    }
}
