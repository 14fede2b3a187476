//! What a collection is.

use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use tidings_core::Name;
use tidings_core::state::wire::ROOT;
use tidings_core::state::{Document, Key, Limits, Policy, Rules};

use super::access::{Access, Asker, Clients, Permissions};
use super::sensitive::Sensitive;

use crate::config::{self, Config, ConfigError};
use crate::schemas::{Mask, Schema, SchemaError};

/// The most bytes a collection's name may have, so that those of its events have room for a key.
const MAX_NAME_BYTES: usize = 100;

/// The shortest time after which a session that nobody carries counts as gone, where it is
/// configured: who is there is told several times in it.
const LEAST_PRESENCE: Duration = Duration::from_millis(100);

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
    pub(super) permissions: Permissions,
    /// If its records end with their sessions, how long one may be away.
    pub(super) presence: Option<Duration>,
    schemas: Vec<Schema>,
}

impl Declaration {
    /// A collection of this name, one segment of an event's name, with the default policy and
    /// limits.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            rules: Rules::default(),
            permissions: Permissions::default(),
            presence: None,
            schemas: Vec::new(),
        }
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

    /// A collection of records of this Rust type: [`new`](Self::new) with its
    /// [`schema`](Self::schema).
    ///
    /// # Errors
    /// As [`Schema::of`].
    pub fn of<T: JsonSchema>(name: impl Into<String>) -> Result<Self, SchemaError> {
        Ok(Self::new(name).schema(Schema::of::<T>()?))
    }

    /// Records must be what this schema says. A mutation by which one would not be is rejected, and
    /// told where and by which rule.
    #[must_use]
    pub fn schema(mut self, schema: Schema) -> Self {
        self.schemas.push(schema.clone());
        let name = self.name.clone();
        self.check(move |_, record| schema.check(&name, record.bytes()))
    }

    /// Its name, and what its records must be.
    pub(crate) fn schemas(&self) -> (String, Vec<Schema>) {
        (self.name.clone(), self.schemas.clone())
    }

    /// What is sensitive in its records.
    pub(super) fn sensitive(&self) -> Sensitive {
        Sensitive::new(self.schemas.iter().filter_map(Schema::mask).cloned())
    }

    /// Records must pass this, too: it says what is wrong with one that is to be. It must come to
    /// the same answer for the same record on every instance.
    #[must_use]
    pub fn check(
        mut self,
        check: impl Fn(&Key, &Document) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        self.rules.check = Some(match self.rules.check.take() {
            None => Arc::new(check),
            Some(first) => Arc::new(move |key, record| {
                first(key, record)?;
                check(key, record)
            }),
        });
        self
    }

    /// What clients may do, whoever they are. Services may do everything.
    #[must_use]
    pub fn clients(mut self, may: Clients) -> Self {
        self.permissions.clients = may;
        self
    }

    /// Asks `guard` whether a client may do what it wants; the text says why not, for people. It
    /// must not block. What a session may read is asked when it begins, for the events that it
    /// gets; a mutation that may not be made is rejected, the others of its request are not.
    #[must_use]
    pub fn guard(
        mut self,
        guard: impl Fn(&Asker, Access<'_>) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        self.permissions.guard = Some(Arc::new(guard));
        self
    }

    /// Its records end with their sessions: each session may have one, whose key is the session's
    /// id, and write no other. It is deleted when the client says goodbye, or when no instance has
    /// carried the session for `timeout` (found within half as long again).
    #[must_use]
    pub fn presence(mut self, timeout: Duration) -> Self {
        self.presence = Some(timeout);
        self.permissions.own_record_only = true;
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
            let mut masks = declaration.schemas.iter().filter_map(Schema::mask);
            if masks.any(Mask::hides_all) {
                let message = format!(
                    "{name}: x-tidings-sensitive on the record as a whole would hide whether it \
                     is there: write it where its properties are described"
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
        let clients = settings.clients.parse::<Clients>();
        let clients = clients.map_err(|error| invalid(format!("{name}.clients: {error}")))?;
        let declaration = Self::new(name).policy(policy).limits(settings.limits()).clients(clients);
        let declaration = match settings.presence {
            false => declaration,
            true if settings.presence_timeout < LEAST_PRESENCE => {
                let message =
                    format!("{name}.presence_timeout must be at least {LEAST_PRESENCE:?}");
                return Err(invalid(message));
            }
            true => declaration.presence(settings.presence_timeout),
        };
        let wrong = |field: &str, error: SchemaError| invalid(format!("{name}.{field}: {error}"));
        let (inline, file) = (settings.schema.trim(), settings.schema_file.trim());
        let declaration = match inline {
            "" => declaration,
            text => {
                declaration.schema(Schema::parse(text).map_err(|error| wrong("schema", error))?)
            }
        };
        match file {
            "" => Ok(declaration),
            path => Ok(declaration
                .schema(Schema::read(path).map_err(|error| wrong("schema_file", error))?)),
        }
    }
}

fn invalid(message: String) -> ConfigError {
    ConfigError::Invalid { key: "collections", message }
}
