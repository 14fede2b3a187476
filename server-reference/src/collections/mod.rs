//! Collections: records that the server and its clients keep in step.
//!
//! A collection is declared, in the configuration or by [`Builder::collection`](crate::Builder).
//! From then on clients load it by the request `state.<name>.load`, change it by
//! `state.<name>.mutate`, and see every change as an event `state.<name>.<key>`, which goes through
//! the log like any other. Services in this process have a [`Collection`].
//!
//! Records are in the memory of this process, and end with it, unless instances share the log: then
//! they share the collections, too, and each of them answers everything.

mod declaration;
mod handle;
mod hosted;
mod requests;
mod shared;

use std::collections::BTreeMap;
use std::sync::Arc;

use tidings_core::state::wire;

use crate::backplane::Backplane;
use crate::config::{Config, ConfigError};
use crate::handlers::Handlers;

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
