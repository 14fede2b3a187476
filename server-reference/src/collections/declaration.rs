//! What a collection is.

use tidings_core::Name;
use tidings_core::state::wire::ROOT;
use tidings_core::state::{Limits, Policy, Rules};

use crate::config::{self, Config, ConfigError};

/// The most bytes a collection's name may have, so that those of its events have room for a key.
const MAX_NAME_BYTES: usize = 100;

/// Declares a collection; see [`Builder::collection`](crate::Builder::collection).
///
/// ```
/// use tidings_core::state::Policy;
/// use tidings_server::collections::Declaration;
/// let todos = Declaration::new("todos").policy(Policy::ServerWins);
/// ```
#[derive(Debug, Clone)]
pub struct Declaration {
    pub(super) name: String,
    pub(super) rules: Rules,
}

impl Declaration {
    /// A collection of this name, one segment of an event's name, with the default policy and
    /// limits.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), rules: Rules::default() }
    }

    /// How conflicts are decided.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.rules.policy = policy;
        self
    }

    /// What it may hold.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.rules.limits = limits;
        self
    }

    /// All collections: those of the configuration, and those declared otherwise.
    pub(crate) fn all(config: &Config, declared: Vec<Self>) -> Result<Vec<Self>, ConfigError> {
        let mut all = declared;
        for (name, settings) in &config.collections {
            all.push(Self::configured(name, settings)?);
        }
        for (n, declaration) in all.iter().enumerate() {
            let name = &declaration.name;
            let is_segment = Name::check(name).is_ok() && !name.contains('.');
            if !is_segment || name.len() > MAX_NAME_BYTES {
                let message = format!(
                    "{name:?} is no name: it must be one segment of an event's, of at most \
                     {MAX_NAME_BYTES} bytes"
                );
                return Err(invalid(message));
            }
            if all.iter().skip(n + 1).any(|other| other.name == *name) {
                return Err(invalid(format!("{name:?} is declared twice")));
            }
        }
        if !all.is_empty() && config.partitioning().depth_of(ROOT) > 2 {
            let message = "a collection has one order: partitions.depths must not have more than 2 \
                           for the root \"state\"";
            return Err(invalid(message.into()));
        }
        Ok(all)
    }

    fn configured(name: &str, settings: &config::Collection) -> Result<Self, ConfigError> {
        let policy = settings.policy.parse::<Policy>();
        let policy = policy.map_err(|error| invalid(format!("{name}.policy: {error}")))?;
        Ok(Self::new(name).policy(policy).limits(settings.limits()))
    }
}

fn invalid(message: String) -> ConfigError {
    ConfigError::Invalid { key: "collections", message }
}
