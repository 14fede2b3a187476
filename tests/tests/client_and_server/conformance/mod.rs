//! The list of scenarios that every client of Tidings has to pass (tests/conformance), with the crate `tidings`.

mod collections;
mod connection;
mod events;
mod presence;
mod step;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt::Debug;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use tidings::{Client, State, collection};
use tidings_core::Lane;
use tidings_tests::server::Restartable;
use tokio::runtime::Runtime;

use self::connection::Person;
use self::events::Subscription;
use self::step::{Scenario, Step};

/// How a step ends.
type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// How long something that must come may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a scenario has: clients, each with a network of its own, and what each of them has got.
struct World<'a> {
    server: &'a mut Restartable,
    by: String,
    people: BTreeMap<String, Person>,
    subscriptions: BTreeMap<String, Subscription>,
    writes: BTreeMap<String, collection::Write>,
    presences: BTreeMap<String, collection::Presence>,
    /// Which number comes next under each name.
    numbers: BTreeMap<String, u32>,
    /// Lanes that something was published in.
    lanes: BTreeSet<Lane>,
}

impl World<'_> {
    fn person(&mut self, name: &str) -> Outcome<&mut Person> {
        self.people.get_mut(name).ok_or_else(|| format!("there is no client {name}").into())
    }

    fn client(&mut self, name: &str) -> Outcome<Client> {
        Ok(self.person(name)?.client.clone())
    }

    async fn take(&mut self, steps: &[Value]) -> Outcome {
        if steps.is_empty() {
            return Err("it has no steps".into());
        }
        for said in steps {
            let step = serde_json::from_value(said.clone()).map_err(Into::into);
            let taken = match step {
                Ok(Step::Repeat { times, steps }) => self.repeat(times, &steps).await,
                Ok(step) => self.step(step).await,
                Err(error) => Err(error),
            };
            taken.map_err(|error| format!("{error}\n  in {said:.300}"))?;
        }
        Ok(())
    }

    async fn repeat(&mut self, times: u32, steps: &[Value]) -> Outcome {
        for _ in 0..times {
            Box::pin(self.take(steps)).await?;
        }
        Ok(())
    }

    async fn step(&mut self, step: Step) -> Outcome {
        match step {
            // It is taken apart where steps are counted.
            Step::Repeat { .. } => {}
            Step::Connect(connect) => self.connect(connect).await?,
            Step::Close { client } => self.client(&client)?.close().await,
            Step::Cut { client } => self.person(&client)?.cable.cut(),
            Step::Unplug { client } => self.person(&client)?.cable.block(true),
            Step::Refuse { client } => self.person(&client)?.cable.refuse(true),
            Step::Plug { client } => self.person(&client)?.cable.refuse(false),
            // The server has a runtime of its own.
            Step::Stop {} => tokio::task::block_in_place(|| self.server.stop()),
            Step::Start {} => tokio::task::block_in_place(|| self.server.resume()),
            Step::Switch { client, to, fails } => self.switch(&client, to, fails).await?,
            Step::Status { client, is } => self.status(&client, &is).await?,
            Step::Stats { client, is, at_least } => self.stats(&client, &is, &at_least).await?,
            Step::Subscribe(subscribe) => self.subscribe(subscribe).await?,
            Step::Subscribed { subscription } => self.subscription(&subscription)?.ready().await?,
            Step::Take { subscription } => self.subscription(&subscription)?.take(),
            Step::Unsubscribe { subscription } => {
                self.subscription(&subscription)?.unsubscribe().await;
            }
            Step::Publish(publish) => self.publish(publish).await?,
            Step::Acknowledged { client, count } => self.acknowledged(&client, count).await?,
            Step::Expect(expect) => self.expect(expect).await?,
            Step::Request { client, name, payload, reply, fails } => {
                self.request(&client, name, &payload, reply, fails).await?;
            }
            Step::Answer { client, name, adding } => self.answer(&client, name, adding)?,
            Step::Open { client, collection, max_pending, page } => {
                self.open(&client, collection, max_pending, page).await?;
            }
            Step::Write(write) => self.write(write).await?,
            Step::Written { write, rejected } => self.written(&write, rejected).await?,
            Step::Undo { client, collection } => self.undo(&client, &collection).await?,
            Step::Redo { client, collection } => self.redo(&client, &collection).await?,
            Step::Shows { client, collection, records, pending, now } => {
                self.shows(&client, &collection, &records, pending, now).await?;
            }
            Step::Conflicts { client, collection, are } => {
                self.conflicts(&client, &collection, &are).await?;
            }
            Step::Join(join) => self.join(join).await?,
            Step::Tell { presence, record, rejected } => {
                self.tell(&presence, &record, rejected).await?;
            }
            Step::Leave { presence } => self.leave(&presence)?,
            Step::There { client, collection, are } => {
                self.there(&client, &collection, &are).await?;
            }
        }
        Ok(())
    }

    /// What comes before an answer has come, so what was expected still holds.
    async fn ends(&mut self) -> Outcome {
        for person in self.people.values() {
            if person.client.status().state == State::Connected {
                person.client.request::<Value>("echo", &()).await?;
            }
        }
        self.subscriptions.values().try_for_each(Subscription::check)
    }
}

/// Runs a scenario by a transport, against a server that has nothing yet.
async fn run(server: &mut Restartable, said: &Value, by: &str) -> Outcome {
    tokio::task::block_in_place(|| server.restart());
    let scenario: Scenario = serde_json::from_value(said.clone())?;
    let mut world = World {
        server,
        by: by.to_owned(),
        people: BTreeMap::new(),
        subscriptions: BTreeMap::new(),
        writes: BTreeMap::new(),
        presences: BTreeMap::new(),
        numbers: BTreeMap::new(),
        lanes: BTreeSet::new(),
    };
    let outcome = match world.take(&scenario.steps).await {
        Ok(()) => world.ends().await,
        error => error,
    };
    for person in world.people.values() {
        person.client.close_within(Duration::from_secs(1)).await;
    }
    outcome
}

/// Waits until something is so.
async fn until(is: impl Fn() -> bool, otherwise: impl Fn() -> String) -> Outcome {
    let end = Instant::now() + PATIENCE;
    while !is() {
        if Instant::now() > end {
            return Err(format!("it never came to that: {}", otherwise()).into());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

fn same<T: PartialEq + Debug + ?Sized>(is: &T, expected: &T, what: &str) -> Outcome {
    if is == expected { Ok(()) } else { Err(format!("{what}: {is:?}, not {expected:?}").into()) }
}

/// It must have failed, with this code.
fn failed<T>(result: Result<T, (String, &str)>, code: &str) -> Outcome {
    match result {
        Ok(_) => Err(format!("it succeeded, and should have failed as {code}").into()),
        Err((_, failed)) if failed == code => Ok(()),
        Err((message, failed)) => {
            Err(format!("it failed as {failed} ({message}), not {code}").into())
        }
    }
}

fn list(name: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance").join(name);
    let list: Vec<Value> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert!(!list.is_empty(), "{name} has no scenarios");
    list
}

/// Runs all scenarios of a list, each by all transports that are meant.
fn pass(name: &str) {
    let (runtime, mut server) = (Runtime::new().unwrap(), Restartable::start());
    let every = serde_json::json!(["ws", "socketio", "polling"]);
    for scenario in list(name) {
        for by in scenario.get("by").unwrap_or(&every).as_array().unwrap() {
            let by = by.as_str().unwrap();
            runtime
                .block_on(run(&mut server, &scenario, by))
                .unwrap_or_else(|error| panic!("{} ({by}): {error}", scenario["name"]));
        }
    }
}

#[test]
fn events() {
    pass("events.json");
}

#[test]
fn connections() {
    pass("connection.json");
}

#[test]
fn formats() {
    pass("formats.json");
}

#[test]
fn shared_records() {
    pass("collections.json");
}

#[test]
fn presence() {
    pass("presence.json");
}

#[test]
fn what_is_wrong_is_noticed() {
    let (runtime, mut server) = (Runtime::new().unwrap(), Restartable::start());
    for scenario in list("wrong.json") {
        let noticed = runtime.block_on(run(&mut server, &scenario, "ws"));
        let noticed = noticed.map_err(|error| error.to_string());
        let wrong = scenario["wrong"].as_str().unwrap();
        let is_noticed = noticed.as_ref().is_err_and(|error| error.contains(wrong));
        assert!(is_noticed, "{}: {noticed:?}", scenario["name"]);
    }
}
