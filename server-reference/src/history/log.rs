//! What of history is still in the log: read window by window, in the order asked for, and no more of
//! it than one request may look at.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use tidings_core::Priority;
use tidings_core::lane::{Lane, Offset, Place};
use tidings_core::log::{LoggedEvent, Read};
use tidings_core::message::{ErrorCode, Position, Refusal};

use super::{Page, Query};
use crate::app::App;
use crate::store::{EventPlace, KeptEvent};

/// How many events are read at once, before others have their turn.
const CHUNK: usize = 256;

/// How many microseconds the first window has, and the least that one has. Offsets are times.
const FIRST_WINDOW: u64 = 1_000_000;
const LEAST_WINDOW: u64 = 16;

/// What one request may look at is that of so many full windows.
const WINDOWS: usize = 4;

/// What the log has of what is asked for, of events of which `may_see` allows it.
pub(super) async fn read(
    app: &App,
    query: &Query,
    may_see: impl Fn(&str) -> bool,
) -> Result<Page, Refusal> {
    let wanted = |logged: &LoggedEvent| {
        let event = logged.event();
        query.patterns.iter().any(|pattern| pattern.matches(&event.name))
            && query.id.as_deref().is_none_or(|id| *id == *event.id)
            && may_see(&event.name)
    };
    let mut reading =
        Reading { app, query, wanted, found: BTreeMap::new(), looked_at: 0, complete: true };
    let patience = app.config.timeouts.request;
    let page = tokio::time::timeout(patience, reading.page()).await;
    page.map_err(|_elapsed| {
        let message = format!("the log could not be read within {patience:?}; try again later");
        Refusal::new(ErrorCode::UNAVAILABLE, message)
    })
}

struct Reading<'a, W> {
    app: &'a App,
    query: &'a Query,
    wanted: W,
    found: BTreeMap<EventPlace, Arc<LoggedEvent>>,
    /// How many events were looked at so far.
    looked_at: usize,
    complete: bool,
}

/// Offsets after `from` and up to `to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Window {
    from: u64,
    to: u64,
}

impl<W: Fn(&LoggedEvent) -> bool> Reading<'_, W> {
    async fn page(&mut self) -> Page {
        if let Some(place) = self.likely_place() {
            let from = place.offset.0.saturating_sub(1);
            self.read_windows(&[place.lane], Window { from, to: u64::MAX }, true).await;
            if !self.found.is_empty() {
                return self.finish(None);
            }
        }
        let lanes = self.lanes();
        let whole = self.whole();
        let end = self.read_windows(&lanes, whole, self.query.oldest_first).await;
        self.finish(end)
    }

    /// Where the event is most likely that is asked for by its id: ids that the log has given say it.
    fn likely_place(&self) -> Option<EventPlace> {
        let (lane, offset) = self.query.id.as_deref()?.split_once('-')?;
        let lane = Lane::from_number(lane.parse().ok()?)?;
        let is_ours = lane.partition() < self.app.backplane.partitioning().count();
        let offset = Offset(offset.parse().ok()?);
        is_ours.then_some(EventPlace { offset, lane })
    }

    /// The lanes in which there may be something of what is asked for.
    fn lanes(&self) -> Vec<Lane> {
        let partitioning = self.app.backplane.partitioning();
        let of_pattern =
            |pattern: &tidings_core::Pattern| match partitioning.of_pattern(pattern.as_str()) {
                Some(partition) => partition..partition + 1,
                None => 0..partitioning.count(),
            };
        let mut partitions: Vec<u16> = self.query.patterns.iter().flat_map(of_pattern).collect();
        partitions.sort_unstable();
        partitions.dedup();
        let lanes_of = |partition| {
            self.query.priorities.iter().map(move |priority| Lane::new(partition, *priority))
        };
        partitions.into_iter().flat_map(lanes_of).collect()
    }

    /// All of the time asked for, beyond the page before.
    fn whole(&self) -> Window {
        let query = self.query;
        let since = query.since.saturating_mul(1000).saturating_sub(1);
        let until = query.until.saturating_mul(1000).saturating_add(999);
        match query.after {
            // Other lanes may have events with the same offset.
            Some(after) if query.oldest_first => {
                Window { from: since.max(after.offset.0.saturating_sub(1)), to: until }
            }
            Some(after) => Window { from: since, to: until.min(after.offset.0) },
            None => Window { from: since, to: until },
        }
    }

    /// Looks at window after window, until there is enough or enough was looked at: then it returns
    /// where to go on.
    async fn read_windows(
        &mut self,
        lanes: &[Lane],
        whole: Window,
        oldest_first: bool,
    ) -> Option<EventPlace> {
        let backplane = &self.app.backplane;
        if let Some(prepared) = backplane.prepare(&mut lanes.iter().map(|lane| lane.partition())) {
            prepared.await;
        }
        let newest = lanes.iter().map(|lane| backplane.head(*lane).offset.0).max().unwrap_or(0);
        let mut left = Window { to: whole.to.min(newest), ..whole };
        let max = self.app.config.limits.max_looked_at;
        let (mut width, full) = (FIRST_WINDOW, max.div_ceil(WINDOWS));
        while left.from < left.to {
            let window = match oldest_first {
                true => Window { to: left.from.saturating_add(width).min(left.to), ..left },
                false => Window { from: left.to.saturating_sub(width).max(left.from), ..left },
            };
            let room = if width > LEAST_WINDOW { full } else { usize::MAX };
            let Some(seen) = self.read_window(lanes, window, room).await else {
                width = (width / 8).max(LEAST_WINDOW);
                continue;
            };
            if seen < full / WINDOWS {
                width = width.saturating_mul(4);
            }
            match oldest_first {
                true => left.from = window.to,
                false => left.to = window.from,
            }
            let has_enough = self.found.len() > self.query.limit
                || (self.query.id.is_some() && !self.found.is_empty());
            if has_enough || left.from >= left.to {
                return None;
            }
            if self.looked_at >= max {
                return Some(match oldest_first {
                    true => EventPlace { offset: Offset(left.from), lane: LAST_LANE },
                    false => EventPlace { offset: Offset(left.to + 1), lane: FIRST_LANE },
                });
            }
        }
        None
    }

    /// Looks at all of a window, and says how many events there are; `None` if more than there is room
    /// for: it was not looked at then.
    async fn read_window(&mut self, lanes: &[Lane], window: Window, room: usize) -> Option<usize> {
        let mut taken = Vec::new();
        let (mut seen, mut complete) = (0, true);
        for lane in lanes {
            self.read_lane(*lane, window, room, &mut seen, &mut complete, &mut taken).await;
            if seen > room {
                break;
            }
        }
        if seen > room {
            return None;
        }
        self.looked_at += seen;
        self.complete &= complete;
        self.found.extend(taken.into_iter().map(|logged| (place_of(&logged), logged)));
        // One more than asked for tells that there is another page.
        while self.found.len() > self.query.limit + 1 {
            match self.query.oldest_first {
                true => drop(self.found.pop_last()),
                false => drop(self.found.pop_first()),
            }
        }
        Some(seen)
    }

    async fn read_lane(
        &self,
        lane: Lane,
        window: Window,
        room: usize,
        seen: &mut usize,
        complete: &mut bool,
        taken: &mut Vec<Arc<LoggedEvent>>,
    ) {
        let mut loaded = self.app.history.loaded();
        let mut events = Vec::with_capacity(CHUNK);
        let head = self.app.backplane.head(lane);
        let mut place = Place { offset: Offset(window.from).min(head.offset), ..head };
        while *seen <= room {
            loaded.mark_unchanged();
            match self.app.backplane.read(lane, place, CHUNK, &mut events) {
                Read::Done(None) => {}
                Read::Done(Some(gap)) => {
                    *complete = false;
                    place = Place { epoch: gap.epoch, offset: gap.to };
                }
                Read::Later => {
                    // It ends only with the server.
                    let _ = loaded.changed().await;
                    continue;
                }
            }
            if events.is_empty() {
                return;
            }
            for logged in events.drain(..) {
                place.offset = logged.offset();
                if place.offset.0 > window.to {
                    return;
                }
                *seen += 1;
                if !logged.is_again() && self.is_beyond(&logged) && (self.wanted)(&logged) {
                    taken.push(logged);
                }
            }
            tokio::task::consume_budget().await;
        }
    }

    /// Whether it was not on the page before.
    fn is_beyond(&self, logged: &LoggedEvent) -> bool {
        let place = place_of(logged);
        self.query.after.is_none_or(|after| match self.query.oldest_first {
            true => place > after,
            false => place < after,
        })
    }

    /// The page; it ends there, or with the last event that there is room for.
    fn finish(&mut self, end: Option<EventPlace>) -> Page {
        let mut events: Vec<_> = std::mem::take(&mut self.found).into_iter().collect();
        if !self.query.oldest_first {
            events.sort_by_key(|(place, _)| Reverse(*place));
        }
        let more = events.len() > self.query.limit;
        events.truncate(self.query.limit);
        let last = events.last().filter(|_| more).map(|(place, _)| *place);
        let kept = |(EventPlace { offset, lane }, logged): (EventPlace, Arc<LoggedEvent>)| {
            KeptEvent { event: logged.event().clone(), position: Position { lane, offset } }
        };
        let events = events.into_iter().map(kept).collect();
        Page { events, next: last.or(end), complete: self.complete }
    }
}

/// Before and after all events with the same offset.
const FIRST_LANE: Lane = Lane::new(0, Priority::Low);
const LAST_LANE: Lane = Lane::new(u16::MAX, Priority::Critical);

fn place_of(logged: &LoggedEvent) -> EventPlace {
    EventPlace { offset: logged.offset(), lane: logged.lane() }
}
