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

pub(crate) fn write_event(delivery: &Delivery, w: &mut Writer<'_>, binaries: &mut Vec<Bytes>) {
    let event = &delivery.event;
    w.begin_object().key("name").str(&event.name).key("payload");
    write_payload(&event.payload, w, binaries);
    w.key("id").str(&event.id).key("priority").str(event.priority.as_str());
    w.key("time").u64(event.time).key("headers").begin_object();
    for (key, value) in event.headers.iter() {
        w.key(key).str(value);
    }
    w.end_object();
    if let Some(position) = &delivery.position {
        w.key("position");
        write_position(position, w);
    }
    w.key("replayed").bool(delivery.replay_for.is_some()).end_object();
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
