//! What can be asked of the events that are kept, and how they are told.

use std::fmt;
use std::str::FromStr;

use tidings_core::message::Position;
use tidings_core::{Event, Lane, Offset, Pattern, PatternSegment, Priority};

/// Which events of those that are kept are wanted, and in which order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventQuery {
    /// Events whose names one of these matches.
    pub patterns: Vec<Pattern>,
    /// Those of these priorities.
    pub priorities: Vec<Priority>,
    /// Not before this, in milliseconds since the Unix epoch.
    pub since: u64,
    /// Not after this.
    pub until: u64,
    /// Beyond this event, in the order asked for.
    pub after: Option<EventPlace>,
    /// Whether the oldest come first.
    pub oldest_first: bool,
    /// At most so many.
    pub limit: usize,
}

impl EventQuery {
    /// The newest 100 events whose names `pattern` matches.
    ///
    /// ```
    /// use tidings_server::store::EventQuery;
    /// let mut query = EventQuery::new(tidings_core::Pattern::new("orders.**")?);
    /// query.since = 1_700_000_000_000;
    /// # Ok::<(), tidings_core::NameError>(())
    /// ```
    pub fn new(pattern: Pattern) -> Self {
        Self {
            patterns: vec![pattern],
            priorities: Priority::URGENT_FIRST.to_vec(),
            since: 0,
            until: u64::MAX,
            after: None,
            oldest_first: false,
            limit: 100,
        }
    }
}

/// An event that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptEvent {
    /// The event.
    pub event: Event,
    /// Where it stood in the log.
    pub position: Position,
}

/// A page of events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventPage {
    /// In the order asked for.
    pub events: Vec<KeptEvent>,
    /// Where to go on. A page may be short, or empty, and have one: not everything was looked at.
    pub next: Option<EventPlace>,
}

/// The place of an event among those of all lanes: offsets are times. Written `OFFSET.LANE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventPlace {
    /// Its offset there.
    pub offset: Offset,
    /// Its lane.
    pub lane: Lane,
}

/// No place of an event is written like this.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no place of an event: use what `next` says, or leave it out")]
pub struct BadEventPlace(String);

impl fmt::Display for EventPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.offset.0, self.lane.number())
    }
}

impl FromStr for EventPlace {
    type Err = BadEventPlace;

    fn from_str(text: &str) -> Result<Self, BadEventPlace> {
        let place = || {
            let (offset, lane) = text.split_once('.')?;
            let offset = offset.parse().ok().filter(|offset| *offset < 1 << 53)?;
            Some(Self { offset: Offset(offset), lane: Lane::from_number(lane.parse().ok()?)? })
        };
        place().ok_or_else(|| BadEventPlace(text.to_owned()))
    }
}

/// Names, compared byte by byte.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Names {
    All,
    One(String),
    /// From the first to before the second.
    Range(String, String),
}

impl Names {
    /// The names that `pattern` can match, as far as a database can tell.
    pub(super) fn of(pattern: &Pattern) -> Self {
        if pattern.is_literal() {
            return Self::One(pattern.as_str().to_owned());
        }
        let literal = |segment| match segment {
            PatternSegment::Literal(text) => Some(text),
            PatternSegment::One | PatternSegment::Any => None,
        };
        let start: Vec<&str> = pattern.segments().map_while(literal).collect();
        if start.is_empty() {
            return Self::All;
        }
        // What follows is the end of the name, or a dot, which the slash comes after.
        Self::Range(start.join("."), start.join(".") + "/")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_of_names_has_all_that_match_and_little_else() {
        let names = |text: &str| Names::of(&Pattern::new(text).unwrap());
        let within = |text: &str, name: &str| match names(text) {
            Names::All => true,
            Names::One(one) => one == name,
            Names::Range(from, until) => *from <= *name && *name < *until,
        };
        assert_eq!(names("orders.eu"), Names::One("orders.eu".to_owned()));
        for name in ["orders.eu", "orders.eu.", "orders.eu.x.y", "orders.eu.\u{10ffff}"] {
            assert!(within("orders.eu.**", name), "{name}");
        }
        assert!(!within("orders.eu.**", "orders.us") && !within("orders.eu.*", "orders.eut"));
        assert_eq!(names("**.x"), Names::All);
    }

    #[test]
    fn places_are_written_and_read() {
        let lane = Lane::from_number(7).expect("a lane");
        let place = EventPlace { offset: Offset(1 << 50), lane };
        assert_eq!(place.to_string().parse(), Ok(place));
        for wrong in ["", "1", "x.1", "1.x", "9007199254740992.1", "1.99999999"] {
            assert!(wrong.parse::<EventPlace>().is_err(), "{wrong}");
        }
    }
}
