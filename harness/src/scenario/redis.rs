//! What joins the servers of a run.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What joins the servers of a run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Redis {
    /// Nothing: there is one server, with its log in memory.
    #[default]
    None,
    /// A private cluster of three masters and three replicas, which ends with the run.
    Cluster,
    /// One that runs already, at these URLs. The run has keys of its own there.
    At(String),
}

impl FromStr for Redis {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::None),
            "cluster" => Ok(Self::Cluster),
            urls if urls
                .split(',')
                .all(|url| url.starts_with("redis://") || url.starts_with("rediss://")) =>
            {
                Ok(Self::At(urls.to_owned()))
            }
            other => Err(format!("{other:?} is none of: none, cluster, redis://HOST:PORT[,...]")),
        }
    }
}

impl TryFrom<String> for Redis {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Redis> for String {
    fn from(redis: Redis) -> Self {
        redis.to_string()
    }
}

impl fmt::Display for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Cluster => f.write_str("cluster"),
            // URLs may have passwords.
            Self::At(_) => f.write_str("redis://***"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_written_as_on_the_command_line() {
        assert_eq!("none".parse(), Ok(Redis::None));
        assert_eq!("cluster".parse(), Ok(Redis::Cluster));
        let urls = "redis://a:1,rediss://:secret@b:2";
        assert_eq!(urls.parse(), Ok(Redis::At(urls.to_owned())));
        assert!(!Redis::At(urls.to_owned()).to_string().contains("secret"));
        assert!("memory".parse::<Redis>().unwrap_err().contains("cluster"));
    }
}
