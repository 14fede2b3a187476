//! A client and a model of a server with a network between them that delays, cuts and blocks.

use std::collections::{BTreeMap, VecDeque};

use super::*;
use crate::engineio::{ClientConnection, ConnectionOutput};
use crate::message::Frame;

/// What is under way to either side.
#[derive(Debug, Clone)]
enum Parcel {
    ToClient(IoEvent),
    ToServer(Io),
}

/// One session of the server: a model that keeps to the protocol's text and knows nothing of the
/// client's code.
#[derive(Debug, Default)]
struct Server {
    opened: bool,
    poll: Option<IoId>,
    ws: Option<IoId>,
    probing: Option<IoId>,
    out: VecDeque<String>,
    said: u64,
    heard: Vec<u64>,
    dead: bool,
}

struct Network {
    rng: Rng,
    now: Time,
    parcels: BTreeMap<(Time, u64), Parcel>,
    /// When the last parcel of each WebSocket arrives, since those keep their order.
    order: BTreeMap<(IoId, bool), Time>,
    count: u64,
    websockets_blocked: bool,
}

impl Network {
    fn post(&mut self, id: IoId, ordered: bool, parcel: Parcel) {
        let mut when = self.now + Duration::from_micros(self.rng.below(80_000));
        if ordered {
            let last = self.order.entry((id, matches!(parcel, Parcel::ToServer(_)))).or_default();
            when = when.max(*last);
            *last = when;
        }
        self.count += 1;
        self.parcels.insert((when, self.count), parcel);
    }

    fn answer(&mut self, id: IoId, body: &str) {
        self.post(id, false, Parcel::ToClient(IoEvent::Http { id, result: ok(body) }));
    }

    fn ws(&mut self, id: IoId, frame: &str) {
        let frame = text(frame);
        self.post(id, true, Parcel::ToClient(IoEvent::WsFrame { id, frame }));
    }
}

impl Server {
    fn receive(&mut self, io: Io, network: &mut Network) {
        if self.dead {
            return;
        }
        match io {
            Io::Request { id, body: None, .. } if !self.opened => {
                self.opened = true;
                network.answer(id, &OPEN.replace(":20}", ":200}"));
            }
            Io::Request { id, body: None, .. } => {
                assert_eq!(self.poll, None, "one poll at a time");
                assert_eq!(self.ws, None, "no poll after the move");
                self.poll = Some(id);
            }
            Io::Request { id, body: Some(body), .. } => {
                assert!(body.len() <= 200, "a body of {} bytes", body.len());
                for packet in std::str::from_utf8(&body).unwrap().split('\x1e') {
                    self.packet(packet);
                }
                network.answer(id, "ok");
            }
            Io::OpenWs { id, url, .. } => {
                if network.websockets_blocked {
                    let event = IoEvent::WsClosed { id, close: broken() };
                    return network.post(id, true, Parcel::ToClient(event));
                }
                let event = IoEvent::WsOpened { id, subprotocol: None };
                network.post(id, true, Parcel::ToClient(event));
                if url.contains("sid=") {
                    self.probing = Some(id);
                } else {
                    (self.opened, self.ws) = (true, Some(id));
                    network.ws(id, OPEN);
                }
            }
            Io::SendWs { id, frame } => {
                let packet = String::from_utf8(frame.bytes().to_vec()).unwrap();
                match packet.as_str() {
                    "2probe" => network.ws(id, "3probe"),
                    "5" => (self.ws, self.probing) = (Some(id), None),
                    packet => self.packet(packet),
                }
            }
            Io::CloseWs { .. } | Io::Abort { .. } => self.dead = true,
        }
    }

    fn packet(&mut self, packet: &str) {
        match packet.split_at(1) {
            ("4", number) => self.heard.push(number.parse().unwrap()),
            ("3", "") => {}
            ("1", "") => self.dead = true,
            other => panic!("the client sent {other:?}"),
        }
    }

    /// Sends what waits, after something new if it is `talking`.
    fn speak(&mut self, talking: bool, network: &mut Network) {
        if !self.opened || self.dead {
            return;
        }
        if talking && network.rng.chance(300) {
            self.said += 1;
            self.out.push_back(format!("4{}", self.said));
        }
        if talking && network.rng.chance(20) {
            self.out.push_back("2".into());
        }
        if let Some(id) = self.ws {
            while let Some(packet) = self.out.pop_front() {
                network.ws(id, &packet);
            }
        } else if let Some(id) = self.poll {
            if self.probing.is_some() && self.out.is_empty() {
                self.out.push_back("6".into());
            }
            if !self.out.is_empty() {
                let body = self.out.drain(..).collect::<Vec<_>>().join("\x1e");
                self.poll = None;
                network.answer(id, &body);
            }
        }
    }
}

/// What one run came to: what each side has heard, how it ended, and what carried it.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    client_heard: Vec<u64>,
    server_heard: Vec<u64>,
    sent: u64,
    end: Option<CloseReason>,
    carrier: Option<Carrier>,
    upgrade_failed: bool,
}

/// Runs a session for ten seconds; `cut_at` breaks everything at that step, after which it goes on
/// for a minute.
fn run(seed: u64, blocked: bool, cut_at: Option<u64>) -> Outcome {
    let mut network = Network {
        rng: Rng::new(seed),
        now: at(0),
        parcels: BTreeMap::new(),
        order: BTreeMap::new(),
        count: 0,
        websockets_blocked: blocked,
    };
    let config = TransportConfig {
        transports: if seed.is_multiple_of(2) {
            vec![Carrier::Polling, Carrier::WebSocket]
        } else {
            vec![Carrier::WebSocket, Carrier::Polling]
        },
        try_all_transports: true,
        ..config()
    };
    let mut client = ClientConnection::open(Arc::new(config), seed, None, seed, at(0));
    let mut server = Server::default();
    let mut outcome = Outcome {
        client_heard: Vec::new(),
        server_heard: Vec::new(),
        sent: 0,
        end: None,
        carrier: None,
        upgrade_failed: false,
    };
    let mut open = false;
    let steps = if cut_at.is_some() { 12_000 } else { 2_000 };
    for step in 0..steps {
        network.now = network.now + Duration::from_millis(5);
        if cut_at == Some(step) {
            server.dead = true;
            network.parcels.clear();
        }
        let talking = step < 1_800;
        server.speak(talking, &mut network);
        if talking && open && network.rng.chance(300) {
            outcome.sent += 1;
            client.send(text(&outcome.sent.to_string()));
        }
        while let Some(entry) = network.parcels.first_entry().filter(|e| e.key().0 <= network.now) {
            match entry.remove() {
                Parcel::ToClient(event) => client.handle_input(network.now, event),
                Parcel::ToServer(io) => server.receive(io, &mut network),
            }
        }
        if client.next_timeout().is_some_and(|when| when <= network.now) {
            client.handle_timeout(network.now);
        }
        while let Some(output) = client.poll_output() {
            match output {
                ConnectionOutput::Io(io) => {
                    let id = match &io {
                        Io::OpenWs { id, .. }
                        | Io::SendWs { id, .. }
                        | Io::CloseWs { id, .. }
                        | Io::Request { id, .. }
                        | Io::Abort { id } => *id,
                    };
                    network.post(id, true, Parcel::ToServer(io));
                }
                ConnectionOutput::Opened { .. } => open = true,
                ConnectionOutput::Message(Frame::Text(text)) => {
                    let number = std::str::from_utf8(&text).unwrap().parse().unwrap();
                    outcome.client_heard.push(number);
                }
                ConnectionOutput::Message(Frame::Binary(_)) => panic!("nobody sent binary"),
                ConnectionOutput::Ping | ConnectionOutput::Upgraded => {}
                ConnectionOutput::UpgradeFailed(_) => outcome.upgrade_failed = true,
                ConnectionOutput::Closed { reason, .. } => outcome.end = Some(reason),
            }
        }
    }
    outcome.carrier = client.carrier();
    outcome.server_heard = server.heard;
    if cut_at.is_none() {
        assert_eq!(outcome.client_heard.len() as u64, server.said, "seed {seed}");
    }
    outcome
}

/// Whether the numbers are 1, 2, 3 and so on.
fn in_order(numbers: &[u64]) -> bool {
    numbers.iter().copied().eq(1..=numbers.len() as u64)
}

#[test]
fn nothing_is_lost_or_out_of_order_whatever_carries_it() {
    for seed in 0..200 {
        let blocked = seed % 3 == 0;
        let outcome = run(seed, blocked, None);
        assert_eq!(outcome.end, None, "seed {seed}");
        assert!(outcome.sent > 100 && outcome.client_heard.len() > 100, "seed {seed}");
        assert!(in_order(&outcome.client_heard), "seed {seed}");
        let sent: Vec<u64> = (1..=outcome.sent).collect();
        assert_eq!(outcome.server_heard, sent, "seed {seed}");
        let carrier = if blocked { Carrier::Polling } else { Carrier::WebSocket };
        assert_eq!(outcome.carrier, Some(carrier), "seed {seed}");
        assert_eq!(outcome.upgrade_failed, blocked, "seed {seed}");
    }
}

#[test]
fn what_came_before_a_cut_was_in_order_and_the_silence_is_noticed() {
    for seed in 0..200 {
        let cut = Rng::new(seed).below(1_500);
        let outcome = run(seed, seed % 5 == 0, Some(cut));
        assert!(in_order(&outcome.client_heard), "seed {seed}");
        assert!(in_order(&outcome.server_heard), "seed {seed}");
        let opened = !outcome.client_heard.is_empty() || outcome.sent > 0;
        let end = if opened { CloseReason::PingTimeout } else { CloseReason::TransportError };
        assert_eq!(outcome.end, Some(end), "seed {seed}");
    }
}

#[test]
fn a_run_repeats_exactly() {
    for seed in [3, 4, 500] {
        assert_eq!(run(seed, false, None), run(seed, false, None));
    }
}
