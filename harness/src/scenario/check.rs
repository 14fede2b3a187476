//! Values of a scenario that are well-formed but make no sense.

use std::collections::BTreeSet;

use tidings_core::Priority;
use tidings_server::config::NodeAdapterKind;

use super::{Attack, Concern, Edit, Group, Lasts, Mix, Publish, Redis, Scenario, Step};
use crate::stamp;

/// The largest payload a scenario may ask for.
const MAX_PAYLOAD: usize = 1 << 20;

/// More than a server accepts without being told to.
const MAX_PATTERNS: usize = 1000;

/// More would measure the harness.
const MAX_ATTACKERS: usize = 1000;

/// Each client looks at all of them when they are loaded, and compares all at the end.
const MAX_RECORDS: usize = 10_000;

/// A value that makes no sense.
pub(super) struct Problem {
    pub(super) key: String,
    pub(super) problem: String,
}

fn problem(key: impl Into<String>, problem: impl Into<String>) -> Problem {
    Problem { key: key.into(), problem: problem.into() }
}

/// Finds the first value that makes no sense.
pub(super) fn check(scenario: &Scenario) -> Result<(), Problem> {
    if scenario.name.trim().is_empty() {
        return Err(problem("name", "must not be empty"));
    }
    if scenario.connections == 0 {
        return Err(problem("connections", "must be at least 1"));
    }
    match (scenario.instances, &scenario.redis) {
        (0, _) => return Err(problem("instances", "must be at least 1")),
        (2.., Redis::None) => {
            let text = "servers share events by Redis: add redis = \"cluster\"";
            return Err(problem("instances", text));
        }
        _ => {}
    }
    if scenario.duration.duration().is_zero() {
        return Err(problem("duration", "must be longer than 0s"));
    }
    if scenario.warmup >= scenario.duration {
        return Err(problem(
            "warmup",
            format!("{} must be shorter than the duration, {}", scenario.warmup, scenario.duration),
        ));
    }
    if !(stamp::MIN_PAYLOAD..=MAX_PAYLOAD).contains(&scenario.payload_bytes) {
        return Err(problem(
            "payload_bytes",
            format!("must be from {} to {MAX_PAYLOAD}", stamp::MIN_PAYLOAD),
        ));
    }
    on_node(scenario)?;
    groups(scenario)?;
    if scenario.publish.is_empty() && scenario.edit.is_empty() {
        return Err(problem("publish", "at least one [[publish]] or [[edit]] is needed"));
    }
    for (n, publish) in scenario.publish.iter().enumerate() {
        publishing(scenario, publish, &format!("publish[{n}]"))?;
    }
    for (n, edit) in scenario.edit.iter().enumerate() {
        editing(scenario, edit, &format!("edit[{n}]"))?;
    }
    for (n, attack) in scenario.attack.iter().enumerate() {
        attacking(attack, &format!("attack[{n}]"))?;
    }
    for (n, step) in scenario.step.iter().enumerate() {
        happening(scenario, step, &format!("step[{n}]"))?;
    }
    if scenario.chaos.is_some() {
        if !scenario.step.is_empty() {
            return Err(problem("chaos", "makes the steps: leave [[step]] out"));
        }
        if scenario.redis != Redis::Cluster || scenario.instances < 2 {
            let text = "needs redis = \"cluster\" and instances = 2 or more";
            return Err(problem("chaos", text));
        }
    }
    limits(scenario)
}

fn on_node(scenario: &Scenario) -> Result<(), Problem> {
    let Some(node) = &scenario.node else { return Ok(()) };
    if scenario.redis == Redis::None {
        return Err(problem(
            "node",
            "servers on Node are joined by Redis: add redis = \"cluster\"",
        ));
    }
    if node.servers == 0 || node.servers > scenario.instances {
        let text = format!("must be from 1 to instances, {}", scenario.instances);
        return Err(problem("node.servers", text));
    }
    if node.adapter == NodeAdapterKind::Off {
        return Err(problem("node.adapter", "must be \"classic\" or \"sharded\""));
    }
    if scenario.transport != Mix::SocketIo || scenario.group.iter().any(|g| g.transport.is_some()) {
        return Err(problem("transport", "servers on Node speak Socket.IO: must be \"socketio\""));
    }
    match scenario.wildcard() {
        Some(wild) => {
            let text = format!("{wild:?}: on Node patterns are rooms, which have no wildcards");
            Err(problem("group.subscribe", text))
        }
        None => Ok(()),
    }
}

fn groups(scenario: &Scenario) -> Result<(), Problem> {
    if scenario.group.is_empty() {
        return Err(problem("group", "at least one [[group]] is needed"));
    }
    let mut names = BTreeSet::new();
    for Group { name, count, weight, room_size, subscribe, bytes_per_second, .. } in &scenario.group
    {
        let key = |part: &str| format!("group.{name}.{part}");
        if !names.insert(name) {
            return Err(problem(key("name"), "another group has the same name"));
        }
        match (count, weight) {
            (Some(_), Some(_)) => {
                return Err(problem(key("weight"), "give either count or weight, not both"));
            }
            (None, None) => return Err(problem(key("count"), "give count or weight")),
            (None, Some(0)) => return Err(problem(key("weight"), "must be at least 1")),
            _ => {}
        }
        if *room_size == 0 {
            return Err(problem(key("room_size"), "must be at least 1"));
        }
        if bytes_per_second.is_some_and(|rate| rate < 100) {
            return Err(problem(key("bytes_per_second"), "must be at least 100"));
        }
        if subscribe.len() > MAX_PATTERNS {
            let most = format!("at most {MAX_PATTERNS} patterns for each client");
            return Err(problem(key("subscribe"), most));
        }
        for pattern in subscribe {
            template(pattern).map_err(|p| problem(key("subscribe"), p))?;
        }
    }
    Ok(())
}

fn publishing(scenario: &Scenario, publish: &Publish, at: &str) -> Result<(), Problem> {
    known_group(scenario, &publish.from, &format!("{at}.from"))?;
    rate(publish.rate, at)?;
    if publish.publishers == Some(0) {
        return Err(problem(format!("{at}.publishers"), "must be at least 1"));
    }
    template(&publish.name).map_err(|p| problem(format!("{at}.name"), p))?;
    if publish.name.split('.').any(|segment| segment == "*" || segment == "**") {
        return Err(problem(format!("{at}.name"), "events have names, not patterns with * or **"));
    }
    Ok(())
}

fn editing(scenario: &Scenario, edit: &Edit, at: &str) -> Result<(), Problem> {
    known_group(scenario, &edit.from, &format!("{at}.from"))?;
    let is_from = |group: &&Group| group.name == edit.from;
    if scenario.group.iter().find(is_from).is_none_or(|group| group.collection.is_none()) {
        let text = format!("group {} has no collection to edit", edit.from);
        return Err(problem(format!("{at}.from"), text));
    }
    rate(edit.rate, at)?;
    if !(1..=MAX_RECORDS).contains(&edit.records) {
        return Err(problem(format!("{at}.records"), format!("must be from 1 to {MAX_RECORDS}")));
    }
    if edit.together == 0 {
        return Err(problem(format!("{at}.together"), "must be at least 1"));
    }
    if edit.editors == Some(0) {
        return Err(problem(format!("{at}.editors"), "must be at least 1"));
    }
    Ok(())
}

fn attacking(attack: &Attack, at: &str) -> Result<(), Problem> {
    rate(attack.rate, at)?;
    if !(1..=MAX_ATTACKERS).contains(&attack.attackers) {
        let text = format!("must be from 1 to {MAX_ATTACKERS}");
        return Err(problem(format!("{at}.attackers"), text));
    }
    Ok(())
}

fn rate(rate: f64, at: &str) -> Result<(), Problem> {
    if rate.is_finite() && rate > 0.0 && rate <= 1e6 {
        return Ok(());
    }
    Err(problem(format!("{at}.rate"), "must be more than 0 and at most 1000000"))
}

fn happening(scenario: &Scenario, step: &Step, at: &str) -> Result<(), Problem> {
    if step.at > scenario.duration {
        return Err(problem(
            format!("{at}.at"),
            format!("{} is after the end, {}", step.at, scenario.duration),
        ));
    }
    let action = step.action.as_str();
    let concerns = step.action.concerns();
    if step.action.needs_cluster() && scenario.redis != Redis::Cluster {
        let text = format!("{action} needs redis = \"cluster\"");
        return Err(problem(format!("{at}.action"), text));
    }
    if step.server.is_some() && !matches!(concerns, Concern::Servers | Concern::RedisLinks) {
        let text = match concerns {
            Concern::Clients => format!("{action} happens to clients: give a group"),
            _ => format!("{action} happens to Redis"),
        };
        return Err(problem(format!("{at}.server"), text));
    }
    match (step.lasting, step.action.lasts()) {
        (None, Lasts::Must) => {
            return Err(problem(format!("{at}.for"), format!("say how long {action} lasts")));
        }
        (Some(_), Lasts::No) => {
            return Err(problem(format!("{at}.for"), format!("{action} happens at once")));
        }
        _ => {}
    }
    match (step.by, step.action.delays()) {
        (None, true) => {
            let text = format!("say by how much {action} delays, as in 50ms");
            return Err(problem(format!("{at}.by"), text));
        }
        (Some(_), false) => {
            return Err(problem(format!("{at}.by"), format!("{action} delays nothing")));
        }
        _ => {}
    }
    let Some(group) = &step.group else { return Ok(()) };
    let key = format!("{at}.group");
    match concerns {
        Concern::Clients => known_group(scenario, group, &key),
        Concern::Redis => Err(problem(key, format!("{action} happens to Redis"))),
        Concern::Servers | Concern::RedisLinks => {
            let text = format!("{action} happens to servers: give a server's number");
            Err(problem(key, text))
        }
    }
}

fn limits(scenario: &Scenario) -> Result<(), Problem> {
    let sla = &scenario.sla;
    if sla.delivered_ratio.is_some_and(|ratio| !(0.0..=1.0).contains(&ratio)) {
        return Err(problem("sla.delivered_ratio", "must be from 0 to 1"));
    }
    for group in sla.group.keys() {
        known_group(scenario, group, &format!("sla.group.{group}"))?;
    }
    for priority in sla.priority.keys() {
        if let Err(unknown) = priority.parse::<Priority>() {
            return Err(problem(format!("sla.priority.{priority}"), unknown.to_string()));
        }
    }
    Ok(())
}

fn known_group(scenario: &Scenario, name: &str, key: &str) -> Result<(), Problem> {
    if scenario.group.iter().any(|group| group.name == name) {
        return Ok(());
    }
    let names: Vec<_> = scenario.group.iter().map(|group| group.name.as_str()).collect();
    Err(problem(key, format!("no group is called {name:?}; there are {}", names.join(", "))))
}

/// Whether every placeholder is one that is filled in, and the rest can be a name or pattern.
fn template(text: &str) -> Result<(), String> {
    let filled = text.replace("{client}", "0").replace("{room}", "0");
    if filled.contains(['{', '}']) {
        return Err(format!("{text:?} has a placeholder other than {{client}} and {{room}}"));
    }
    if filled.is_empty() || filled.split('.').any(str::is_empty) {
        return Err(format!("{text:?} has an empty segment"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        name = "mine"
        about = "x"
        connections = 10
        duration = "5s"
        [[group]]
        name = "all"
        weight = 1
        subscribe = ["news.*"]
        [[publish]]
        from = "all"
        name = "news.{client}"
        rate = 10
        [[step]]
        at = "2s"
        action = "cut-clients"
    "#;

    fn error(from: &str, to: &str) -> String {
        assert!(GOOD.contains(from));
        Scenario::parse(&GOOD.replace(from, to), "mine.toml").unwrap_err().to_string()
    }

    #[test]
    fn a_good_one_passes() {
        Scenario::parse(GOOD, "mine.toml").unwrap();
    }

    #[test]
    fn errors_name_the_file_the_key_and_what_would_be_right() {
        for (from, to, key, advice) in [
            ("weight = 1", "wieght = 1", "wieght", "expected one of"),
            ("duration = \"5s\"", "duration = \"5\"", "duration", "as in 1.5s"),
            ("duration = \"5s\"", "duration = \"0s\"", "duration", "longer than 0s"),
            ("duration = \"5s\"", "", "duration", "missing field"),
            ("connections = 10", "connections = 0", "connections", "at least 1"),
            ("connections = 10", "warmup = \"9s\"", "warmup", "shorter than the duration"),
            ("connections = 10", "payload_bytes = 3", "payload_bytes", "must be from"),
            ("weight = 1", "weight = 1\ncount = 1", "group.all.weight", "not both"),
            ("weight = 1", "", "group.all.count", "count or weight"),
            ("news.*", "news.{n}", "group.all.subscribe", "{client}"),
            ("news.*", "news..x", "group.all.subscribe", "empty segment"),
            ("from = \"all\"", "from = \"al\"", "publish[0].from", "there are all"),
            ("rate = 10", "rate = 0", "publish[0].rate", "more than 0"),
            ("rate = 10", "rate = nan", "publish[0].rate", "more than 0"),
            ("rate = 10", "rate = 10\npriority = \"urgent\"", "urgent", "low, normal"),
            ("news.{client}\"", "news.*\"", "publish[0].name", "not patterns"),
            (
                "[[step]]",
                "[[edit]]\nfrom = \"all\"\nrate = 1\n[[step]]",
                "edit[0].from",
                "no collection",
            ),
            ("[[step]]", "[[attack]]\nkind = \"x\"\nrate = 1\n[[step]]", "kind", "half-open"),
            (
                "[[step]]",
                "[[attack]]\nkind = \"tokens\"\nrate = 0\n[[step]]",
                "attack[0].rate",
                "more than 0",
            ),
            (
                "[[step]]",
                "[[attack]]\nkind = \"tokens\"\nrate = 1\nattackers = 0\n[[step]]",
                "attack[0].attackers",
                "from 1 to",
            ),
            ("at = \"2s\"", "at = \"7s\"", "step[0].at", "after the end"),
            ("at = \"2s\"", "at = \"2s\"\nserver = 0", "step[0].server", "give a group"),
            ("cut-clients", "kill-servers", "action", "kill-server"),
            ("cut-clients", "pause-server", "step[0].for", "how long"),
            ("cut-clients", "kill-server\"\nfor = \"1s", "step[0].for", "at once"),
            ("cut-clients", "delay-clients\"\nfor = \"1s", "step[0].by", "50ms"),
            ("cut-clients", "cut-clients\"\nby = \"1s", "step[0].by", "delays nothing"),
            ("cut-clients", "kill-server\"\ngroup = \"all", "step[0].group", "server's number"),
            ("cut-clients", "stall-redis\"\nfor = \"1s", "step[0].action", "cluster"),
            ("[[step]]", "[chaos]\n[[step]]", "chaos", "leave [[step]] out"),
            (
                "[[step]]\n        at = \"2s\"\n        action = \"cut-clients\"",
                "[chaos]",
                "chaos",
                "cluster",
            ),
            ("[[step]]", "[sla]\nlosst = 1\n[[step]]", "losst", "expected one of"),
            ("[[step]]", "[sla.group.al]\n[[step]]", "sla.group.al", "there are all"),
            ("[[step]]", "[sla.priority.top]\n[[step]]", "sla.priority.top", "critical"),
        ] {
            let message = error(from, to);
            assert!(
                message.starts_with("mine.toml: ")
                    && message.contains(key)
                    && message.contains(advice),
                "{from} -> {to}: {message}"
            );
        }
    }

    #[test]
    fn unknown_scenarios_are_told_the_known_ones() {
        let message = Scenario::load("roms").unwrap_err().to_string();
        assert!(message.contains("\"roms\"") && message.contains("rooms"), "{message}");
    }
}
