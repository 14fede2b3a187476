//! What clients may do with a collection.

use std::sync::Arc;

use tidings_core::Pattern;
use tidings_core::message::{ErrorCode, Refusal};
use tidings_core::state::{Asked, Mutation, wire};

use crate::auth::Identity;

/// Who asks, as far as the server knows.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Asker {
    /// The session.
    pub session: Arc<str>,
    /// Who it is: its [subject](Identity::subject), what the token allows and says besides.
    pub identity: Identity,
}

/// What somebody wants to do with a collection.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Access<'a> {
    /// Load it, and get its changes. Asked when a session begins, and at each load.
    Read,
    /// Make this mutation.
    Mutate(&'a Mutation),
}

/// Says why something may not be done, if so.
pub(super) type Guard = Arc<dyn Fn(&Asker, Access<'_>) -> Result<(), String> + Send + Sync>;

/// What clients of a collection may do, whoever they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Clients {
    /// Nothing: it is for services.
    Nothing,
    /// Load it, and get its changes.
    Read,
    /// That, and change it.
    #[default]
    Mutate,
}

/// The text names nothing that clients may do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("clients cannot be allowed {0:?}: write mutate, read or nothing")]
pub struct UnknownAccess(String);

impl std::str::FromStr for Clients {
    type Err = UnknownAccess;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "nothing" => Ok(Self::Nothing),
            "read" => Ok(Self::Read),
            "mutate" => Ok(Self::Mutate),
            other => Err(UnknownAccess(other.to_owned())),
        }
    }
}

/// The rules of a collection about who may do what.
#[derive(Clone, Default)]
pub(super) struct Permissions {
    pub(super) clients: Clients,
    pub(super) guard: Option<Guard>,
    /// Each session may write only the record that has its name.
    pub(super) own_record_only: bool,
}

impl std::fmt::Debug for Permissions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Permissions")
            .field("clients", &self.clients)
            .field("guard", &self.guard.is_some())
            .field("own_record_only", &self.own_record_only)
            .finish()
    }
}

impl Permissions {
    /// Whether this may be done, or why not.
    pub(super) fn allow(&self, asker: &Asker, access: Access<'_>) -> Result<(), String> {
        match (self.clients, access) {
            (Clients::Nothing, _) => return Err("it is for services only (clients)".to_owned()),
            (Clients::Read, Access::Mutate(_)) => {
                return Err("clients may only read it (clients)".to_owned());
            }
            _ => {}
        }
        if let Access::Mutate(mutation) = access
            && self.own_record_only
            && mutation.ops.iter().any(|op| *op.key != *asker.session)
        {
            let own = &asker.session;
            return Err(format!("a session may write only its own record, {own:?} (presence)"));
        }
        self.guard.as_ref().map_or(Ok(()), |guard| guard(asker, access))
    }

    /// Refuses to let somebody read it, if so.
    pub(super) fn read(&self, name: &str, asker: &Asker) -> Result<(), Refusal> {
        // A load is of all records, whatever their keys: part of them is not to be had.
        if let Ok(all) = Pattern::new(wire::change_name(name, "**")) {
            asker.identity.rights().check_reads_all_of(&all)?;
        }
        self.allow(asker, Access::Read).map_err(|why| {
            let message = format!("the collection {name:?} may not be read: {why}");
            Refusal::new(ErrorCode::FORBIDDEN, message)
        })
    }

    /// The mutation, with why it may not be made, if so. One that was not understood is no matter of
    /// theirs: it will not be made.
    pub(super) fn judge(&self, name: &str, asker: &Asker, asked: Asked) -> Asked {
        let Asked { mutation, refused, keep } = asked;
        let forbidden = || {
            let rights = asker.identity.rights();
            let check = |key: &str| rights.check_mutate(&wire::change_name(name, key));
            let claimed = mutation.ops.iter().try_for_each(|op| check(&op.key));
            let why = claimed.and_then(|()| self.allow(asker, Access::Mutate(&mutation))).err()?;
            Some(format!("forbidden: {why}"))
        };
        let refused = refused.or_else(forbidden);
        Asked { mutation, refused, keep }
    }
}
