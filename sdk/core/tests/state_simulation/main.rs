//! Several clients and a server keep a collection in step over a network that is made up: it cuts,
//! delivers what was cut off later, lets answers and events overtake each other, and loses parts of
//! the log; clients restart from what they have stored, and in some worlds the server forgets all.
//! Once it heals everybody sees the same; every mutation that was acknowledged has had its effect
//! once, and every one that was rejected none.
//!
//! A world follows from its seed alone. A seed that fails prints itself, and
//!
//! ```text
//! TIDINGS_SEED=17 cargo test -p tidings-core --test state_simulation
//! ```
//!
//! has it happen again and prints what happens. `TIDINGS_SEEDS=100000` takes that many seeds instead of the usual ones.
#![allow(clippy::disallowed_methods, reason = "its seeds are chosen by the environment")]

mod edits;
mod peer;
mod shared;
mod world;

#[path = "../seeds/mod.rs"]
mod seeds;
#[path = "../simulation/store.rs"]
#[allow(dead_code, reason = "the other simulation uses more of it")]
mod store;

use std::ops::AddAssign;
use std::panic::{AssertUnwindSafe, catch_unwind};

use world::{Sabotage, World};

/// How many worlds there are unless the environment says otherwise: as many as pass in seconds.
const SEEDS: u64 = if cfg!(debug_assertions) { 150 } else { 5000 };

/// Those with several servers cost more.
const SHARED_SEEDS: u64 = if cfg!(debug_assertions) { 60 } else { 3000 };

/// What has happened in a world, to see that it was not idle.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Tally {
    accepted: u64,
    rejected: u64,
    conflicts: u64,
    /// Mutations that came again, and had had their effect.
    repeated: u64,
    undone: u64,
    cuts: u64,
    gaps: u64,
    resets: u64,
    restarts: u64,
    /// The records at the end, as one number.
    digest: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.rejected += other.rejected;
        self.conflicts += other.conflicts;
        self.repeated += other.repeated;
        self.undone += other.undone;
        self.cuts += other.cuts;
        self.gaps += other.gaps;
        self.resets += other.resets;
        self.restarts += other.restarts;
        self.digest ^= other.digest;
    }
}

fn live(seed: u64, sabotage: Option<Sabotage>, told: bool) -> Tally {
    let mut world = World::new(seed, sabotage, told);
    world.live();
    world.heal();
    world.judge();
    world.tally()
}

#[test]
fn whatever_happens_all_see_the_same_and_nothing_happens_twice() {
    let all = seeds::live_all("state_simulation", SEEDS, |seed, told| live(seed, None, told));
    let Some((worlds, tally)) = all else { return };
    seeds::happened(
        worlds / 4,
        &[
            ("mutations accepted", tally.accepted),
            ("mutations rejected", tally.rejected),
            ("conflicts", tally.conflicts),
            ("mutations that came again", tally.repeated),
            ("mutations undone", tally.undone),
            ("cuts", tally.cuts),
            ("gaps", tally.gaps),
            ("resets", tally.resets),
            ("restarts", tally.restarts),
        ],
    );
}

#[test]
fn so_it_is_with_servers_that_share_it_and_are_killed() {
    let all = seeds::live_all("state_simulation so_it_is", SHARED_SEEDS, |seed, told| {
        shared::live(seed, None, told)
    });
    let Some((worlds, tally)) = all else { return };
    seeds::happened(
        worlds / 4,
        &[
            ("mutations accepted", tally.accepted),
            ("mutations rejected", tally.rejected),
            ("conflicts", tally.conflicts),
            ("mutations that came again", tally.repeated),
            ("commits that came again", tally.commits_repeated),
            ("cuts", tally.cuts),
            ("gaps", tally.gaps),
            ("moves to other servers", tally.moves),
            ("kills", tally.kills),
            ("failovers", tally.failovers),
            ("changes that failovers have lost", tally.lost),
            ("changes that were put back", tally.put_back),
        ],
    );
}

#[test]
fn a_seed_has_the_same_happen_again() {
    for seed in 0..20 {
        assert_eq!(live(seed, None, false), live(seed, None, false), "seed {seed}");
        let shared = || shared::live(seed, None, false);
        assert_eq!(shared(), shared(), "seed {seed}");
    }
}

/// A judgement that cannot fail is worth nothing.
#[test]
fn what_goes_wrong_is_noticed() {
    for sabotage in [Sabotage::LoseChange, Sabotage::ForgetClients, Sabotage::HalfMutation] {
        let noticed = (0..60).any(|seed| {
            catch_unwind(AssertUnwindSafe(|| live(seed, Some(sabotage), false))).is_err()
        });
        assert!(noticed, "{sabotage:?} was not noticed");
    }
}

#[test]
fn so_is_what_goes_wrong_among_servers() {
    use shared::Sabotage::*;
    for sabotage in [
        IgnoreChanges,
        ForgetVerdicts,
        ForgetCommits,
        PutNothingBack,
        PutBackEventsAlone,
        PutBackNoVerdicts,
        // What a failover has taken of rejections is asked for again in one world of a thousand.
        PutBackNoRejections,
        WaitForNobody,
    ] {
        let noticed = (0..200).find(|seed| {
            let live = || shared::live(*seed, Some(sabotage), false);
            catch_unwind(AssertUnwindSafe(live)).is_err()
        });
        println!("{sabotage:?} is noticed by seed {noticed:?}");
        assert!(noticed.is_some(), "{sabotage:?} was not noticed");
    }
}
