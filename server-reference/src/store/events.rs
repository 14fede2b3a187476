//! The table of events.

use std::fmt::Write;

use sqlx::any::AnyRow;
use sqlx::{Any, AssertSqlSafe, Row, Transaction};
use tidings_core::message::Position;
use tidings_core::{Event, Headers, Lane, Offset, Payload, Priority};

use super::database::{Database, Kind, StoreError, now_ms, number};
use super::query::{EventPage, EventPlace, EventQuery, KeptEvent, Names};
use super::queue::Waiting;

/// How many rows a statement writes; more share one for less work each.
const ROWS: usize = 64;

/// Columns of a row.
const COLUMNS: usize = 10;

/// How many rows are read, or deleted, at once.
const CHUNK: i64 = 500;

const SELECT: &str = "SELECT id, time_us, lane, name, is_json, payload, headers FROM event_store";

/// Writes events; those that are there stay as they are.
pub(super) async fn insert(
    transaction: &mut Transaction<'static, Any>,
    kind: Kind,
    log: i64,
    events: &[Waiting],
) -> Result<(), sqlx::Error> {
    let mut rest = events;
    while !rest.is_empty() {
        // Of a few lengths alone: each connection has all statements prepared soon.
        let rows = (1 << rest.len().ilog2()).min(ROWS);
        let (rows, after) = rest.split_at(rows);
        rest = after;
        let mut query = sqlx::query(AssertSqlSafe(statement(kind, rows.len())));
        for Waiting { event: logged, .. } in rows {
            let event = logged.event();
            let is_json = matches!(event.payload, Payload::Json(_));
            query = query
                .bind(event.id.to_string())
                .bind(log)
                .bind(number(logged.offset().0))
                .bind(i64::from(logged.lane().number()))
                .bind(i64::from(event.priority as u8))
                .bind(event.name.to_string())
                .bind(i64::from(is_json))
                .bind(event.payload.bytes().to_vec())
                .bind(headers_text(&event.headers))
                .bind(number(super::queue::weight(event) as u64));
        }
        query.execute(&mut **transaction).await?;
    }
    Ok(())
}

/// Inserts so many rows.
fn statement(kind: Kind, rows: usize) -> String {
    let mut text = "INSERT INTO event_store (id, log, time_us, lane, priority, name, is_json, \
                    payload, headers, bytes) VALUES "
        .to_owned();
    for row in 0..rows {
        text.push_str(if row == 0 { "(" } else { ", (" });
        for column in 1..=COLUMNS {
            let comma = if column == 1 { "" } else { ", " };
            // Writing to a string cannot fail.
            let _ = match kind {
                // Numbered ones are looked up one by one for each that is bound.
                Kind::Sqlite => write!(text, "{comma}?"),
                Kind::Postgres => write!(text, "{comma}${}", row * COLUMNS + column),
            };
        }
        text.push(')');
    }
    text.push_str(" ON CONFLICT DO NOTHING");
    text
}

fn headers_text(headers: &Headers) -> Option<String> {
    let pairs: Vec<(&str, &str)> = headers.iter().collect();
    if pairs.is_empty() { None } else { serde_json::to_string(&pairs).ok() }
}

/// A page of the events that `wanted` likes. Those that it does not, or no pattern matches, are looked
/// at, too: at most so many.
pub(super) async fn page(
    database: &Database,
    query: &EventQuery,
    max_looked_at: usize,
    wanted: impl Fn(&str) -> bool,
) -> Result<EventPage, StoreError> {
    let mut page = EventPage::default();
    let mut after = query.after;
    let mut looked_at = 0;
    loop {
        let rows = database.within(chunk(database, query, after)).await?;
        let is_last = (rows.len() as i64) < CHUNK;
        for row in &rows {
            let kept = kept(row)?;
            if page.events.len() == query.limit || looked_at == max_looked_at {
                page.next = after;
                return Ok(page);
            }
            let Position { offset, lane } = kept.position;
            after = Some(EventPlace { offset, lane });
            looked_at += 1;
            let name = &kept.event.name;
            if query.patterns.iter().any(|pattern| pattern.matches(name)) && wanted(name) {
                page.events.push(kept);
            }
        }
        if is_last {
            return Ok(page);
        }
    }
}

/// The next rows of those that the database can tell apart.
async fn chunk(
    database: &Database,
    query: &EventQuery,
    after: Option<EventPlace>,
) -> Result<Vec<AnyRow>, sqlx::Error> {
    let mut conditions = Conditions::default();
    let (direction, behind) = if query.oldest_first { ("ASC", ">") } else { ("DESC", "<") };
    if let Some(EventPlace { offset, lane }) = after {
        let offset = conditions.number(number(offset.0));
        let lane = conditions.number(i64::from(lane.number()));
        conditions.add(&format!("(time_us, lane) {behind} ({offset}, {lane})"));
    }
    let names: Vec<Names> = query.patterns.iter().map(Names::of).collect();
    if !names.contains(&Names::All) {
        let any: Vec<String> = names.into_iter().map(|names| conditions.names(names)).collect();
        conditions.add(&format!("({})", any.join(" OR ")));
    }
    let micros = |ms: u64| number(ms.saturating_mul(1000));
    let since = conditions.number(micros(query.since));
    let until = conditions.number(micros(query.until.saturating_add(1)));
    conditions.add(&format!("time_us >= {since} AND time_us < {until}"));
    if query.priorities.len() < Priority::COUNT {
        let numbers = query.priorities.iter().map(|priority| (*priority as u8).to_string());
        conditions.add(&format!("priority IN ({})", numbers.collect::<Vec<_>>().join(", ")));
    }
    let filter = conditions.text;
    let order = format!("time_us {direction}, lane {direction}");
    let text = format!("{SELECT} WHERE {filter} ORDER BY {order} LIMIT {CHUNK}");
    let mut query = sqlx::query(AssertSqlSafe(text));
    for value in conditions.values {
        query = match value {
            Value::Number(number) => query.bind(number),
            Value::Text(text) => query.bind(text),
        };
    }
    query.fetch_all(database.pool()).await
}

/// What follows WHERE, and the values that it speaks of.
#[derive(Default)]
struct Conditions {
    text: String,
    values: Vec<Value>,
}

enum Value {
    Number(i64),
    Text(String),
}

impl Conditions {
    /// Where the value stands in the statement.
    fn bind(&mut self, value: Value) -> String {
        self.values.push(value);
        format!("${}", self.values.len())
    }

    fn number(&mut self, number: i64) -> String {
        self.bind(Value::Number(number))
    }

    fn names(&mut self, names: Names) -> String {
        match names {
            Names::All => "1 = 1".to_owned(),
            Names::One(name) => format!("name = {}", self.bind(Value::Text(name))),
            Names::Range(from, until) => {
                let [from, until] = [from, until].map(|name| self.bind(Value::Text(name)));
                format!("(name >= {from} AND name < {until})")
            }
        }
    }

    fn add(&mut self, condition: &str) {
        if !self.text.is_empty() {
            self.text.push_str(" AND ");
        }
        self.text.push_str(condition);
    }
}

/// The event with this id. Several logs that do not know of each other can have one each: the newest.
pub(super) async fn by_id(database: &Database, id: &str) -> Result<Option<KeptEvent>, StoreError> {
    let text = format!("{SELECT} WHERE id = $1 ORDER BY time_us DESC LIMIT 1");
    let query = sqlx::query(AssertSqlSafe(text)).bind(id.to_owned());
    let row = database.within(query.fetch_optional(database.pool())).await?;
    Ok(row.as_ref().map(kept).transpose()?)
}

fn kept(row: &AnyRow) -> Result<KeptEvent, sqlx::Error> {
    let lane = u32::try_from(row.try_get::<i64, _>(2)?).ok().and_then(Lane::from_number);
    let lane = lane.unwrap_or(Lane::new(0, Priority::Normal));
    let offset = u64::try_from(row.try_get::<i64, _>(1)?).unwrap_or_default();
    let payload = row.try_get::<Vec<u8>, _>(5)?.into();
    let is_json = row.try_get::<i64, _>(4)? != 0;
    let headers = row.try_get::<Option<String>, _>(6)?;
    let pairs: Vec<(String, String)> =
        headers.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    let event = Event {
        name: row.try_get::<String, _>(3)?.into(),
        payload: if is_json { Payload::Json(payload) } else { Payload::Binary(payload) },
        id: row.try_get::<String, _>(0)?.into(),
        priority: lane.priority(),
        time: offset / 1000,
        headers: Headers::new(pairs),
    };
    Ok(KeptEvent { event, position: Position { lane, offset: Offset(offset) } })
}

/// Deletes events that are too old, and the oldest as long as there is too much. Returns how many.
pub(super) async fn sweep(
    database: &Database,
    max_age_ms: i64,
    max_bytes: i64,
) -> Result<u64, StoreError> {
    let oldest_us = now_ms().saturating_sub(max_age_ms).saturating_mul(1000);
    let mut deleted = 0;
    loop {
        let done = database.within(delete_oldest(database, oldest_us)).await?;
        deleted += done.rows;
        if done.rows < CHUNK as u64 {
            break;
        }
    }
    let sum = "SELECT CAST(coalesce(sum(bytes), 0) AS BIGINT) FROM event_store";
    let sum = sqlx::query_scalar::<_, i64>(sum).fetch_one(database.pool());
    let mut over = database.within(sum).await? - max_bytes;
    while over > 0 {
        let done = database.within(delete_oldest(database, i64::MAX)).await?;
        deleted += done.rows;
        // Another instance does the same: what is left is counted again the next time.
        if done.rows == 0 {
            break;
        }
        over -= done.bytes;
    }
    if deleted > 0 && database.kind == Kind::Sqlite {
        let give_back = sqlx::raw_sql("PRAGMA incremental_vacuum(2000)");
        database.within(async { give_back.execute(database.pool()).await }).await?;
    }
    Ok(deleted)
}

struct Deleted {
    rows: u64,
    bytes: i64,
}

/// Deletes the oldest events, of those that are older than `before_us`.
async fn delete_oldest(database: &Database, before_us: i64) -> Result<Deleted, sqlx::Error> {
    let text = format!(
        "DELETE FROM event_store WHERE (id, log) IN (SELECT id, log FROM event_store \
         WHERE time_us < $1 ORDER BY time_us, lane LIMIT {CHUNK}) RETURNING bytes"
    );
    let mut transaction = database.begin().await?;
    let rows: Vec<i64> = sqlx::query_scalar(AssertSqlSafe(text))
        .bind(before_us)
        .fetch_all(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(Deleted { rows: rows.len() as u64, bytes: rows.iter().sum() })
}
