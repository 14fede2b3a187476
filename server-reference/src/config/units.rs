//! Sizes and durations as people write them: `"256 KiB"`, `"25 s"`.

use std::time::Duration;

const SIZES: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

const DURATIONS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000), ("ms", 1)];

/// Splits `"1.5 s"` into its number and its unit.
fn split(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim_start()))
}

/// `number * factor` if that is a whole number that a `u64` holds.
fn scaled(number: f64, factor: u64) -> Option<u64> {
    let value = number * factor as f64;
    (value.fract() == 0.0 && value < u64::MAX as f64).then_some(value as u64)
}

pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    split(text)
        .and_then(|(number, unit)| {
            let unit = if unit.is_empty() { "B" } else { unit };
            let (_, factor) = SIZES.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
            scaled(number, *factor)
        })
        .ok_or_else(|| {
            format!("{text:?} is not a size: write bytes, or a unit as in \"64 KiB\" or \"1 MiB\"")
        })
}

pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    split(text)
        .and_then(|(number, unit)| {
            let (_, factor) = DURATIONS.iter().find(|(name, _)| *name == unit)?;
            scaled(number, *factor).map(Duration::from_millis)
        })
        .ok_or_else(|| {
            format!(
                "{text:?} is not a duration: write it with its unit, as in \"300 ms\", \"25 s\", \
                 \"5 min\" or \"1 h\""
            )
        })
}

fn write_in(value: u64, units: &[(&str, u64)]) -> String {
    let unit = units.iter().find(|(_, factor)| value >= *factor && value.is_multiple_of(*factor));
    match unit.or(units.last()) {
        Some((name, factor)) => format!("{} {name}", value / factor),
        None => value.to_string(),
    }
}

pub(super) fn write_size(bytes: u64) -> String {
    let binary = [SIZES[0], SIZES[1], SIZES[2], SIZES[6]];
    write_in(bytes, &binary)
}

pub(super) fn write_duration(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if millis == 0 { "0 s".to_owned() } else { write_in(millis, &DURATIONS) }
}

/// `#[serde(with = "size")]` for a number of bytes: an integer or a string with a unit.
pub(super) mod size {
    use std::fmt;

    use serde::de::{Deserializer, Error, Unexpected, Visitor};
    use serde::ser::Serializer;

    pub(in super::super) fn serialize<S: Serializer>(
        value: &usize,
        out: S,
    ) -> Result<S::Ok, S::Error> {
        out.serialize_str(&super::write_size(*value as u64))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<usize, D::Error> {
        from.deserialize_any(Size)
    }

    struct Size;

    impl Visitor<'_> for Size {
        type Value = usize;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a number of bytes, or a size such as \"64 KiB\"")
        }

        fn visit_i64<E: Error>(self, value: i64) -> Result<usize, E> {
            usize::try_from(value).map_err(|_| E::invalid_value(Unexpected::Signed(value), &self))
        }

        fn visit_u64<E: Error>(self, value: u64) -> Result<usize, E> {
            usize::try_from(value).map_err(|_| E::invalid_value(Unexpected::Unsigned(value), &self))
        }

        fn visit_str<E: Error>(self, value: &str) -> Result<usize, E> {
            super::parse_size(value).map_err(E::custom).and_then(|bytes| self.visit_u64(bytes))
        }
    }
}

/// `#[serde(with = "duration")]` for a [`Duration`](std::time::Duration): a string with a unit.
pub(super) mod duration {
    use std::fmt;
    use std::time::Duration;

    use serde::de::{Deserializer, Error, Visitor};
    use serde::ser::Serializer;

    pub(in super::super) fn serialize<S: Serializer>(
        value: &Duration,
        out: S,
    ) -> Result<S::Ok, S::Error> {
        out.serialize_str(&super::write_duration(*value))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Duration, D::Error> {
        from.deserialize_any(Text)
    }

    struct Text;

    impl Visitor<'_> for Text {
        type Value = Duration;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a duration with its unit, such as \"25 s\" or \"300 ms\"")
        }

        fn visit_str<E: Error>(self, value: &str) -> Result<Duration, E> {
            super::parse_duration(value).map_err(E::custom)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written() {
        for (text, bytes) in
            [("0", 0), ("17", 17), ("1 B", 1), ("64KiB", 65_536), ("1.5 MiB", 1_572_864)]
        {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
            assert_eq!(parse_size(&write_size(bytes)), Ok(bytes));
        }
        assert_eq!(parse_size("1 mb"), Ok(1_000_000), "case does not matter");
        assert_eq!(write_size(8 << 20), "8 MiB");
        assert_eq!(write_size(1000), "1000 B");
        for text in ["", "KiB", "-1", "1 Kib/s", "1.2.3 B", "0.5 B", "99999999999 GiB", "1e3"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_read_and_written() {
        for (text, millis) in
            [("0 s", 0), ("300 ms", 300), ("1.5 s", 1500), ("5 min", 300_000), ("1h", 3_600_000)]
        {
            let duration = Duration::from_millis(millis);
            assert_eq!(parse_duration(text), Ok(duration), "{text}");
            assert_eq!(parse_duration(&write_duration(duration)), Ok(duration));
        }
        assert_eq!(write_duration(Duration::from_secs(300)), "5 min");
        for text in ["", "5", "s", "5 m", "-5 s", "5 S", "0.5 ms"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
