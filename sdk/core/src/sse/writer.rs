//! What one connection gets, with its cursor in every id.

use super::Move;
use crate::lane::Cursor;
use crate::websocket::{Opcode, finished};

/// Turns what is queued for a connection into what is written to it, and holds the cursor that its
/// client cannot.
#[derive(Debug, Default)]
pub struct Writer {
    cursor: Cursor,
}

impl Writer {
    /// For a client that has told so much with its request.
    pub const fn new(cursor: Cursor) -> Self {
        Self { cursor }
    }

    /// Appends what the finished frames in `frames` say; frames of other transports say nothing.
    pub fn write(&mut self, frames: &[u8], out: &mut Vec<u8>) {
        for (opcode, payload) in finished(frames) {
            if opcode == Opcode::Text {
                self.write_one(payload, out);
            }
        }
    }

    fn write_one(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        let mut parts = payload.splitn(2, |byte| *byte == b'\n');
        let (Some([moves, cursor @ ..]), Some(lines)) = (parts.next(), parts.next()) else {
            return;
        };
        let Some(moves) = Move::of(*moves) else { return };
        if moves != Move::None {
            let cursor = std::str::from_utf8(cursor).ok().and_then(|text| text.parse().ok());
            cursor.into_iter().for_each(|cursor| self.moved(moves, &cursor));
            out.extend_from_slice(format!("id: {}\n", self.cursor).as_bytes());
        }
        out.extend_from_slice(lines);
        out.push(b'\n');
    }

    fn moved(&mut self, moves: Move, to: &Cursor) {
        match moves {
            Move::None => {}
            Move::Begin => {
                // What is told of other lanes has no meaning here.
                let known = std::mem::take(&mut self.cursor);
                let places = to.iter().map(|(lane, now)| (lane, known.get(lane).unwrap_or(now)));
                self.cursor = places.collect();
            }
            Move::Advance => to.iter().for_each(|(lane, place)| {
                self.cursor.advance(lane, place.offset);
            }),
            Move::Set => to.iter().for_each(|(lane, place)| self.cursor.set(lane, place)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::super::{encode_event, encode_notice};
    use super::*;
    use crate::event::{Event, Headers, Payload, Priority};
    use crate::lane::{Epoch, Lane, Offset, Place};
    use crate::message::{Close, CloseCode, Delivery, Gap, Position, ServerMessage, Welcome};

    fn lane(number: u32) -> Lane {
        Lane::from_number(number).expect("a lane")
    }

    fn at(offset: u64) -> Place {
        Place { epoch: Epoch(1), offset: Offset(offset) }
    }

    fn event(position: Option<(u32, u64)>) -> Bytes {
        let event = Event {
            name: "a".into(),
            payload: Payload::Json(Bytes::from_static(b"[1,\r\n2]")),
            id: "i".into(),
            priority: Priority::Normal,
            time: 3,
            headers: Headers::NONE,
        };
        let position = position
            .map(|(number, offset)| Position { lane: lane(number), offset: Offset(offset) });
        encode_event(&Delivery { event, position, replay_for: None })
    }

    fn welcome(cursor: Cursor) -> ServerMessage {
        ServerMessage::Welcome(Welcome {
            session: "s".to_owned(),
            resumed: false,
            instance: "one".to_owned(),
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
            max_payload: 1,
            max_in_flight: 1,
            cursor,
            refused: Vec::new(),
            expires_in: None,
        })
    }

    fn written(writer: &mut Writer, frames: &[u8]) -> String {
        let mut out = Vec::new();
        writer.write(frames, &mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn every_id_is_the_whole_cursor() {
        let told = Cursor::from_iter([(lane(1), at(0x10)), (lane(9), at(0x99))]);
        let mut writer = Writer::new(told);
        let lanes = Cursor::from_iter([(lane(1), at(0x20)), (lane(2), at(0x20))]);
        let open = encode_notice(&welcome(lanes)).expect("it is told");
        let text = written(&mut writer, &open);
        assert_eq!(
            text,
            "id: 1.10.1_1.20.2\nevent: tidings.open\ndata: {\"instance\":\"one\"}\n\n"
        );
        let text = written(&mut writer, &event(Some((1, 0x11))));
        let json = r#"{"id":"i","name":"a","payload":[1,  2],"priority":"normal","time":3,"lane":1,"offset":17}"#;
        assert_eq!(text, format!("id: 1.11.1_1.20.2\ndata: {json}\n\n"));
        assert!(written(&mut writer, &event(None)).starts_with("data: {"), "it has no place");
        let gap = Gap {
            lane: lane(2),
            from: Offset(0x20),
            to: Offset(0x5),
            epoch: Epoch(2),
            replay_for: None,
        };
        let gap = encode_notice(&ServerMessage::Gap(gap)).expect("it is told");
        let text = written(&mut writer, &gap);
        assert!(text.starts_with("id: 1.11.1_2.5.2\nevent: tidings.gap\ndata: {"), "{text}");
        let progress = ServerMessage::Progress(Cursor::from_iter([(lane(1), at(0x30))]));
        let progress = encode_notice(&progress).expect("it is told");
        assert_eq!(written(&mut writer, &progress), "id: 1.30.1_2.5.2\n\n");
    }

    #[test]
    fn the_end_says_why_and_when_to_come_back() {
        let mut close = Close::new(CloseCode::GOING_AWAY, "the server stops");
        close.delay = Some(Duration::from_millis(250));
        let close = encode_notice(&ServerMessage::Close(close)).expect("it is told");
        assert_eq!(
            written(&mut Writer::default(), &close),
            "retry: 250\nevent: tidings.close\ndata: {\"code\":4000,\"reason\":\"the server stops\"}\n\n"
        );
        assert_eq!(written(&mut Writer::default(), &[0x88, 0x02, 0x03, 0xe8]), "");
    }
}
