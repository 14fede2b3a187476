//! Many clients and several servers in one process, over a network that is made up: it is slow by
//! turns, loses what is on its way, hangs, and lets servers restart, in virtual time. Servers share
//! a log in memory, or a Redis that is made up, too: it fails over, its slots move, it loses everything,
//! and no two clocks are the same. Whatever they do, once they heal everything has arrived, once, in order,
//! or was told to be lost, as docs/delivery.md promises, and everybody is connected.
//!
//! A world follows from its seed alone. A seed that fails prints itself, and
//!
//! ```text
//! TIDINGS_SEED=17 cargo test -p tidings-core --test simulation
//! ```
//!
//! has it happen again, and prints what applications were told until then. `TIDINGS_SEEDS=100000` takes
//! that many seeds instead of the usual ones, `TIDINGS_SEEDS=5000..6000` these.
#![allow(clippy::disallowed_methods, reason = "its seeds are chosen by the environment")]

mod acts;
mod backplane;
mod client;
mod faults;
mod instance;
mod log;
mod network;
mod plan;
mod quiet;
mod redis;
mod sabotage;
mod server;
mod serving;
#[allow(dead_code, reason = "the server's test of it uses more")]
mod store;
mod traffic;
mod verdict;
mod wires;
mod world;

#[path = "../seeds/mod.rs"]
mod seeds;

use std::ops::AddAssign;
use std::panic::{AssertUnwindSafe, catch_unwind};

use sabotage::Sabotage;
use world::{Joined, World};

/// How many worlds there are unless the environment says otherwise: as many as pass in seconds.
const SEEDS: u64 = if cfg!(debug_assertions) { 200 } else { 5000 };

/// How many worlds joined by Redis there are unless the environment says otherwise.
const REDIS_SEEDS: u64 = if cfg!(debug_assertions) { 60 } else { 6000 };

/// What has happened in a world, to see that it was not idle.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Tally {
    deliveries: u64,
    published: u64,
    reconnects: u64,
    switches: u64,
    resent: u64,
    recovered: u64,
    duplicates: u64,
    gaps: u64,
    dropped_low: u64,
    fell_behind: u64,
    /// Publishes that arrived at a log which had them already.
    repeated: u64,
    restarts: u64,
    /// Replicas that took over.
    failovers: u64,
    /// Events that they lacked, those that were put back at their place, and elsewhere.
    losses: u64,
    put_back: u64,
    moved: u64,
    slots_moved: u64,
    /// How often a Redis has lost everything.
    forgot: u64,
    /// What everybody got, when and in which order, as one number.
    digest: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.deliveries += other.deliveries;
        self.published += other.published;
        self.reconnects += other.reconnects;
        self.switches += other.switches;
        self.resent += other.resent;
        self.recovered += other.recovered;
        self.duplicates += other.duplicates;
        self.gaps += other.gaps;
        self.dropped_low += other.dropped_low;
        self.fell_behind += other.fell_behind;
        self.repeated += other.repeated;
        self.restarts += other.restarts;
        self.failovers += other.failovers;
        self.losses += other.losses;
        self.put_back += other.put_back;
        self.moved += other.moved;
        self.slots_moved += other.slots_moved;
        self.forgot += other.forgot;
        self.digest ^= other.digest;
    }
}

/// Lets a world live, heal and be judged.
fn live(seed: u64, joined: Joined, sabotage: Option<Sabotage>, told: bool) -> Tally {
    let mut world = World::new(seed, joined, sabotage);
    world.told = told;
    world.live();
    world.heal();
    world.judge();
    world.tally()
}

fn live_all(joined: Joined, usual: u64) -> Option<(u64, Tally)> {
    seeds::live_all("simulation", usual, |seed, told| live(seed, joined, None, told))
}

#[test]
fn whatever_the_network_does_everything_arrives_once_and_in_order() {
    let Some((worlds, tally)) = live_all(Joined::ByMemory, SEEDS) else { return };
    seeds::happened(
        worlds / 10,
        &[
            ("deliveries", tally.deliveries),
            ("reconnects", tally.reconnects),
            ("switches", tally.switches),
            ("publishes sent again", tally.resent),
            ("publishes that had arrived already", tally.repeated),
            ("events read from the log", tally.recovered),
            ("gaps", tally.gaps),
            ("low events dropped", tally.dropped_low),
            ("lanes that fell behind", tally.fell_behind),
            ("restarts", tally.restarts),
        ],
    );
}

#[test]
fn whatever_redis_does_everything_arrives_once_and_in_order() {
    let Some((worlds, tally)) = live_all(Joined::ByRedis, REDIS_SEEDS) else { return };
    seeds::happened(
        worlds / 10,
        &[
            ("deliveries", tally.deliveries),
            ("publishes that had arrived already", tally.repeated),
            ("restarts", tally.restarts),
            ("failovers", tally.failovers),
            ("losses", tally.losses),
            ("events put back", tally.put_back),
            ("slots moved", tally.slots_moved),
            ("times everything was lost", tally.forgot),
        ],
    );
}

#[test]
fn a_seed_has_the_same_happen_again() {
    for joined in [Joined::ByMemory, Joined::ByRedis] {
        for seed in 0..20 {
            let [first, again] = [0, 1].map(|_| live(seed, joined, None, false));
            assert_eq!(first, again, "seed {seed}");
        }
    }
}

/// The first world in which something that is done wrong on purpose is noticed.
fn noticed(joined: Joined, sabotage: Sabotage, seeds: u64) -> Option<u64> {
    (0..seeds).find(|seed| {
        catch_unwind(AssertUnwindSafe(|| live(*seed, joined, Some(sabotage), false))).is_err()
    })
}

#[test]
fn what_servers_do_wrong_is_noticed() {
    for sabotage in Sabotage::OF_SERVERS {
        let seed = noticed(Joined::ByMemory, sabotage, 40);
        assert!(seed.is_some(), "{sabotage:?} was not noticed");
    }
}

#[test]
fn what_is_done_wrong_with_redis_is_noticed() {
    for sabotage in Sabotage::OF_SERVERS.into_iter().chain(Sabotage::OF_REDIS) {
        let seed = noticed(Joined::ByRedis, sabotage, 100);
        println!("{sabotage:?} is noticed in world {seed:?}");
        assert!(seed.is_some(), "{sabotage:?} was not noticed");
    }
}
