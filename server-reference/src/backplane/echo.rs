//! How long a message takes through the backplane and back.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;

use super::{Channel, Channels, Ear};
use crate::ids::random_id;

/// What has not come back by then is taken to be lost.
const LOST_AFTER: Duration = Duration::from_secs(5);

/// Tells itself something once in a while, to see how long that takes.
pub(crate) struct Echo {
    channels: Arc<dyn Channels>,
    channel: Channel,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    number: u64,
    sent: Option<Instant>,
    /// When the first one was sent of those that have not come back.
    unheard: Option<Instant>,
    took: Option<Duration>,
}

struct EchoEar(Weak<Echo>);

impl Echo {
    /// Begins to listen to itself.
    pub(crate) fn new(prefix: &str, channels: Arc<dyn Channels>) -> Arc<Self> {
        let channel = Channel::sharded(format!("{prefix}:echo:{}", random_id()));
        let state = Mutex::default();
        let echo = Arc::new(Self { channels, channel: channel.clone(), state });
        echo.channels.subscribe(channel, Arc::new(EchoEar(Arc::downgrade(&echo))));
        echo
    }

    /// Says something, unless what was said last has not come back and may still do.
    pub(crate) fn say(&self) {
        let now = Instant::now();
        let number = {
            let mut state = self.state.lock();
            let on_its_way = state.sent.is_some_and(|sent| sent.elapsed() < LOST_AFTER);
            if state.unheard.is_some() && on_its_way {
                return;
            }
            state.number += 1;
            state.sent = Some(now);
            state.unheard.get_or_insert(now);
            state.number
        };
        let message = Bytes::copy_from_slice(&number.to_be_bytes());
        self.channels.publish(self.channel.clone(), message);
    }

    /// How long the last one took; longer, if one has been on its way for longer. `None` before the
    /// first has come back.
    pub(crate) fn took(&self) -> Option<Duration> {
        let state = self.state.lock();
        let waits = state.unheard.map(|since| since.elapsed()).unwrap_or_default();
        state.took.map(|took| took.max(waits))
    }

    fn heard(&self, message: &[u8]) {
        let mut state = self.state.lock();
        if message == state.number.to_be_bytes() {
            state.took = state.sent.map(|sent| sent.elapsed());
            state.unheard = None;
        }
    }
}

impl Ear for EchoEar {
    fn hear(&self, _: &str, message: Bytes) {
        if let Some(echo) = self.0.upgrade() {
            echo.heard(&message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::channels::MemoryChannels;
    use super::*;

    #[test]
    fn what_does_not_come_back_takes_longer_and_longer() {
        let channels = Arc::new(MemoryChannels::default());
        let echo = Echo::new("test", Arc::clone(&channels) as Arc<dyn Channels>);
        assert_eq!(echo.took(), None);
        echo.say();
        let took = echo.took().expect("it came back");
        echo.state.lock().sent = None;
        echo.state.lock().unheard = Some(Instant::now());
        while echo.took() == Some(took) {}
        assert!(echo.took() > Some(took));
        echo.say();
        assert!(echo.state.lock().unheard.is_none(), "one that comes back says that it works");
    }
}
