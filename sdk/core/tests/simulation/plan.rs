//! What a world is like and what happens in it, as its seed has it.

use std::time::Duration;

use tidings_core::client::Transport;
use tidings_core::rng::Rng;
use tidings_core::ws::Encoding;
use tidings_core::{Priority, Time};

use crate::faults::Fault;
use crate::network::Cut;

pub(crate) const NAMES: [&str; 6] = ["a.b", "a.c", "b.c", "c.d.e", "rooms.1.said", "rooms.2.said"];
const PATTERNS: [&str; 8] = ["a.*", "**", "b.c", "c.**", "*.c", "rooms.1.*", "rooms.**", "**.said"];

/// One thing that is done to the world.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    Publish {
        client: usize,
        name: &'static str,
        priority: Priority,
        size: usize,
        count: usize,
    },
    PublishVolatile {
        client: usize,
        name: &'static str,
    },
    Subscribe {
        client: usize,
        pattern: &'static str,
    },
    /// A subscription that also wants what was published before it, from a random place on.
    SubscribeSince {
        client: usize,
        pattern: &'static str,
    },
    Unsubscribe {
        client: usize,
        which: u64,
    },
    Switch {
        client: usize,
        transport: Transport,
    },
    Cut {
        client: usize,
        how: Cut,
    },
    /// The client's machine loses its network, and knows it.
    Offline {
        client: usize,
        back: Duration,
    },
    Restart {
        server: usize,
        down: Duration,
    },
}

/// A world's make-up and its history.
pub(crate) struct Plan {
    pub(crate) clients: Vec<(Transport, Encoding)>,
    pub(crate) servers: usize,
    /// Events that a lane keeps.
    pub(crate) retained: usize,
    /// Bytes a server may have on its way to a client.
    pub(crate) window: usize,
    pub(crate) acts: Vec<(Time, Act)>,
    /// When troubles end.
    pub(crate) end: Time,
}

impl Plan {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        let transports = [Transport::Ws, Transport::SocketIo, Transport::Auto];
        let encodings = [Encoding::Json, Encoding::Msgpack];
        let clients: Vec<_> = (0..2 + rng.below(4))
            .map(|_| (pick(rng, &transports), pick(rng, &encodings)))
            .collect();
        let servers = 1 + rng.below(3) as usize;
        let end = Duration::from_millis(5_000 + rng.below(40_000));
        let mut acts: Vec<_> =
            (0..clients.len()).map(|client| (Time::ZERO, subscribe(rng, client))).collect();
        for _ in 0..20 + rng.below(60) {
            let at = Duration::from_micros(rng.below(end.as_micros() as u64));
            acts.push((Time::from_start(at), act(rng, clients.len(), servers)));
        }
        Self {
            clients,
            servers,
            retained: if rng.chance(300) { 5 + rng.below(30) as usize } else { 100_000 },
            window: 256 << rng.below(6),
            acts,
            end: Time::from_start(end),
        }
    }
}

impl Plan {
    /// What goes wrong between the servers and their Redis: when, in which partition, and what.
    pub(crate) fn faults(&self, rng: &mut Rng, partitions: usize) -> Vec<(Time, usize, Fault)> {
        let mut faults = Vec::new();
        for _ in 0..2 + rng.below(12) {
            let at = Duration::from_micros(rng.below(self.end.since_start().as_micros() as u64));
            let partition = rng.below(partitions as u64) as usize;
            let server = rng.below(self.servers as u64) as usize;
            let mut some = |least, more| Duration::from_millis(least + rng.below(more));
            let (notice, down) = (some(200, 2000), some(500, 5000));
            let lasts = if down.subsec_micros() % 8 == 0 { some(14_000, 8000) } else { down };
            let fault = match notice.subsec_millis() % 10 {
                0..3 => Fault::Crash { notice, down },
                3..5 => Fault::Isolate { notice, down },
                5 => Fault::ReplicaDown { down },
                6 => Fault::Lag { lasts: notice },
                7..9 => Fault::Block { server, lasts },
                _ => Fault::DropSubscription { server },
            };
            let fault = match rng.below(40) {
                0..5 => Fault::Move { lasts: notice },
                5 => Fault::Forget { restarts: rng.chance(500) },
                _ => fault,
            };
            faults.push((Time::from_start(at), partition, fault));
        }
        faults
    }
}

fn pick<T: Copy>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.below(from.len() as u64) as usize]
}

fn subscribe(rng: &mut Rng, client: usize) -> Act {
    Act::Subscribe { client, pattern: pick(rng, &PATTERNS) }
}

fn act(rng: &mut Rng, clients: usize, servers: usize) -> Act {
    let client = rng.below(clients as u64) as usize;
    let name = pick(rng, &NAMES);
    let mut some = |least: u64, more: u64| least + rng.below(more);
    match some(0, 100) {
        0..45 => {
            let priority = Priority::from_index(some(0, 4) as u8).expect("one of four");
            let (size, count) = (some(0, 300) as usize, some(1, 4) as usize);
            Act::Publish { client, name, priority, size, count }
        }
        45..52 => {
            let priority = Priority::from_index(some(0, 4) as u8).expect("one of four");
            let (size, count) = (some(50, 300) as usize, some(10, 30) as usize);
            Act::Publish { client, name, priority, size, count }
        }
        52..55 => Act::PublishVolatile { client, name },
        55..62 => subscribe(rng, client),
        62..65 => Act::SubscribeSince { client, pattern: pick(rng, &PATTERNS) },
        65..68 => Act::Unsubscribe { client, which: some(0, 4) },
        68..76 => {
            let transport = pick(rng, &[Transport::Ws, Transport::SocketIo]);
            Act::Switch { client, transport }
        }
        76..92 => Act::Cut { client, how: pick(rng, &[Cut::Clean, Cut::Half, Cut::Silent]) },
        92..95 => Act::Offline { client, back: Duration::from_millis(some(10, 5000)) },
        _ => {
            let down = Duration::from_millis(some(10, 5000));
            Act::Restart { server: rng.below(servers as u64) as usize, down }
        }
    }
}
