//! What the machine did while a run was measured: whether its processors were the run's at all.

use std::time::Instant;

use crate::report::Machine;

/// The processors' time so far, from /proc/stat and, where the kernel tells it, /proc/pressure/cpu.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Reading {
    taken: Instant,
    times: Times,
    /// How long some task waited for a processor, in microseconds.
    waiting_us: Option<u64>,
}

/// Clock ticks of all processors together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Times {
    busy: u64,
    idle: u64,
    /// What the hypervisor gave to others although this machine wanted it.
    stolen: u64,
}

impl Reading {
    /// What the system says now; `None` where there is no /proc/stat.
    pub(crate) fn now() -> Option<Self> {
        let pressure = std::fs::read_to_string("/proc/pressure/cpu").ok();
        Some(Self {
            times: times(&std::fs::read_to_string("/proc/stat").ok()?)?,
            waiting_us: pressure.as_deref().and_then(waiting_us),
            taken: Instant::now(),
        })
    }

    /// What the machine did from `self` until `end`, of which the run's own processes took
    /// `own_cpu_seconds`, if that is known for all of them.
    pub(crate) fn until(&self, end: &Self, own_cpu_seconds: Option<f64>) -> Machine {
        let since = |of: fn(&Times) -> u64| of(&end.times).saturating_sub(of(&self.times)) as f64;
        let (busy, stolen) = (since(|t| t.busy), since(|t| t.stolen));
        let all = (busy + stolen + since(|t| t.idle)).max(1.0);
        let percent = |ticks: f64| ticks / all * 100.0;
        let own_ticks = |seconds: f64| seconds * rustix::param::clock_ticks_per_second() as f64;
        let elapsed_us = end.taken.duration_since(self.taken).as_micros().max(1) as f64;
        let waiting = self.waiting_us.zip(end.waiting_us);
        Machine {
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            steal_percent: percent(stolen),
            cpu_busy_percent: percent(busy),
            others_percent: own_cpu_seconds.map(|own| percent((busy - own_ticks(own)).max(0.0))),
            pressure_percent: waiting
                .map(|(from, to)| (to.saturating_sub(from) as f64 / elapsed_us * 100.0).min(100.0)),
        }
    }
}

/// The first line: `cpu  user nice system idle iowait irq softirq steal ...`, where the guests'
/// time that follows is contained in the user's.
fn times(stat: &str) -> Option<Times> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let fields: Vec<u64> =
        line.split_ascii_whitespace().map_while(|field| field.parse().ok()).collect();
    let &[user, nice, system, idle, waiting_for_disk, irq, softirq, stolen, ..] = &*fields else {
        return None;
    };
    Some(Times {
        busy: user + nice + system + irq + softirq,
        idle: idle + waiting_for_disk,
        stolen,
    })
}

/// The total of the line `some avg10=… avg60=… avg300=… total=…`.
fn waiting_us(pressure: &str) -> Option<u64> {
    let line = pressure.lines().find_map(|line| line.strip_prefix("some "))?;
    line.split_once("total=")?.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn reads_what_the_kernel_writes() {
        let stat = "cpu  10 20 30 400 50 6 7 80 9 0\ncpu0 1 2 3 4 5 6 7 8 9 0\nintr 1\n";
        assert_eq!(times(stat), Some(Times { busy: 73, idle: 450, stolen: 80 }));
        assert_eq!(times("cpu  1 2 3"), None);
        let pressure = "some avg10=2.20 avg60=1.27 avg300=1.80 total=3839792807\nfull total=0\n";
        assert_eq!(waiting_us(pressure), Some(3_839_792_807));
        assert_eq!(waiting_us(""), None);
    }

    #[test]
    fn parts_are_of_all_the_time_there_was() {
        let per_second = rustix::param::clock_ticks_per_second();
        let taken = Instant::now();
        let at = |seconds: u64, busy: u64, stolen: u64| Reading {
            taken: taken + Duration::from_secs(seconds),
            times: Times {
                busy: busy * per_second,
                idle: (2 * seconds - busy - stolen) * per_second,
                stolen: stolen * per_second,
            },
            waiting_us: Some(seconds * 500_000),
        };
        let (start, end) = (at(10, 4, 2), at(20, 14, 4));
        let machine = start.until(&end, Some(6.0));
        assert_eq!((machine.cpu_busy_percent, machine.steal_percent), (50.0, 10.0));
        assert_eq!(machine.others_percent, Some(20.0));
        assert_eq!(machine.pressure_percent, Some(50.0));
        assert_eq!(start.until(&end, None).others_percent, None);
        let nothing = start.until(&start, Some(0.0));
        assert_eq!((nothing.cpu_busy_percent, nothing.steal_percent), (0.0, 0.0));
    }
}
