//! A scenario spelt out: each client, each stream, and who is to get what.

use std::collections::HashMap;
use std::sync::Arc;

use tidings_core::Priority;
use tidings_core::rng::Rng;

use crate::scenario::{Group, Mix, Publish, Scenario};

/// How a client talks to its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Wire {
    /// Engine.IO and Socket.IO.
    SocketIo,
    /// The Tidings protocol.
    Ws,
}

impl Wire {
    /// The other one.
    pub(crate) fn other(self) -> Self {
        match self {
            Self::SocketIo => Self::Ws,
            Self::Ws => Self::SocketIo,
        }
    }

    /// The word for it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::SocketIo => "socketio",
            Self::Ws => "ws",
        }
    }
}

/// One client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientPlan {
    /// Its group, by number.
    pub(crate) group: usize,
    /// The transport it starts with.
    pub(crate) wire: Wire,
    /// What it subscribes to.
    pub(crate) patterns: Vec<String>,
    /// The collection that it has open.
    pub(crate) collection: Option<String>,
    /// What its link passes per second, if it is limited.
    pub(crate) bytes_per_second: Option<u32>,
    /// The streams it is to get, each with the number of the first of its patterns that covers it.
    pub(crate) expects: Vec<(u32, u16)>,
}

/// One publisher writing to one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StreamPlan {
    /// The client that publishes.
    pub(crate) publisher: usize,
    /// The events' name.
    pub(crate) name: Arc<str>,
    /// The events' priority.
    pub(crate) priority: Priority,
    /// How many clients are to get each event.
    pub(crate) receivers: u64,
}

/// Events that come at a constant rate, from the streams in turn.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Source {
    /// How many per second.
    pub(crate) rate: f64,
    /// The streams, in the order of their turns.
    pub(crate) streams: Vec<u32>,
}

/// A scenario spelt out.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Population {
    /// All clients, group by group.
    pub(crate) clients: Vec<ClientPlan>,
    /// All streams, by their number.
    pub(crate) streams: Vec<StreamPlan>,
    /// What is published.
    pub(crate) sources: Vec<Source>,
}

/// The scenario does not work with this number of connections.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PopulationError {
    /// Groups of a fixed size leave nothing for the others.
    #[error("scenario {scenario} needs at least {least} connections, not {connections}")]
    TooFew {
        /// Which scenario.
        scenario: String,
        /// How many it needs.
        least: usize,
        /// How many it was given.
        connections: usize,
    },
    /// Nobody is subscribed to anything that is published.
    #[error("scenario {0}: nobody is subscribed to anything that is published")]
    NobodyListens(String),
}

impl Population {
    /// Spells out `scenario`; the same scenario always gives the same population.
    pub(crate) fn of(scenario: &Scenario) -> Result<Self, PopulationError> {
        let sizes = group_sizes(scenario)?;
        let mut clients = Vec::with_capacity(scenario.connections);
        let mut first_of_group = Vec::with_capacity(sizes.len());
        for (number, (group, size)) in scenario.group.iter().zip(&sizes).enumerate() {
            first_of_group.push(clients.len());
            clients.extend((0..*size).map(|n| client(scenario, group, number, n)));
        }
        let mut streams = Vec::new();
        let mut sources = Vec::new();
        for publish in &scenario.publish {
            let Some(number) = scenario.group.iter().position(|g| g.name == publish.from) else {
                continue;
            };
            let (group, size, first) =
                (&scenario.group[number], sizes[number], first_of_group[number]);
            let publishers = publish.publishers.unwrap_or(size).min(size);
            let start = streams.len() as u32;
            streams.extend((0..publishers).map(|n| stream(publish, group, n, first + n)));
            let mut turns: Vec<u32> = (start..streams.len() as u32).collect();
            shuffle(&mut turns);
            sources.push(Source { rate: publish.rate, streams: turns });
        }
        expect(&mut clients, &mut streams);
        if scenario.edit.is_empty() && streams.iter().all(|stream| stream.receivers == 0) {
            return Err(PopulationError::NobodyListens(scenario.name.clone()));
        }
        Ok(Self { clients, streams, sources })
    }
}

fn client(scenario: &Scenario, group: &Group, number: usize, n: usize) -> ClientPlan {
    let wire = match group.transport.unwrap_or(scenario.transport) {
        Mix::SocketIo => Wire::SocketIo,
        Mix::Ws => Wire::Ws,
        Mix::Mixed if n.is_multiple_of(2) => Wire::SocketIo,
        Mix::Mixed => Wire::Ws,
    };
    ClientPlan {
        group: number,
        wire,
        patterns: group.subscribe.iter().map(|pattern| fill(pattern, n, group)).collect(),
        collection: group.collection.clone(),
        bytes_per_second: group.bytes_per_second,
        expects: Vec::new(),
    }
}

fn stream(publish: &Publish, group: &Group, n: usize, publisher: usize) -> StreamPlan {
    StreamPlan {
        publisher,
        name: fill(&publish.name, n, group).into(),
        priority: publish.priority,
        receivers: 0,
    }
}

fn fill(template: &str, n: usize, group: &Group) -> String {
    template
        .replace("{client}", &n.to_string())
        .replace("{room}", &(n / group.room_size).to_string())
}

/// Shares the connections out: counts first, then one for each weight, then the rest by weight,
/// and what rounding leaves to the heaviest.
fn group_sizes(scenario: &Scenario) -> Result<Vec<usize>, PopulationError> {
    let fixed: usize = scenario.group.iter().filter_map(|group| group.count).sum();
    let weights: u64 = scenario.group.iter().filter_map(|g| g.weight).map(u64::from).sum();
    let weighted = scenario.group.iter().filter(|group| group.weight.is_some()).count();
    let least = fixed + weighted;
    if scenario.connections < least {
        return Err(PopulationError::TooFew {
            scenario: scenario.name.clone(),
            least,
            connections: scenario.connections,
        });
    }
    let shared = (scenario.connections - least) as u64;
    let mut sizes: Vec<usize> = scenario
        .group
        .iter()
        .map(|group| match (group.count, group.weight) {
            (Some(count), _) => count,
            (None, Some(weight)) => 1 + (shared * u64::from(weight) / weights) as usize,
            (None, None) => 0,
        })
        .collect();
    let left = scenario.connections.saturating_sub(sizes.iter().sum());
    let heaviest = scenario.group.iter().zip(&mut sizes).max_by_key(|(group, _)| group.weight);
    if let Some((_, size)) = heaviest.filter(|(group, _)| group.weight.is_some()) {
        *size += left;
    }
    Ok(sizes)
}

/// Works out from patterns and names who is to get what.
fn expect(clients: &mut [ClientPlan], streams: &mut [StreamPlan]) {
    let mut by_name: HashMap<Arc<str>, Vec<u32>> = HashMap::new();
    for (number, stream) in streams.iter().enumerate() {
        by_name.entry(stream.name.clone()).or_default().push(number as u32);
    }
    let mut by_pattern: HashMap<String, Vec<u32>> = HashMap::new();
    for client in clients {
        for (number, pattern) in (0..).zip(&client.patterns) {
            let matching = by_pattern.entry(pattern.clone()).or_insert_with(|| {
                if is_literal(pattern) {
                    return by_name.get(pattern.as_str()).cloned().unwrap_or_default();
                }
                let names = by_name.iter().filter(|(name, _)| matches(pattern, name));
                names.flat_map(|(_, streams)| streams.iter().copied()).collect()
            });
            client.expects.extend(matching.iter().map(|stream| (*stream, number)));
        }
        client.expects.sort_unstable();
        client.expects.dedup_by_key(|(stream, _)| *stream);
        for (stream, _) in &client.expects {
            streams[*stream as usize].receivers += 1;
        }
    }
}

fn is_literal(pattern: &str) -> bool {
    !pattern.split('.').any(|segment| segment == "*" || segment == "**")
}

/// Whether `pattern` covers `name`. This is the harness's own reading of the rules, so that a
/// mistake in the index that servers use cannot hide itself.
fn matches(pattern: &str, name: &str) -> bool {
    fn walk(pattern: &[&str], name: &[&str]) -> bool {
        match (pattern.split_first(), name.split_first()) {
            (None, None) => true,
            (Some((&"**", rest)), _) => (0..=name.len()).any(|skip| walk(rest, &name[skip..])),
            (Some((&"*", rest)), Some((_, tail))) => walk(rest, tail),
            (Some((literal, rest)), Some((segment, tail))) => {
                literal == segment && walk(rest, tail)
            }
            _ => false,
        }
    }
    let pattern: Vec<_> = pattern.split('.').collect();
    let name: Vec<_> = name.split('.').collect();
    walk(&pattern, &name)
}

/// Fisher-Yates with a fixed seed: turns go round the rooms instead of through one after another.
fn shuffle(turns: &mut [u32]) {
    let mut rng = Rng::new(turns.len() as u64);
    for last in (1..turns.len()).rev() {
        turns.swap(last, rng.below(last as u64 + 1) as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn population(name: &str, connections: usize) -> (Scenario, Population) {
        let mut scenario = Scenario::load(name).unwrap();
        scenario.connections = connections;
        let population = Population::of(&scenario).unwrap();
        (scenario, population)
    }

    #[test]
    fn rooms_has_900_members_in_rooms_of_ten_and_100_on_wildcards() {
        let (scenario, population) = population("rooms", 1000);
        assert_eq!(population.clients.len(), 1000);
        let members = population.clients.iter().filter(|c| c.group == 0).count();
        assert_eq!((scenario.group[0].name.as_str(), members), ("members", 900));
        assert_eq!(population.streams.len(), 900, "every member publishes");
        for stream in &population.streams {
            assert_eq!(stream.receivers, 10 + 1 + 10, "room, its watcher, ten that see all");
        }
        let socketio = population.clients.iter().filter(|c| c.wire == Wire::SocketIo).count();
        assert_eq!(socketio, 500);
    }

    #[test]
    fn every_built_in_scenario_scales() {
        for (name, _) in crate::scenario::BUILT_IN {
            for connections in [100, 1000, 5000] {
                let (_, population) = population(name, connections);
                assert_eq!(population.clients.len(), connections, "{name}");
            }
        }
    }

    #[test]
    fn too_few_connections_are_refused_with_the_least() {
        let mut scenario = Scenario::load("rooms").unwrap();
        scenario.connections = 11;
        let error = Population::of(&scenario).unwrap_err().to_string();
        assert_eq!(error, "scenario rooms needs at least 12 connections, not 11");
    }

    #[test]
    fn a_scenario_in_which_nobody_listens_is_refused() {
        let mut scenario = Scenario::load("fanout").unwrap();
        scenario.group[1].subscribe = vec!["olds.**".into()];
        assert!(Population::of(&scenario).unwrap_err().to_string().contains("nobody"));
    }

    #[test]
    fn overlapping_patterns_of_a_client_are_one_expectation() {
        let mut scenario = Scenario::load("fanout").unwrap();
        scenario.group[1].subscribe = vec!["news.**".into(), "news.*.headline".into()];
        let population = Population::of(&scenario).unwrap();
        assert!(population.streams.iter().all(|s| s.receivers == 996));
        assert_eq!(population.clients[500].expects, [(0, 0), (1, 0), (2, 0), (3, 0)]);
    }

    #[test]
    fn patterns_cover_names_as_in_eventemitter2() {
        for (pattern, name, covered) in [
            ("a.b", "a.b", true),
            ("a.*", "a.b", true),
            ("a.*", "a", false),
            ("a.*", "a.b.c", false),
            ("a.**", "a", true),
            ("a.**", "a.b.c", true),
            ("**.c", "a.b.c", true),
            ("**.b.c", "a.b.b.c", true),
            ("a.**.c", "a.c", true),
            ("a.**.c", "a.b.d", false),
            ("**", "x", true),
        ] {
            assert_eq!(matches(pattern, name), covered, "{pattern} {name}");
        }
    }

    #[test]
    fn turns_are_shuffled_without_loss() {
        let mut turns: Vec<u32> = (0..100).collect();
        shuffle(&mut turns);
        assert_ne!(turns, (0..100).collect::<Vec<_>>());
        turns.sort_unstable();
        assert_eq!(turns, (0..100).collect::<Vec<_>>());
    }
}
