//! Messages that wait until the lanes they need can be read here.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use tidings_core::message::{ClientMessage, CloseCode, LinkError};

use super::Session;

/// The messages held back, in order. With a log in memory none ever is.
#[derive(Default)]
pub(super) struct Held(VecDeque<ClientMessage>);

impl Held {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first, which is being prepared for.
    pub(super) fn first(&self) -> Option<&ClientMessage> {
        self.0.front()
    }

    /// Holds back the first one.
    pub(super) fn begin(&mut self, message: ClientMessage) {
        self.0.push_back(message);
    }

    /// Holds back another one, behind those that are.
    ///
    /// # Errors
    /// If `max` are held back already.
    pub(super) fn push(&mut self, message: ClientMessage, max: usize) -> Result<(), LinkError> {
        if self.0.len() >= max {
            let reason = format!("more than {max} subscriptions wait (max_subscriptions)");
            return Err(LinkError::new(CloseCode::TOO_MANY, reason));
        }
        self.0.push_back(message);
        Ok(())
    }

    /// Takes the first.
    pub(super) fn pop(&mut self) -> Option<ClientMessage> {
        self.0.pop_front()
    }
}

impl Session {
    /// Does what a message asks, or holds it back until what it needs can be read here. Messages
    /// about subscriptions keep their order.
    pub(super) fn handle(&mut self, message: ClientMessage) -> ControlFlow<()> {
        if !is_about_subscriptions(&message) {
            return self.carry_out(message);
        }
        if !self.held.is_empty() {
            return match self.held.push(message, self.app.config.limits.max_subscriptions) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => self.fail(&error),
            };
        }
        match self.app.prepare(patterns(&message)) {
            Some(prepared) => {
                self.held.begin(message);
                self.requests.preparing(prepared);
                ControlFlow::Continue(())
            }
            None => self.carry_out(message),
        }
    }

    /// What the first message held back needs can be read here.
    pub(super) fn prepared(&mut self) -> ControlFlow<()> {
        if let Some(message) = self.held.pop() {
            self.carry_out(message)?;
        }
        while let Some(next) = self.held.first() {
            if let Some(prepared) = self.app.prepare(patterns(next)) {
                self.requests.preparing(prepared);
                break;
            }
            if let Some(message) = self.held.pop() {
                self.carry_out(message)?;
            }
        }
        ControlFlow::Continue(())
    }
}

/// Whether the message's place among others of its kind matters, and it may have to wait.
const fn is_about_subscriptions(message: &ClientMessage) -> bool {
    matches!(
        message,
        ClientMessage::Hello(_) | ClientMessage::Subscribe(_) | ClientMessage::Unsubscribe(_)
    )
}

/// The patterns that a message subscribes to.
fn patterns(message: &ClientMessage) -> impl Iterator<Item = &str> {
    let (many, one) = match message {
        ClientMessage::Hello(hello) => (hello.subscriptions.as_slice(), None),
        ClientMessage::Subscribe(subscribe) => (&[][..], Some(subscribe)),
        _ => (&[][..], None),
    };
    many.iter().chain(one).map(|subscribe| subscribe.pattern.as_str())
}
