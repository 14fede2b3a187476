//! Steps that are drawn from a seed.
//!
//! Three tracks go on beside each other: what happens to clients, to servers and their ways to
//! Redis, and to Redis. On each, one fault is over before the next one begins; those of different
//! tracks overlap.

use serde::{Deserialize, Serialize};
use tidings_core::rng::Rng;

use super::{Action, Span, Step};

/// Until the first fault of each track, at least.
const CALM_MS: u64 = 2000;

/// Longer than this a node that was killed is not missed: its replica has taken over by then.
const TAKEOVER_MS: u64 = 7000;

/// Random faults, for a scenario that has no steps of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chaos {
    /// What the faults are drawn from: the same seed, duration and number of servers give the same
    /// ones. Without it, another one each time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Between two faults of a track, on average.
    #[serde(default = "pause")]
    pub pause: Span,
    /// How long before the end everything is healed.
    #[serde(default = "calm_end")]
    pub calm_end: Span,
}

fn pause() -> Span {
    Span::from_secs(3)
}

fn calm_end() -> Span {
    Span::from_secs(5)
}

/// A part of the run in which a master has no replica and is about to die.
#[derive(Debug, Clone, Copy)]
struct Fragile {
    from_ms: u64,
    to_ms: u64,
}

impl Chaos {
    /// The faults of a run of so many servers.
    pub(super) fn steps(&self, seed: u64, duration: Span, servers: usize) -> Vec<Step> {
        let end_ms = duration.millis().saturating_sub(self.calm_end.millis());
        let draw = |track| Draw { rng: Rng::new(seed ^ track), pause_ms: self.pause.millis() };
        let (mut steps, fragile) = draw(1 << 61).redis(end_ms);
        steps.extend(draw(2 << 61).servers(end_ms, servers, &fragile));
        steps.extend(draw(3 << 61).clients(end_ms));
        steps.sort_by_key(|step| step.at);
        steps
    }
}

/// Draws the faults of one track.
struct Draw {
    rng: Rng,
    pause_ms: u64,
}

impl Draw {
    fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.rng.below(to - from + 1)
    }

    /// When a track goes on that is free since then.
    fn next(&mut self, free_ms: u64) -> u64 {
        free_ms + self.between(self.pause_ms / 2, self.pause_ms * 3 / 2)
    }

    /// What happens to Redis, and when it may not lose an instance besides.
    fn redis(&mut self, end_ms: u64) -> (Vec<Step>, Vec<Fragile>) {
        let (mut steps, mut fragile) = (Vec::new(), Vec::new());
        let mut at = self.next(CALM_MS);
        while at < end_ms {
            let mut fault = match self.rng.below(6) {
                0 => vec![step(at, Action::KillRedisMaster)],
                1 => {
                    // What is written meanwhile dies with the master.
                    let lasts = self.between(500, 1500);
                    fragile.push(Fragile { from_ms: at, to_ms: at + lasts + TAKEOVER_MS });
                    vec![
                        lasting(at, Action::CutReplicas, lasts + 200),
                        step(at + lasts, Action::KillRedisMaster),
                    ]
                }
                2 => vec![lasting(at, Action::CutReplicas, self.between(1000, 4000))],
                3 => vec![lasting(at, Action::PauseRedis, self.between(500, 3000))],
                4 => vec![lasting(at, Action::MoveSlot, self.between(0, 2000))],
                _ => vec![lasting(at, Action::FillRedis, self.between(500, 3000))],
            };
            let killed = fault.iter().find(|step| step.action == Action::KillRedisMaster);
            if let Some(killed) = killed.map(|step| step.at.millis()) {
                fault.push(step(killed + TAKEOVER_MS, Action::RestartRedis));
            }
            at = self.next(over(&fault));
            if over(&fault) <= end_ms {
                steps.extend(fault);
            }
        }
        (steps, fragile)
    }

    /// What happens to servers and their ways to Redis.
    fn servers(&mut self, end_ms: u64, servers: usize, fragile: &[Fragile]) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut at = self.next(CALM_MS);
        while at < end_ms {
            let server = self.rng.below(servers as u64) as usize;
            let mut fault = match self.rng.below(6) {
                0 => vec![
                    step(at, Action::KillServer),
                    step(at + self.between(500, 4000), Action::RestartServer),
                ],
                1 => vec![step(at, Action::RestartServer)],
                2 => vec![lasting(at, Action::PauseServer, self.between(500, 4000))],
                3 => vec![lasting(at, Action::CutRedis, self.between(300, 4000))],
                4 => vec![lasting(at, Action::StallRedis, self.between(500, 5000))],
                _ => {
                    let delay = lasting(at, Action::DelayRedis, self.between(1000, 4000));
                    vec![Step { by: Some(Span::from_millis(self.between(5, 100))), ..delay }]
                }
            };
            fault.iter_mut().for_each(|step| step.server = Some(server));
            let over = over(&fault);
            // Two failures at once may lose what only they knew: that is not promised.
            let meets = |f: &&Fragile| at <= f.to_ms && f.from_ms <= over + 1000;
            match fragile.iter().find(meets) {
                Some(fragile) => at = self.next(fragile.to_ms),
                None => {
                    at = self.next(over);
                    if over <= end_ms {
                        steps.extend(fault);
                    }
                }
            }
        }
        steps
    }

    /// What happens to clients.
    fn clients(&mut self, end_ms: u64) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut at = self.next(CALM_MS);
        while at < end_ms {
            let fault = match self.rng.below(3) {
                0 => lasting(at, Action::CutClients, self.between(0, 1000)),
                1 => step(at, Action::SwitchTransport),
                _ => {
                    let delay = lasting(at, Action::DelayClients, self.between(500, 3000));
                    Step { by: Some(Span::from_millis(self.between(5, 200))), ..delay }
                }
            };
            let over = over(std::slice::from_ref(&fault));
            at = self.next(over);
            if over <= end_ms {
                steps.push(fault);
            }
        }
        steps
    }
}

/// When all of a fault is over.
fn over(fault: &[Step]) -> u64 {
    let ends = fault.iter().map(|step| step.at.millis() + step.lasting.map_or(0, Span::millis));
    ends.max().unwrap_or(0)
}

fn step(at_ms: u64, action: Action) -> Step {
    let at = Span::from_millis(at_ms);
    Step { at, action, server: None, group: None, lasting: None, by: None }
}

fn lasting(at_ms: u64, action: Action, lasts_ms: u64) -> Step {
    Step { lasting: Some(Span::from_millis(lasts_ms)), ..step(at_ms, action) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn steps(seed: u64) -> Vec<Step> {
        let chaos = Chaos { seed: None, pause: pause(), calm_end: calm_end() };
        chaos.steps(seed, Span::from_secs(600), 3)
    }

    #[test]
    fn a_seed_gives_the_same_faults_and_another_one_gives_others() {
        assert_eq!(steps(7), steps(7));
        assert_ne!(steps(7), steps(8));
    }

    #[test]
    fn everything_happens_and_is_healed_before_the_end() {
        let steps = steps(1);
        let actions: BTreeSet<_> = steps.iter().map(|step| step.action.as_str()).collect();
        for action in [
            "cut-clients",
            "delay-clients",
            "switch-transport",
            "kill-server",
            "restart-server",
            "pause-server",
            "cut-redis",
            "stall-redis",
            "delay-redis",
            "kill-redis-master",
            "cut-replicas",
            "pause-redis",
            "restart-redis",
            "move-slot",
            "fill-redis",
        ] {
            assert!(actions.contains(action), "{action} in {actions:?}");
        }
        assert!(over(&steps) <= 595_000);
        for (died, back) in [
            (Action::KillRedisMaster, Action::RestartRedis),
            (Action::KillServer, Action::RestartServer),
        ] {
            let last = |action| steps.iter().rposition(|step| step.action == action);
            assert!(last(died) < last(back), "{died:?}");
        }
    }

    #[test]
    fn no_server_is_disturbed_while_only_servers_know_what_redis_is_about_to_lose() {
        for seed in 0..200 {
            let steps = steps(seed);
            let of = |action| steps.iter().filter(move |step| step.action == action);
            for cut in of(Action::CutReplicas) {
                let cut_ms = cut.at.millis()..over(std::slice::from_ref(cut));
                let Some(killed) =
                    of(Action::KillRedisMaster).find(|step| cut_ms.contains(&step.at.millis()))
                else {
                    continue;
                };
                let (from, to) = (cut_ms.start, killed.at.millis() + TAKEOVER_MS);
                let disturbed = steps.iter().filter(|step| step.server.is_some()).find(|step| {
                    let over = over(std::slice::from_ref(step));
                    step.at.millis() <= to && over >= from
                });
                assert_eq!(disturbed, None, "seed {seed}");
            }
        }
    }
}
