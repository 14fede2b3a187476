//! Reading a partition: a subscription for what comes, and reads of the log for what did not.

use std::time::Duration;

use crate::time::Time;

use super::Pause;

/// Pause after a subscription ended, before the next attempt: the first, and the longest.
const PAUSE: Pause = Pause::new(Duration::from_millis(20), Duration::from_millis(500));

/// Where the reading of a partition stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nobody wants it.
    Off,
    /// To be subscribed to, then.
    Paused(Time),
    /// The subscription was asked for.
    Subscribing,
    /// It is there; now it is asked where the lanes stand.
    Looking,
    /// What comes is heard. Then it is compared with the store.
    Following {
        /// When it is compared next.
        check_at: Time,
    },
}

/// Whether the partition is read, and how that goes.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) phase: Phase,
    /// Names the subscription that is wanted.
    pub(super) subscription: u64,
    /// When somebody last wanted it.
    wanted: Time,
    began: Time,
    pause: Pause,
}

impl Reading {
    pub(super) const fn new() -> Self {
        Self {
            phase: Phase::Off,
            subscription: 0,
            wanted: Time::ZERO,
            began: Time::ZERO,
            pause: PAUSE,
        }
    }

    /// Somebody wants it. Returns whether it is read from now on.
    pub(super) fn want(&mut self, now: Time) -> bool {
        self.wanted = now;
        let begins = self.phase == Phase::Off;
        if begins {
            self.phase = Phase::Paused(now);
        }
        begins
    }

    /// Whether nobody has wanted it for so long.
    pub(super) fn is_unwanted(&self, now: Time, linger: Duration) -> bool {
        now - self.wanted >= linger
    }

    /// A new subscription is asked for.
    pub(super) fn subscribe(&mut self, now: Time) -> u64 {
        self.subscription += 1;
        self.began = now;
        self.phase = Phase::Subscribing;
        self.subscription
    }

    /// Whether what is told of this subscription still matters.
    pub(super) fn is_current(&self, subscription: u64) -> bool {
        let subscribed = !matches!(self.phase, Phase::Off | Phase::Paused(_));
        subscribed && subscription == self.subscription
    }

    /// The subscription has ended, or something about it failed: there is to be another one.
    pub(super) fn again(&mut self, now: Time) {
        if now - self.began > PAUSE.longest {
            self.pause.reset();
        }
        self.phase = Phase::Paused(now + self.pause.after_failure());
    }

    /// It is compared with the store now, if it is heard at all.
    pub(super) fn check_now(&mut self, now: Time) {
        if self.is_following() {
            self.phase = Phase::Following { check_at: now };
        }
    }

    /// Something has changed: what failed may work now.
    pub(super) fn hurry(&mut self, now: Time) {
        if matches!(self.phase, Phase::Paused(_)) {
            self.phase = Phase::Paused(now);
        }
    }

    /// Whether notices are heard that are not to be missed.
    pub(super) const fn is_following(&self) -> bool {
        matches!(self.phase, Phase::Following { .. })
    }
}
