//! Whether the Redis of the simulation does what a real one does with the real scripts: the same
//! steps go to both, made up from a seed, and every answer and every notice must be the same.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, PushInfo, PushKind, RedisResult, Value};
use tidings_core::lane::{Epoch, Lane, Offset, Place};
use tidings_core::log::Retention;
use tidings_core::log::shared::{
    Append, AppendAnswer, Chunk, Direction, Outcome, Published, encode,
};
use tidings_core::rng::Rng;
use tidings_core::{Event, Headers, Payload, Priority};
use tokio::sync::mpsc;

use super::calls;
use super::keys::{LaneKeys, channel};
use super::script::Call;

#[path = "../../../../sdk/core/tests/simulation/store.rs"]
#[allow(dead_code, reason = "the simulation uses more of it")]
mod store;
use store::LaneStore;

const PREFIX: &str = "model";
/// Where the scripts find the time instead of asking the clock.
const CLOCK: &str = "model:{p0}:clock";
const START: u64 = 1_700_000_000_000_000;
const STEPS: usize = 400;
const SEEDS: u64 = 8;

/// A Redis of its own.
pub(super) struct Redis {
    process: Child,
    port: u16,
}

impl Redis {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let process = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no"])
            .current_dir(std::env::temp_dir())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is missing: install Redis 7 (Debian: apt install redis-server)");
        Self { process, port }
    }

    pub(super) async fn connect(
        &self,
        pushes: mpsc::UnboundedSender<Vec<u8>>,
    ) -> MultiplexedConnection {
        let client = Client::open(format!("redis://127.0.0.1:{}/?protocol=resp3", self.port));
        let client = client.unwrap();
        let config = AsyncConnectionConfig::new().set_push_sender(move |info: PushInfo| {
            if let (PushKind::SMessage, [_, Value::BulkString(message)]) =
                (info.kind, info.data.as_slice())
            {
                let _ = pushes.send(message.clone());
            }
            Ok::<(), redis::aio::SendError>(())
        });
        loop {
            if let Ok(connection) =
                client.get_multiplexed_async_connection_with_config(&config).await
            {
                return connection;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Both of them, at the same time by their clocks.
struct Both {
    connection: MultiplexedConnection,
    model: LaneStore,
    keys: [LaneKeys; Priority::COUNT],
    lane: Lane,
    retention: Retention,
    now: u64,
    notices: Vec<Vec<u8>>,
}

impl Both {
    async fn command(&mut self, words: &[&str]) -> Value {
        let mut command = redis::cmd(words[0]);
        for word in &words[1..] {
            command.arg(*word);
        }
        let answer = self.connection.send_packed_command(&command).await;
        answer.and_then(Value::extract_error).unwrap()
    }

    async fn set_clock(&mut self) {
        let (seconds, micros) = (self.now / 1_000_000, self.now % 1_000_000);
        self.command(&["DEL", CLOCK]).await;
        self.command(&["RPUSH", CLOCK, &seconds.to_string(), &micros.to_string()]).await;
        // What the scripts let expire does so by the clock of the model.
        let keys = self.keys[self.lane.priority() as usize].clone();
        let [first, second] = keys.seen;
        for (key, expires) in [keys.stream, first, second].iter().zip(self.model.expiries()) {
            if expires.is_some_and(|at| at <= self.now) {
                self.command(&["DEL", key]).await;
            }
        }
    }

    async fn call(&mut self, call: &Call) -> RedisResult<Value> {
        let command = call.command_with(|script| {
            let clock = format!("redis.call('LRANGE', '{CLOCK}', 0, 1)");
            script.replace("redis.call('TIME')", &clock)
        });
        let answer = self.connection.send_packed_command(&command).await;
        answer.and_then(Value::extract_error)
    }

    async fn append(&mut self, append: Append) -> AppendAnswer {
        let keys = self.keys[self.lane.priority() as usize].clone();
        let call = calls::append(&keys, &channel(PREFIX, 0), &self.retention, &append);
        let real = calls::appended(self.call(&call).await.unwrap()).unwrap();
        let (made_up, notice) = self.model.append(self.now, &self.retention, &append);
        assert_eq!(real, made_up, "{append:?}");
        self.notices.extend(notice);
        real
    }

    async fn read(&mut self, direction: Direction, from: Offset, limit: usize) {
        let keys = self.keys[self.lane.priority() as usize].clone();
        let call = calls::read(&keys, direction, from, limit);
        let real = calls::chunk(self.call(&call).await.unwrap(), self.lane, limit).unwrap();
        let made_up = self.model.read(self.now, direction, from, limit);
        let shown = |chunk: &Chunk| format!("{chunk:?}");
        assert_eq!(shown(&real), shown(&made_up), "{direction:?} {from:?}");
    }

    async fn look(&mut self, new_epoch: Epoch) -> Place {
        let call = calls::look(&self.keys, new_epoch);
        let real = calls::standings(self.call(&call).await.unwrap()).unwrap();
        let real = real[self.lane.priority() as usize];
        assert_eq!(real, self.model.look(self.now, new_epoch));
        real.head
    }
}

fn published(rng: &mut Rng) -> Published {
    let size = rng.below(200) as usize;
    let event = Event {
        name: "a.b".into(),
        payload: Payload::Binary(vec![b':'; size].into()),
        id: Arc::default(),
        priority: Priority::Normal,
        time: 0,
        headers: Headers::NONE,
    };
    let producer = if rng.chance(50) { String::new() } else { format!("p{}", rng.below(5)) };
    Published { producer: producer.into(), number: 1 + rng.below(60), event: encode(&event).into() }
}

fn retention(rng: &mut Rng) -> Retention {
    Retention {
        max_events: 5 + rng.below(80) as usize,
        max_bytes: 1000 + rng.below(20_000) as usize,
        max_age: Duration::from_secs(2 + rng.below(60)),
        producer_ttl: Duration::from_secs(5 + rng.below(100)),
        max_producers: 2 + rng.below(5) as usize,
    }
}

/// Steps made up from a seed. Returns how many of each answer there were: behind, fresh, known.
async fn live(seed: u64, mut both: Both) -> (Both, [usize; 3]) {
    let rng = &mut Rng::new(seed);
    let mut counts = [0; 3];
    let mut known = Place::default();
    let mut given = Offset::default();
    let mut places = vec![Offset(START)];
    for _ in 0..STEPS {
        both.now += match rng.below(100) {
            0 => 100_000_000,
            1..10 => 3_000_000,
            10..40 => 0,
            _ => 1 + rng.below(2000),
        };
        both.set_clock().await;
        let epoch = Epoch(1 + rng.below(3) as u32);
        let somewhere = places[rng.below(places.len() as u64) as usize];
        match rng.below(10) {
            0 => known = both.look(epoch).await,
            1 => both.read(Direction::After, somewhere, 1 + rng.below(100) as usize).await,
            2 => both.read(Direction::UpTo, somewhere, 1 + rng.below(100) as usize).await,
            _ => {
                let putting_back = rng.chance(250);
                let mut events = Vec::new();
                let mut at = somewhere.0;
                for _ in 0..1 + rng.below(6) {
                    // Sometimes a place that was given out, sometimes one that was not.
                    at += rng.below(3);
                    events.push((published(rng), putting_back.then_some(Offset(at))));
                }
                if rng.chance(100) {
                    known.offset.0 += rng.below(2000);
                }
                let (lane, new_epoch) = (both.lane, epoch);
                let takeover = None;
                let append =
                    Append { lane, known, given, new_epoch, putting_back, takeover, events };
                match both.append(append).await {
                    AppendAnswer::Behind(place) => {
                        counts[0] += 1;
                        known = place;
                    }
                    AppendAnswer::Done { head, outcomes } => {
                        known = head;
                        given = given.max(head.offset);
                        for outcome in outcomes {
                            counts[1 + usize::from(matches!(outcome, Outcome::Known(_)))] += 1;
                            places.push(outcome.offset());
                        }
                    }
                }
            }
        }
    }
    (both, counts)
}

#[tokio::test]
async fn the_redis_of_the_simulation_does_what_a_real_one_does() {
    let redis = Redis::start();
    let (pushes, mut pushed) = mpsc::unbounded_channel();
    let mut connection = redis.connect(pushes).await;
    let subscribe = redis::cmd("SSUBSCRIBE").arg(channel(PREFIX, 0)).to_owned();
    connection.send_packed_command(&subscribe).await.unwrap();
    let lane = Lane::new(0, Priority::Normal);
    let lanes = [Priority::Low, Priority::Normal, Priority::High, Priority::Critical];
    let keys = lanes.map(|priority| LaneKeys::new(PREFIX, Lane::new(0, priority)));
    let mut total = [0; 3];
    for seed in 0..SEEDS {
        let mut both = Both {
            connection: connection.clone(),
            model: LaneStore::new(lane),
            keys: keys.clone(),
            lane,
            retention: retention(&mut Rng::new(seed)),
            now: START,
            notices: Vec::new(),
        };
        both.command(&["FLUSHALL"]).await;
        let (both, counts) = live(seed, both).await;
        for notice in both.notices {
            let real = tokio::time::timeout(Duration::from_secs(60), pushed.recv()).await;
            assert_eq!(real.expect("a notice"), Some(notice), "seed {seed}");
        }
        for (sum, count) in total.iter_mut().zip(counts) {
            *sum += count;
        }
    }
    assert!(total.iter().all(|count| *count > 100), "too little happened: {total:?}");
}
