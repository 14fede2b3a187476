//! Who the client of a connection is, and that this may change while it is connected.

use std::ops::ControlFlow;

use tidings_core::message::{Refusal, ServerMessage};
use tokio::time::Instant;

use super::{Session, queue_frames};
use crate::auth::{Denied, Identity};

impl Session {
    /// The client presents a token, or none where it is known already. A connection is one subject's,
    /// and ends with the first of the tokens by which it was let in anywhere: what each of them
    /// allows holds as long as it is good.
    pub(super) fn present(&mut self, token: Option<&str>) -> Result<Identity, Denied> {
        if let (None, Some(known)) = (token, &self.identity) {
            return Ok(known.clone());
        }
        let identity = self.app.identify(token, self.peer.ip())?;
        if self.identity.as_ref().is_some_and(|known| !known.is_same_subject(&identity)) {
            return Err(Denied::OtherSubject);
        }
        self.take_share(&identity)?;
        self.expires = [self.expires, end_of(&identity)].into_iter().flatten().min();
        self.identity = Some(identity.clone());
        Ok(identity)
    }

    /// The client is who its request has said.
    pub(super) fn is(&mut self, identity: Identity) -> Result<(), Denied> {
        self.take_share(&identity)?;
        self.expires = end_of(&identity);
        self.identity = Some(identity);
        Ok(())
    }

    /// Has its part of what its subject may have.
    fn take_share(&mut self, identity: &Identity) -> Result<(), Denied> {
        if let (None, Some(subject)) = (&self.share, identity.subject()) {
            let max = self.app.config.limits.connections_per_subject;
            let share = self.app.subjects.enter(self.app.now(), subject);
            self.share = Some(share.ok_or(Denied::TooManyConnections(max))?);
        }
        Ok(())
    }

    /// Who says hello: over Socket.IO it has presented its token before.
    pub(super) fn known_by(&mut self, token: Option<&str>) -> Result<Identity, Denied> {
        match &self.identity {
            Some(known) => Ok(known.clone()),
            None => self.present(token),
        }
    }

    /// Ends the connection because of the token.
    pub(super) fn denied(&mut self, denied: &Denied) -> ControlFlow<()> {
        self.app.stats.denied(denied);
        tracing::debug!(peer = %self.peer, reason = denied.word(), "a client is not let in, or no more");
        self.begin_close(denied.close());
        ControlFlow::Break(())
    }

    /// Ends the connection if its token was revoked meanwhile.
    pub(super) fn reconsider(&mut self) -> ControlFlow<()> {
        let revocations = self.app.authenticator.revocations();
        let of_session = self.member.as_ref().map(|member| &member.identity);
        match self.identity.iter().chain(of_session).any(|identity| revocations.covers(identity)) {
            true => self.denied(&Denied::Revoked),
            false => ControlFlow::Continue(()),
        }
    }

    /// The client presents a fresh token: what it may do is what that says, from now on.
    pub(super) fn fresh_token(&mut self, token: &str) {
        let identity = match self.present(Some(token)) {
            Ok(identity) => identity,
            Err(denied) => {
                self.app.stats.denied(&denied);
                return self.send(&ServerMessage::TokenAnswer(Err(denied.refusal())));
            }
        };
        // This one takes the place of all before.
        self.expires = end_of(&identity);
        let expires_in = identity.expires_in();
        let rights = identity.rights().clone();
        let mut refused = Vec::new();
        if let Some(member) = &mut self.member {
            let hidden = self.app.collections.hidden_from(&member.session, &identity);
            member.identity = identity;
            // Held, so that no event is handed out between the old rights and the new ones.
            let mut hub = member.shard.hub.lock();
            self.connection.with_feed(|feed| {
                feed.hide(hidden);
                feed.reveal(rights.revealed());
                for (id, pattern) in feed.permit(rights.received()) {
                    feed.unsubscribe(id);
                    hub.unsubscribe(member.key, id);
                    refused.extend(rights.check_subscribe(&pattern).err().map(|why| (id, why)));
                }
                feed.retain_lanes(|lane| hub.needs(member.key, lane));
            });
            member.shard.update_interest(&mut hub, &*self.app.backplane);
        }
        for (id, refusal) in refused {
            self.send(&ServerMessage::SubscribeRefused { id, refusal });
        }
        self.send(&ServerMessage::TokenAnswer(Ok(expires_in)));
        queue_frames(&mut self.link, &self.connection);
    }

    /// Tells what this connection has of what its subject may have.
    pub(super) fn tell_share(&self) {
        if let Some(share) = &self.share {
            let subscriptions = self.connection.with_feed(|feed| feed.subscriptions());
            share.has(subscriptions, self.requests.unanswered());
        }
    }

    /// Refuses a request that the client may not make. Collections judge those to them by themselves.
    pub(super) fn may_ask(&self, identity: &Identity, name: &str) -> Result<(), Refusal> {
        if let Some(share) = &self.share {
            share.request(self.requests.unanswered())?;
        }
        if self.app.collections.owns(name) {
            return Ok(());
        }
        identity.rights().check_publish(name)
    }
}

/// When a connection ends that was let in by this.
fn end_of(identity: &Identity) -> Option<Instant> {
    identity.ends_in().map(|ends_in| Instant::now() + ends_in)
}
