//! The namespaces of a server.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::RwLock;
use tidings_core::link::Redact;
use tidings_core::socketio::Namespace as Path;

use super::args::IntoArgs;
use super::broadcast::EmitError;
use super::cluster::{Cluster, MembersStats};
use super::listeners::{Listeners, adds_handlers};
use super::namespace::Namespace;
use super::sensitive::Redacting;
use crate::config::Config;

type Matches = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// The namespaces of a server: those named by the application, and those that clients asked for
/// and a pattern matches.
pub(crate) struct Namespaces {
    cluster: Arc<Cluster>,
    redact: Redacting,
    named: RwLock<HashMap<Path, Namespace>>,
    patterns: RwLock<Vec<NamespacePattern>>,
}

impl Namespaces {
    /// None yet; those of the same path on other instances are reached by `cluster`, and `redact`
    /// knows what is sensitive in events.
    pub(crate) fn new(cluster: Arc<Cluster>, redact: Option<Arc<dyn Redact>>) -> Self {
        Self { cluster, redact, named: RwLock::default(), patterns: RwLock::default() }
    }

    /// Does from now on what other instances tell, for the application has namespaces.
    pub(crate) fn listen(self: &Arc<Self>) {
        self.cluster.listen(self);
    }

    /// What has been told and heard since the start.
    pub(crate) fn members(&self) -> MembersStats {
        self.cluster.stats()
    }

    /// The others are not heard any more, for the server is at its end.
    pub(crate) fn leave(&self) {
        self.named.read().values().for_each(|namespace| namespace.member().leave());
    }

    /// The namespace with this path, if it is there.
    pub(super) fn known(&self, path: &Path) -> Option<Namespace> {
        self.named.read().get(path).cloned()
    }

    /// The namespace with this path, which is there from now on.
    pub(crate) fn named(&self, path: Path, config: &Config) -> Namespace {
        let mut named = self.named.write();
        let shared = (&self.cluster, &self.redact);
        let new = || Namespace::new(path.clone(), Arc::default(), config, shared, None);
        named.entry(path.clone()).or_insert_with(new).clone()
    }

    /// All namespaces whose paths `matches` likes are there from now on.
    pub(crate) fn matching(
        &self,
        matches: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> NamespacePattern {
        let pattern = NamespacePattern {
            matches: Arc::new(matches),
            listeners: Arc::default(),
            namespaces: Arc::default(),
        };
        self.patterns.write().push(pattern.clone());
        pattern
    }

    /// Whether there are any, or may be.
    pub(crate) fn are_used(&self) -> bool {
        !self.named.read().is_empty() || !self.patterns.read().is_empty()
    }

    /// The namespace that a client asks for. It expects a socket from now on.
    pub(crate) fn find(self: &Arc<Self>, path: &Path, config: &Config) -> Option<Namespace> {
        if let Some(named) = self.named.read().get(path) {
            named.table().expected += 1;
            return Some(named.clone());
        }
        let pattern = self.patterns.read().iter().find(|p| (p.matches)(path.as_str())).cloned()?;
        let mut named = self.named.write();
        let new = || {
            let (listeners, back) = (Arc::clone(&pattern.listeners), Arc::downgrade(self));
            let shared = (&self.cluster, &self.redact);
            let namespace = Namespace::new(path.clone(), listeners, config, shared, Some(back));
            pattern.namespaces.write().insert(path.clone(), namespace.clone());
            namespace
        };
        let namespace = named.entry(path.clone()).or_insert_with(new).clone();
        namespace.table().expected += 1;
        Some(namespace)
    }

    /// A namespace that a pattern has made has no socket any more.
    pub(super) fn forget(&self, namespace: &Namespace) {
        let mut named = self.named.write();
        // A client may have come since.
        if namespace.is_empty() && named.get(namespace.wire_path()) == Some(namespace) {
            named.remove(namespace.wire_path());
            namespace.member().leave();
            for pattern in &*self.patterns.read() {
                pattern.namespaces.write().remove(namespace.wire_path());
            }
        }
    }
}

impl fmt::Debug for Namespaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.named.read().keys()).finish()
    }
}

/// All namespaces whose paths match: Node's `io.of(/^\/dynamic-\d+$/)`. They share their handlers,
/// and each is there for as long as it has sockets.
#[derive(Clone)]
pub struct NamespacePattern {
    matches: Matches,
    listeners: Arc<RwLock<Listeners>>,
    namespaces: Arc<RwLock<HashMap<Path, Namespace>>>,
}

adds_handlers!(NamespacePattern, |pattern| pattern.listeners);

impl NamespacePattern {
    /// Those that there are.
    pub fn namespaces(&self) -> Vec<Namespace> {
        self.namespaces.read().values().cloned().collect()
    }

    /// Sends an event to everybody in all of them.
    ///
    /// # Errors
    /// As [`Namespace::emit`].
    pub fn emit(&self, event: &str, arguments: impl IntoArgs + Clone) -> Result<(), EmitError> {
        self.namespaces().iter().try_for_each(|namespace| namespace.emit(event, arguments.clone()))
    }
}

impl fmt::Debug for NamespacePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NamespacePattern").finish_non_exhaustive()
    }
}
