//! What was revoked before its time: tokens by their ids, subjects with all they had.
//!
//! Every instance has all of it. Whoever revokes tells the others, who end what they carry. That
//! may get lost, and instances come later: so each says again and again by a digest what it has, and
//! where two differ both tell everything. What one instance knows is kept until all have ended.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use ring::digest;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::identity::Identity;
use crate::app::App;
use crate::backplane::{Channel, Channels, Ear};
use crate::clock::unix_micros;
use crate::shutdown::Phase;

/// What can be revoked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Revoked {
    /// The token with this id (claim `jti`).
    TokenId(String),
    /// All tokens of this subject (claim `sub`) that were issued (claim `iat`) until now, and those
    /// that do not say when.
    Subject(String),
}

/// When it was revoked, and until when that is remembered, in seconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Times {
    at: u64,
    until: u64,
}

type Entries = BTreeMap<Revoked, Times>;

/// What was revoked.
pub(crate) struct Revocations {
    entries: Mutex<Entries>,
    /// For how long it is remembered.
    kept: Duration,
    /// How other instances are told, if there may be any.
    others: OnceLock<(Arc<dyn Channels>, Channel)>,
}

/// What instances tell each other.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Told {
    /// This is what I have.
    Digest(String),
    /// This, too, is revoked.
    Entries(Vec<(Revoked, Times)>),
    /// The session that is shown by this name is ended by an operator.
    End(String),
}

impl Revocations {
    pub(super) fn new(kept: Duration) -> Self {
        Self { entries: Mutex::default(), kept, others: OnceLock::new() }
    }

    /// Hears the others from now on, and tells them what is revoked, for as long as the server runs.
    pub(crate) fn listen(&self, app: &Arc<App>) {
        let Some(channels) = app.backplane.channels() else { return };
        let channel = Channel::sharded(format!("{}:revoked", app.config.redis.prefix));
        channels.subscribe(channel.clone(), Arc::new(Hears(Arc::downgrade(app))));
        if self.others.set((channels, channel)).is_err() {
            return;
        }
        let app = Arc::clone(app);
        tokio::spawn(async move {
            let this = app.authenticator.revocations();
            loop {
                tokio::select! {
                    () = tokio::time::sleep(app.config.auth.revocation_check) => {}
                    () = app.shutdown.reached(Phase::Over) => return,
                }
                this.forget_old();
                this.tell(&Told::Digest(this.digest()));
            }
        });
    }

    /// Whether the identity is not good any more.
    pub(crate) fn covers(&self, identity: &Identity) -> bool {
        let entries = self.entries.lock();
        // Nearly always.
        if entries.is_empty() {
            return false;
        }
        let id = identity.token_id().map(|id| Revoked::TokenId(id.to_owned()));
        let subject = identity.subject().map(|subject| Revoked::Subject(subject.to_string()));
        id.is_some_and(|id| entries.contains_key(&id))
            || subject.and_then(|subject| entries.get(&subject)).is_some_and(|times| {
                identity.issued().is_none_or(|issued| issued < (times.at + 1) as f64)
            })
    }

    /// Revokes something, at all instances.
    pub(crate) fn revoke(&self, revoked: Revoked) {
        let at = now();
        let entry = (revoked, Times { at, until: at.saturating_add(self.kept.as_secs()) });
        self.merge([entry.clone()]);
        self.tell(&Told::Entries(vec![entry]));
    }

    /// Has the other instances end a session; false if there are none.
    pub(crate) fn tell_end(&self, shown_as: &str) -> bool {
        let others = self.others.get().is_some_and(|(channels, _)| channels.has_others());
        others && self.tell(&Told::End(shown_as.to_owned()))
    }

    fn tell(&self, told: &Told) -> bool {
        let Some((channels, channel)) = self.others.get() else { return false };
        // Nothing in it is beyond JSON.
        let message = serde_json::to_vec(told).unwrap_or_default();
        channels.publish(channel.clone(), message.into());
        true
    }

    /// Takes over what is revoked elsewhere; returns whether any of it is news.
    fn merge(&self, told: impl IntoIterator<Item = (Revoked, Times)>) -> bool {
        let mut entries = self.entries.lock();
        let mut is_news = false;
        for (revoked, Times { at, until }) in told {
            let known = entries.entry(revoked).or_insert(Times { at: 0, until: 0 });
            let newer = Times { at: known.at.max(at), until: known.until.max(until) };
            is_news |= *known != newer;
            *known = newer;
        }
        is_news
    }

    fn forget_old(&self) {
        let now = now();
        self.entries.lock().retain(|_, times| times.until > now);
    }

    fn all(&self) -> Vec<(Revoked, Times)> {
        self.entries.lock().iter().map(|(revoked, times)| (revoked.clone(), *times)).collect()
    }

    fn digest(&self) -> String {
        let written = serde_json::to_vec(&self.all()).unwrap_or_default();
        let digest = digest::digest(&digest::SHA256, &written);
        digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Seconds since the Unix epoch.
fn now() -> u64 {
    unix_micros() / 1_000_000
}

/// Hears what others have revoked.
struct Hears(Weak<App>);

impl Ear for Hears {
    fn hear(&self, channel: &str, message: Bytes) {
        let Some(app) = self.0.upgrade() else { return };
        let revocations = app.authenticator.revocations();
        match serde_json::from_slice(&message) {
            Ok(Told::Digest(digest)) if digest == revocations.digest() => {}
            Ok(Told::Digest(_)) => drop(revocations.tell(&Told::Entries(revocations.all()))),
            Ok(Told::Entries(entries)) => {
                if revocations.merge(entries) {
                    app.reconsider_all();
                }
            }
            Ok(Told::End(shown_as)) => drop(app.end_session(&shown_as)),
            Err(error) => tracing::warn!(channel, %error, "a revocation is not understood"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(subject: &str, at: u64) -> (Revoked, Times) {
        (Revoked::Subject(subject.to_owned()), Times { at, until: at + 100 })
    }

    #[test]
    fn in_whatever_order_it_is_told_all_come_to_know_the_same() {
        let [one, other] = [(); 2].map(|()| Revocations::new(Duration::from_secs(100)));
        assert!(one.merge([entry("ann", 10), entry("ben", 5)]));
        assert!(other.merge([entry("ann", 20)]) && one.digest() != other.digest());
        assert!(one.merge(other.all()) && other.merge(one.all()));
        assert_eq!(one.digest(), other.digest());
        assert!(!one.merge([entry("ann", 15)]), "an older one is no news");
        assert_eq!(one.all(), [entry("ann", 20), entry("ben", 5)]);
    }

    #[test]
    fn what_was_revoked_long_ago_is_forgotten() {
        let revocations = Revocations::new(Duration::from_secs(100));
        revocations.merge([entry("ann", 10)]);
        revocations.revoke(Revoked::TokenId("t".to_owned()));
        revocations.forget_old();
        assert_eq!(revocations.all().len(), 1);
    }
}
