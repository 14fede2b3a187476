//! Whatever the network does, once it heals everything has arrived, once, in order.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::simulation::{Seen, Simulation};
use super::*;
use crate::pattern::Pattern;

const PATTERNS: [&str; 4] = ["a.*", "**", "b.c", "c.**"];
const NAMES: [&str; 4] = ["a.b", "b.c", "c.d.e", "a.a"];

/// One thing that happens.
#[derive(Debug, Clone)]
enum Step {
    /// Time passes, and frames move: so many of each connection, each way.
    Run {
        ms: u16,
        frames: u8,
    },
    /// All connections break.
    Cut,
    /// The other side publishes.
    Event {
        name: usize,
        priority: u8,
    },
    Publish {
        name: usize,
        priority: u8,
    },
    Subscribe {
        pattern: usize,
    },
    Unsubscribe {
        which: usize,
    },
    Switch {
        socketio: bool,
    },
    /// The application asks what nobody answers, which keeps a connection from before a switch.
    Request,
    Writable(bool),
    Online(bool),
    /// The server refuses the next publish for now.
    Refuse,
    /// The server forgets what it kept of the log's beginning, as retention does.
    Forget,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..400_u16, 0..6_u8).prop_map(|(ms, frames)| Step::Run { ms, frames }),
        1 => Just(Step::Cut),
        4 => (0..NAMES.len(), 0..4_u8).prop_map(|(name, priority)| Step::Event { name, priority }),
        4 => (0..NAMES.len(), 0..4_u8).prop_map(|(name, priority)| Step::Publish { name, priority }),
        3 => (0..PATTERNS.len()).prop_map(|pattern| Step::Subscribe { pattern }),
        1 => (0..8_usize).prop_map(|which| Step::Unsubscribe { which }),
        3 => any::<bool>().prop_map(|socketio| Step::Switch { socketio }),
        1 => Just(Step::Request),
        1 => any::<bool>().prop_map(Step::Writable),
        1 => any::<bool>().prop_map(Step::Online),
        1 => Just(Step::Refuse),
        1 => Just(Step::Forget),
    ]
}

impl Simulation {
    fn step(&mut self, step: Step) {
        match step {
            Step::Run { ms, frames } => self.run(ms.into(), frames.into()),
            Step::Cut => self.cut(),
            Step::Event { name, priority } => {
                let priority = Priority::from_index(priority).unwrap();
                self.append("somebody", Publish { priority, ..publish(NAMES[name]) });
            }
            Step::Publish { name, priority } => {
                self.next += 1;
                let ticket = Ticket(self.next);
                let priority = Priority::from_index(priority).unwrap();
                let payload = Payload::Json(self.next.to_string().into());
                let publish = Publish { payload, priority, ..publish(NAMES[name]) };
                self.published.insert(ticket, NAMES[name].to_owned());
                let timeout = Some(Duration::from_secs(3600));
                self.command(Command::Publish { ticket, publish, timeout });
            }
            Step::Subscribe { pattern } => {
                self.next += 1;
                let id = SubId(u32::try_from(self.next).unwrap());
                let pattern = PATTERNS[pattern].to_owned();
                let seen = Seen { pattern: pattern.clone(), ..Seen::default() };
                self.subscriptions.insert(id, seen);
                self.command(Command::Subscribe(Subscribe { id, pattern, since: None }));
            }
            Step::Unsubscribe { which } => {
                if let Some((id, seen)) = self.subscriptions.iter_mut().nth(which) {
                    seen.ended = true;
                    let id = *id;
                    self.command(Command::Unsubscribe(id));
                }
            }
            Step::Switch { socketio } => {
                self.next += 1;
                let transport = if socketio { Transport::SocketIo } else { Transport::Ws };
                self.command(Command::Switch { ticket: Ticket(self.next), transport });
            }
            Step::Request => {
                self.next += 1;
                let (ticket, name, payload) = (Ticket(self.next), "ask".into(), Payload::NULL);
                self.command(Command::Request { ticket, name, payload, timeout: None });
            }
            Step::Writable(writable) => {
                for io in self.connections.keys().copied().collect::<Vec<_>>() {
                    self.input(Input::Io(IoEvent::Writable { id: io, writable }));
                }
            }
            Step::Online(online) => self.input(Input::Online(online)),
            Step::Refuse => self.refuse += 1,
            Step::Forget => {
                for (lane, log) in &mut self.log {
                    if let Some(position) = log.last().and_then(|delivery| delivery.position) {
                        self.forgotten.insert(*lane, position.offset);
                        log.clear();
                    }
                }
            }
        }
    }

    /// Ends all troubles and lets everything arrive.
    fn heal(&mut self) {
        self.refuse = 0;
        self.step(Step::Online(true));
        for _ in 0..2000 {
            let stuck: Vec<_> = self.connections.keys().copied().collect();
            for io in stuck {
                self.input(Input::Io(IoEvent::Writable { id: io, writable: true }));
            }
            self.run(100, usize::MAX);
            let stats = self.machine.stats();
            if self.machine.status().state == State::Connected
                && stats.queued == [0; 4]
                && self.subscriptions.values().all(|seen| seen.ended || seen.since.is_some())
                && self.connections.values().all(|w| w.to_client.is_empty())
            {
                return;
            }
        }
        panic!("it does not heal: {:?}", self.machine);
    }

    fn check(&self) {
        for ticket in self.published.keys() {
            let results = self.results.get(ticket).map(Vec::as_slice).unwrap_or_default();
            let [Ok(Some(_))] = results else { panic!("{ticket:?}: {results:?}") };
        }
        let effects: BTreeSet<_> =
            self.appended.keys().filter(|(producer, _)| producer == "producer").collect();
        assert_eq!(effects.len(), self.published.len(), "each publish has one effect");
        for seen in self.subscriptions.values().filter(|seen| !seen.ended) {
            let pattern = Pattern::new(&*seen.pattern).unwrap();
            let since = seen.since.as_ref().expect("a start");
            for (lane, log) in &self.log {
                let Some(start) = since.get(*lane) else { continue };
                let got = seen.offsets.get(lane).map(Vec::as_slice).unwrap_or_default();
                for event in log.iter().filter(|e| pattern.matches(&e.event.name)) {
                    let offset = event.position.unwrap().offset;
                    let lost = seen
                        .gaps
                        .iter()
                        .any(|(gap, from, to)| gap == lane && *from < offset && offset <= *to);
                    assert!(
                        offset <= start.offset || lost || got.contains(&offset),
                        "{} of {lane} is missing for {}",
                        offset.0,
                        seen.pattern
                    );
                    assert!(
                        offset > start.offset || !got.contains(&offset),
                        "{} of {lane} is from before {} began",
                        offset.0,
                        seen.pattern
                    );
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn everything_arrives_once_and_in_order(
        seed in any::<u64>(),
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut simulation = Simulation::new(seed);
        for step in steps {
            simulation.step(step);
        }
        simulation.heal();
        simulation.check();
    }

    #[test]
    fn no_frame_makes_it_panic(
        texts in prop::collection::vec(
            prop_oneof![
                "[\\x20-\\x7e]{0,40}",
                Just("[\"welcome\",{\"v\":1,\"session\":\"s\",\"resumed\":false,\"instance\":\"i\",\
                      \"ping\":[1000,1000],\"max_payload\":10,\"max_in_flight\":1,\"cursor\":[]}]"
                    .to_owned()),
                Just("[\"ack\",1,1,1]".to_owned()),
                Just("[\"gap\",1,1,9,1]".to_owned()),
                Just("[\"at\",[[1,1,1]]]".to_owned()),
                Just("[\"subbed\",1,[[1,1,1]]]".to_owned()),
                Just("[\"e\",1,5,\"a\",1,{}]".to_owned()),
                Just("[\"close\",4000,\"\"]".to_owned()),
            ],
            0..20,
        ),
        ios in prop::collection::vec(0..6_u64, 20),
    ) {
        let mut machine = ClientMachine::new(config());
        let now = Time::ZERO;
        machine.handle_command(now, Command::Connect);
        let since = None;
        let subscribe = Subscribe { id: SubId(1), pattern: "**".into(), since };
        machine.handle_command(now, Command::Subscribe(subscribe));
        for (text, io) in texts.into_iter().zip(ios) {
            let io = IoId::first(io);
            let subprotocol = Some("tidings.v1.json".to_owned());
            machine.handle_input(now, Input::Io(IoEvent::WsOpened { id: io, subprotocol }));
            machine.handle_input(now, Input::Io(IoEvent::WsFrame { id: io, frame: Frame::Text(text.into()) }));
            while machine.poll_output().is_some() {}
        }
    }
}
