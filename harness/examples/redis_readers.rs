//! What readers of a log cost Redis: a sharded channel with the event in the message, or a blocking
//! XREAD that wakes for it. Prints Redis' CPU time per event, and the time from append to reader.
//!
//! `cargo run --release -p tidings-harness --example redis_readers`

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, PushInfo, PushKind, Value};
use tidings_harness::redis_cluster::{RedisCluster, RedisError};

/// Events for each measurement, at one every millisecond: readers sleep between them.
const EVENTS: u64 = 2000;

const PUBLISH: &str = "redis.call('XADD', KEYS[1], '*', 'e', ARGV[1]) \
                       if ARGV[2] == '1' then redis.call('SPUBLISH', KEYS[2], ARGV[1]) end \
                       return 1";

/// Its id, and its fields with their values.
type Entry = (String, Vec<Vec<u8>>);

/// What the readers of one measurement have seen.
#[derive(Default)]
struct Seen {
    events: AtomicU64,
    delay_us: AtomicU64,
}

impl Seen {
    fn see(&self, began: Instant, payload: &[u8]) {
        let sent = std::str::from_utf8(payload).ok().and_then(|text| text.trim().parse().ok());
        let now = began.elapsed().as_micros() as u64;
        self.delay_us.fetch_add(now.saturating_sub(sent.unwrap_or(now)), Ordering::Relaxed);
        self.events.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::main]
async fn main() -> Result<(), RedisError> {
    println!("readers  way      Redis CPU per event  append to reader, mean");
    for readers in [1, 3, 10, 30] {
        for by_channel in [true, false] {
            let redis = RedisCluster::single().await?;
            let seen = Arc::new(Seen::default());
            let began = Instant::now();
            let mut tasks = tokio::task::JoinSet::new();
            for _ in 0..readers {
                if by_channel {
                    let connection = subscribe(&redis, began, seen.clone()).await?;
                    tasks.spawn(async move {
                        let _kept = connection;
                        std::future::pending::<()>().await;
                    });
                } else {
                    let connection = connect(&redis, AsyncConnectionConfig::new()).await?;
                    tasks.spawn(read(connection, began, seen.clone()));
                }
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
            let mut publisher = connect(&redis, AsyncConnectionConfig::new()).await?;
            let before = cpu_us(&redis).await?;
            let mut pace = tokio::time::interval(Duration::from_millis(1));
            for _ in 0..EVENTS {
                pace.tick().await;
                let payload = format!("{:<200}", began.elapsed().as_micros());
                let mut call = redis::cmd("EVAL");
                call.arg(PUBLISH).arg(2).arg("{p}:log").arg("{p}");
                call.arg(payload).arg(u8::from(by_channel));
                let _: Value = call.query_async(&mut publisher).await?;
            }
            while seen.events.load(Ordering::Relaxed) < EVENTS * readers {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let cpu = (cpu_us(&redis).await? - before) / EVENTS as f64;
            let delay = seen.delay_us.load(Ordering::Relaxed) / (EVENTS * readers);
            let way = if by_channel { "channel" } else { "XREAD" };
            println!("{readers:>7}  {way:<7}  {cpu:>16.1} us  {delay:>19} us");
        }
    }
    Ok(())
}

async fn connect(
    redis: &RedisCluster,
    config: AsyncConnectionConfig,
) -> Result<MultiplexedConnection, RedisError> {
    let client = Client::open(format!("{}/?protocol=resp3", redis.urls()))?;
    let config = config.set_response_timeout(None);
    Ok(client.get_multiplexed_async_connection_with_config(&config).await?)
}

async fn subscribe(
    redis: &RedisCluster,
    began: Instant,
    seen: Arc<Seen>,
) -> Result<MultiplexedConnection, RedisError> {
    let config = AsyncConnectionConfig::new().set_push_sender(move |info: PushInfo| {
        if let (PushKind::SMessage, [_, Value::BulkString(event)]) = (&info.kind, &*info.data) {
            seen.see(began, event);
        }
        Ok::<(), redis::aio::SendError>(())
    });
    let mut connection = connect(redis, config).await?;
    let command = redis::cmd("SSUBSCRIBE").arg("{p}").to_owned();
    connection.send_packed_command(&command).await?;
    Ok(connection)
}

async fn read(mut connection: MultiplexedConnection, began: Instant, seen: Arc<Seen>) {
    let mut last = "$".to_owned();
    loop {
        let mut call = redis::cmd("XREAD");
        call.arg("BLOCK").arg(0).arg("STREAMS").arg("{p}:log").arg(&last);
        let Ok(Value::Map(streams)) = call.query_async::<Value>(&mut connection).await else {
            return;
        };
        for (_, entries) in streams {
            let entries: Vec<Entry> = redis::from_redis_value(entries).unwrap_or_default();
            for (id, fields) in entries {
                last = id;
                if let Some(event) = fields.get(1) {
                    seen.see(began, event);
                }
            }
        }
    }
}

async fn cpu_us(redis: &RedisCluster) -> Result<f64, RedisError> {
    let text: String = redis.ask(0, &["INFO", "cpu"]).await?;
    let seconds = |key: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(key));
        value.and_then(|value| value.trim().parse::<f64>().ok()).unwrap_or(0.0)
    };
    let used = seconds("used_cpu_sys_main_thread:") + seconds("used_cpu_user_main_thread:");
    Ok(used * 1e6)
}
