//! Arbitrary session messages.

mod values;

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tidings_core::message::*;
use tidings_core::{Cursor, Epoch, Event, Headers, Lane, Offset, Payload, Place, Priority};
pub(crate) use values::{json_text, payload};

/// Names, also those that mean something to Socket.IO.
pub(crate) fn name() -> impl Strategy<Value = Arc<str>> {
    prop_oneof![
        "[a-z\u{e0}-\u{ff}\"\\\\ ]{1,5}(\\.[a-z*0-9]{2,4}){0,3}",
        Just("connect".to_owned()),
        Just("disconnecting".to_owned()),
        Just("subscribe".to_owned()),
        Just("publish".to_owned()),
        Just("tidings:event".to_owned()),
        Just("tidings:request".to_owned()),
        Just("tidings:at".to_owned()),
    ]
    .prop_filter("wildcards", |name| !name.split('.').any(|s| s == "**"))
    .prop_map(Into::into)
}

pub(crate) fn cursor() -> impl Strategy<Value = Cursor> {
    let place = (any::<u32>(), 0..1_u64 << 53)
        .prop_map(|(epoch, offset)| Place { epoch: Epoch(epoch), offset: Offset(offset) });
    prop::collection::vec((lane(), place), 0..4).prop_map(|places| places.into_iter().collect())
}

pub(crate) fn lane() -> impl Strategy<Value = Lane> {
    (any::<u16>(), priority()).prop_map(|(partition, priority)| Lane::new(partition, priority))
}

pub(crate) fn priority() -> impl Strategy<Value = Priority> {
    (0..4_u8).prop_map(|index| Priority::from_index(index).expect("one of four"))
}

pub(crate) fn position() -> impl Strategy<Value = Position> {
    (lane(), 0..1_u64 << 53).prop_map(|(lane, offset)| Position { lane, offset: Offset(offset) })
}

pub(crate) fn headers() -> impl Strategy<Value = Headers> {
    let pair = ("[a-z]{1,4}", any::<String>());
    prop::collection::btree_map(pair.0, pair.1, 0..3).prop_map(Headers::new)
}

pub(crate) fn refusal() -> impl Strategy<Value = Refusal> {
    (any::<u16>(), any::<String>())
        .prop_map(|(code, message)| Refusal::new(ErrorCode(code), message))
}

pub(crate) fn result() -> impl Strategy<Value = Result<Payload, Refusal>> {
    prop_oneof![payload().prop_map(Ok), refusal().prop_map(Err)]
}

pub(crate) fn subscribe() -> impl Strategy<Value = Subscribe> {
    (0..1_u32 << 31, "[a-z*]{1,4}(\\.[a-z*]{1,3}){0,3}", prop::option::of(cursor()))
        .prop_map(|(id, pattern, since)| Subscribe { id: SubId(id), pattern, since })
}

pub(crate) fn hello() -> impl Strategy<Value = Hello> {
    (
        any::<Option<String>>(),
        any::<String>(),
        any::<Option<String>>(),
        prop::collection::vec(subscribe(), 0..4),
        cursor(),
        any::<[u32; 2]>(),
    )
        .prop_map(|(session, producer, token, subscriptions, cursor, [batch, delay])| Hello {
            session,
            producer,
            token,
            subscriptions,
            cursor,
            batch,
            batch_delay: Duration::from_millis(delay.into()),
        })
}

pub(crate) fn plain_welcome() -> Welcome {
    Welcome {
        session: "session".into(),
        resumed: false,
        instance: "instance".into(),
        ping_interval: Duration::from_secs(25),
        ping_timeout: Duration::from_secs(20),
        max_payload: 1 << 20,
        max_in_flight: 64,
        cursor: Cursor::new(),
        refused: Vec::new(),
        expires_in: None,
    }
}

pub(crate) fn welcome() -> impl Strategy<Value = Welcome> {
    (
        any::<(String, bool, String)>(),
        any::<(u32, u32, u32, u32)>(),
        cursor(),
        prop::collection::vec((any::<u32>().prop_map(SubId), refusal()), 0..3),
    )
        .prop_map(|((session, resumed, instance), numbers, cursor, refused)| Welcome {
            session,
            resumed,
            instance,
            ping_interval: Duration::from_millis(numbers.0.into()),
            ping_timeout: Duration::from_millis(numbers.1.into()),
            max_payload: numbers.2,
            max_in_flight: numbers.3,
            cursor,
            refused,
            expires_in: (numbers.0 % 2 == 0).then(|| Duration::from_millis(numbers.1.into())),
        })
}

pub(crate) fn publish() -> impl Strategy<Value = Publish> {
    (1..1_u64 << 53, name(), payload(), priority(), headers(), identity()).prop_map(
        |(seq, name, payload, priority, headers, identity)| Publish {
            seq,
            name,
            payload,
            priority,
            volatile: false,
            headers,
            identity,
        },
    )
}

fn identity() -> impl Strategy<Value = Option<Box<Identity>>> {
    let identity = ("[a-zé]{1,60}", 1..1_u64 << 53);
    prop::option::of(identity.prop_map(|(producer, number)| {
        Box::new(Identity::new(producer, number).expect("it is one"))
    }))
}

pub(crate) fn delivery() -> impl Strategy<Value = Delivery> {
    (
        name(),
        payload(),
        "[a-zA-Z0-9:-]{0,20}",
        (priority(), 0..1_u64 << 53),
        headers(),
        prop::option::of(position()),
        prop::option::of(any::<u32>().prop_map(SubId)),
    )
        .prop_map(|(name, payload, id, (priority, time), headers, position, replay_for)| {
            let priority = position.map_or(priority, |position| position.lane.priority());
            let id = id.into();
            let event = Event { name, payload, id, priority, time, headers };
            Delivery { event, position, replay_for }
        })
}

fn gap() -> impl Strategy<Value = Gap> {
    (lane(), [0..1_u64 << 53, 0..1_u64 << 53], any::<u32>(), any::<Option<u32>>()).prop_map(
        |(lane, [from, to], epoch, replay_for)| Gap {
            lane,
            from: Offset(from),
            to: Offset(to),
            epoch: Epoch(epoch),
            replay_for: replay_for.map(SubId),
        },
    )
}

/// Messages of the server that answer nothing, none of which ends the connection.
pub(crate) fn told() -> impl Strategy<Value = ServerMessage> {
    prop_oneof![
        delivery().prop_map(ServerMessage::Event),
        cursor().prop_map(ServerMessage::Progress),
        gap().prop_map(ServerMessage::Gap),
        refusal().prop_map(ServerMessage::Refused),
        any::<u32>().prop_map(|id| ServerMessage::Unsubscribed(SubId(id))),
        (any::<u32>(), refusal())
            .prop_map(|(id, refusal)| ServerMessage::SubscribeRefused { id: SubId(id), refusal }),
    ]
}
