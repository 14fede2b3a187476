//! Settings of the log in Redis.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};

use super::MIB;
use super::units::{duration, size};

settings! {
    /// The log that instances share, in Redis 7 or later (a cluster, or a single one).
    Redis {
        /// Where Redis is: redis://HOST:PORT, or rediss:// with TLS, with commas between several.
        /// Of a cluster some nodes are enough. Empty: the log is in this process's memory, and it
        /// is the only instance.
        urls: RedisUrls = RedisUrls::default(),
        /// What the names of all keys and channels begin with.
        prefix: String = "tidings".to_owned(),
        /// The user, if it is not in the URLs.
        username: String = String::new(),
        /// A file with the password, if it is not in the URLs.
        password_file: String = String::new(),
        /// A file with the certificates (PEM) that Redis' certificate is to be signed by. Empty:
        /// those the system trusts.
        ca_file: String = String::new(),
        /// From the beginning of a connection to Redis until it must be there.
        #[serde(with = "duration")]
        connect_timeout: Duration = Duration::from_secs(2),
        /// From a command to its answer; then the connection is given up.
        #[serde(with = "duration")]
        command_timeout: Duration = Duration::from_secs(2),
        /// How long a publish waits for Redis at most before it is refused; the client may then
        /// send it again.
        #[serde(with = "duration")]
        publish_timeout: Duration = Duration::from_secs(15),
        /// How long a critical event waits for a replica before it is tried again. Must be less
        /// than command_timeout.
        #[serde(with = "duration")]
        replica_timeout: Duration = Duration::from_secs(1),
        /// How many bytes of publishes may wait for Redis; what comes beyond is refused.
        #[serde(with = "size")]
        buffer: usize = 16 * MIB,
        /// How often each partition that is read here is compared with Redis, in case a notice was
        /// lost.
        #[serde(with = "duration")]
        check_interval: Duration = Duration::from_secs(1),
        /// How long a partition is still read after the last one here who wanted it.
        #[serde(with = "duration")]
        linger: Duration = Duration::from_secs(30),
        /// How long nothing new is appended after a replica has taken over, so that all instances
        /// can put back what the failover has lost.
        #[serde(with = "duration")]
        settle: Duration = Duration::from_millis(250),
        /// How often this instance tells the others that it is alive. One that has not for four
        /// times as long counts as dead.
        #[serde(with = "duration")]
        heartbeat: Duration = Duration::from_secs(1),
    }
}

/// Where Redis is: URLs with commas between them. Passwords in them are not shown.
#[derive(Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(from = "String")]
pub struct RedisUrls(String);

impl RedisUrls {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// One after the other, with their passwords.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.split(',').map(str::trim).filter(|url| !url.is_empty())
    }
}

impl From<String> for RedisUrls {
    fn from(urls: String) -> Self {
        Self(urls)
    }
}

impl From<&str> for RedisUrls {
    fn from(urls: &str) -> Self {
        Self(urls.to_owned())
    }
}

impl fmt::Display for RedisUrls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: Vec<_> = self.iter().map(without_password).collect();
        f.write_str(&shown.join(","))
    }
}

impl fmt::Debug for RedisUrls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

impl Serialize for RedisUrls {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// A URL with stars for its password.
pub(crate) fn without_password(url: &str) -> String {
    let hidden = || {
        let (scheme, rest) = url.split_once("://")?;
        let (who, place) = rest.rsplit_once('@')?;
        let (user, _) = who.split_once(':')?;
        Some(format!("{scheme}://{user}:***@{place}"))
    };
    hidden().unwrap_or_else(|| url.to_owned())
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    #[test]
    fn passwords_are_not_shown() {
        let config = Config::default().with(|c| {
            c.redis.urls = "redis://u:hush@a:1,rediss://:hush@b:2,redis://c:3".into();
        });
        let shown = config.to_toml();
        assert!(!shown.contains("hush"), "{shown}");
        assert!(shown.contains("redis://u:***@a:1,rediss://:***@b:2,redis://c:3"), "{shown}");
        let debug = format!("{config:?}");
        assert!(!debug.contains("hush"), "{debug}");
    }
}
