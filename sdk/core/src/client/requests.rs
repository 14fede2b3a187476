//! Requests that wait for their replies.

use std::sync::Arc;
use std::time::Duration;

use crate::event::Payload;
use crate::io::IoId;
use crate::map::Map;
use crate::message::{Close, RequestId};
use crate::time::Time;

use super::error::RequestError;
use super::io::Ticket;

/// The requests of the application. They wait for a connection if there is none, but are sent
/// once only: a handler may not bear to run twice.
#[derive(Debug)]
pub(super) struct Requests {
    limit: usize,
    waiting: Map<RequestId, Waiting>,
    next_id: u32,
    /// No deadline is earlier than this; when it has passed all are looked at.
    check_at: Option<Time>,
    /// Requests up to this id have been sent or given up.
    sent_below: u32,
}

#[derive(Debug)]
struct Waiting {
    ticket: Ticket,
    name: Arc<str>,
    payload: Payload,
    sent_on: Option<IoId>,
    timeout: Duration,
    deadline: Time,
}

impl Requests {
    pub(super) const fn new(limit: usize) -> Self {
        Self { limit, waiting: Map::new(), next_id: 1, check_at: None, sent_below: 1 }
    }

    pub(super) fn add(
        &mut self,
        now: Time,
        ticket: Ticket,
        name: Arc<str>,
        payload: Payload,
        timeout: Duration,
    ) -> Result<(), RequestError> {
        if self.waiting.len() >= self.limit || self.next_id == u32::MAX {
            return Err(RequestError::TooMany(self.waiting.len()));
        }
        let deadline = now + timeout;
        self.check_at = Some(self.check_at.map_or(deadline, |at| at.min(deadline)));
        let waiting = Waiting { ticket, name, payload, sent_on: None, timeout, deadline };
        self.waiting.insert(RequestId(self.next_id), waiting);
        self.next_id += 1;
        Ok(())
    }

    /// The next one that has not been sent; it counts as sent on `io` from now on.
    pub(super) fn next(&mut self, io: IoId) -> Option<(RequestId, Arc<str>, Payload)> {
        let (id, waiting) = self.waiting.first_from(&RequestId(self.sent_below))?;
        self.sent_below = id.0 + 1;
        waiting.sent_on = Some(io);
        let payload = std::mem::replace(&mut waiting.payload, Payload::NULL);
        Some((*id, waiting.name.clone(), payload))
    }

    /// The reply has come: whose it is.
    pub(super) fn replied(&mut self, id: RequestId) -> Option<Ticket> {
        Some(self.waiting.remove(&id)?.ticket)
    }

    /// Nobody waits any more. Returns what the server is to be told, and where.
    pub(super) fn cancel(&mut self, ticket: Ticket) -> Option<(RequestId, IoId)> {
        let (id, _) = self.waiting.iter().find(|(_, waiting)| waiting.ticket == ticket)?;
        let id = *id;
        Some((id, self.waiting.remove(&id)?.sent_on?))
    }

    /// Whether replies are still to come on `io`.
    pub(super) fn any_on(&self, io: IoId) -> bool {
        self.waiting.values().any(|waiting| waiting.sent_on == Some(io))
    }

    /// No reply comes on `io` any more.
    pub(super) fn connection_lost(
        &mut self,
        io: IoId,
        close: &Close,
    ) -> Vec<(Ticket, RequestError)> {
        self.take(
            |waiting| waiting.sent_on == Some(io),
            |_| RequestError::Disconnected(close.clone()),
        )
    }

    /// Gives everything up.
    pub(super) fn close(&mut self, close: &Close) -> Vec<(Ticket, RequestError)> {
        self.take(|_| true, |_| RequestError::Closed(close.clone()))
    }

    /// When [`expire`](Self::expire) has to be called.
    pub(super) const fn next_timeout(&self) -> Option<Time> {
        self.check_at
    }

    /// Gives up what was not answered in time. Returns also what the server is to be told.
    pub(super) fn expire(&mut self, now: Time) -> Vec<Expired> {
        if self.check_at.is_none_or(|at| at > now) {
            return Vec::new();
        }
        let expired = self
            .waiting
            .take_if(|_, waiting| waiting.deadline <= now)
            .into_iter()
            .map(|(id, waiting)| Expired {
                ticket: waiting.ticket,
                error: RequestError::TimedOut(waiting.timeout),
                cancel: waiting.sent_on.map(|io| (id, io)),
            })
            .collect();
        self.check_at = self.waiting.values().map(|waiting| waiting.deadline).min();
        expired
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    fn take(
        &mut self,
        which: impl Fn(&Waiting) -> bool,
        error: impl Fn(&Waiting) -> RequestError,
    ) -> Vec<(Ticket, RequestError)> {
        self.waiting
            .take_if(|_, waiting| which(waiting))
            .into_iter()
            .map(|(_, waiting)| (waiting.ticket, error(&waiting)))
            .collect()
    }
}

/// A request that was not answered in time.
#[derive(Debug)]
pub(super) struct Expired {
    pub(super) ticket: Ticket,
    pub(super) error: RequestError,
    pub(super) cancel: Option<(RequestId, IoId)>,
}
