//! What one address, and one subject, may take of the server, over all of its connections.

mod addresses;
mod identities;

pub(crate) use self::addresses::{AddressPermit, Addresses, Crowd};
pub(crate) use self::identities::{Share, Subjects};
