//! The sets of patterns that the benchmarks use; `benches/peers/eventemitter2.mjs` has the same.

/// How many listeners there are.
pub(crate) const SIZES: [usize; 3] = [10, 1_000, 10_000];

/// A set of patterns and a name that matches some of them.
pub(crate) struct Workload {
    /// As reports call it.
    pub(crate) title: &'static str,
    /// As many patterns as asked for.
    pub(crate) patterns: fn(usize) -> Vec<String>,
    /// A name from the middle of them.
    pub(crate) name: fn(usize) -> String,
    /// How many of the patterns match that name.
    pub(crate) matching: usize,
}

impl Workload {
    /// All of them.
    pub(crate) const ALL: [Self; 6] = [
        Self { title: "literal", patterns: literal, name: middle, matching: 1 },
        Self { title: "app.*.k", patterns: one, name: middle, matching: 1 },
        Self { title: "app.e.**", patterns: any, name: middle, matching: 1 },
        Self { title: "mixed", patterns: mixed, name: middle, matching: 1 },
        Self { title: "four matching", patterns: four, name: middle, matching: 4 },
        Self { title: "rooms.N.*", patterns: rooms, name: room, matching: 1 },
    ];
}

fn literal(size: usize) -> Vec<String> {
    (0..size).map(|i| format!("app.e{i}.k{i}")).collect()
}

fn one(size: usize) -> Vec<String> {
    (0..size).map(|i| format!("app.*.k{i}")).collect()
}

fn any(size: usize) -> Vec<String> {
    (0..size).map(|i| format!("app.e{i}.**")).collect()
}

fn mixed(size: usize) -> Vec<String> {
    (0..size)
        .map(|i| match i % 3 {
            0 => format!("app.*.k{i}"),
            1 => format!("app.e{i}.**"),
            _ => format!("app.e{i}.k{i}"),
        })
        .collect()
}

/// Literal ones, of which four are replaced by patterns that match the name too.
fn four(size: usize) -> Vec<String> {
    let i = size / 2;
    let mut patterns = literal(size - 3);
    patterns.extend([format!("app.*.k{i}"), format!("app.e{i}.**"), format!("**.k{i}")]);
    patterns
}

fn rooms(size: usize) -> Vec<String> {
    (0..size).map(|i| format!("rooms.{i}.*")).collect()
}

fn middle(size: usize) -> String {
    format!("app.e{0}.k{0}", size / 2)
}

fn room(size: usize) -> String {
    format!("rooms.{}.message", size / 2)
}
