//! A server's link with a client that speaks Engine.IO and nothing on top of it.

use std::collections::VecDeque;

use crate::link::ServerLinkConfig;
use crate::message::{CloseCode, Frame, LinkError};
use crate::time::Time;

use super::packet::Packet;
use super::request::Carrier;
use super::server::{ServerSession, ServerSessionConfig};

/// Frames to messages and back, for an application of Engine.IO itself.
#[derive(Debug)]
pub struct ServerLink {
    session: ServerSession,
    max_frame: usize,
    inbox: VecDeque<Frame>,
}

impl ServerLink {
    /// The link of a connection that was opened at `now`. `sid` must not be guessable; `upgrades`
    /// are the carriers to which it may move.
    pub fn new(config: &ServerLinkConfig, sid: &str, upgrades: &[Carrier], now: Time) -> Self {
        let session_config = ServerSessionConfig {
            ping_interval: config.ping_interval,
            ping_timeout: config.ping_timeout,
            max_payload: u32::try_from(config.max_frame).unwrap_or(u32::MAX),
        };
        Self {
            session: ServerSession::new(sid, upgrades, session_config, now),
            max_frame: config.max_frame,
            inbox: VecDeque::new(),
        }
    }

    /// Takes a frame of the client.
    ///
    /// # Errors
    /// When it is no packet, too large, or the end of the connection.
    pub fn receive(&mut self, now: Time, frame: Frame) -> Result<(), LinkError> {
        let (Frame::Text(bytes) | Frame::Binary(bytes)) = &frame;
        if bytes.len() > self.max_frame {
            let reason = format!("a message of {} bytes, {} may be", bytes.len(), self.max_frame);
            return Err(LinkError::new(CloseCode::TOO_LARGE, reason));
        }
        let packet = Packet::decode(frame)
            .map_err(|error| LinkError::new(CloseCode::BAD_FRAME, error.to_string()))?;
        self.inbox.extend(self.session.receive(now, packet)?);
        Ok(())
    }

    /// The next message of the client.
    pub fn poll_engine(&mut self) -> Option<Frame> {
        self.inbox.pop_front()
    }

    /// The next frame to write.
    pub fn poll_frame(&mut self) -> Option<Frame> {
        Some(self.session.poll_packet()?.encode())
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub const fn next_timeout(&self) -> Time {
        self.session.next_timeout()
    }

    /// Sends the ping that is due.
    ///
    /// # Errors
    /// When the client fell silent.
    pub fn handle_timeout(&mut self, now: Time) -> Result<(), LinkError> {
        self.session.handle_timeout(now)
    }

    /// When the client is given up unless something comes from it.
    pub const fn dead_at(&self) -> Option<Time> {
        self.session.dead_at()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_start(Duration::from_millis(millis))
    }

    #[test]
    fn messages_come_out_and_the_rest_is_kept_to_itself() {
        let config = ServerLinkConfig {
            max_frame: 8,
            ping_interval: Duration::from_millis(300),
            ping_timeout: Duration::from_millis(200),
            ..ServerLinkConfig::default()
        };
        let mut link = ServerLink::new(&config, "sid", &[Carrier::WebSocket], at(0));
        let open = link.poll_frame().map(|frame| match frame {
            Frame::Text(text) => String::from_utf8_lossy(&text).into_owned(),
            Frame::Binary(_) => String::new(),
        });
        assert!(
            open.is_some_and(|open| open.starts_with(r#"0{"sid":"sid","upgrades":["websocket"]"#))
        );
        for frame in [Frame::Text("4hello".into()), Frame::Binary("data".into())] {
            assert_eq!(link.receive(at(1), frame), Ok(()));
        }
        assert_eq!(link.poll_engine(), Some(Frame::Text("hello".into())));
        assert_eq!(link.poll_engine(), Some(Frame::Binary("data".into())));
        assert_eq!(link.poll_engine(), None);
        assert_eq!((link.next_timeout(), link.dead_at()), (at(300), None));
        assert_eq!(link.handle_timeout(at(300)), Ok(()));
        assert_eq!(link.poll_frame(), Some(Frame::Text("2".into())));
        assert_eq!(link.dead_at(), Some(at(500)));
        assert_eq!(link.receive(at(400), Frame::Text("3".into())), Ok(()));
        assert_eq!((link.poll_engine(), link.dead_at()), (None, None));
        let code = |result: Result<(), LinkError>| result.map_err(|error| error.close.code);
        let large = Frame::Text("4too large".into());
        assert_eq!(code(link.receive(at(400), large)), Err(CloseCode::TOO_LARGE));
        assert_eq!(code(link.receive(at(400), Frame::Text("x".into()))), Err(CloseCode::BAD_FRAME));
        assert_eq!(code(link.receive(at(400), Frame::Text("1".into()))), Err(CloseCode::NORMAL));
    }
}
