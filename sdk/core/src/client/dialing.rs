//! Which transport to try next, and when.

use std::time::Duration;

use crate::backoff::Backoff;
use crate::message::Close;
use crate::rng::Rng;
use crate::time::Time;

use super::Transport;

/// A connection that lived shorter than this counts as a failed attempt: a server that welcomes
/// everybody and then breaks must not be hammered.
const STABLE: Duration = Duration::from_secs(1);

/// Chooses transports and delays.
#[derive(Debug)]
pub(super) struct Dialer {
    choice: Transport,
    /// What worked last, under [`Transport::Auto`].
    known_good: Option<Transport>,
    /// What the next attempt uses.
    next: Transport,
    backoff: Backoff,
    connected_at: Option<Time>,
}

impl Dialer {
    pub(super) fn new(choice: Transport, backoff: Backoff) -> Self {
        let mut dialer =
            Self { choice, known_good: None, next: Transport::Ws, backoff, connected_at: None };
        dialer.next = dialer.favourite();
        dialer
    }

    /// What the next attempt uses.
    pub(super) const fn transport(&self) -> Transport {
        self.next
    }

    /// From now on only `choice`.
    pub(super) fn choose(&mut self, choice: Transport) {
        self.choice = choice;
        self.next = self.favourite();
    }

    /// Whether another transport can be tried where this one failed, so that the failure is not
    /// the end.
    pub(super) fn has_alternative(&self) -> bool {
        self.choice == Transport::Auto && self.known_good.is_none() && self.next == self.favourite()
    }

    /// A connection is there.
    pub(super) fn welcomed(&mut self, now: Time, transport: Transport) {
        self.known_good = Some(transport);
        self.connected_at = Some(now);
        self.next = self.favourite();
    }

    /// An attempt has failed or a connection was lost. Returns how long to wait.
    pub(super) fn lost(&mut self, now: Time, close: &Close, rng: &mut Rng) -> Duration {
        match self.connected_at.take() {
            Some(since) if now - since >= STABLE => self.backoff.reset(),
            Some(_) => {}
            None if self.choice == Transport::Auto => {
                let at_once = self.has_alternative();
                self.next =
                    if self.next == self.favourite() { other(self.next) } else { self.favourite() };
                if at_once {
                    return Duration::ZERO;
                }
            }
            None => {}
        }
        let delay = self.backoff.next_delay(rng);
        close.delay.unwrap_or(delay)
    }

    /// The network is back: what failed without one does not count.
    pub(super) const fn forget_failures(&mut self) {
        self.backoff.reset();
    }

    fn favourite(&self) -> Transport {
        match self.choice {
            Transport::Auto => self.known_good.unwrap_or(Transport::Ws),
            chosen => chosen,
        }
    }
}

const fn other(transport: Transport) -> Transport {
    match transport {
        Transport::SocketIo => Transport::Ws,
        Transport::Ws | Transport::Auto => Transport::SocketIo,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::CloseCode;

    fn dialer(choice: Transport) -> Dialer {
        Dialer::new(choice, Backoff::new(Duration::from_millis(100), Duration::from_secs(1)))
    }

    fn refused() -> Close {
        Close::new(CloseCode::ABNORMAL, "refused")
    }

    #[test]
    fn auto_falls_back_at_once_and_remembers_what_worked() {
        let (mut dialer, mut rng) = (dialer(Transport::Auto), Rng::new(1));
        assert_eq!(dialer.transport(), Transport::Ws);
        assert_eq!(dialer.lost(Time::ZERO, &refused(), &mut rng), Duration::ZERO);
        assert_eq!(dialer.transport(), Transport::SocketIo);
        dialer.welcomed(Time::ZERO, Transport::SocketIo);
        dialer.lost(Time::ZERO + Duration::from_secs(9), &refused(), &mut rng);
        assert_eq!(dialer.transport(), Transport::SocketIo, "tried first from now on");
        dialer.lost(Time::ZERO + Duration::from_secs(10), &refused(), &mut rng);
        assert_eq!(dialer.transport(), Transport::Ws, "but not for ever");
        dialer.lost(Time::ZERO + Duration::from_secs(11), &refused(), &mut rng);
        assert_eq!(dialer.transport(), Transport::SocketIo);
    }

    #[test]
    fn a_chosen_transport_is_kept() {
        let (mut dialer, mut rng) = (dialer(Transport::SocketIo), Rng::new(1));
        for _ in 0..5 {
            assert_eq!(dialer.transport(), Transport::SocketIo);
            assert!(!dialer.has_alternative());
            dialer.lost(Time::ZERO, &refused(), &mut rng);
        }
        dialer.choose(Transport::Ws);
        assert_eq!(dialer.transport(), Transport::Ws);
    }

    #[test]
    fn only_a_connection_that_lasted_ends_the_backoff() {
        let (mut dialer, mut rng) = (dialer(Transport::Ws), Rng::new(1));
        let mut now = Time::ZERO;
        for _ in 0..10 {
            dialer.welcomed(now, Transport::Ws);
            now = now + Duration::from_millis(10);
            dialer.lost(now, &refused(), &mut rng);
        }
        assert_eq!(dialer.backoff.attempt(), 10);
        dialer.welcomed(now, Transport::Ws);
        dialer.lost(now + STABLE, &refused(), &mut rng);
        assert_eq!(dialer.backoff.attempt(), 1);
    }

    #[test]
    fn a_delay_the_server_asked_for_is_kept() {
        let (mut dialer, mut rng) = (dialer(Transport::Ws), Rng::new(1));
        let told = Some(Duration::from_secs(7));
        let close = Close { delay: told, ..Close::new(CloseCode::GOING_AWAY, "restarting") };
        assert_eq!(Some(dialer.lost(Time::ZERO, &close, &mut rng)), told);
    }
}
