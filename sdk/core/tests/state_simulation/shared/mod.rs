//! Several servers over one Redis keep a collection for their clients: servers are killed and started
//! again, answers are lost after a commit was made, so that it comes again or its mutations do at
//! another server, and replicas take over that lack what was written last. What is made up here is the
//! Redis, with what its scripts do, and the network; judging, the log and what is put back into it
//! are the core's machines.
//!
//! What a failover loses is known to somebody who lives, and put back in the time that all wait for
//! it: nobody can do anything about the rest.

mod instance;
mod redis;
mod stored;
mod world;

pub(crate) use world::live;

use std::ops::AddAssign;

/// Something that a correct system would not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sabotage {
    /// A commit is made although what was judged has changed.
    IgnoreChanges,
    /// The Redis does not know what has become of mutations.
    ForgetVerdicts,
    /// Nor which commits were made.
    ForgetCommits,
    /// What a failover has lost is not put back.
    PutNothingBack,
    /// Only the events are.
    PutBackEventsAlone,
    /// What became of the mutations is not.
    PutBackNoVerdicts,
    /// What became of those that were rejected is not.
    PutBackNoRejections,
    /// Nobody is given time to put something back.
    WaitForNobody,
}

/// What has happened in a world, to see that it was not idle.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) accepted: u64,
    pub(crate) rejected: u64,
    pub(crate) conflicts: u64,
    /// Mutations that came again, and had had their effect.
    pub(crate) repeated: u64,
    /// Commits that did.
    pub(crate) commits_repeated: u64,
    pub(crate) cuts: u64,
    pub(crate) gaps: u64,
    pub(crate) resets: u64,
    /// Clients that were at another server before.
    pub(crate) moves: u64,
    pub(crate) kills: u64,
    pub(crate) failovers: u64,
    /// Changes that failovers have lost, and that were put back.
    pub(crate) lost: u64,
    pub(crate) put_back: u64,
    /// The records at the end, as one number.
    pub(crate) digest: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.rejected += other.rejected;
        self.conflicts += other.conflicts;
        self.repeated += other.repeated;
        self.commits_repeated += other.commits_repeated;
        self.cuts += other.cuts;
        self.gaps += other.gaps;
        self.resets += other.resets;
        self.moves += other.moves;
        self.kills += other.kills;
        self.failovers += other.failovers;
        self.lost += other.lost;
        self.put_back += other.put_back;
        self.digest ^= other.digest;
    }
}
