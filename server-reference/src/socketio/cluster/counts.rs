//! What has been told and heard, and what was not.

use schemars::JsonSchema;
use serde::Serialize;

use crate::config::NodeAdapterKind;
use crate::stats::{Counter, Mishaps};

/// What instances, and Node servers, have told each other for applications of Socket.IO since the
/// start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct MembersStats {
    /// With whom.
    pub adapter: NodeAdapterKind,
    /// Messages to others.
    pub told: u64,
    /// Messages of others that were taken.
    pub heard: u64,
    /// Messages of others that were not: they were too large, or too many waited.
    pub lost: u64,
    /// Messages of others that were taken and not understood.
    pub not_understood: u64,
    /// Questions of others that were not answered since too many were asked at once.
    pub not_answered: u64,
}

/// Counts what happens.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) told: Counter,
    pub(super) heard: Counter,
    pub(super) lost: Mishaps,
    pub(super) not_understood: Mishaps,
    pub(super) not_answered: Mishaps,
}

impl Counts {
    pub(super) fn stats(&self, adapter: NodeAdapterKind) -> MembersStats {
        MembersStats {
            adapter,
            told: self.told.get(),
            heard: self.heard.get(),
            lost: self.lost.get(),
            not_understood: self.not_understood.get(),
            not_answered: self.not_answered.get(),
        }
    }
}
