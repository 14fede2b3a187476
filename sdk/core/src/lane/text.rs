//! Cursors as text, for those who can hold nothing else: an id of Server-Sent Events, a page's end.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::{Cursor, Epoch, Lane, Offset, Place};

/// The text is no cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no cursor: send back what was received, unchanged")]
pub struct BadCursor;

/// Numbers in hexadecimal: `EPOCH.OFFSET.LANE.LANE...`, for each place the lanes that stand there,
/// with `_` between them. Lanes that never had an event stand at one place, so that it stays short.
///
/// ```
/// use tidings_core::{Cursor, Epoch, Lane, Offset, Place};
/// let place = |offset| Place { epoch: Epoch(7), offset: Offset(offset) };
/// let lanes = [(4, 0x1f), (5, 0x1f), (6, 0x2a)];
/// let lane = |number| Lane::from_number(number).expect("a lane");
/// let cursor: Cursor = lanes.map(|(number, offset)| (lane(number), place(offset))).into_iter().collect();
/// assert_eq!(cursor.to_string(), "7.1f.4.5_7.2a.6");
/// assert_eq!("7.1f.4.5_7.2a.6".parse(), Ok(cursor));
/// ```
impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut places: BTreeMap<(u32, u64), Vec<Lane>> = BTreeMap::new();
        for (lane, place) in self.iter() {
            places.entry((place.epoch.0, place.offset.0)).or_default().push(lane);
        }
        for (index, ((epoch, offset), lanes)) in places.iter().enumerate() {
            let separator = if index == 0 { "" } else { "_" };
            write!(f, "{separator}{epoch:x}.{offset:x}")?;
            lanes.iter().try_for_each(|lane| write!(f, ".{:x}", lane.number()))?;
        }
        Ok(())
    }
}

impl FromStr for Cursor {
    type Err = BadCursor;

    fn from_str(text: &str) -> Result<Self, BadCursor> {
        let mut cursor = Self::new();
        for group in text.split('_').filter(|_| !text.is_empty()) {
            let mut numbers = group.split('.').map(|digits| u64::from_str_radix(digits, 16));
            let mut next = || numbers.next()?.ok();
            let epoch = next().and_then(|epoch| u32::try_from(epoch).ok()).ok_or(BadCursor)?;
            let offset = Offset(next().filter(|offset| *offset < 1 << 53).ok_or(BadCursor)?);
            let place = Place { epoch: Epoch(epoch), offset };
            for number in numbers {
                let number = number.ok().and_then(|number| u32::try_from(number).ok());
                cursor.set(number.and_then(Lane::from_number).ok_or(BadCursor)?, place);
            }
        }
        Ok(cursor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_cursor_is_refused() {
        assert_eq!("".parse(), Ok(Cursor::new()));
        for wrong in ["x", "1", "1.", "1.2.", "1.2.x", "1.2.ffffffff", "1.ffffffffffffffff.0", "_"]
        {
            assert_eq!(wrong.parse::<Cursor>(), Err(BadCursor), "{wrong}");
        }
    }
}
