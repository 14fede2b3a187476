//! The default parser: a packet is one text, and its attachments are the binary messages after it.
//!
//! `<type>[<attachments>-][<namespace>,][<ack id>][<JSON>]`

use bytes::Bytes;

use crate::json::{self, Elements, ErrorKind, Kind};
use crate::message::Frame;

use super::packet::{
    Args, ArgumentError, BadArgument, Body, DecodeError, MAX_ACK_ID, Namespace, Packet,
    PacketLimits,
};

/// Room for the type, the number of attachments, the acknowledgement id and the brackets; the
/// namespace comes on top.
const MAX_HEADER: usize = 48;

/// The messages that make up a packet: its text, then its attachments.
pub fn frames(packet: &Packet) -> impl Iterator<Item = Frame> {
    let size = match &packet.body {
        Body::Event { args, .. } | Body::Ack { args, .. } => {
            args.values.iter().map(|json| json.len() + 1).sum::<usize>()
        }
        Body::Connect(Some(json)) | Body::ConnectError(json) => json.len(),
        Body::Connect(None) | Body::Disconnect => 0,
    };
    let mut text = Vec::with_capacity(size + MAX_HEADER + packet.namespace.as_str().len());
    encode(packet, &mut text);
    let attachments = packet.args().map_or([].as_slice(), Args::attachments);
    let attachments = attachments.iter().cloned().map(Frame::Binary);
    std::iter::once(Frame::Text(text.into())).chain(attachments)
}

/// Appends the packet's text; its attachments have to follow as binary messages.
pub fn encode(packet: &Packet, out: &mut Vec<u8>) {
    let args = packet.args();
    let binary = args.is_some_and(|args| !args.attachments.is_empty());
    out.push(match (&packet.body, binary) {
        (Body::Connect(_), _) => b'0',
        (Body::Disconnect, _) => b'1',
        (Body::Event { .. }, false) => b'2',
        (Body::Ack { .. }, false) => b'3',
        (Body::ConnectError(_), _) => b'4',
        (Body::Event { .. }, true) => b'5',
        (Body::Ack { .. }, true) => b'6',
    });
    if let Some(args) = args.filter(|_| binary) {
        push_number(args.attachments.len() as u64, out);
        out.push(b'-');
    }
    if !packet.namespace.is_main() {
        out.extend_from_slice(packet.namespace.as_str().as_bytes());
        out.push(b',');
    }
    match &packet.body {
        Body::Event { ack: Some(ack), .. } | Body::Ack { ack, .. } => push_number(*ack, out),
        _ => {}
    }
    match &packet.body {
        Body::Connect(Some(json)) | Body::ConnectError(json) => out.extend_from_slice(json),
        Body::Event { args, .. } | Body::Ack { args, .. } => {
            let mut w = json::Writer::new(out);
            w.begin_array();
            for value in &args.values {
                w.raw(value);
            }
            w.end_array();
        }
        Body::Connect(None) | Body::Disconnect => {}
    }
}

fn push_number(number: u64, out: &mut Vec<u8>) {
    json::Writer::new(out).u64(number);
}

/// Reads packets and puts their attachments back.
#[derive(Debug)]
pub struct Decoder {
    limits: PacketLimits,
    pending: Option<Pending>,
}

/// A packet whose attachments have not all come.
#[derive(Debug)]
struct Pending {
    packet: Packet,
    fault: Option<ArgumentError>,
    attachments: Vec<Bytes>,
    missing: usize,
    bytes: usize,
}

impl Decoder {
    /// A decoder that accepts packets within `limits`.
    pub const fn new(limits: PacketLimits) -> Self {
        Self { limits, pending: None }
    }

    /// Takes a message; returns the packet it completes.
    ///
    /// # Errors
    /// When it breaks the protocol. After [`DecodeError::Argument`] the next packet can be read;
    /// after any other error the conversation is out of step and must end.
    pub fn receive(&mut self, frame: Frame) -> Result<Option<Packet>, DecodeError> {
        match (frame, self.pending.take()) {
            (Frame::Text(text), None) => self.text(&text),
            (Frame::Text(_), Some(pending)) => {
                Err(DecodeError::MissingAttachments { missing: pending.missing })
            }
            (Frame::Binary(data), Some(pending)) => self.attachment(data, pending),
            (Frame::Binary(_), None) => Err(DecodeError::UnexpectedAttachment),
        }
    }

    fn check_size(&self, len: usize) -> Result<(), DecodeError> {
        let max = self.limits.max_bytes;
        if len > max { Err(DecodeError::TooLarge { len, max }) } else { Ok(()) }
    }

    fn text(&mut self, text: &Bytes) -> Result<Option<Packet>, DecodeError> {
        self.check_size(text.len())?;
        let header = Header::read(text, self.limits.max_attachments)?;
        let missing = header.attachments;
        let (packet, fault) = header.body(&self.limits)?;
        if missing == 0 {
            return finish(packet, fault).map(Some);
        }
        let attachments = Vec::with_capacity(missing);
        self.pending = Some(Pending { packet, fault, attachments, missing, bytes: text.len() });
        Ok(None)
    }

    fn attachment(
        &mut self,
        data: Bytes,
        mut pending: Pending,
    ) -> Result<Option<Packet>, DecodeError> {
        pending.bytes = pending.bytes.saturating_add(data.len());
        self.check_size(pending.bytes)?;
        pending.attachments.push(data);
        pending.missing = pending.missing.saturating_sub(1);
        if pending.missing > 0 {
            self.pending = Some(pending);
            return Ok(None);
        }
        let Pending { mut packet, fault, attachments, .. } = pending;
        if let Body::Event { args, .. } | Body::Ack { args, .. } = &mut packet.body {
            args.attachments = attachments;
            if !args.placeholders_hold() {
                return Err(DecodeError::Placeholder);
            }
        }
        finish(packet, fault).map(Some)
    }
}

fn finish(packet: Packet, fault: Option<ArgumentError>) -> Result<Packet, DecodeError> {
    match fault {
        Some(reason) => Err(DecodeError::Argument(Box::new(BadArgument { packet, reason }))),
        None => Ok(packet),
    }
}

/// Everything before the JSON.
struct Header {
    kind: u8,
    attachments: usize,
    namespace: Namespace,
    ack: Option<u64>,
    data: Bytes,
}

impl Header {
    fn read(text: &Bytes, max_attachments: usize) -> Result<Self, DecodeError> {
        let (kind, mut rest) = text.split_first().ok_or(DecodeError::Empty)?;
        if !matches!(kind, b'0'..=b'6') {
            return Err(DecodeError::UnknownType(String::from(char::from(*kind))));
        }
        let mut attachments = 0;
        if matches!(kind, b'5' | b'6') {
            let (count, after) = digits(rest);
            let count = count.ok_or(DecodeError::AttachmentCount)?;
            rest = after.strip_prefix(b"-").ok_or(DecodeError::AttachmentCount)?;
            attachments = usize::try_from(count).unwrap_or(usize::MAX);
            if attachments == 0 {
                return Err(DecodeError::AttachmentCount);
            }
            if attachments > max_attachments {
                return Err(DecodeError::TooManyAttachments { count, max: max_attachments });
            }
        }
        let mut namespace = Namespace::MAIN;
        if rest.first() == Some(&b'/') {
            let end = memchr::memchr(b',', rest).unwrap_or(rest.len());
            let (path, after) = rest.split_at(end);
            let path = std::str::from_utf8(path).map_err(|_| DecodeError::Namespace)?;
            namespace = Namespace::new(path).ok_or(DecodeError::Namespace)?;
            rest = after.strip_prefix(b",").unwrap_or(after);
        }
        let has_ack = matches!(rest.first(), Some(b'0'..=b'9'));
        let (ack, rest) = digits(rest);
        if has_ack && ack.is_none_or(|ack| ack > MAX_ACK_ID) {
            return Err(DecodeError::AckId);
        }
        Ok(Self { kind: *kind, attachments, namespace, ack, data: text.slice_ref(rest) })
    }

    fn body(self, limits: &PacketLimits) -> Result<(Packet, Option<ArgumentError>), DecodeError> {
        let Self { kind, namespace, ack, data, .. } = self;
        let data_error = |packet, expected| Err(DecodeError::Data { packet, expected });
        let mut fault = None;
        let body = match kind {
            b'0' if data.is_empty() => Body::Connect(None),
            b'0' => match json::parse(&data, limits.max_depth).map_err(DecodeError::Json)?.kind() {
                Kind::Object => Body::Connect(Some(data)),
                _ => return data_error("CONNECT", "an object or nothing"),
            },
            b'1' if data.is_empty() => Body::Disconnect,
            b'1' => return data_error("DISCONNECT", "no data"),
            b'4' => match json::parse(&data, limits.max_depth).map_err(DecodeError::Json)?.kind() {
                Kind::Object | Kind::String => Body::ConnectError(data),
                _ => return data_error("CONNECT_ERROR", "an object or a string"),
            },
            b'2' | b'5' => {
                let args;
                (args, fault) = read_args(&data, limits)?;
                match (args.value(0).map(json::Value::kind), &fault) {
                    (Some(Kind::String | Kind::Number), _) | (None, Some(_)) => {}
                    _ => return data_error("EVENT", "an array that begins with the event's name"),
                }
                Body::Event { ack, args }
            }
            _ => {
                let args;
                (args, fault) = read_args(&data, limits)?;
                Body::Ack { ack: ack.ok_or(DecodeError::AckId)?, args }
            }
        };
        Ok((Packet { namespace, body }, fault))
    }
}

/// The number at the front, if there is one and it fits, and what follows its digits.
fn digits(text: &[u8]) -> (Option<u64>, &[u8]) {
    let len = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at(len);
    let number = digits
        .iter()
        .try_fold(0_u64, |n, digit| n.checked_mul(10)?.checked_add(u64::from(*digit - b'0')));
    (number.filter(|_| len > 0), rest)
}

/// Cuts an array into its elements.
fn read_args(
    data: &Bytes,
    limits: &PacketLimits,
) -> Result<(Args, Option<ArgumentError>), DecodeError> {
    let mut args = Args::new();
    let mut elements = Elements::new(data, limits.max_depth).map_err(DecodeError::Json)?;
    loop {
        match elements.read() {
            Ok(None) => return Ok((args, None)),
            Ok(Some(_)) if args.len() == limits.max_arguments => {
                return Ok((args, Some(ArgumentError::TooMany { max: limits.max_arguments })));
            }
            Ok(Some(value)) => args.push_json(data.slice_ref(value.raw().as_bytes())),
            Err(error) => match error.kind {
                ErrorKind::TooDeep { .. } | ErrorKind::Surrogate => {
                    return Ok((args, Some(ArgumentError::Json(error))));
                }
                _ => return Err(DecodeError::Json(error)),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: PacketLimits =
        PacketLimits { max_bytes: 100, max_depth: 3, max_arguments: 4, max_attachments: 2 };

    fn decode(text: &'static str) -> Result<Option<Packet>, DecodeError> {
        Decoder::new(LIMITS).receive(Frame::Text(Bytes::from_static(text.as_bytes())))
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = |text| decode(text).expect_err(text);
        assert_eq!(error(""), DecodeError::Empty);
        assert_eq!(error("7"), DecodeError::UnknownType("7".into()));
        for text in ["5", "5-[]", "5x-[\"a\"]", "51[\"a\"]", "50-[\"a\"]", "599999999999999999999-"]
        {
            assert_eq!(error(text), DecodeError::AttachmentCount, "{text}");
        }
        assert_eq!(error("53-[]"), DecodeError::TooManyAttachments { count: 3, max: 2 });
        for text in ["3[]", "39007199254740992[]", "399999999999999999999[]"] {
            assert_eq!(error(text), DecodeError::AckId, "{text}");
        }
        for text in ["0[]", "1{}", "4[]", "2[]", "2[{}]", "2[null,1]"] {
            assert!(matches!(error(text), DecodeError::Data { .. }), "{text}");
        }
        for text in ["2", "2{}", "2abc[\"a\"]", "2[\"a\"", "2[\"a\",]", "2[\"a\"]x", "4", "0{"] {
            assert!(matches!(error(text), DecodeError::Json(_)), "{text}");
        }
    }

    #[test]
    fn a_bad_argument_leaves_the_rest_of_the_packet() {
        let bad = |text| match decode(text) {
            Err(DecodeError::Argument(bad)) => *bad,
            other => panic!("{text}: {other:?}"),
        };
        let deep = bad(r#"2/a,7["x",1,[[[[]]]],2]"#);
        let Body::Event { ack: Some(7), args } = &deep.packet.body else { panic!("{deep:?}") };
        assert_eq!((args.len(), deep.packet.namespace.as_str()), (2, "/a"));
        assert!(deep.reason.to_string().contains("deeper than 3 levels"), "{}", deep.reason);
        assert!(matches!(bad(r#"2["x","\ud800"]"#).reason, ArgumentError::Json(_)));
        assert_eq!(bad(r#"2["x",1,2,3,4]"#).reason, ArgumentError::TooMany { max: 4 });
        assert!(decode(r#"2["x",1,2,3]"#).is_ok());
    }

    #[test]
    fn attachments_of_a_bad_packet_are_not_taken_for_others() {
        let mut decoder = Decoder::new(LIMITS);
        let deep = Frame::Text(r#"51-["x",[[[[]]]],{"_placeholder":true,"num":0}]"#.into());
        assert_eq!(decoder.receive(deep), Ok(None));
        let refused = decoder.receive(Frame::Binary("data".into()));
        assert!(matches!(refused, Err(DecodeError::Argument(_))), "{refused:?}");
        let next = decoder.receive(Frame::Text(r#"2["y"]"#.into()));
        assert!(matches!(next, Ok(Some(_))), "{next:?}");
    }

    #[test]
    fn attachments_are_counted_and_measured() {
        let mut decoder = Decoder::new(LIMITS);
        let event = || Frame::Text(r#"52-["x",{"_placeholder":true,"num":1}]"#.into());
        assert_eq!(decoder.receive(event()), Ok(None));
        assert_eq!(decoder.receive(event()), Err(DecodeError::MissingAttachments { missing: 2 }));
        assert_eq!(decoder.receive(event()), Ok(None));
        assert_eq!(decoder.receive(Frame::Binary(vec![0; 50].into())), Ok(None));
        let large = decoder.receive(Frame::Binary(vec![0; 50].into()));
        assert!(matches!(large, Err(DecodeError::TooLarge { max: 100, .. })), "{large:?}");
        let more = decoder.receive(Frame::Binary("data".into()));
        assert_eq!(more, Err(DecodeError::UnexpectedAttachment));
    }

    #[test]
    fn placeholders_must_hold() {
        for num in ["1", "-1", "0.5", "\"0\"", "null", "99999999999999999999"] {
            let mut decoder = Decoder::new(LIMITS);
            let text = format!(r#"51-["x",{{"_placeholder":true,"num":{num}}}]"#);
            assert_eq!(decoder.receive(Frame::Text(text.into())), Ok(None));
            let result = decoder.receive(Frame::Binary("data".into()));
            assert_eq!(result, Err(DecodeError::Placeholder), "{num}");
        }
    }
}
