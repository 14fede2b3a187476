//! What instances tell each other of schemas: those that are registered, and whether all declare the
//! same.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, Weak};

use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::registered::Entry;
use crate::app::App;
use crate::backplane::{Channel, Channels, Ear};
use crate::shutdown::Phase;

/// After so many intervals of silence nothing is known of another instance any more.
const SILENT: u32 = 5;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Told {
    /// The version of what this instance declares, and the digest of what is registered.
    Have { instance: String, declared: String, registered: String },
    /// What is registered for a pattern.
    Entry(String, Entry),
}

/// The other instances, as far as they tell.
#[derive(Default)]
pub(super) struct Others {
    way: OnceLock<(Arc<dyn Channels>, Channel)>,
    /// What each declares, and when it said so.
    declared: Mutex<BTreeMap<String, (String, Instant)>>,
}

impl std::fmt::Debug for Others {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Others").field("declared", &self.declared).finish_non_exhaustive()
    }
}

impl Others {
    /// Tells them of an entry.
    pub(super) fn tell(&self, pattern: &str, entry: Entry) {
        self.say(&Told::Entry(pattern.to_owned(), entry));
    }

    fn say(&self, told: &Told) {
        let Some((channels, channel)) = self.way.get() else { return };
        // Nothing in it is beyond JSON.
        let message = serde_json::to_vec(told).unwrap_or_default();
        channels.publish(channel.clone(), message.into());
    }

    /// Those that declare something else, with the versions of what they declare.
    pub(super) fn that_differ_from(&self, version: &str) -> Vec<(String, String)> {
        let declared = self.declared.lock();
        let differ = declared.iter().filter(|(_, (declared, _))| declared != version);
        differ.map(|(name, (declared, _))| (name.clone(), declared.clone())).collect()
    }
}

/// Hears the others from now on, and tells them what there is here, for as long as the server runs.
pub(crate) fn listen(app: &Arc<App>) {
    let Some(channels) = app.backplane.channels().filter(|_| app.backplane.is_shared()) else {
        return;
    };
    let channel = Channel::sharded(format!("{}:schemas", app.config.redis.prefix));
    channels.subscribe(channel.clone(), Arc::new(Hears(Arc::downgrade(app))));
    if app.event_schemas.others().way.set((channels, channel)).is_err() {
        return;
    }
    let app = Arc::clone(app);
    tokio::spawn(async move {
        let (schemas, interval) = (&app.event_schemas, app.config.schemas.compare);
        let mut differ = Vec::new();
        loop {
            tokio::select! {
                () = tokio::time::sleep(interval) => {}
                () = app.shutdown.reached(Phase::Over) => return,
            }
            schemas.registered().forget_old();
            let others = schemas.others();
            others.declared.lock().retain(|_, (_, heard)| heard.elapsed() < interval * SILENT);
            others.say(&Told::Have {
                instance: app.config.instance.clone(),
                declared: schemas.version().to_owned(),
                registered: schemas.registered().digest(),
            });
            let now = others.that_differ_from(schemas.version());
            if now != differ && !now.is_empty() {
                let names =
                    now.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
                tracing::warn!(
                    instances = names,
                    "other instances declare other schemas: what is refused or sensitive here may not \
                     be so there; give all of them the same configuration (GET /api/schemas)"
                );
            } else if now != differ {
                tracing::info!("all instances declare the same schemas");
            }
            differ = now;
        }
    });
}

struct Hears(Weak<App>);

impl Ear for Hears {
    fn hear(&self, channel: &str, message: Bytes) {
        let Some(app) = self.0.upgrade() else { return };
        let schemas = &app.event_schemas;
        match serde_json::from_slice(&message) {
            Ok(Told::Have { instance, .. }) if instance == app.config.instance => {}
            Ok(Told::Have { instance, declared, registered }) => {
                let others = schemas.others();
                others.declared.lock().insert(instance, (declared, Instant::now()));
                if registered != schemas.registered().digest() {
                    for (pattern, entry) in schemas.registered().entries() {
                        others.tell(&pattern, entry);
                    }
                }
            }
            Ok(Told::Entry(pattern, entry)) => schemas.merge([(pattern, entry)]),
            Err(error) => {
                tracing::warn!(channel, %error, "what is told of schemas is not understood")
            }
        }
    }
}
