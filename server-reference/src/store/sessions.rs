//! The table of sessions: who was connected, from where, until when and why not longer.

use std::collections::{BTreeSet, VecDeque};

use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::Serialize;
use sqlx::any::AnyRow;
use sqlx::{Any, AssertSqlSafe, Row, Transaction};
use tidings_core::message::Close;

use super::database::{Database, StoreError, now_ms, number};
use crate::clock::unix_micros;
use crate::stats::{SessionInfo, SessionPlace};

/// How many are written in one transaction.
const BATCH: usize = 256;

/// How many rows are deleted at once.
const CHUNK: u64 = 500;

/// A session that is or was connected, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct KeptSession {
    /// What it is called where others see it; the same in `GET /api/websocket/sessions`. A session that
    /// was taken up again over another connection is there once for each.
    pub id: String,
    /// Whose it was: the claim `sub`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The instance it was connected to.
    pub instance: String,
    /// `ws` or `socketio`.
    pub transport: String,
    /// `websocket` or `polling`, as it began.
    pub carrier: String,
    /// `json` or `msgpack`.
    pub encoding: String,
    /// Where its client connected from, as IP:PORT; the proxy, if there is one.
    pub address: String,
    /// Since when, in milliseconds since the Unix epoch.
    pub since_ms: u64,
    /// When it was known to be connected last, in milliseconds since the Unix epoch.
    pub last_seen_ms: u64,
    /// Until when, in milliseconds since the Unix epoch; missing while it is connected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_ms: Option<u64>,
    /// The code it was closed with, if the server closed it or the client said goodbye.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
    /// Why it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A page of sessions that are kept, the latest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct KeptSessionPage {
    /// Those of this page.
    pub sessions: Vec<KeptSession>,
    /// Where the next page begins: for `after`. Missing if this is the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub next: Option<SessionPlace>,
}

/// Which sessions are wanted.
#[derive(Debug, Clone, Default)]
pub struct KeptSessionQuery {
    /// Those of this subject.
    pub subject: Option<String>,
    /// Those that have ended, or have not; both without it.
    pub ended: Option<bool>,
    /// Those behind this place in the order.
    pub after: Option<SessionPlace>,
    /// How many at most.
    pub limit: usize,
}

/// What has happened to a session.
#[derive(Clone)]
enum Change {
    Began(Box<SessionInfo>),
    Ended { id: String, since_ms: u64, at_ms: u64, code: Option<u16>, reason: String },
}

/// What has happened to sessions and waits for the database.
pub(super) struct Changes {
    waiting: Mutex<VecDeque<Change>>,
    max: usize,
}

/// What did not happen: there was no room for it.
pub(super) struct Full;

impl Changes {
    pub(super) fn new(max: usize) -> Self {
        Self { waiting: Mutex::default(), max }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.lock().len()
    }

    pub(super) fn began(&self, session: SessionInfo) -> Result<(), Full> {
        self.push(Change::Began(Box::new(session)))
    }

    pub(super) fn ended(
        &self,
        id: String,
        since_ms: u64,
        close: Option<&Close>,
    ) -> Result<(), Full> {
        let (code, reason) = match close {
            Some(close) => (Some(close.code.0), close.reason.clone()),
            None => (None, "the connection broke".to_owned()),
        };
        let at_ms = unix_micros() / 1000;
        self.push(Change::Ended { id, since_ms, at_ms, code, reason })
    }

    fn push(&self, change: Change) -> Result<(), Full> {
        let mut waiting = self.waiting.lock();
        if waiting.len() >= self.max {
            return Err(Full);
        }
        waiting.push_back(change);
        Ok(())
    }

    /// Writes a part of what waits. Returns how much that was.
    pub(super) async fn write(&self, database: &Database, run: &str) -> Result<usize, StoreError> {
        let batch: Vec<Change> = self.waiting.lock().iter().take(BATCH).cloned().collect();
        if batch.is_empty() {
            return Ok(0);
        }
        let written = async {
            let mut transaction = database.begin().await?;
            for change in &batch {
                apply(&mut transaction, run, change).await?;
            }
            transaction.commit().await
        };
        database.within(written).await?;
        self.waiting.lock().drain(..batch.len());
        Ok(batch.len())
    }
}

async fn apply(
    transaction: &mut Transaction<'static, Any>,
    run: &str,
    change: &Change,
) -> Result<(), sqlx::Error> {
    match change.clone() {
        Change::Began(session) => {
            sqlx::query(
                "INSERT INTO websocket_sessions (id, since_ms, run, instance, subject, transport, \
                 carrier, encoding, address, last_seen_ms) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $2) ON CONFLICT DO NOTHING",
            )
            .bind(session.id)
            .bind(number(session.since_ms))
            .bind(run.to_owned())
            .bind(session.instance)
            .bind(session.subject)
            .bind(session.transport)
            .bind(session.carrier)
            .bind(session.encoding)
            .bind(session.address)
            .execute(&mut **transaction)
            .await?;
        }
        Change::Ended { id, since_ms, at_ms, code, reason } => {
            sqlx::query(
                "UPDATE websocket_sessions SET ended_ms = $1, last_seen_ms = $1, code = $2, \
                 reason = $3 WHERE since_ms = $4 AND id = $5",
            )
            .bind(number(at_ms))
            .bind(code.map(i64::from))
            .bind(reason)
            .bind(number(since_ms))
            .bind(id)
            .execute(&mut **transaction)
            .await?;
        }
    }
    Ok(())
}

/// Ends what the table has as connected and `connected` does not: there was no room for that to be
/// noted when it happened.
pub(super) async fn end_others(
    database: &Database,
    run: &str,
    connected: &BTreeSet<(u64, String)>,
) -> Result<(), StoreError> {
    let open = "SELECT since_ms, id FROM websocket_sessions WHERE run = $1 AND ended_ms IS NULL";
    let open = sqlx::query(open).bind(run.to_owned()).fetch_all(database.pool());
    for row in database.within(open).await? {
        let (since_ms, id): (i64, String) = (row.try_get(0)?, row.try_get(1)?);
        if connected.contains(&(u64::try_from(since_ms).unwrap_or_default(), id.clone())) {
            continue;
        }
        let end = "UPDATE websocket_sessions SET ended_ms = $1, reason = 'unknown: the store was full' \
                   WHERE since_ms = $2 AND id = $3";
        let end = sqlx::query(end).bind(now_ms()).bind(since_ms).bind(id);
        database.within(end.execute(database.pool())).await?;
    }
    Ok(())
}

/// A page of those that `query` wants.
pub(super) async fn page(
    database: &Database,
    query: &KeptSessionQuery,
) -> Result<KeptSessionPage, StoreError> {
    let limit = query.limit.clamp(1, crate::stats::SessionPage::MAX);
    let mut filter = match query.ended {
        None => "1 = 1",
        Some(true) => "s.ended_ms IS NOT NULL",
        Some(false) => "s.ended_ms IS NULL",
    }
    .to_owned();
    if query.subject.is_some() {
        filter.push_str(" AND s.subject = $1");
    } else {
        // The numbers of the others stay as they are.
        filter.push_str(" AND CAST($1 AS TEXT) IS NULL");
    }
    if query.after.is_some() {
        filter.push_str(" AND (s.since_ms, s.id) < ($2, $3)");
    } else {
        filter.push_str(" AND CAST($2 AS BIGINT) IS NULL AND CAST($3 AS TEXT) IS NULL");
    }
    let text = format!(
        "SELECT s.id, s.since_ms, s.instance, s.subject, s.transport, s.carrier, s.encoding, \
         s.address, CASE WHEN s.ended_ms IS NULL THEN coalesce(r.seen_ms, s.last_seen_ms) \
         ELSE s.last_seen_ms END AS seen_ms, s.ended_ms, s.code, s.reason \
         FROM websocket_sessions s LEFT JOIN tidings_store_runs r ON r.run = s.run \
         WHERE {filter} ORDER BY s.since_ms DESC, s.id DESC LIMIT $4"
    );
    let rows = sqlx::query(AssertSqlSafe(text))
        .bind(query.subject.clone())
        .bind(query.after.as_ref().map(|place| number(place.since_ms())))
        .bind(query.after.as_ref().map(|place| place.id().to_owned()))
        .bind(limit as i64 + 1)
        .fetch_all(database.pool());
    let rows = database.within(rows).await?;
    let mut sessions = rows.iter().map(kept).collect::<Result<Vec<_>, _>>()?;
    let more = sessions.len() > limit;
    sessions.truncate(limit);
    let last = sessions.last().filter(|_| more);
    let next = last.map(|last| SessionPlace::new(last.since_ms, last.id.clone()));
    Ok(KeptSessionPage { sessions, next })
}

fn kept(row: &AnyRow) -> Result<KeptSession, sqlx::Error> {
    let time = |ms: i64| u64::try_from(ms).unwrap_or_default();
    Ok(KeptSession {
        id: row.try_get(0)?,
        since_ms: time(row.try_get(1)?),
        instance: row.try_get(2)?,
        subject: row.try_get(3)?,
        transport: row.try_get(4)?,
        carrier: row.try_get(5)?,
        encoding: row.try_get(6)?,
        address: row.try_get(7)?,
        last_seen_ms: time(row.try_get(8)?),
        ended_ms: row.try_get::<Option<i64>, _>(9)?.map(time),
        code: row.try_get::<Option<i64>, _>(10)?.and_then(|code| u16::try_from(code).ok()),
        reason: row.try_get(11)?,
    })
}

/// Deletes those that ended too long ago.
pub(super) async fn sweep(database: &Database, max_age_ms: i64) -> Result<(), StoreError> {
    let text = format!(
        "DELETE FROM websocket_sessions WHERE (since_ms, id) IN (SELECT since_ms, id \
         FROM websocket_sessions WHERE ended_ms < $1 ORDER BY since_ms LIMIT {CHUNK})"
    );
    loop {
        let query = sqlx::query(AssertSqlSafe(text.clone())).bind(now_ms() - max_age_ms);
        let done = database.within(query.execute(database.pool())).await?;
        if done.rows_affected() < CHUNK {
            return Ok(());
        }
    }
}
