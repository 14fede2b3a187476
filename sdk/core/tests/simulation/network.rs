//! Connections whose bytes take their time, or never arrive.

use std::time::Duration;

use tidings_core::Time;
use tidings_core::client::IoId;
use tidings_core::rng::Rng;
use tidings_core::websocket::{Decoder, Role};

/// Names a connection, of whichever server, for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Line {
    pub(crate) client: usize,
    pub(crate) io: IoId,
}

/// One direction of a connection: what is sent arrives in order.
#[derive(Debug, Default)]
pub(crate) struct Pipe {
    /// When the last of what was sent arrives.
    last: Time,
    /// Bytes sent and not read.
    pub(crate) in_flight: usize,
    /// Nothing arrives any more, and nobody is told.
    pub(crate) swallows: bool,
}

impl Pipe {
    /// When something sent now arrives.
    pub(crate) fn arrival(&mut self, now: Time, rng: &mut Rng) -> Time {
        self.last = self.last.max(now + delay(rng));
        self.last
    }
}

/// Usually some milliseconds, sometimes seconds.
pub(crate) fn delay(rng: &mut Rng) -> Duration {
    let ms = if rng.chance(10) { 200 + rng.below(3000) } else { 1 + rng.below(30) };
    Duration::from_millis(ms)
}

/// How a connection breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// What is on its way is lost, and both ends notice soon.
    Clean,
    /// The client notices; what it has sent still arrives.
    Half,
    /// Nobody notices.
    Silent,
}

/// A connection between a client and a server.
pub(crate) struct Wire {
    pub(crate) server: usize,
    pub(crate) socketio: bool,
    pub(crate) subprotocol: Option<&'static str>,
    pub(crate) up: Pipe,
    pub(crate) down: Pipe,
    /// The client has closed it, or was told that it is gone.
    pub(crate) left: bool,
    /// The client was told to write no more.
    pub(crate) full: bool,
    pub(crate) decoder: Decoder,
}

impl Wire {
    pub(crate) fn new(server: usize, url: &str, subprotocol: Option<&'static str>) -> Self {
        Self {
            server,
            socketio: url.contains("socket.io"),
            subprotocol,
            up: Pipe::default(),
            down: Pipe::default(),
            left: false,
            full: false,
            decoder: Decoder::new(Role::Client, 1 << 20),
        }
    }
}
