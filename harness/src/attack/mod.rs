//! Attackers: clients that mean harm, beside those whose events count.
//!
//! They write bytes themselves, as nobody would who uses a library; all live on one thread of
//! their own, and their number and rates are bounded by the scenario.

mod bytes;
mod connection;
mod kinds;
mod tally;

use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::LocalSet;
use tokio::time::{MissedTickBehavior, interval};

use self::connection::Target;
use self::tally::Tally;
use crate::report::AttackReport;
use crate::scenario::{Attack, Scenario};

/// Attacks under way.
pub(crate) struct Attacks {
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<Vec<AttackReport>>>,
}

impl Attacks {
    /// Begins those of the scenario, if it has any, against these servers in turns.
    pub(crate) fn begin(scenario: &Scenario, servers: Vec<SocketAddr>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let attacks = scenario.attack.clone();
        let wanted = !attacks.is_empty() && !servers.is_empty();
        let thread = wanted.then(|| {
            std::thread::spawn(move || carry_out(&attacks, &servers, stopped).unwrap_or_default())
        });
        Self { stop, thread }
    }

    /// Ends them, once; says what became of them.
    pub(crate) async fn end(mut self) -> Vec<AttackReport> {
        self.stop.send_replace(true);
        let Some(thread) = self.thread.take() else { return Vec::new() };
        let joined = tokio::task::spawn_blocking(move || thread.join()).await;
        // A thread that panicked leaves no attack in the report, and the run fails for want of it.
        joined.ok().and_then(Result::ok).unwrap_or_default()
    }
}

impl Drop for Attacks {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

fn carry_out(
    attacks: &[Attack],
    servers: &[SocketAddr],
    stopped: watch::Receiver<bool>,
) -> std::io::Result<Vec<AttackReport>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    let tallies: Vec<_> = attacks.iter().map(|_| Rc::new(Tally::default())).collect();
    for (n, (attack, tally)) in attacks.iter().zip(&tallies).enumerate() {
        for attacker in 0..attack.attackers {
            let target = Target {
                server: servers[attacker % servers.len()],
                named: address_of(n),
                tally: Rc::clone(tally),
            };
            let pace = Duration::from_secs_f64(attack.attackers as f64 / attack.rate);
            local.spawn_local(kinds::attack(attack.kind, target, attacker, pace));
        }
    }
    let mut stopped = stopped;
    // An error says that the run is gone.
    local.block_on(&runtime, async { drop(stopped.wait_for(|stop| *stop).await) });
    let reports = attacks.iter().zip(&tallies);
    Ok(reports.map(|(attack, tally)| tally.report(attack.kind, attack.attackers as u64)).collect())
}

/// Where the attackers of the n-th entry say they are: each entry in a network of RFC 5737 by
/// itself, so that what one is refused for is not held against another.
fn address_of(n: usize) -> Ipv4Addr {
    Ipv4Addr::new(203, 0, 113, u8::try_from(n + 1).unwrap_or(u8::MAX))
}

/// Ticks for one attacker; a late one is not made up for.
fn ticks(pace: Duration) -> tokio::time::Interval {
    let mut ticks = interval(pace.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks
}
