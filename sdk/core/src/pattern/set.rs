//! Several patterns at once, and what of one pattern they allow.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use super::{Pattern, PatternSegment, from_first};
use crate::name::MAX_SEGMENTS;

/// How many sets of places [`Pattern::covers`] looks at before it gives up.
const MAX_STATES: usize = 4096;

/// A set of names, written as the patterns that match them. Cloning it is cheap.
///
/// ```
/// use tidings_core::{Pattern, PatternSet};
/// let allowed: PatternSet = [Pattern::new("orders.*")?, Pattern::new("news.**")?].into_iter().collect();
/// assert!(allowed.matches("orders.eu") && !allowed.matches("users.ann"));
/// assert!(allowed.covers(&Pattern::new("news.sports.*")?));
/// assert!(allowed.meets(&Pattern::new("**")?) && !allowed.covers(&Pattern::new("**")?));
/// # Ok::<(), tidings_core::NameError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Default)]
pub struct PatternSet(Arc<[Pattern]>);

impl PatternSet {
    /// Whether one of the patterns matches `name`.
    pub fn matches(&self, name: &str) -> bool {
        self.0.iter().any(|pattern| pattern.matches(name))
    }

    /// Whether one of the patterns [covers](Pattern::covers) `other`.
    pub fn covers(&self, other: &Pattern) -> bool {
        self.0.iter().any(|pattern| pattern.covers(other))
    }

    /// Whether one of the patterns [meets](Pattern::meets) `other`.
    pub fn meets(&self, other: &Pattern) -> bool {
        self.0.iter().any(|pattern| pattern.meets(other))
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The patterns, in the order in which they were given.
    pub fn iter(&self) -> impl Iterator<Item = &Pattern> {
        self.0.iter()
    }
}

impl FromIterator<Pattern> for PatternSet {
    fn from_iter<I: IntoIterator<Item = Pattern>>(patterns: I) -> Self {
        Self(patterns.into_iter().collect())
    }
}

impl fmt::Debug for PatternSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.iter().map(Pattern::as_str)).finish()
    }
}

impl Pattern {
    /// Whether every name that `other` matches is matched by this one, too. `false` is also the
    /// answer where finding out would take too long; that takes many `**` in both.
    pub fn covers(&self, other: &Self) -> bool {
        let own: Vec<_> = self.segments().collect();
        // A wildcard of `other` stands for any text, so also for one that is written nowhere here:
        // only a wildcard matches that, and what matches that matches any text.
        let step = |places: u64, other: Option<&str>| {
            own.iter().enumerate().fold(0, |next, (at, segment)| {
                let here = places & (1 << at);
                next | match segment {
                    PatternSegment::Any => here,
                    PatternSegment::One => here << 1,
                    PatternSegment::Literal(text) if other == Some(*text) => here << 1,
                    PatternSegment::Literal(_) => 0,
                }
            })
        };
        // `**` may match nothing at all.
        let skip = |mut places: u64| {
            for (at, segment) in own.iter().enumerate() {
                if *segment == PatternSegment::Any && places & (1 << at) != 0 {
                    places |= 1 << (at + 1);
                }
            }
            places
        };
        // Places of this pattern that names of `other` can have come to; all of them have to be able
        // to go on to the end.
        let mut sets = BTreeSet::from([skip(1)]);
        // No name has no segments, which is all that `**` could match beyond `*.**`.
        let any = other.segments().all(|segment| segment == PatternSegment::Any);
        let first = any.then_some(PatternSegment::One);
        for segment in first.into_iter().chain(other.segments()) {
            let next = |places: u64, text| skip(step(places, text));
            sets = match segment {
                PatternSegment::Literal(text) => {
                    sets.into_iter().map(|places| next(places, Some(text))).collect()
                }
                PatternSegment::One => sets.into_iter().map(|places| next(places, None)).collect(),
                PatternSegment::Any => {
                    let mut open: Vec<u64> = sets.iter().copied().collect();
                    while let Some(places) = open.pop() {
                        let further = next(places, None);
                        if sets.insert(further) {
                            open.push(further);
                        }
                        if sets.len() > MAX_STATES {
                            return false;
                        }
                    }
                    sets
                }
            };
            if sets.contains(&0) {
                return false;
            }
        }
        let end = 1 << own.len();
        sets.into_iter().all(|places| places & end != 0)
    }

    /// Whether there is a name that both match.
    pub fn meets(&self, other: &Self) -> bool {
        use PatternSegment::{Any, Literal, One};
        let theirs: Vec<_> = other.segments().collect();
        debug_assert!(theirs.len() <= MAX_SEGMENTS);
        let end = 1_u64 << theirs.len();
        // `**` of the other one may match nothing.
        let skip = |mut places: u64| {
            for (at, segment) in theirs.iter().enumerate() {
                if *segment == Any && places & (1 << at) != 0 {
                    places |= 1 << (at + 1);
                }
            }
            places
        };
        let mut places = skip(1);
        for segment in self.segments() {
            places = match segment {
                // It takes whatever the other one has left, as far as one likes.
                Any => from_first(places, end),
                One | Literal(_) => {
                    let step = |next, (at, their): (usize, &PatternSegment<'_>)| {
                        let here = places & (1 << at);
                        next | match (segment, *their) {
                            (_, Any) => here,
                            (Literal(text), Literal(their)) if text != their => 0,
                            _ => here << 1,
                        }
                    };
                    skip(theirs.iter().enumerate().fold(0, step))
                }
            };
            if places == 0 {
                return false;
            }
        }
        places & end != 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::new(text).expect("a pattern")
    }

    #[test]
    fn what_covers_what() {
        for (wide, narrow) in [
            ("**", "**"),
            ("**", "a.*.b"),
            ("orders.*", "orders.*"),
            ("orders.*", "orders.eu"),
            ("orders.**", "orders"),
            ("orders.**", "orders.*.created"),
            ("a.**.b", "a.**.x.**.b"),
            ("*.**", "**.*"),
            ("**.*", "*"),
            ("**.**", "**"),
            ("**.*", "**"),
        ] {
            assert!(pattern(wide).covers(&pattern(narrow)), "{wide} covers {narrow}");
        }
        for (narrow, wide) in [
            ("orders.*", "**"),
            ("orders.*", "orders.**"),
            ("orders.*", "orders"),
            ("orders.*", "*.eu"),
            ("orders.eu", "orders.*"),
            ("*", "**"),
        ] {
            assert!(!pattern(narrow).covers(&pattern(wide)), "{narrow} does not cover {wide}");
        }
    }

    #[test]
    fn what_meets_what() {
        for (a, b) in [
            ("**", "a"),
            ("a.*", "*.b"),
            ("a.**", "**.b"),
            ("a.**", "a"),
            ("**.a.**", "**.b.**"),
            ("*.b.**", "a.**.c"),
        ] {
            assert!(pattern(a).meets(&pattern(b)) && pattern(b).meets(&pattern(a)), "{a}, {b}");
        }
        for (a, b) in [("a.*", "b.*"), ("a.*", "a"), ("a", "a.*.**"), ("*.a", "**.b"), ("*", "*.*")]
        {
            assert!(!pattern(a).meets(&pattern(b)) && !pattern(b).meets(&pattern(a)), "{a}, {b}");
        }
    }

    #[test]
    fn long_patterns_are_compared_as_well() {
        let many = |segments: &str| pattern(&vec![segments; 15].join("."));
        assert!(many("**.*").covers(&many("*.a.**")));
        assert!(many("a.**").covers(&many("a.*.**.a")));
        assert!(!many("**.a.*").covers(&many("**.*.a")));
        assert!(many("**.a.*").meets(&many("**.*.a")));
    }

    fn short(wild: bool) -> impl Strategy<Value = String> {
        let segments: &'static [&'static str] =
            if wild { &["a", "b", "*", "**"] } else { &["a", "b", "c"] };
        prop::collection::vec(prop::sample::select(segments), 1..4).prop_map(|s| s.join("."))
    }

    /// All names of up to six segments of these letters; `z` is written in no pattern.
    fn names() -> Vec<String> {
        let mut all = vec![String::new()];
        let mut names = Vec::new();
        for _ in 0..6 {
            all = all
                .iter()
                .flat_map(|name| {
                    ["a", "b", "z"]
                        .map(|s| if name.is_empty() { s.to_owned() } else { format!("{name}.{s}") })
                })
                .collect();
            names.extend(all.iter().cloned());
        }
        names
    }

    proptest! {
        #[test]
        fn both_agree_with_matching_names(a in short(true), b in short(true), name in short(false)) {
            let (a, b) = (pattern(&a), pattern(&b));
            if a.matches(&name) && b.matches(&name) {
                prop_assert!(a.meets(&b));
            }
            let both = names().into_iter().any(|name| a.matches(&name) && b.matches(&name));
            // Patterns of three segments meet in a name of six, if anywhere.
            prop_assert_eq!(a.meets(&b), both);
            let escaped = names().into_iter().any(|name| b.matches(&name) && !a.matches(&name));
            prop_assert_eq!(a.covers(&b), !escaped);
        }
    }
}
