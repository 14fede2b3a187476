//! Collections: records that the server and its clients keep in step.
//!
//! A collection is declared, in the configuration or by [`Builder::collection`](crate::Builder).
//! From then on clients load it by the request `state.<name>.load`, change it by
//! `state.<name>.mutate`, and see every change as an event `state.<name>.<key>`, which goes through
//! the log like any other. Services in this process have a [`Collection`].
//!
//! Records are in the memory of this process, and end with it, unless instances share the log: then
//! they share the collections, too, and each of them answers everything.

mod access;
mod declaration;
mod handle;
mod hosted;
mod loads;
mod presence;
mod requests;
mod sensitive;
mod shared;

use std::collections::BTreeMap;
use std::sync::Arc;

use tidings_core::state::{Key, wire};

use crate::app::App;
use crate::auth::Identity;
use crate::backplane::Backplane;
use crate::config::{Config, ConfigError};
use crate::handlers::Handlers;

pub use access::{Access, Asker, Clients, UnknownAccess};
pub use declaration::Declaration;
pub use handle::{Collection, CollectionError};
use hosted::Hosted;

/// The collections of a server, by name.
#[derive(Default)]
pub(crate) struct Collections {
    by_name: BTreeMap<String, Arc<Hosted>>,
}

impl Collections {
    /// Hosts what is declared.
    pub(crate) fn new(
        declared: Vec<Declaration>,
        backplane: &Arc<dyn Backplane>,
        config: &Config,
    ) -> Result<Self, ConfigError> {
        if declared.is_empty() {
            return Ok(Self::default());
        }
        let store = backplane.collections();
        if store.is_none() && backplane.is_shared() {
            let message = "they would be in the memory of one instance, but others share its log, \
                           and this backplane keeps no collections";
            return Err(ConfigError::Invalid { key: "collections", message: message.into() });
        }
        let host = |declaration: Declaration| {
            let name = declaration.name.clone();
            let hosted = match &store {
                Some(store) => Hosted::shared(declaration, Arc::clone(store), config.redis.buffer),
                None => Hosted::here(declaration, Arc::clone(backplane)),
            };
            (name, Arc::new(hosted))
        };
        Ok(Self { by_name: declared.into_iter().map(host).collect() })
    }

    /// Answers clients' requests.
    pub(crate) fn answer_requests(&self, config: &Config, handlers: &Handlers) {
        for hosted in self.by_name.values() {
            requests::answer(hosted, config.timeouts.request, handlers);
        }
    }

    /// Keeps the records of presence for as long as the server runs.
    pub(crate) fn keep_presence(app: &Arc<App>) {
        for hosted in app.collections.by_name.values() {
            if let Some(timeout) = hosted.presence() {
                tokio::spawn(presence::keep(Arc::clone(app), Arc::clone(hosted), timeout));
            }
        }
    }

    /// The client of a session has said goodbye.
    pub(crate) fn session_ended(&self, session: &Arc<str>) {
        for hosted in self.by_name.values().filter(|hosted| hosted.presence().is_some()) {
            let Ok(key) = Key::new(Arc::clone(session)) else { return };
            let hosted = Arc::clone(hosted);
            tokio::spawn(async move {
                // If it cannot be told now, its time will be over.
                if let Err(refusal) = presence::leave(&hosted, key).await {
                    tracing::debug!(collection = hosted.name(), %refusal, "a session leaves later");
                }
            });
        }
    }

    /// What the names of events begin with that a session may not get.
    pub(crate) fn hidden_from(&self, session: &Arc<str>, identity: &Identity) -> Vec<String> {
        let asker = Asker { session: Arc::clone(session), identity: identity.clone() };
        let is_hidden =
            |hosted: &&Arc<Hosted>| hosted.permissions().allow(&asker, Access::Read).is_err();
        let names = self.by_name.values().filter(is_hidden).map(|hosted| hosted.name());
        names.map(|name| wire::change_name(name, "")).collect()
    }

    pub(crate) fn find(&self, name: &str) -> Option<&Arc<Hosted>> {
        self.by_name.get(name)
    }

    /// Whether events of this name are a collection's own.
    pub(crate) fn owns(&self, name: &str) -> bool {
        let mut segments = name.split('.');
        segments.next() == Some(wire::ROOT)
            && segments.next().is_some_and(|name| self.by_name.contains_key(name))
    }
}
