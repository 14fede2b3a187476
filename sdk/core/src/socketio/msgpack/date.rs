//! JavaScript's dates, which the msgpack parser writes as an extension.

use std::io::Write;

const DAY: i64 = 86_400_000;

/// A date is milliseconds since 1970 in eight bytes; `None` if it is none.
pub(super) fn read(data: &[u8]) -> Option<i64> {
    data.try_into().ok().map(i64::from_be_bytes)
}

/// Writes a date, in milliseconds since 1970, as `JSON.stringify` does. `None` if it lies outside of
/// the years 0 to 9999.
pub fn write_date(out: &mut Vec<u8>, millis: i64) -> Option<()> {
    let (year, month, day) = civil(millis.div_euclid(DAY));
    if !(0..10_000).contains(&year) {
        return None;
    }
    let time = millis.rem_euclid(DAY);
    let (hour, minute) = (time / 3_600_000, time / 60_000 % 60);
    let (second, milli) = (time / 1000 % 60, time % 1000);
    write!(out, "\"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z\"")
        .ok()
}

/// Year, month and day of a day counted from 1970-01-01 in the Gregorian calendar. Years are
/// counted from March here, so that the leap day is the last of its year.
fn civil(day: i64) -> (i64, i64, i64) {
    const CYCLE: i64 = 146_097;
    // From 0000-03-01; 400 years are one cycle.
    let day = day.saturating_add(719_468);
    let in_cycle = day.rem_euclid(CYCLE);
    let year = (in_cycle - in_cycle / 1460 + in_cycle / 36_524 - in_cycle / 146_096) / 365;
    let in_year = in_cycle - (365 * year + year / 4 - year / 100);
    let month = (5 * in_year + 2) / 153;
    let in_month = in_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (year + day.div_euclid(CYCLE) * 400 + next, month, in_month)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(millis: i64) -> Option<String> {
        let mut out = Vec::new();
        write_date(&mut out, millis)?;
        Some(String::from_utf8_lossy(&out).into_owned())
    }

    #[test]
    fn dates_are_written_as_javascript_does() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
            (-62_167_219_200_000, "0000-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(written(millis), Some(format!("\"{text}\"")));
        }
        for outside in [253_402_300_800_000, -62_167_219_200_001, i64::MIN, i64::MAX] {
            assert_eq!(written(outside), None);
        }
        assert_eq!(read(b"short"), None);
    }
}
