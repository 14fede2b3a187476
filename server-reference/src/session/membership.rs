//! The session that a connection carries: taking it up, and its subscriptions.

use std::ops::ControlFlow;
use std::sync::Arc;

use tidings_core::message::{ErrorCode, Hello, Refusal, ServerMessage, SubId, Subscribe, Welcome};
use tidings_core::{Cursor, Pattern};

use super::{Member, Session, queue_frames};
use crate::auth::Identity;
use crate::clock::unix_micros;
use crate::ids::{is_session_of, session_id};
use crate::sessions::Carried;
use crate::stats::{SessionInfo, public_id};

impl Session {
    /// Takes the session up: from now on the connection gets what its subscriptions match, and
    /// first what it has missed of them.
    pub(super) fn hello(&mut self, hello: Hello) -> ControlFlow<()> {
        let identity = match self.known_by(hello.token.as_deref()) {
            Ok(identity) => identity,
            Err(denied) => return self.denied(&denied),
        };
        let subject = identity.subject().map(|subject| &**subject);
        let before = hello.session.filter(|session| is_session_of(session, subject));
        let resumed = before.is_some();
        let session: Arc<str> = before.unwrap_or_else(|| session_id(subject)).into();
        let shard = self.app.next_shard();
        let mut cursor = Cursor::new();
        let mut refused = Vec::new();
        let mut hub = shard.hub.lock();
        let key = hub.insert(Arc::clone(&self.connection));
        let wire = self.link.wire();
        let hidden = self.app.collections.hidden_from(&session, &identity);
        self.connection.with_feed(|feed| {
            feed.set_wire(wire);
            feed.set_batch(hello.batch);
            feed.hide(hidden);
            feed.permit(identity.rights().received());
            feed.reveal(identity.rights().revealed());
        });
        self.connection
            .set_batch_delay(hello.batch_delay.min(self.app.config.queues.max_batch_delay));
        for subscribe in hello.subscriptions {
            let pattern = match self.admit(&identity, &subscribe) {
                Ok(pattern) => pattern,
                Err(refusal) => {
                    refused.push((subscribe.id, refusal));
                    continue;
                }
            };
            hub.subscribe(key, subscribe.id, &pattern);
            shard.subscribed(&mut hub, &pattern, &*self.app.backplane);
            self.connection.with_feed(|feed| {
                for lane in hub.lanes_of(&pattern) {
                    match hello.cursor.get(lane) {
                        Some(place) => {
                            cursor.set(lane, hub.place(lane));
                            feed.resume(lane, place);
                        }
                        None => cursor.set(lane, feed.watch(lane, hub.place(lane))),
                    }
                }
                feed.subscribe(subscribe.id, pattern);
            });
        }
        let config = &self.app.config;
        self.link.send(
            self.app.now(),
            &ServerMessage::Welcome(Welcome {
                session: session.to_string(),
                resumed,
                instance: config.instance.clone(),
                ping_interval: config.heartbeat.ping_interval,
                ping_timeout: config.heartbeat.ping_timeout,
                max_payload: u32::try_from(config.limits.max_payload).unwrap_or(u32::MAX),
                max_in_flight: u32::try_from(config.limits.max_in_flight).unwrap_or(u32::MAX),
                cursor,
                refused,
                expires_in: identity.expires_in(),
            }),
        );
        // Queued before the hub is let go: no event can come before the welcome.
        queue_frames(&mut self.link, &self.connection);
        drop(hub);
        let connection = Arc::clone(&self.connection);
        let since_ms = unix_micros() / 1000;
        let subject = identity.subject().cloned();
        let carried = Carried { connection, peer: self.peer, subject, since_ms };
        if let Some(store) = &self.app.store {
            store.session_began(|| SessionInfo::of(&self.app, public_id(&session), &carried));
        }
        self.app.sessions.enter(&session, carried);
        self.app.stats.welcomed(resumed);
        let producer = hello.producer.into();
        self.member = Some(Member { session, since_ms, producer, identity, shard, key });
        self.tell_share();
        ControlFlow::Continue(())
    }

    /// The subscription's pattern, if it is one, could get something, and there may be one more.
    fn admit(&self, identity: &Identity, subscribe: &Subscribe) -> Result<Pattern, Refusal> {
        let max = self.app.config.limits.max_subscriptions;
        let subscriptions = self.connection.with_feed(|feed| feed.subscriptions());
        if subscriptions >= max {
            let message = format!("a session may have {max} subscriptions (max_subscriptions)");
            return Err(Refusal::new(ErrorCode::TOO_MANY_SUBSCRIPTIONS, message));
        }
        if let Some(share) = &self.share {
            share.subscribe(subscriptions)?;
        }
        let pattern = Pattern::new(subscribe.pattern.as_str())
            .map_err(|error| Refusal::new(ErrorCode::BAD_NAME, error.to_string()))?;
        identity.rights().check_subscribe(&pattern)?;
        Ok(pattern)
    }

    pub(super) fn subscribe(&mut self, subscribe: Subscribe) {
        let Some(member) = &self.member else { return };
        let id = subscribe.id;
        let pattern = match self.admit(&member.identity, &subscribe) {
            Ok(pattern) => pattern,
            Err(refusal) => return self.send(&ServerMessage::SubscribeRefused { id, refusal }),
        };
        let mut cursor = Cursor::new();
        let mut hub = member.shard.hub.lock();
        hub.subscribe(member.key, id, &pattern);
        member.shard.subscribed(&mut hub, &pattern, &*self.app.backplane);
        self.connection.with_feed(|feed| {
            feed.subscribe(id, pattern.clone());
            for lane in hub.lanes_of(&pattern) {
                let now = hub.place(lane);
                cursor.set(lane, feed.watch(lane, now));
                if let Some(after) = subscribe.since.as_ref().and_then(|since| since.get(lane)) {
                    feed.replay(id, pattern.clone(), lane, after, now);
                }
            }
        });
        self.link.send(self.app.now(), &ServerMessage::Subscribed { id, cursor });
        queue_frames(&mut self.link, &self.connection);
        drop(hub);
        self.tell_share();
    }

    pub(super) fn unsubscribe(&mut self, id: SubId) {
        if let Some(member) = &self.member {
            let mut hub = member.shard.hub.lock();
            hub.unsubscribe(member.key, id);
            member.shard.update_interest(&mut hub, &*self.app.backplane);
            self.connection.with_feed(|feed| {
                feed.unsubscribe(id);
                feed.retain_lanes(|lane| hub.needs(member.key, lane));
            });
        }
        self.tell_share();
        self.send(&ServerMessage::Unsubscribed(id));
    }
}
