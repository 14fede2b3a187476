//! What a process has used, from /proc.

use serde::{Deserialize, Serialize};

/// CPU time and memory of a process.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Usage {
    /// User and system time since it started, in seconds.
    pub(crate) cpu_seconds: f64,
    /// Resident memory now, in bytes.
    pub(crate) rss_bytes: u64,
    /// The most resident memory it ever had, in bytes.
    pub(crate) rss_peak_bytes: u64,
}

impl Usage {
    /// Of the process with this id; `None` when it is gone or the system has no /proc.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        Some(Self {
            cpu_seconds: cpu_ticks(&stat)? as f64 / rustix::param::clock_ticks_per_second() as f64,
            rss_bytes: kilobytes(&status, "VmRSS:")? * 1024,
            rss_peak_bytes: kilobytes(&status, "VmHWM:")? * 1024,
        })
    }
}

/// Fields 14 and 15, counted after the command's closing parenthesis, since a command may contain
/// blanks.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let after_command = &stat[stat.rfind(')')? + 1..];
    let mut fields = after_command.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn kilobytes(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// What a process of a run has used, for the report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProcessReport {
    /// `server 0`, `redis 0`, `harness`, `floor`.
    pub role: String,
    /// User and system time, in seconds, from the first event due until the end.
    pub cpu_seconds: f64,
    /// The most resident memory it had, in bytes.
    pub rss_peak_bytes: u64,
    /// How much resident memory each idle connection added, in bytes: after connecting and
    /// subscribing, before the first event.
    pub rss_per_connection_bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_this_process() {
        let usage = Usage::of(std::process::id()).unwrap();
        assert!(usage.rss_bytes > 100_000 && usage.rss_peak_bytes >= usage.rss_bytes / 2);
        assert_eq!(Usage::of(u32::MAX), None);
    }

    #[test]
    fn a_command_with_blanks_and_parentheses_does_not_shift_the_fields() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 1 0 5";
        assert_eq!(cpu_ticks(stat), Some(300));
        assert_eq!(cpu_ticks("7 (a"), None);
    }
}
