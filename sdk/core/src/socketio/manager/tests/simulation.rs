//! A manager and a server, with connections that are cut and answers that get lost.

use super::*;
use crate::rng::Rng;

/// What a run came to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    /// What the server has heard, in order, with repetitions.
    heard: Vec<u64>,
    /// What each event came to.
    results: Vec<(u64, bool)>,
    emitted: u64,
    connects: u64,
    attempts: usize,
}

fn run(seed: u64, retries: Option<u32>, steps: u32) -> Outcome {
    let mut rng = Rng::new(seed);
    let mut world = World::new(ManagerConfig { seed, ..config() });
    let socket = SocketConfig {
        retries,
        ack_timeout: Some(Duration::from_secs(3)),
        ..SocketConfig::default()
    };
    let key = world.socket("/", socket);
    let mut outcome = Outcome::default();
    for step in 0..steps {
        let quiet = step > steps - steps / 4;
        if !quiet && rng.chance(300) {
            outcome.emitted += 1;
            let args = args("n", &[&outcome.emitted.to_string()]);
            let ack = Some(EmitId(outcome.emitted));
            world.emit(key, Emit { args, ack, timeout: None, volatile: false });
        }
        if !quiet && world.open.is_some() && rng.chance(15) {
            world.cut();
            // What was under way is lost.
            world.heard.clear();
        }
        if !world.opening.is_empty() {
            outcome.attempts += 1;
            if !quiet && rng.chance(400) {
                world.refuse(Close::new(CloseCode::ABNORMAL, "refused"));
            } else {
                world.accept();
            }
        }
        for packet in world.heard() {
            match packet.body {
                Body::Connect(_) => {
                    outcome.connects += 1;
                    world.grant("/", r#"{"sid":"s"}"#);
                }
                Body::Event { ack, args } => {
                    outcome.heard.push(json(&args)[1].parse().unwrap());
                    if quiet || rng.chance(800) {
                        world.say(&format!("43{}[]", ack.unwrap()));
                    }
                }
                other => panic!("the client sent {other:?}"),
            }
        }
        if rng.chance(20) && world.open.is_some() {
            world.say("2");
        }
        world.now = world.now + Duration::from_millis(rng.below(100));
        if world.machine.next_timeout().is_some_and(|when| when <= world.now) {
            world.machine.handle_timeout(world.now);
            world.drain();
        }
        for (id, result) in world.acked() {
            outcome.results.push((id, result.is_ok()));
        }
    }
    outcome
}

#[test]
fn every_event_has_one_result_and_with_retries_keeps_its_place() {
    for seed in 0..25 {
        for retries in [None, Some(1_000)] {
            let outcome = run(seed, retries, 3_000);
            assert!(outcome.emitted > 300 && outcome.connects > 3, "seed {seed}: {outcome:?}");
            let mut ids: Vec<u64> = outcome.results.iter().map(|(id, _)| *id).collect();
            ids.sort_unstable();
            assert_eq!(ids, (1..=outcome.emitted).collect::<Vec<_>>(), "seed {seed}");
            if retries.is_some() {
                assert!(outcome.results.iter().all(|(_, ok)| *ok), "seed {seed}");
                let mut once = outcome.heard.clone();
                once.dedup();
                assert_eq!(once, (1..=outcome.emitted).collect::<Vec<_>>(), "seed {seed}");
            } else {
                assert!(outcome.heard.is_sorted(), "seed {seed}");
            }
        }
    }
}

#[test]
fn a_run_repeats_exactly() {
    assert_eq!(run(1, None, 2_000), run(1, None, 2_000));
}
