//! Where feeds read the log from.

use std::sync::Arc;

use crate::lane::{Lane, Place};
use crate::log::{LoggedEvent, Read};

/// Where a feed reads the log from.
pub trait LogReader {
    /// Reads up to `limit` events of `lane` after `after` into `out`, oldest first, and tells the
    /// gap if some are no longer there; see [`LaneLog::read`](crate::log::LaneLog::read). Whoever
    /// is answered [`Read::Later`] is told when the lane can be read.
    fn read(&self, lane: Lane, after: Place, limit: usize, out: &mut Vec<Arc<LoggedEvent>>)
    -> Read;

    /// Whether all that there is of `lane` up to `place` can be read, even if it ends before that: a
    /// client may have been further on another instance. If not, who asked is told when it can.
    fn reaches(&self, _lane: Lane, _place: Place) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Priority;
    use crate::lane::{Epoch, Offset};
    use crate::link::Wire;
    use crate::message::SubId;
    use crate::pattern::Pattern;
    use crate::server::{Feed, FeedConfig};

    /// A log of which nothing is in memory until it is loaded.
    struct Elsewhere(std::cell::Cell<bool>);

    impl LogReader for Elsewhere {
        fn read(&self, _: Lane, _: Place, _: usize, _: &mut Vec<Arc<LoggedEvent>>) -> Read {
            if self.0.get() { Read::Done(None) } else { Read::Later }
        }
    }

    /// A log that ends before a place that others know.
    struct Lagging(std::cell::Cell<bool>);

    impl LogReader for Lagging {
        fn read(&self, _: Lane, _: Place, _: usize, _: &mut Vec<Arc<LoggedEvent>>) -> Read {
            Read::Done(None)
        }

        fn reaches(&self, _: Lane, place: Place) -> bool {
            assert_eq!(place, Place { epoch: Epoch(1), offset: Offset(9) });
            self.0.get()
        }
    }

    #[test]
    fn a_replay_does_not_end_before_what_the_client_has_seen_elsewhere() {
        let mut feed = Feed::new(Wire::WsJson, Arc::new(FeedConfig::default()));
        let lane = Lane::new(0, Priority::Normal);
        let place = |offset| Place { epoch: Epoch(1), offset: Offset(offset) };
        let log = Lagging(false.into());
        feed.replay(SubId(1), Pattern::new("**").unwrap(), lane, place(5), place(9));
        feed.catch_up(&log);
        assert!(!feed.is_live() && !feed.wants_catch_up());
        log.0.set(true);
        assert!(feed.arrived(lane));
        feed.catch_up(&log);
        assert!(feed.is_live());
    }

    #[test]
    fn what_is_not_in_memory_is_waited_for_and_not_asked_for_again() {
        let mut feed = Feed::new(Wire::WsJson, Arc::new(FeedConfig::default()));
        let lane = Lane::new(0, Priority::Normal);
        let log = Elsewhere(false.into());
        feed.resume(lane, Place { epoch: Epoch(1), offset: Offset(5) });
        assert!(feed.wants_catch_up());
        feed.catch_up(&log);
        assert!(!feed.wants_catch_up() && !feed.is_live());
        log.0.set(true);
        assert!(feed.arrived(lane));
        assert!(!feed.arrived(lane), "told once");
        assert!(feed.wants_catch_up());
        feed.catch_up(&log);
        assert!(feed.is_live());
    }
}
