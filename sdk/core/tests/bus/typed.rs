//! Events as Rust types, with a codec that counts what it decodes.

use std::num::NonZeroU32;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use tidings_core::bus::{Notice, TypedBus, TypedEmitError};
use tidings_core::{
    Codec, CodecError, Event, EventBus, FieldProblem, Name, NameError, NameWriter, Payload,
    Priority, TypedEvent,
};

use crate::{Log, notices};

/// Writes numbers as text.
#[derive(Clone, Default)]
struct Decimal(Arc<AtomicUsize>);

#[derive(Debug, Clone, PartialEq)]
struct Reading {
    sensor: String,
    value: u32,
}

impl TypedEvent for Reading {
    const PATTERN: &'static str = "readings.*";
    const PRIORITY: Priority = Priority::High;

    fn name(&self) -> Result<Name, NameError> {
        let mut name = NameWriter::default();
        name.literal("readings");
        name.field("sensor", &self.sensor)?;
        name.finish()
    }
}

impl Codec<Reading> for Decimal {
    fn encode(&self, reading: &Reading) -> Result<Payload, CodecError> {
        if reading.value == u32::MAX {
            return Err(CodecError("too large".into()));
        }
        Ok(Payload::Json(format!("[\"{}\",{}]", reading.sensor, reading.value).into()))
    }

    fn decode(&self, payload: &Payload) -> Result<Reading, CodecError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        let (sensor, value) = serde_json::from_slice(payload.bytes())
            .map_err(|error| CodecError(error.to_string()))?;
        Ok(Reading { sensor, value })
    }
}

impl Codec<u32> for Decimal {
    fn encode(&self, value: &u32) -> Result<Payload, CodecError> {
        Ok(Payload::Json(value.to_string().into()))
    }

    fn decode(&self, payload: &Payload) -> Result<u32, CodecError> {
        serde_json::from_slice(payload.bytes()).map_err(|error| CodecError(error.to_string()))
    }
}

fn typed() -> (TypedBus<Decimal>, Arc<AtomicUsize>, Log) {
    let codec = Decimal::default();
    let decoded = codec.0.clone();
    (TypedBus::new(EventBus::default(), codec), decoded, Log::default())
}

fn reading(sensor: &str, value: u32) -> Reading {
    Reading { sensor: sensor.into(), value }
}

fn raw(bus: &EventBus, name: &str, json: &'static str) -> Event {
    bus.event(name, Payload::Json(json.into())).unwrap()
}

#[test]
fn typed_listeners_get_the_very_value_and_others_the_bytes() {
    let (typed, decoded, log) = typed();
    let (values, bytes) = (log.clone(), log.clone());
    typed
        .on(move |reading: &Reading, event| {
            values.add(format!("{reading:?} {} {}", event.name, event.priority));
        })
        .unwrap()
        .detach();
    typed.bus().on("**", move |event| bytes.add(format!("{:?}", event.payload))).unwrap().detach();
    assert_eq!(typed.emit(&reading("t1", 5)), Ok(2));
    let expected = ["Reading { sensor: \"t1\", value: 5 } readings.t1 high", "Json([\"t1\",5])"];
    assert_eq!(log.take(), expected);
    assert_eq!(decoded.load(Ordering::Relaxed), 0, "nothing had to be decoded");
    assert_eq!(typed.bus().emit(&raw(typed.bus(), "readings.t2", "[\"t2\",6]")), 2);
    assert_eq!(log.take()[0], "Reading { sensor: \"t2\", value: 6 } readings.t2 normal");
    assert_eq!(decoded.load(Ordering::Relaxed), 1);
}

#[test]
fn a_payload_that_does_not_fit_is_told_and_uses_up_no_call() {
    let (typed, _, log) = typed();
    let (once, twice, first) = (log.clone(), log.clone(), log.clone());
    typed.once(move |_: &Reading, _| once.add("once")).unwrap().detach();
    typed
        .many(NonZeroU32::new(2).unwrap(), move |_: &Reading, _| twice.add("twice"))
        .unwrap()
        .detach();
    typed.prepend(move |_: &Reading, _| first.add("first")).unwrap().detach();
    let told = notices(typed.bus());
    assert_eq!(typed.bus().emit(&raw(typed.bus(), "readings.t1", "{}")), 0);
    assert_eq!(typed.bus().stats().undecodable, 3);
    for notice in told.lock().unwrap().drain(..) {
        match notice {
            Notice::Undecodable { event, problem, .. } => {
                assert_eq!(&*event, "readings.t1");
                assert!(problem.contains("line 1 column"), "{problem}");
            }
            other => panic!("{other:?}"),
        }
    }
    for called in [3, 2, 1] {
        assert_eq!(typed.emit(&reading("t", 1)), Ok(called));
    }
    assert_eq!(log.take(), ["first", "once", "twice", "first", "twice", "first"]);
}

#[test]
fn any_type_can_be_read_from_any_pattern() {
    let (typed, _, log) = typed();
    let seen = log.clone();
    typed
        .listen_pattern("counts.**")
        .priority(3)
        .times(NonZeroU32::MIN)
        .prepend()
        .call(move |count: &u32, event| seen.add(format!("{} {count}", event.name)))
        .unwrap()
        .detach();
    typed.bus().emit(&raw(typed.bus(), "counts.a.b", "17"));
    assert_eq!(log.take(), ["counts.a.b 17"]);
    assert!(typed.listen_pattern("").call(|_: &u32, _: &Event| ()).is_err());
    assert!(format!("{:?}", typed.listen_pattern("x")).contains("Listen"));
    assert!(format!("{typed:?}").contains("EventBus"));
}

#[test]
fn what_cannot_be_named_or_encoded_is_not_emitted() {
    let (typed, _, log) = typed();
    typed.bus().on_any(log.names()).detach();
    let dotted = NameError::Field { field: "sensor", problem: FieldProblem::Separator };
    assert_eq!(typed.emit(&reading("a.b", 1)), Err(TypedEmitError::Name(dotted)));
    let error = typed.emit(&reading("a", u32::MAX)).unwrap_err();
    assert_eq!(error.to_string(), "the event \"readings.a\" cannot be encoded: too large");
    assert!(typed.emit_async(&reading("", 1)).is_err());
    assert!(log.take().is_empty());
}

#[test]
fn values_can_be_posted() {
    let (typed, _, log) = typed();
    typed.bus().on_any(log.names()).detach();
    typed.post(&reading("a", 1)).unwrap();
    assert_eq!(typed.bus().stats().posted, 1);
    assert_eq!(typed.bus().deliver_posted(9), 1);
    assert_eq!(log.take(), ["readings.a"]);
    assert!(typed.post(&reading("", 1)).is_err());
}

#[test]
fn values_can_be_waited_for_and_listened_to_asynchronously() {
    let (typed, _, log) = typed();
    let seen = log.clone();
    typed
        .listen::<Reading>()
        .call_async(move |reading: Reading, _| {
            let seen = seen.clone();
            async move { seen.add(format!("async {}", reading.value)) }
        })
        .unwrap()
        .detach();
    let mut context = Context::from_waker(Waker::noop());
    let mut waiting = pin!(typed.wait_for(None, |reading: &Reading| reading.value > 5).unwrap());
    let mut poll = |value| {
        let emitting = pin!(typed.emit_async(&reading("t", value)).unwrap());
        emitting.poll(&mut context)
    };
    assert_eq!((poll(5), poll(6)), (Poll::Ready(1), Poll::Ready(2)));
    assert_eq!(log.take(), ["async 5", "async 6"]);
    let mut context = Context::from_waker(Waker::noop());
    match waiting.as_mut().poll(&mut context) {
        Poll::Ready(Ok((value, event))) => {
            assert_eq!((value, &*event.name), (reading("t", 6), "readings.t"));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(typed.emit(&reading("t", 1)), Ok(0), "async listeners need an async emission");
    let undecodable = typed.bus().emit_async(&raw(typed.bus(), "readings.x", "1"));
    assert_eq!(undecodable.called(), 0);
    assert_eq!((typed.bus().stats().skipped, typed.bus().stats().undecodable), (1, 1));
}
