//! What the server says.

use crate::io::IoId;
use crate::message::{
    Advice, Close, CloseCode, Delivery, ErrorCode, Frame, Gap, Refusal, ServerMessage, SubId,
};
use crate::time::Time;

use super::connection::Stage;
use super::error::RequestError;
use super::io::{Asked, Notice};
use super::machine::ClientMachine;
use super::publishing::AfterRefusal;
use super::subscriptions::Routing;

/// What a server may say before the hello: Socket.IO's handshake, and a ping or two.
const MAX_EARLY_FRAMES: usize = 8;

impl ClientMachine {
    /// A frame has arrived.
    pub(super) fn frame(&mut self, now: Time, io: IoId, frame: Frame) {
        let Some(connection) = self.connection(io) else { return };
        if let Stage::Opened { frames, .. } = &mut connection.stage {
            frames.push(frame);
            if frames.len() > MAX_EARLY_FRAMES {
                let reason = "the server talks before the client has said hello";
                self.fail(now, io, Close::new(CloseCode::BAD_FRAME, reason));
            }
            return;
        }
        let Some(link) = connection.link() else { return };
        let (Frame::Text(bytes) | Frame::Binary(bytes)) = &frame;
        let len = bytes.len() as u64;
        let result = link.receive(now, frame);
        self.counters.frames_in += 1;
        self.counters.bytes_in += len;
        // A message may end the connection, which ends this.
        while let Some(message) = self
            .connection(io)
            .and_then(|connection| connection.link())
            .and_then(|link| link.poll_message())
        {
            self.message(now, io, message);
        }
        if let Err(error) = result {
            self.fail(now, io, error.close);
        }
    }

    fn message(&mut self, now: Time, io: IoId, message: ServerMessage) {
        let current = self.primary.as_ref().is_some_and(|primary| primary.io == io);
        match message {
            // What a connection brings is complete for the subscriptions it knows. One that was
            // replaced knows fewer, and must not move the cursor past what it does not know.
            ServerMessage::Event(_) | ServerMessage::Progress(_) | ServerMessage::Gap(_)
                if !current => {}
            // Once the next connection has said hello, volatile events come by it as well, and
            // nothing tells the two apart.
            ServerMessage::Event(Delivery { position: None, .. }) if self.is_greeting() => {}
            ServerMessage::Event(delivery) => match self.subscriptions.route(&delivery) {
                Routing::Deliver { to, recovered } => {
                    self.counters.events += 1;
                    self.counters.volatile_events += u64::from(delivery.position.is_none());
                    self.counters.recovered += u64::from(recovered);
                    self.notify(Notice::Event { delivery, to });
                }
                Routing::Duplicate => self.counters.duplicates += 1,
                Routing::Nobody => {}
            },
            ServerMessage::Progress(cursor) => self.subscriptions.progress(&cursor),
            ServerMessage::Gap(gap) => self.gap(gap),
            ServerMessage::Published { seq, position } => {
                if let Some((ticket, round_trip)) = self.publishing.acknowledged(now, seq) {
                    self.round_trips.record(round_trip);
                    self.counters.published += 1;
                    self.refused_backoff.reset();
                    self.published(ticket, Ok(Some(position)));
                }
            }
            // What was sent on an earlier connection was sent again: the answer that counts is
            // the one to that.
            ServerMessage::PublishRefused { seq, refusal } if current => {
                self.publish_refused(now, seq, refusal);
            }
            ServerMessage::PublishRefused { .. } => {}
            ServerMessage::Subscribed { id, cursor } if current => {
                if let Some(cursor) = self.subscriptions.subscribed(id, cursor) {
                    self.notify(Notice::Subscribed { id, cursor });
                }
            }
            ServerMessage::SubscribeRefused { id, refusal } if current => {
                self.subscribe_failed(id, refusal);
            }
            // The answer to an unsubscribe finds nothing; only what was not asked for is news.
            ServerMessage::Unsubscribed(id) if current => {
                let refusal =
                    Refusal::new(ErrorCode::CANCELLED, "the server ended the subscription");
                self.subscribe_failed(id, refusal);
            }
            ServerMessage::Subscribed { .. }
            | ServerMessage::SubscribeRefused { .. }
            | ServerMessage::Unsubscribed(_) => {}
            ServerMessage::Request { id, name, payload } => {
                self.notify(Notice::Request { from: Asked { io, id }, name, payload });
            }
            ServerMessage::Reply { id, result } => {
                if let Some(ticket) = self.requests.replied(id) {
                    let result = result.map_err(RequestError::Refused);
                    self.notify(Notice::Reply { ticket, result });
                }
            }
            ServerMessage::TokenAnswer(result) if current => self.token_answered(now, result),
            ServerMessage::TokenAnswer(_) => {}
            ServerMessage::Refused(refusal) => {
                if refusal.code.advice() == Advice::RefreshAuth {
                    self.refresh_token();
                }
                self.notify(Notice::Refused(refusal));
            }
            ServerMessage::Welcome(welcome) => self.welcomed(now, io, welcome),
            ServerMessage::Close(close) => self.farewell(now, io, close),
        }
    }

    /// Whether the next connection has said hello.
    fn is_greeting(&self) -> bool {
        self.candidate.as_ref().is_some_and(|next| matches!(next.stage, Stage::Greeting(_)))
    }

    fn gap(&mut self, gap: Gap) {
        if let Some(to) = self.subscriptions.gap(&gap) {
            self.counters.gaps += 1;
            self.notify(Notice::Gap { gap, to });
        }
    }

    fn publish_refused(&mut self, now: Time, seq: u64, refusal: Refusal) {
        let refresh = refusal.code.advice() == Advice::RefreshAuth;
        let again = !refresh || self.config.authenticated;
        match self.publishing.refused(seq, refusal, again) {
            AfterRefusal::Failed(ticket, error) => self.published(ticket, Err(error)),
            AfterRefusal::Requeued => {
                // One failure, however many publishes were on their way.
                if self.hold_until.is_none() {
                    let delay = self.refused_backoff.next_delay(&mut self.rng);
                    self.hold_until = Some(now + delay);
                }
                if refresh {
                    self.refresh_token();
                }
            }
            AfterRefusal::Unknown => {}
        }
    }

    /// Forgets a subscription that the server does not serve.
    pub(super) fn subscribe_failed(&mut self, id: SubId, refusal: Refusal) {
        if self.subscriptions.contains(id) {
            self.subscriptions.remove(id);
            self.notify(Notice::SubscribeFailed { id, refusal });
        }
    }

    /// The server is about to close the connection and says why.
    fn farewell(&mut self, now: Time, io: IoId, close: Close) {
        let answer = Close::new(CloseCode::NORMAL, "the server said goodbye");
        self.abort(io, &answer);
        self.lost(now, io, close);
    }
}
