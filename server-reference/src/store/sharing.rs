//! Who of the instances that share a log keeps which of its partitions.
//!
//! Each instance says every few seconds that it is there. All of them see the same list, and each
//! partition belongs to one of it. What has been kept of a partition is noted as a place in each of its
//! lanes: whoever comes next goes on from there. For a moment two may think that a partition is theirs;
//! then both write the same events, and the database takes each once.

use std::collections::BTreeMap;
use std::time::Duration;

use sha1::{Digest, Sha1};
use sqlx::Row;
use tidings_core::{Epoch, Lane, Offset, Place};

use super::database::{Database, StoreError, now_ms, number};

/// An instance that has not said that it is there for so many heartbeats is gone.
const BEATS: i64 = 5;

/// Why a session has ended whose instance is gone.
pub(super) const INSTANCE_GONE: &str = "its instance is gone";

/// A process that uses the database.
pub(super) struct Run {
    /// Which one.
    pub(super) id: String,
    /// Which log it reads.
    pub(super) log: i64,
    /// What it is called.
    pub(super) instance: String,
    /// How often it says that it is there.
    pub(super) heartbeat: Duration,
}

/// The number of a log in the database.
pub(super) fn log_number(name: &str) -> i64 {
    i64::from_be_bytes(first_8_bytes(name))
}

fn first_8_bytes(text: &str) -> [u8; 8] {
    let digest = Sha1::digest(text.as_bytes());
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest[..8]);
    bytes
}

/// To whom a partition belongs: all who see the same list agree.
pub(super) fn owner(runs: &[String], partition: u16) -> Option<&String> {
    runs.iter().max_by_key(|run| first_8_bytes(&format!("{partition}/{run}")))
}

impl Run {
    /// Says that it is there. The runs that read the same log, itself included, and whether this one
    /// is to look after what belongs to nobody.
    pub(super) async fn beat(
        &self,
        database: &Database,
    ) -> Result<(Vec<String>, bool), StoreError> {
        let runs = database.within(self.say(database)).await?;
        let is_first = runs.first().is_some_and(|(run, _)| *run == self.id);
        let same_log = runs.into_iter().filter(|(_, log)| *log == self.log).map(|(run, _)| run);
        Ok((same_log.collect(), is_first))
    }

    async fn say(&self, database: &Database) -> Result<Vec<(String, i64)>, sqlx::Error> {
        let now = now_ms();
        let mut transaction = database.begin().await?;
        let seen = sqlx::query("UPDATE tidings_store_runs SET seen_ms = $1 WHERE run = $2")
            .bind(now)
            .bind(self.id.clone())
            .execute(&mut *transaction)
            .await?;
        if seen.rows_affected() == 0 {
            // The first time, or others thought that it was gone.
            sqlx::query(
                "INSERT INTO tidings_store_runs (run, log, instance, seen_ms) \
                 VALUES ($1, $2, $3, $4)",
            )
            .bind(self.id.clone())
            .bind(self.log)
            .bind(self.instance.clone())
            .bind(now)
            .execute(&mut *transaction)
            .await?;
            sqlx::query(
                "UPDATE websocket_sessions SET ended_ms = NULL, code = NULL, reason = NULL \
                 WHERE run = $1 AND reason = $2",
            )
            .bind(self.id.clone())
            .bind(INSTANCE_GONE)
            .execute(&mut *transaction)
            .await?;
        }
        let rows =
            sqlx::query("SELECT run, log FROM tidings_store_runs WHERE seen_ms > $1 ORDER BY run")
                .bind(self.gone_before())
                .fetch_all(&mut *transaction)
                .await?;
        transaction.commit().await?;
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
    }

    /// Who was seen last before this is gone, in milliseconds since the Unix epoch.
    fn gone_before(&self) -> i64 {
        let heartbeat = i64::try_from(self.heartbeat.as_millis()).unwrap_or(i64::MAX);
        now_ms().saturating_sub(heartbeat.saturating_mul(BEATS))
    }

    /// Says that it is going away: others need not wait.
    pub(super) async fn leave(&self, database: &Database) -> Result<(), StoreError> {
        let query = sqlx::query("DELETE FROM tidings_store_runs WHERE run = $1")
            .bind(self.id.clone())
            .execute(database.pool());
        database.within(query).await.map(|_| ())
    }

    /// Up to where the lanes of its log have been kept.
    pub(super) async fn places(
        &self,
        database: &Database,
    ) -> Result<BTreeMap<Lane, Place>, StoreError> {
        let query =
            sqlx::query("SELECT lane, epoch, place FROM tidings_store_places WHERE log = $1")
                .bind(self.log)
                .fetch_all(database.pool());
        let mut places = BTreeMap::new();
        for row in database.within(query).await? {
            let (lane, epoch, offset): (i64, i64, i64) =
                (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            let lane = u32::try_from(lane).ok().and_then(Lane::from_number);
            let place = Place {
                epoch: Epoch(u32::try_from(epoch).unwrap_or_default()),
                offset: Offset(u64::try_from(offset).unwrap_or_default()),
            };
            places.extend(lane.map(|lane| (lane, place)));
        }
        Ok(places)
    }

    /// Notes up to where lanes have been kept; a place that is noted only moves on.
    pub(super) async fn note(
        &self,
        database: &Database,
        places: &BTreeMap<Lane, Place>,
    ) -> Result<(), StoreError> {
        if places.is_empty() {
            return Ok(());
        }
        database.within(self.write(database, places)).await
    }

    async fn write(
        &self,
        database: &Database,
        places: &BTreeMap<Lane, Place>,
    ) -> Result<(), sqlx::Error> {
        const NOTE: &str = "INSERT INTO tidings_store_places (log, lane, epoch, place) \
             VALUES ($1, $2, $3, $4) ON CONFLICT (log, lane) DO UPDATE \
             SET epoch = excluded.epoch, place = excluded.place \
             WHERE excluded.epoch > tidings_store_places.epoch \
             OR (excluded.epoch = tidings_store_places.epoch \
             AND excluded.place > tidings_store_places.place)";
        let mut transaction = database.begin().await?;
        // In the order of the lanes: two that write at once do not wait for each other.
        for (lane, place) in places {
            sqlx::query(NOTE)
                .bind(self.log)
                .bind(i64::from(lane.number()))
                .bind(i64::from(place.epoch.0))
                .bind(number(place.offset.0))
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await
    }

    /// Ends the sessions of runs that are gone, when they were last seen, and forgets those runs.
    pub(super) async fn bury_others(&self, database: &Database) -> Result<(), StoreError> {
        const END: &str = "UPDATE websocket_sessions SET reason = $2, \
             last_seen_ms = coalesce((SELECT seen_ms FROM tidings_store_runs r \
             WHERE r.run = websocket_sessions.run), last_seen_ms), \
             ended_ms = coalesce((SELECT seen_ms FROM tidings_store_runs r \
             WHERE r.run = websocket_sessions.run), last_seen_ms) \
             WHERE ended_ms IS NULL AND run NOT IN \
             (SELECT run FROM tidings_store_runs WHERE seen_ms > $1)";
        const FORGET: &str = "DELETE FROM tidings_store_runs WHERE seen_ms <= $1";
        let gone = self.gone_before();
        let bury = async {
            let mut transaction = database.begin().await?;
            let end = sqlx::query(END).bind(gone).bind(INSTANCE_GONE.to_owned());
            end.execute(&mut *transaction).await?;
            sqlx::query(FORGET).bind(gone).execute(&mut *transaction).await?;
            transaction.commit().await
        };
        database.within(bury).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_shared_out_and_stay_when_somebody_else_goes() {
        let all: Vec<String> = ["a", "b", "c"].map(str::to_owned).into();
        let without_c = &all[..2];
        let mut counts = BTreeMap::new();
        for partition in 0..256 {
            let now = owner(&all, partition).expect("there are some");
            *counts.entry(now.clone()).or_insert(0) += 1;
            if now != "c" {
                assert_eq!(owner(without_c, partition), Some(now));
            }
        }
        assert!(counts.values().all(|count| *count > 50), "{counts:?}");
        assert_eq!(owner(&[], 1), None);
    }
}
