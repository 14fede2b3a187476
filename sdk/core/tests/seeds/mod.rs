//! The seeds of a simulation: which of them the environment asks for, and what happens to them all.

use std::fmt::Debug;
use std::ops::AddAssign;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Lives the worlds that the environment asks for: one that is told (`TIDINGS_SEED`), so many or those of a
/// range (`TIDINGS_SEEDS`, such as `500..1000`), or the `usual` number of them on all processors. Fails with the first that fails.
/// Returns how many there were and what has happened in all; `None` if it was only one.
///
/// `test` is the target that sees a seed again; `live` is given a seed and whether to tell of it.
pub(crate) fn live_all<T: AddAssign + Default + Debug + Send>(
    test: &str,
    usual: u64,
    live: impl Fn(u64, bool) -> T + Sync,
) -> Option<(u64, T)> {
    if let Some(seed) = number_from("TIDINGS_SEED") {
        println!("seed {seed}: {:?}", live(seed, true));
        return None;
    }
    let (first, seeds) = range_from("TIDINGS_SEEDS").unwrap_or((0, usual));
    let next = AtomicU64::new(first);
    let total = Mutex::new(T::default());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                return;
            }
            match catch_unwind(AssertUnwindSafe(|| live(seed, false))) {
                Ok(tally) => *total.lock().unwrap() += tally,
                Err(panic) => {
                    next.store(seeds, Ordering::Relaxed);
                    eprintln!(
                        "seed {seed} fails; to see it again: TIDINGS_SEED={seed} \
                         cargo test -p tidings-core --test {test}"
                    );
                    std::panic::resume_unwind(panic);
                }
            }
        }
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(work);
        }
    });
    let total = total.into_inner().unwrap();
    let seeds = seeds.saturating_sub(first);
    println!("{seeds} seeds: {total:?}");
    Some((seeds, total))
}

/// Worlds in which hardly any of this happens would show nothing: at least `least` of each.
pub(crate) fn happened(least: u64, counts: &[(&str, u64)]) {
    for (what, count) in counts {
        assert!(*count >= least, "only {count} {what}, which should be {least} at least");
    }
}

/// Numbers from one up to another, which is not among them; from 0 if only that is there.
fn range_from(variable: &str) -> Option<(u64, u64)> {
    let text = std::env::var(variable).ok()?;
    let (first, end) = text.split_once("..").unwrap_or(("0", &text));
    let number = |text: &str| {
        text.parse().unwrap_or_else(|_| panic!("{variable}={text} is neither a number nor a range"))
    };
    Some((number(first), number(end)))
}

fn number_from(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}
