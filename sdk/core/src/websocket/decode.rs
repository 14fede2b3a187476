//! Reading frames.

use bytes::Bytes;

use super::{MAX_CONTROL, Opcode, ProtocolError, mask};
use crate::message::{CloseCode, Frame};

/// Which end of the connection reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Frames come from a client and must be masked.
    Server,
    /// Frames come from a server and must not be masked.
    Client,
}

/// Something complete from the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// A whole message, whatever number of frames it came in.
    Message(Frame),
    /// To be answered by a pong with the same payload.
    Ping(Bytes),
    /// An answer to a ping, or a sign of life on its own.
    Pong(Bytes),
    /// The peer ends the connection, with its code and reason if it gave one. To be answered by a
    /// close frame; nothing after it is read.
    Close(Option<(CloseCode, String)>),
}

/// Reads the frames of one connection.
#[derive(Debug, Clone)]
pub struct Decoder {
    role: Role,
    max_message: usize,
    /// The beginning of a header whose rest has not come yet.
    partial: [u8; MAX_MASKED_HEADER],
    partial_len: u8,
    /// The frame whose payload is being read.
    current: Option<Current>,
    /// Whether the message being collected is text; `None` between messages.
    text: Option<bool>,
    message: Vec<u8>,
    control: Vec<u8>,
    closed: bool,
}

#[derive(Debug, Clone, Copy)]
struct Current {
    fin: bool,
    opcode: Opcode,
    len: usize,
    received: usize,
    key: Option<[u8; 4]>,
}

const MAX_MASKED_HEADER: usize = 14;

/// How much room is made at once for a payload that has not arrived: a peer that announces much
/// and sends nothing costs this much and no more.
const RESERVE_AHEAD: usize = 16 << 10;

impl Decoder {
    /// A decoder that accepts messages of up to `max_message` bytes.
    pub const fn new(role: Role, max_message: usize) -> Self {
        Self {
            role,
            max_message,
            partial: [0; MAX_MASKED_HEADER],
            partial_len: 0,
            current: None,
            text: None,
            message: Vec::new(),
            control: Vec::new(),
            closed: false,
        }
    }

    /// Reads from the front of `input` until something is complete or `input` is empty, and moves
    /// `input` past what was read. To be called again until it gives `None`.
    ///
    /// After an error, or after [`Incoming::Close`], it takes all input and gives `None`.
    ///
    /// ```
    /// use tidings_core::message::Frame;
    /// use tidings_core::websocket::{Decoder, Incoming, Role};
    /// let mut decoder = Decoder::new(Role::Client, 1024);
    /// let mut input: &[u8] = &[0x81, 0x05, b'H', b'e', b'l'];
    /// assert_eq!(decoder.decode(&mut input)?, None);
    /// let mut input: &[u8] = b"lo";
    /// let hello = Incoming::Message(Frame::Text("Hello".into()));
    /// assert_eq!(decoder.decode(&mut input)?, Some(hello));
    /// # Ok::<(), tidings_core::websocket::ProtocolError>(())
    /// ```
    pub fn decode(&mut self, input: &mut &[u8]) -> Result<Option<Incoming>, ProtocolError> {
        if self.closed {
            *input = &[];
            return Ok(None);
        }
        let result = self.advance(input);
        if matches!(result, Err(_) | Ok(Some(Incoming::Close(_)))) {
            self.closed = true;
            (self.message, self.control) = (Vec::new(), Vec::new());
        }
        result
    }

    fn advance(&mut self, input: &mut &[u8]) -> Result<Option<Incoming>, ProtocolError> {
        loop {
            let Some(frame) = self.current.take() else {
                let Some(frame) = self.read_header(input)? else { return Ok(None) };
                self.current = Some(frame);
                continue;
            };
            let (taken, rest) = input.split_at(input.len().min(frame.len - frame.received));
            *input = rest;
            let buffer =
                if frame.opcode.is_control() { &mut self.control } else { &mut self.message };
            if buffer.capacity() - buffer.len() < taken.len() {
                // A message in one frame gets room for exactly that; one in parts grows.
                let whole = frame.fin && frame.opcode != Opcode::Continuation;
                let most = if whole { frame.len } else { self.max_message } - buffer.len();
                buffer.reserve_exact(taken.len().max(buffer.len()).max(RESERVE_AHEAD).min(most));
            }
            let start = buffer.len();
            buffer.extend_from_slice(taken);
            if let Some(key) = frame.key {
                mask::apply(buffer.get_mut(start..).unwrap_or_default(), key, frame.received);
            }
            let frame = Current { received: frame.received + taken.len(), ..frame };
            if frame.received < frame.len {
                self.current = Some(frame);
                return Ok(None);
            }
            if let Some(complete) = self.complete(frame)? {
                return Ok(Some(complete));
            }
        }
    }

    /// Collects a header and checks it.
    fn read_header(&mut self, input: &mut &[u8]) -> Result<Option<Current>, ProtocolError> {
        loop {
            let have = usize::from(self.partial_len);
            let header = self.partial.get(..have).unwrap_or_default();
            let needed = match header {
                [first, second, ..] => {
                    check_start(*first, *second, self.role)?;
                    let length = match second & 0x7F {
                        126 => 2,
                        127 => 8,
                        _ => 0,
                    };
                    let key = if self.role == Role::Server { 4 } else { 0 };
                    2 + length + key
                }
                _ => 2,
            };
            if have == needed {
                let frame = self.parse_header(header)?;
                self.partial_len = 0;
                return Ok(Some(frame));
            }
            let (taken, rest) = input.split_at(input.len().min(needed - have));
            if taken.is_empty() {
                return Ok(None);
            }
            *input = rest;
            if let Some(room) = self.partial.get_mut(have..have + taken.len()) {
                room.copy_from_slice(taken);
            }
            self.partial_len += taken.len() as u8;
        }
    }

    /// Reads a complete header whose first two bytes were checked.
    fn parse_header(&self, header: &[u8]) -> Result<Current, ProtocolError> {
        let [first, second, rest @ ..] = header else { return Err(ProtocolError::Length) };
        let opcode =
            Opcode::from_number(first & 0x0F).ok_or(ProtocolError::Opcode(first & 0x0F))?;
        let (len, rest) = match (second & 0x7F, rest) {
            (126, [a, b, rest @ ..]) => match u16::from_be_bytes([*a, *b]) {
                0..=125 => return Err(ProtocolError::Length),
                len => (u64::from(len), rest),
            },
            (127, [a, b, c, d, e, f, g, h, rest @ ..]) => {
                match u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]) {
                    0..=0xFFFF | 0x8000_0000_0000_0000.. => return Err(ProtocolError::Length),
                    len => (len, rest),
                }
            }
            (len, rest) => (u64::from(len), rest),
        };
        let key = match rest {
            [a, b, c, d] => Some([*a, *b, *c, *d]),
            _ => None,
        };
        match (opcode, self.text) {
            (Opcode::Continuation, None) => return Err(ProtocolError::Continuation),
            (Opcode::Text | Opcode::Binary, Some(_)) => return Err(ProtocolError::Interleaved),
            _ => {}
        }
        let room = if opcode.is_control() {
            MAX_CONTROL
        } else {
            self.max_message.saturating_sub(self.message.len())
        };
        match usize::try_from(len) {
            Ok(len) if len <= room => {
                Ok(Current { fin: first & 0x80 != 0, opcode, len, received: 0, key })
            }
            _ => Err(ProtocolError::TooLarge { limit: self.max_message }),
        }
    }

    /// A frame's payload is there.
    fn complete(&mut self, frame: Current) -> Result<Option<Incoming>, ProtocolError> {
        let text = match frame.opcode {
            Opcode::Ping => {
                return Ok(Some(Incoming::Ping(std::mem::take(&mut self.control).into())));
            }
            Opcode::Pong => {
                return Ok(Some(Incoming::Pong(std::mem::take(&mut self.control).into())));
            }
            Opcode::Close => {
                return read_close(&std::mem::take(&mut self.control))
                    .map(Incoming::Close)
                    .map(Some);
            }
            Opcode::Text => true,
            Opcode::Binary => false,
            Opcode::Continuation => self.text.unwrap_or_default(),
        };
        if !frame.fin {
            self.text = Some(text);
            return Ok(None);
        }
        self.text = None;
        let message = std::mem::take(&mut self.message);
        if text && std::str::from_utf8(&message).is_err() {
            return Err(ProtocolError::Utf8);
        }
        let message = Bytes::from(message);
        let message = if text { Frame::Text(message) } else { Frame::Binary(message) };
        Ok(Some(Incoming::Message(message)))
    }
}

/// Checks what the first two bytes of a header tell.
fn check_start(first: u8, second: u8, role: Role) -> Result<(), ProtocolError> {
    if first & 0x70 != 0 {
        return Err(ProtocolError::ReservedBits);
    }
    let number = first & 0x0F;
    let opcode = Opcode::from_number(number).ok_or(ProtocolError::Opcode(number))?;
    match (role, second & 0x80 != 0) {
        (Role::Server, false) => return Err(ProtocolError::Unmasked),
        (Role::Client, true) => return Err(ProtocolError::Masked),
        _ => {}
    }
    if opcode.is_control() && (first & 0x80 == 0 || usize::from(second & 0x7F) > MAX_CONTROL) {
        return Err(ProtocolError::Control);
    }
    Ok(())
}

/// What a close frame says.
fn read_close(payload: &[u8]) -> Result<Option<(CloseCode, String)>, ProtocolError> {
    match payload {
        [] => Ok(None),
        [a, b, reason @ ..] => {
            let code = u16::from_be_bytes([*a, *b]);
            if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
                return Err(ProtocolError::Close);
            }
            let reason = std::str::from_utf8(reason).map_err(|_| ProtocolError::Utf8)?;
            Ok(Some((CloseCode(code), reason.to_owned())))
        }
        [_] => Err(ProtocolError::Close),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_follows_what_arrived_not_what_was_announced() {
        assert!(
            size_of::<Decoder>() <= 160,
            "{} bytes for an idle connection",
            size_of::<Decoder>()
        );
        let mut decoder = Decoder::new(Role::Client, 1 << 20);
        let announced = [&[0x82, 127][..], &(1_u64 << 20).to_be_bytes(), b"x"].concat();
        assert_eq!(decoder.decode(&mut &announced[..]), Ok(None));
        assert!(decoder.message.capacity() <= RESERVE_AHEAD);
        for _ in 0..60 {
            assert_eq!(decoder.decode(&mut &[b'x'; 1 << 14][..]), Ok(None));
        }
        assert!(decoder.message.capacity() <= 1 << 20, "never more than the message needs");
        let complete = decoder.decode(&mut &vec![b'x'; 1 << 20][..]);
        assert!(matches!(complete, Ok(Some(Incoming::Message(Frame::Binary(_))))));
        assert_eq!(decoder.message.capacity() + decoder.control.capacity(), 0);
    }
}
