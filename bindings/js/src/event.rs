//! Events, and the rest that a subscription brings.

use bytes::Bytes;
use tidings::error::EventError;
use tidings::{Cursor, Delivery, Gap, Lane, Offset, Payload, Position};
use tidings_core::json::{MAX_DEPTH, Writer, parse};
use tidings_core::{Epoch, Place};

use crate::failure::Failure;
use crate::outbox::{tell, tell_with};

/// Tells the page an item of the subscription with this number.
pub(crate) fn tell_item(number: u32, item: Result<&Delivery, &EventError>) {
    match item {
        Ok(delivery) => tell_with(number, word(&delivery.event.payload), |w, binaries| {
            write_event(delivery, w, binaries);
        }),
        Err(EventError::Gap(gap)) => tell(number, "gap", |w| write_gap(gap, w)),
        Err(error) => tell(number, "failed", |w| Failure::from(error.clone()).write(w)),
    }
}

/// `[name, payload, id, priority, time, replayed, lane, offset, headers]`: numbers and places instead
/// of words and keys, which cost a page more than the event. The lane is -1 if the event is volatile;
/// `headers` is left out if there are none.
pub(crate) fn write_event(delivery: &Delivery, w: &mut Writer<'_>, binaries: &mut Vec<Bytes>) {
    let event = &delivery.event;
    w.begin_array().str(&event.name);
    write_payload(&event.payload, w, binaries);
    w.str(&event.id).u64(event.priority as u64).u64(event.time);
    w.u64(delivery.replay_for.is_some().into());
    match delivery.position {
        Some(Position { lane, offset }) => w.u64(lane.number().into()).u64(offset.0),
        None => w.raw(b"-1").u64(0),
    };
    if !event.headers.is_empty() {
        w.begin_object();
        for (key, value) in event.headers.iter() {
            w.key(key).str(value);
        }
        w.end_object();
    }
    w.end_array();
}

/// What an entry with this payload is called.
pub(crate) const fn word(payload: &Payload) -> &'static str {
    match payload {
        Payload::Json(_) => "json",
        Payload::Binary(_) => "binary",
    }
}

/// The payload, or the place of its bytes.
pub(crate) fn write_payload(payload: &Payload, w: &mut Writer<'_>, binaries: &mut Vec<Bytes>) {
    match payload {
        Payload::Json(json) => w.raw(json),
        Payload::Binary(bytes) => {
            binaries.push(bytes.clone());
            w.u64(binaries.len() as u64 - 1)
        }
    };
}

pub(crate) fn write_position(position: &Position, w: &mut Writer<'_>) {
    w.begin_object().key("lane").u64(position.lane.number().into());
    w.key("offset").u64(position.offset.0).end_object();
}

fn write_gap(gap: &Gap, w: &mut Writer<'_>) {
    w.begin_object().key("reason").str("gap").key("lane").u64(gap.lane.number().into());
    w.key("from").u64(gap.from.0).key("to").u64(gap.to.0);
    w.key("epoch").u64(gap.epoch.0.into()).end_object();
}

/// The cursor that the page has given: an array of lane, epoch and offset in turn.
pub(crate) fn cursor(json: &str) -> Option<Cursor> {
    let numbers = parse(json.as_bytes(), MAX_DEPTH).ok()?.array()?;
    let numbers: Vec<u64> = numbers.map_while(|number| number.as_u64()).collect();
    let place = |three: &[u64]| {
        let [lane, epoch, offset] = three else { return None };
        let lane = Lane::from_number(u32::try_from(*lane).ok()?)?;
        let place = Place { epoch: Epoch(u32::try_from(*epoch).ok()?), offset: Offset(*offset) };
        Some((lane, place))
    };
    numbers.chunks(3).map(place).collect()
}
