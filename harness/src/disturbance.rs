//! Whether a missed latency says something about the server, or about the machine it was
//! measured on.

use crate::report::{HarnessLag, Machine, SlaResult};
use crate::sla::HARNESS_LAG;

/// A hypervisor that takes more than this many percent of the processors' time makes latencies
/// its own.
const MAX_STEAL_PERCENT: f64 = 10.0;

/// So do other programs.
const MAX_OTHERS_PERCENT: f64 = 10.0;

/// Why the measurement itself was disturbed, in words for people; empty if nothing speaks for
/// that, or if no latency was missed that it could explain.
pub(crate) fn disturbances(
    sla: &[SlaResult],
    lag: &HarnessLag,
    machine: Option<&Machine>,
) -> Vec<String> {
    if !sla.iter().any(|sla| !sla.pass && is_of_time(sla)) {
        return Vec::new();
    }
    let mut found = Vec::new();
    if sla.iter().any(|sla| !sla.pass && sla.name == HARNESS_LAG) {
        let ms = |us: u64| us as f64 / 1000.0;
        found.push(format!(
            "the harness itself was late: {:.1} ms in publishing, {:.1} ms in its tasks (p99)",
            ms(lag.publish.p99),
            ms(lag.task.p99),
        ));
    }
    if let Some(machine) = machine {
        if machine.steal_percent > MAX_STEAL_PERCENT {
            found.push(format!(
                "the hypervisor took {:.0} % of the processors' time",
                machine.steal_percent
            ));
        }
        if let Some(others) = machine.others_percent.filter(|o| *o > MAX_OTHERS_PERCENT) {
            found.push(format!("other programs took {others:.0} % of the processors' time"));
        }
    }
    found
}

/// Whether a busy machine alone can make one miss this limit.
pub(crate) fn is_of_time(sla: &SlaResult) -> bool {
    sla.unit == "ms" || sla.name == "floor_ratio_p99"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::LatencySummary;
    use crate::report::Bound;

    fn sla(name: &str, unit: &str, pass: bool) -> SlaResult {
        SlaResult {
            name: name.to_owned(),
            bound: Bound::Max,
            limit: 5.0,
            measured: Some(if pass { 1.0 } else { 9.0 }),
            unit: unit.to_owned(),
            pass,
        }
    }

    fn machine(steal_percent: f64, others_percent: Option<f64>) -> Machine {
        let (cpu_busy_percent, pressure_percent) = (80.0, None);
        Machine { cores: 2, steal_percent, cpu_busy_percent, others_percent, pressure_percent }
    }

    #[test]
    fn a_missed_latency_is_told_with_what_disturbed_it() {
        let lag = HarnessLag {
            publish: LatencySummary { p99: 17_000, ..LatencySummary::default() },
            ..HarnessLag::default()
        };
        let missed = [sla("emission_p99_ms", "ms", false), sla(HARNESS_LAG, "ms", false)];
        let found = disturbances(&missed, &lag, Some(&machine(31.0, Some(55.0))));
        assert_eq!(found.len(), 3, "{found:?}");
        for (text, figure) in found.iter().zip(["17.0 ms", "31 %", "55 %"]) {
            assert!(text.contains(figure), "{text}");
        }
    }

    #[test]
    fn a_quiet_machine_excuses_nothing() {
        let missed = [sla("emission_p99_ms", "ms", false), sla(HARNESS_LAG, "ms", true)];
        let lag = HarnessLag::default();
        assert!(disturbances(&missed, &lag, Some(&machine(8.0, Some(3.0)))).is_empty());
        assert!(disturbances(&missed, &lag, Some(&machine(8.0, None))).is_empty());
        assert!(disturbances(&missed, &lag, None).is_empty());
    }

    #[test]
    fn a_busy_machine_excuses_no_loss() {
        let missed = [sla("lost", "count", false), sla("emission_p99_ms", "ms", true)];
        let busy = machine(50.0, Some(50.0));
        assert!(disturbances(&missed, &HarnessLag::default(), Some(&busy)).is_empty());
    }
}
