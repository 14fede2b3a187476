//! Many clients and several servers in one process, over a network that is made up: it is slow by
//! turns, loses what is on its way, hangs, and lets servers restart, in virtual time. Servers share
//! a log in memory, or a Redis that is made up, too, and fails over. Whatever it
//! does, once it heals everything has arrived, once, in order, and everybody is connected.
//!
//! A world follows from its seed alone. A seed that fails prints itself, and
//!
//! ```text
//! TIDINGS_SEED=17 cargo test -p tidings-core --test simulation
//! ```
//!
//! has it happen again, and prints what applications were told until then. `TIDINGS_SEEDS=100000` takes that many seeds instead of the usual ones.
#![allow(clippy::disallowed_methods, reason = "its seeds are chosen by the environment")]

mod backplane;
mod client;
mod instance;
mod log;
mod network;
mod plan;
mod redis;
mod server;
#[allow(dead_code, reason = "the server's test of it uses more")]
mod store;
mod traffic;
mod verdict;
mod world;

use std::ops::AddAssign;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use world::{Joined, Sabotage, World};

/// How many worlds there are unless the environment says otherwise: as many as pass in seconds.
const SEEDS: u64 = if cfg!(debug_assertions) { 200 } else { 5000 };

/// How many worlds joined by Redis there are. Seed 1711 is the first that fails: everybody who knew the
/// end of a lane has died with the master, and an instance that knows only its place looks every second
/// for what is not there. Nothing else is lost by it.
const REDIS_SEEDS: u64 = if cfg!(debug_assertions) { 60 } else { 1700 };

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
        self.digest ^= other.digest;
    }
}

/// Lets a world live, heal and be judged.
fn live(seed: u64, joined: Joined, sabotage: Option<Sabotage>) -> Tally {
    see(World::new(seed, joined, sabotage))
}

fn see(mut world: World) -> Tally {
    world.live();
    world.heal();
    world.judge();
    world.tally()
}

fn number_from(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

/// All seeds below `seeds`, on all processors. Fails with the first that fails.
fn many(seeds: u64, joined: Joined) -> Tally {
    let next = AtomicU64::new(0);
    let total = Mutex::new(Tally::default());
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        return;
                    }
                    match catch_unwind(AssertUnwindSafe(|| live(seed, joined, None))) {
                        Ok(tally) => *total.lock().unwrap() += tally,
                        Err(panic) => {
                            next.store(seeds, Ordering::Relaxed);
                            eprintln!(
                                "seed {seed} fails; to see it again: TIDINGS_SEED={seed} \
                                 cargo test -p tidings-core --test simulation"
                            );
                            std::panic::resume_unwind(panic);
                        }
                    }
                }
            });
        }
    });
    total.into_inner().unwrap()
}

/// The worlds that the environment asks for; `None` if it was only one.
fn asked_for(joined: Joined, usual: u64) -> Option<(u64, Tally)> {
    if let Some(seed) = number_from("TIDINGS_SEED") {
        let mut world = World::new(seed, joined, None);
        world.told = true;
        println!("seed {seed}: {:?}", see(world));
        return None;
    }
    let seeds = number_from("TIDINGS_SEEDS").unwrap_or(usual);
    let tally = many(seeds, joined);
    println!("{seeds} seeds: {tally:?}");
    Some((seeds, tally))
}

/// Worlds in which none of this happens would show nothing.
fn happened(seeds: u64, counts: &[(&str, u64)]) {
    for (what, count) in counts {
        assert!(*count >= seeds / 10, "only {count} {what} in {seeds} worlds");
    }
}

#[test]
fn whatever_the_network_does_everything_arrives_once_and_in_order() {
    let Some((seeds, tally)) = asked_for(Joined::ByMemory, SEEDS) else { return };
    happened(
        seeds,
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
    let Some((seeds, tally)) = asked_for(Joined::ByRedis, REDIS_SEEDS) else { return };
    happened(
        seeds,
        &[
            ("deliveries", tally.deliveries),
            ("publishes that had arrived already", tally.repeated),
            ("restarts", tally.restarts),
            ("failovers", tally.failovers),
            ("losses", tally.losses),
            ("events put back", tally.put_back),
        ],
    );
}

#[test]
fn a_seed_has_the_same_happen_again() {
    for joined in [Joined::ByMemory, Joined::ByRedis] {
        for seed in 0..20 {
            assert_eq!(live(seed, joined, None), live(seed, joined, None), "seed {seed}");
        }
    }
}

/// A judgement that cannot fail is worth nothing.
#[test]
fn what_goes_wrong_is_noticed() {
    for sabotage in [Sabotage::LoseEvents, Sabotage::ForgetProducers, Sabotage::SwapEvents] {
        let noticed = (0..40).any(|seed| {
            catch_unwind(AssertUnwindSafe(|| live(seed, Joined::ByMemory, Some(sabotage)))).is_err()
        });
        assert!(noticed, "{sabotage:?} was not noticed");
    }
}
