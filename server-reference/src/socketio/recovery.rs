//! Connection state recovery: what a namespace remembers for clients that come back.
//!
//! A packet is kept once, whatever the number of clients that may come back for it, and what a
//! client gets is found by the offset of the last packet it has seen. So a thousand clients that
//! come back at once read what is in memory, and nothing else.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidings_core::Pattern;
use tidings_core::message::SubId;
use tidings_core::server::{Ledger, Mark, Seen};
use tidings_core::socketio::Args;

use super::listeners::ByType;
use super::table::Target;
use crate::config::Recovery as Limits;
use crate::ids::random_id;

/// The state of a client that went away.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) sid: Arc<str>,
    pub(super) pid: Arc<str>,
    /// Whose it was; nobody else comes back to it.
    pub(super) subject: Option<Arc<str>>,
    pub(super) rooms: Vec<Arc<str>>,
    pub(super) data: ByType,
    /// What it had of Tidings, in the namespace where that is spoken.
    pub(super) session: Option<SessionLeft>,
}

/// What a client had of Tidings.
#[derive(Debug)]
pub(crate) struct SessionLeft {
    pub(crate) subscriptions: Vec<(SubId, Pattern)>,
    pub(crate) sent: Ledger,
}

/// What a client comes back to.
#[derive(Debug)]
pub(super) struct Returned {
    pub(super) left: Left,
    /// What it has seen last, by its own account.
    pub(super) last: Mark,
    /// What follows from that.
    pub(super) seen: Seen,
}

#[derive(Debug)]
struct Kept {
    number: u64,
    at: Instant,
    bytes: usize,
    target: Target,
    args: Args,
}

/// The packets and clients that a namespace remembers.
#[derive(Debug)]
pub(super) struct Recovery {
    limits: Limits,
    /// Offsets of another server, or of this one before it was started again, are not taken for
    /// this one's.
    epoch: String,
    next: u64,
    packets: VecDeque<Kept>,
    bytes: usize,
    left: HashMap<Arc<str>, (Left, Instant)>,
    /// Who left, oldest first; some may have come back.
    order: VecDeque<(Arc<str>, Instant)>,
}

impl Recovery {
    /// `None` if nothing is to be remembered.
    pub(super) fn new(limits: &Limits) -> Option<Self> {
        let epoch: String = random_id().chars().take(6).collect();
        (limits.max_age > Duration::ZERO).then(|| Self {
            limits: limits.clone(),
            epoch,
            next: 1,
            packets: VecDeque::new(),
            bytes: 0,
            left: HashMap::new(),
            order: VecDeque::new(),
        })
    }

    /// Remembers an event, and returns its number. Its offset is appended to its arguments, where
    /// clients find it.
    pub(super) fn keep(&mut self, now: Instant, target: &Target, args: &mut Args) -> u64 {
        let number = self.next;
        self.next += 1;
        args.push_str(&format!("{}.{number}", self.epoch));
        let bytes = args.bytes() + target.bytes();
        self.bytes += bytes;
        let (target, args) = (target.clone(), args.clone());
        self.packets.push_back(Kept { number, at: now, bytes, target, args });
        self.forget_old(now);
        number
    }

    /// The number of the last event.
    pub(super) const fn last(&self) -> u64 {
        self.next - 1
    }

    /// Remembers a client that went away.
    pub(super) fn leave(&mut self, now: Instant, left: Left) {
        self.order.push_back((Arc::clone(&left.pid), now));
        self.left.insert(Arc::clone(&left.pid), (left, now));
        self.forget_old(now);
    }

    /// The client of this subject with this `pid` comes back, having seen the event with this offset
    /// last. `None` if it is not known any more, is somebody else's, or if what it has not seen is not
    /// known.
    pub(super) fn come_back(
        &mut self,
        now: Instant,
        subject: Option<&Arc<str>>,
        pid: &str,
        offset: &str,
    ) -> Option<Returned> {
        self.forget_old(now);
        let last = self.mark(offset)?;
        let (left, _) = self.left.get(pid).filter(|(left, _)| left.subject.as_ref() == subject)?;
        let seen = match (&left.session, last) {
            (Some(session), last) => session.sent.seen(last)?,
            (None, Mark::Application(application)) => Seen { application, ..Seen::default() },
            (None, Mark::Event(..)) => return None,
        };
        let oldest = self.packets.front().map_or(self.next, |kept| kept.number);
        if seen.application + 1 < oldest {
            return None;
        }
        let (left, _) = self.left.remove(pid)?;
        Some(Returned { left, last, seen })
    }

    /// The events after that with number `seen` that clients in these rooms were sent.
    pub(super) fn missed(&self, seen: u64, is_in: impl Fn(&Target) -> bool) -> Vec<(u64, Args)> {
        let after = self.packets.partition_point(|kept| kept.number <= seen);
        let missed = self.packets.range(after..).filter(|kept| is_in(&kept.target));
        missed.map(|kept| (kept.number, kept.args.clone())).collect()
    }

    /// What an offset names.
    fn mark(&self, offset: &str) -> Option<Mark> {
        let Some((epoch, number)) = offset.rsplit_once('.') else {
            return Mark::parse_event(offset);
        };
        let number = number.parse().ok().filter(|number| *number < self.next)?;
        (epoch == self.epoch).then_some(Mark::Application(number))
    }

    fn forget_old(&mut self, now: Instant) {
        let old = |at: Instant| now.saturating_duration_since(at) > self.limits.max_age;
        while let Some(oldest) = self.packets.front()
            && (old(oldest.at)
                || self.packets.len() > self.limits.max_packets
                || self.bytes > self.limits.max_bytes)
        {
            self.bytes -= oldest.bytes;
            self.packets.pop_front();
        }
        while let Some((pid, at)) = self.order.front()
            && (old(*at) || self.left.len() > self.limits.max_sessions)
        {
            // It may have come back and left again since.
            if self.left.get(pid).is_some_and(|(_, left_at)| left_at == at) {
                self.left.remove(pid);
            }
            self.order.pop_front();
        }
        if self.order.len() > 2 * self.limits.max_sessions {
            // Clients that come and go again and again; those that are away stay in it, so half of
            // it goes.
            let left = &self.left;
            self.order.retain(|(pid, at)| left.get(pid).is_some_and(|(_, left_at)| left_at == at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits {
            max_age: Duration::from_secs(10),
            max_packets: 3,
            max_bytes: 1 << 20,
            max_sessions: 2,
            max_sent: 10,
            skip_middlewares: true,
        }
    }

    fn keep(recovery: &mut Recovery, now: Instant, event: &str) -> String {
        let mut args = Args::new();
        args.push_str(event);
        recovery.keep(now, &Target::default(), &mut args);
        args.value(1).and_then(|offset| Some(offset.as_str()?.into_owned())).expect("an offset")
    }

    fn left(pid: &str) -> Left {
        let (rooms, data) = (Vec::new(), ByType::default());
        Left { sid: "s".into(), pid: pid.into(), subject: None, rooms, data, session: None }
    }

    #[test]
    fn what_came_after_an_offset_is_missed_as_long_as_it_is_kept() {
        let now = Instant::now();
        let mut recovery = Recovery::new(&limits()).expect("it is on");
        let offsets = ["a", "b", "c"].map(|event| keep(&mut recovery, now, event));
        let missed = |recovery: &Recovery, offset: &str| {
            let Some(Mark::Application(seen)) = recovery.mark(offset) else { panic!("{offset}") };
            let name = |(_, args): &(u64, Args)| Some(args.value(0)?.as_str()?.into_owned());
            recovery.missed(seen, |_| true).iter().filter_map(name).collect::<String>()
        };
        assert_eq!(missed(&recovery, &offsets[0]), "bc");
        assert_eq!(missed(&recovery, &offsets[2]), "");
        keep(&mut recovery, now, "d");
        recovery.leave(now, left("p"));
        assert_eq!(missed(&recovery, &offsets[0]), "bcd", "the oldest one kept comes next");
        keep(&mut recovery, now, "e");
        assert!(recovery.come_back(now, None, "p", &offsets[0]).is_none(), "b is gone");
        assert!(recovery.come_back(now, None, "p", "other.1").is_none());
        assert!(recovery.come_back(now, None, "p", &offsets[1]).is_some());
        assert!(recovery.come_back(now, None, "p", &offsets[1]).is_none(), "it has come back");
    }

    #[test]
    fn age_and_number_bound_what_is_remembered() {
        let now = Instant::now();
        let mut recovery = Recovery::new(&limits()).expect("it is on");
        let offset = keep(&mut recovery, now, "a");
        for pid in ["1", "2", "3"] {
            recovery.leave(now, left(pid));
        }
        assert!(recovery.come_back(now, None, "1", &offset).is_none(), "two are remembered");
        assert!(recovery.come_back(now, None, "2", &offset).is_some());
        recovery.leave(now + Duration::from_secs(5), left("2"));
        let later = now + Duration::from_secs(11);
        assert!(recovery.come_back(later, None, "3", &offset).is_none());
        assert!(recovery.come_back(later, None, "2", &offset).is_some(), "it left later");
        assert_eq!((recovery.packets.len(), recovery.bytes), (0, 0));
    }

    #[test]
    fn a_client_that_comes_and_goes_is_remembered_once() {
        let now = Instant::now();
        let mut recovery = Recovery::new(&limits()).expect("it is on");
        let offset = keep(&mut recovery, now, "a");
        for since in (0..100).map(Duration::from_millis) {
            recovery.leave(now + since, left("1"));
            assert!(recovery.come_back(now + since, None, "1", &offset).is_some());
        }
        recovery.leave(now + Duration::from_secs(1), left("1"));
        assert!(recovery.order.len() <= 2 * recovery.limits.max_sessions, "{:?}", recovery.order);
        assert!(recovery.come_back(now + Duration::from_secs(2), None, "1", &offset).is_some());
    }
}
