//! Settings of what is kept in a database.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};

use super::units::{duration, size};
use super::{MIB, without_password};

settings! {
    /// What is kept in a database, SQLite or PostgreSQL; see docs/operating.md.
    Store {
        /// Where it is: sqlite:PATH (a file that is made if it is not there), sqlite::memory: or
        /// postgres://USER@HOST/DATABASE. Empty: nothing is kept beyond the log.
        database: DatabaseUrl = DatabaseUrl::default(),
        /// Keep events, with their payloads, in the table event_store.
        events: bool = false,
        /// Of these names or patterns.
        keep: Vec<String> = vec!["**".to_owned()],
        /// Keep who was connected, from where and until when, in the table websocket_sessions.
        sessions: bool = true,
        /// Older events are deleted.
        #[serde(with = "duration")]
        max_age: Duration = Duration::from_secs(7 * 24 * 60 * 60),
        /// How many bytes of events are kept at most; the oldest are deleted. The file is larger:
        /// indexes come on top.
        #[serde(with = "size")]
        max_bytes: usize = 1024 * MIB,
        /// Sessions that ended longer ago are deleted.
        #[serde(with = "duration")]
        sessions_max_age: Duration = Duration::from_secs(30 * 24 * 60 * 60),
        /// How often old events and sessions are looked for.
        #[serde(with = "duration")]
        sweep_interval: Duration = Duration::from_secs(60),
        /// How often what is new is written.
        #[serde(with = "duration")]
        interval: Duration = Duration::from_millis(250),
        /// How many bytes of events wait for the database at most. What comes beyond is not kept
        /// and counted; clients get it all the same.
        #[serde(with = "size")]
        queue: usize = 32 * MIB,
        /// How many beginnings and ends of sessions wait for the database at most.
        session_queue: usize = 50_000,
        /// How long the database may take for one step before it counts as not answering.
        #[serde(with = "duration")]
        timeout: Duration = Duration::from_secs(5),
        /// How long nothing is tried after the database has failed.
        #[serde(with = "duration")]
        retry: Duration = Duration::from_secs(1),
        /// How often this instance says in the database that it is there. One that has not for five
        /// times as long counts as gone: others go on with what it kept. At least interval.
        #[serde(with = "duration")]
        heartbeat: Duration = Duration::from_secs(2),
        /// How many connections to the database there are at most.
        connections: usize = 4,
        /// How many events are looked at for one page of history. A page that ends before it is full
        /// says where to go on.
        max_looked_at: usize = 5000,
    }
}

/// Where a database is. A password in it is not shown.
#[derive(Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(from = "String")]
pub struct DatabaseUrl(String);

impl DatabaseUrl {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// With its password.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for DatabaseUrl {
    fn from(url: String) -> Self {
        Self(url)
    }
}

impl From<&str> for DatabaseUrl {
    fn from(url: &str) -> Self {
        Self(url.to_owned())
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = without_password(&self.0);
        let Some((before, rest)) = shown.split_once("password=") else {
            return f.write_str(&shown);
        };
        let after = rest.find('&').map_or("", |end| &rest[end..]);
        write!(f, "{before}password=***{after}")
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

impl Serialize for DatabaseUrl {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    #[test]
    fn passwords_of_databases_are_not_shown() {
        for url in
            ["postgres://u:hush@db/x", "postgres://db/x?user=u&password=hush&sslmode=require"]
        {
            let config = Config::default().with(|c| c.store.database = url.into());
            let shown = config.to_toml() + &format!("{config:?}");
            assert!(!shown.contains("hush") && shown.contains("***"), "{shown}");
        }
    }

    #[test]
    fn a_store_needs_a_database_that_there_is() {
        let refused = |url: &str| {
            let config = Config::default().with(|c| c.store.database = url.into());
            config.validate().expect_err("no database").to_string()
        };
        for url in ["tidings.db", "mysql://db/x", "postgres:db", "sqlite:", "postgres://u:***@db/x"]
        {
            let error = refused(url);
            assert!(error.starts_with("store.database: "), "{error}");
        }
        assert!(refused("tidings.db").contains("sqlite:tidings.db"), "it says what would be right");
        let events = Config::default().with(|c| c.store.events = true);
        let error = events.validate().expect_err("where to?").to_string();
        assert!(error.starts_with("store.events: ") && error.contains("sqlite:"), "{error}");
        let keep = Config::default().with(|c| c.store.keep = vec!["a..b".into(), String::new()]);
        let error = keep.validate().expect_err("no pattern").to_string();
        assert!(error.starts_with("store.keep: "), "{error}");
    }
}
