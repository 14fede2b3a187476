//! Matching, checked against two references that are written differently: a regular expression
//! and the definition of the wildcards by recursion.

use proptest::prelude::*;
use regex::Regex;
use tidings_core::{Pattern, PatternIndex};

/// The pattern as a regular expression over a name with a dot after each segment.
fn regex_of(pattern: &str) -> Regex {
    let body: String = pattern
        .split('.')
        .map(|segment| match segment {
            "*" => r"[^.]*\.".to_owned(),
            "**" => r"(?:[^.]*\.)*".to_owned(),
            text => format!(r"{}\.", regex::escape(text)),
        })
        .collect();
    Regex::new(&format!("^{body}$")).expect("a valid expression")
}

/// What the wildcards mean, word by word.
fn by_definition(pattern: &[&str], name: &[&str]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        (["**", rest @ ..], _) => (0..=name.len()).any(|n| by_definition(rest, &name[n..])),
        (["*", rest @ ..], [_, others @ ..]) => by_definition(rest, others),
        ([literal, rest @ ..], [first, others @ ..]) => {
            literal == first && by_definition(rest, others)
        }
        _ => false,
    }
}

/// Few different segments, so that patterns often match; an empty one is among them.
fn name() -> impl Strategy<Value = String> {
    let segment = prop::sample::select(vec!["a", "b", "cc", "", "é", "x y"]);
    prop::collection::vec(segment, 1..8)
        .prop_map(|segments| segments.join("."))
        .prop_filter("names are not empty", |name| !name.is_empty())
}

fn pattern() -> impl Strategy<Value = String> {
    let segment = prop::sample::select(vec!["a", "b", "cc", "", "é", "*", "*", "**", "**", "a*"]);
    prop::collection::vec(segment, 1..7)
        .prop_map(|segments| segments.join("."))
        .prop_filter("patterns are not empty", |pattern| !pattern.is_empty())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn one_pattern_matches_as_defined(pattern in pattern(), name in name()) {
        let matches = Pattern::new(pattern.as_str()).unwrap().matches(&name);
        prop_assert_eq!(matches, regex_of(&pattern).is_match(&format!("{name}.")));
        let (p, n): (Vec<_>, Vec<_>) = (pattern.split('.').collect(), name.split('.').collect());
        prop_assert_eq!(matches, by_definition(&p, &n));
    }

    /// Entries come and go; after each step the index finds exactly those whose pattern matches,
    /// and a snapshot taken half-way finds what was there then.
    #[test]
    fn an_index_finds_what_its_patterns_match(
        steps in prop::collection::vec((pattern(), any::<bool>(), any::<prop::sample::Index>()), 1..40),
        names in prop::collection::vec(name(), 1..6),
    ) {
        let found = |index: &PatternIndex<usize>, name: &str| {
            let mut found = Vec::new();
            index.match_into(name, &mut found);
            found.sort_unstable();
            found
        };
        let expected = |entries: &[(usize, Pattern)], name: &str| -> Vec<usize> {
            entries.iter().filter(|(_, p)| p.matches(name)).map(|(i, _)| *i).collect()
        };
        let mut index = PatternIndex::new();
        let mut keys = Vec::new();
        let mut entries: Vec<(usize, Pattern)> = Vec::new();
        let mut snapshot = None;
        let half = steps.len() / 2;
        for (number, (text, removes, which)) in steps.into_iter().enumerate() {
            if removes && !keys.is_empty() {
                let at = which.index(keys.len());
                let key = keys.remove(at);
                prop_assert_eq!(index.remove(&key), Some(entries.remove(at).0));
            } else {
                let pattern = Pattern::new(text).unwrap();
                keys.push(index.insert(&pattern, number));
                entries.push((number, pattern));
            }
            if number == half {
                snapshot = Some((index.clone(), entries.clone()));
            }
            prop_assert_eq!(index.len(), entries.len());
            for name in &names {
                prop_assert_eq!(found(&index, name), expected(&entries, name));
            }
        }
        if let Some((index, entries)) = snapshot {
            for name in &names {
                prop_assert_eq!(found(&index, name), expected(&entries, name));
            }
        }
    }

    #[test]
    fn any_text_is_accepted_or_refused(text in any::<String>()) {
        if let Ok(pattern) = Pattern::new(text.as_str()) {
            prop_assert!(!pattern.is_literal() || pattern.matches(&text));
            prop_assert!(!text.chars().any(char::is_control) && (1..=255).contains(&text.len()));
        }
        let is_name = tidings_core::Name::new(text.as_str()).is_ok();
        let is_literal = Pattern::new(text).is_ok_and(|pattern| pattern.is_literal());
        prop_assert_eq!(is_name, is_literal);
    }
}
