//! The scenarios shipped in the binary.

/// Name and text of each built-in scenario, the default first.
pub const BUILT_IN: &[(&str, &str)] = &[
    ("rooms", include_str!("../../scenarios/rooms.toml")),
    ("fanout", include_str!("../../scenarios/fanout.toml")),
    ("echo", include_str!("../../scenarios/echo.toml")),
    ("publish-many", include_str!("../../scenarios/publish-many.toml")),
    ("slow-consumers", include_str!("../../scenarios/slow-consumers.toml")),
    ("reconnect-storm", include_str!("../../scenarios/reconnect-storm.toml")),
    ("transport-switch", include_str!("../../scenarios/transport-switch.toml")),
    ("priorities", include_str!("../../scenarios/priorities.toml")),
    ("cluster-fanout", include_str!("../../scenarios/cluster-fanout.toml")),
    ("instance-kill", include_str!("../../scenarios/instance-kill.toml")),
    ("rolling-restart", include_str!("../../scenarios/rolling-restart.toml")),
    ("redis-failover", include_str!("../../scenarios/redis-failover.toml")),
    ("partition", include_str!("../../scenarios/partition.toml")),
    ("redis-outage", include_str!("../../scenarios/redis-outage.toml")),
    ("node-mixed", include_str!("../../scenarios/node-mixed.toml")),
    ("everything", include_str!("../../scenarios/everything.toml")),
    ("collab", include_str!("../../scenarios/collab.toml")),
    ("offline-writers", include_str!("../../scenarios/offline-writers.toml")),
    ("collab-kill", include_str!("../../scenarios/collab-kill.toml")),
    ("hostile", include_str!("../../scenarios/hostile.toml")),
    ("growth", include_str!("../../scenarios/growth.toml")),
    ("smoke", include_str!("../../scenarios/smoke.toml")),
    ("soak", include_str!("../../scenarios/soak.toml")),
];

#[cfg(test)]
mod tests {
    use super::super::Scenario;
    use super::*;

    #[test]
    fn all_are_valid_and_carry_the_name_they_are_listed_under() {
        for (name, text) in BUILT_IN {
            let scenario = Scenario::parse(text, name).unwrap();
            assert_eq!(scenario.name, *name);
            assert!(!scenario.about.is_empty());
        }
    }
}
