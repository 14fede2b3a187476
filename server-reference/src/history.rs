//! Events of the past: what the log still has, and what was kept in a database.
//!
//! [`read`] is the one place where history is read. It reads the log of all instances from what this
//! one holds of it in memory, as connections that catch up do.

mod merge;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use tidings_core::lane::{Lane, Offset, Place};
use tidings_core::log::{LoggedEvent, Read};
use tidings_core::message::{ErrorCode, Position, Refusal};
use tidings_core::{Pattern, Priority};
use tokio::sync::watch;

use crate::app::App;
use crate::auth::Identity;
use crate::backplane::{Backplane, Signal};
use crate::store::{EventPlace, EventQuery, KeptEvent};

/// How many events are looked at before others have their turn.
const CHUNK: usize = 256;

/// What is asked of history.
#[derive(Debug, Clone)]
pub(crate) struct Query {
    /// Events whose names one of these matches.
    pub(crate) patterns: Vec<Pattern>,
    /// Those of these priorities.
    pub(crate) priorities: Vec<Priority>,
    /// Not before this, in milliseconds since the Unix epoch.
    pub(crate) since: u64,
    /// Not after this.
    pub(crate) until: u64,
    /// Beyond this event, in the order asked for.
    pub(crate) after: Option<EventPlace>,
    /// Whether the oldest come first.
    pub(crate) oldest_first: bool,
    /// At most so many.
    pub(crate) limit: usize,
    /// Those of this id alone.
    pub(crate) id: Option<String>,
}

impl Query {
    /// What the database is asked.
    fn of_kept(&self) -> EventQuery {
        EventQuery {
            patterns: self.patterns.clone(),
            priorities: self.priorities.clone(),
            since: self.since,
            until: self.until,
            after: self.after,
            oldest_first: self.oldest_first,
            limit: self.limit,
        }
    }

    /// All that there is of this id.
    pub(crate) fn by_id(id: String, everything: Pattern) -> Self {
        Self {
            patterns: vec![everything],
            priorities: Priority::URGENT_FIRST.to_vec(),
            since: 0,
            until: u64::MAX,
            after: None,
            oldest_first: true,
            limit: 1,
            id: Some(id),
        }
    }
}

/// Where the log has appended the event that it gave this id; a failover may have moved it further up
/// in its lane since.
fn place_in(id: &str) -> Option<EventPlace> {
    let (lane, offset) = id.split_once('-')?;
    let lane = Lane::from_number(lane.parse().ok()?)?;
    Some(EventPlace { offset: Offset(offset.parse().ok()?), lane })
}

fn place_of(logged: &LoggedEvent) -> EventPlace {
    EventPlace { offset: logged.offset(), lane: logged.lane() }
}

/// Some of what was asked for.
#[derive(Debug, Default)]
pub(crate) struct Page {
    /// In the order asked for.
    pub(crate) events: Vec<KeptEvent>,
    /// Beyond which event the next page begins; `None` if this is the last one.
    pub(crate) next: Option<EventPlace>,
    /// Whether all that ever was in the time asked for was there to be read.
    pub(crate) complete: bool,
}

/// Notices when what is not in memory has come there.
pub(crate) struct History {
    signal: Arc<Signal>,
    loaded: watch::Sender<()>,
}

impl History {
    pub(crate) fn new(backplane: &dyn Backplane) -> Self {
        let signal = Arc::new(Signal::new(backplane.partitioning(), 1));
        backplane.attach(Arc::clone(&signal));
        Self { signal, loaded: watch::Sender::new(()) }
    }

    /// Tells those who wait, for as long as the server lives.
    pub(crate) async fn run(&self) {
        let mut lanes = Vec::new();
        loop {
            self.signal.raised().await;
            self.signal.take_loaded(&mut lanes);
            if !lanes.is_empty() {
                self.loaded.send_replace(());
            }
        }
    }
}

/// Reads history, as far as somebody may: events whose names they may not receive are not there for
/// them, nor what is sensitive in them that they may not see.
pub(crate) async fn read(app: &App, identity: &Identity, query: &Query) -> Result<Page, Refusal> {
    let mut page = read_whole(app, identity, query).await?;
    if let Some(redact) = app.event_schemas.sensitive() {
        for KeptEvent { event, .. } in &mut page.events {
            if !identity.rights().may_see_sensitive(&event.name)
                && let Some(payload) = redact.redact(event)
            {
                event.payload = payload;
            }
        }
    }
    Ok(page)
}

async fn read_whole(app: &App, identity: &Identity, query: &Query) -> Result<Page, Refusal> {
    let hidden = app.collections.hidden_from(&Arc::from(""), identity);
    let may_see = |name: &str| {
        identity.rights().may_receive(name)
            && !hidden.iter().any(|prefix| name.starts_with(&**prefix))
    };
    let page = read_log(app, query, &may_see).await?;
    let Some(store) = app.store.as_deref().filter(|store| store.keeps_events()) else {
        return Ok(page);
    };
    match &query.id {
        None => merge::with_kept(page, query, store.events(&query.of_kept(), may_see).await),
        Some(id) if page.events.is_empty() => {
            let kept = store.event(id).await.map_err(merge::unavailable)?;
            let events = kept.into_iter().filter(|kept| may_see(&kept.event.name)).collect();
            Ok(Page { events, ..page })
        }
        Some(_) => Ok(page),
    }
}

async fn read_log(
    app: &App,
    query: &Query,
    may_see: impl Fn(&str) -> bool,
) -> Result<Page, Refusal> {
    let patience = app.config.timeouts.request;
    let reading = async {
        let mut found = Found { events: BTreeMap::new(), query, complete: true };
        let wanted = |logged: &LoggedEvent| {
            let event = logged.event();
            query.patterns.iter().any(|pattern| pattern.matches(&event.name))
                && query.id.as_deref().is_none_or(|id| *id == *event.id)
                && may_see(&event.name)
        };
        for places in [likely_place(app, query), places(app, query)] {
            let mut partitions = places.iter().map(|(lane, _)| lane.partition());
            if let Some(prepared) = app.backplane.prepare(&mut partitions) {
                prepared.await;
            }
            for (lane, from) in places {
                let head = app.backplane.head(lane);
                let from = Place { offset: from.min(head.offset), ..head };
                read_lane(app, lane, from, &mut found, wanted).await;
            }
            if query.id.is_some() && !found.events.is_empty() {
                break;
            }
        }
        found.page()
    };
    tokio::time::timeout(patience, reading).await.map_err(|_elapsed| {
        let message = format!("the log could not be read within {patience:?}; try again later");
        Refusal::new(ErrorCode::UNAVAILABLE, message)
    })
}

/// After which offset of a lane the event is most likely that is asked for by its id: ids that the log has
/// given say it.
fn likely_place(app: &App, query: &Query) -> Vec<(Lane, Offset)> {
    let place = query.id.as_deref().and_then(place_in);
    let place = place.filter(|at| at.lane.partition() < app.backplane.partitioning().count());
    place.map(|at| (at.lane, Offset(at.offset.0.saturating_sub(1)))).into_iter().collect()
}

/// The lanes in which there may be something of what is asked for, and after which offset.
fn places(app: &App, query: &Query) -> Vec<(Lane, Offset)> {
    let partitioning = app.backplane.partitioning();
    let mut partitions: Vec<u16> = query
        .patterns
        .iter()
        .flat_map(|pattern| match partitioning.of_pattern(pattern.as_str()) {
            Some(partition) => partition..partition + 1,
            None => 0..partitioning.count(),
        })
        .collect();
    partitions.sort_unstable();
    partitions.dedup();
    let lanes = partitions.into_iter().flat_map(|partition| {
        query.priorities.iter().map(move |priority| Lane::new(partition, *priority))
    });
    let after = query.after.filter(|_| query.oldest_first);
    let since = query.since.saturating_mul(1000);
    let first = after.map_or(since, |after| since.max(after.offset.0));
    lanes.map(|lane| (lane, Offset(first.saturating_sub(1)))).collect()
}

async fn read_lane(
    app: &App,
    lane: Lane,
    mut place: Place,
    found: &mut Found<'_>,
    wanted: impl Fn(&LoggedEvent) -> bool,
) {
    let mut loaded = app.history.loaded.subscribe();
    let mut events = Vec::with_capacity(CHUNK);
    loop {
        loaded.mark_unchanged();
        match app.backplane.read(lane, place, CHUNK, &mut events) {
            Read::Done(None) => {}
            Read::Done(Some(gap)) => {
                found.complete = false;
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
            if wanted(&logged) && found.take(logged).is_break() {
                return;
            }
        }
        tokio::task::consume_budget().await;
    }
}

/// The events that come first in the order asked for, of those that were looked at.
struct Found<'a> {
    events: BTreeMap<EventPlace, Arc<LoggedEvent>>,
    query: &'a Query,
    complete: bool,
}

impl Found<'_> {
    /// Takes an event; breaks off when none after it in its lane is asked for.
    fn take(&mut self, logged: Arc<LoggedEvent>) -> ControlFlow<()> {
        let (query, place) = (self.query, place_of(&logged));
        if logged.offset().0 / 1000 > query.until {
            return ControlFlow::Break(());
        }
        let beyond = query.after.is_none_or(|after| match query.oldest_first {
            true => place > after,
            false => place < after,
        });
        if !beyond {
            return if query.oldest_first {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            };
        }
        self.events.insert(place, logged);
        if query.id.is_some() {
            return ControlFlow::Break(());
        }
        // One more than asked for tells that there is another page.
        if self.events.len() > query.limit + 1 {
            let gone = match query.oldest_first {
                true => self.events.pop_last(),
                false => self.events.pop_first(),
            };
            if query.oldest_first && gone.is_some_and(|(gone, _)| gone == place) {
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }

    fn page(self) -> Page {
        let mut events: Vec<_> = self.events.into_iter().collect();
        if !self.query.oldest_first {
            events.sort_by_key(|(place, _)| Reverse(*place));
        }
        let more = events.len() > self.query.limit;
        events.truncate(self.query.limit);
        let next = events.last().filter(|_| more).map(|(place, _)| *place);
        let kept = |(EventPlace { offset, lane }, logged): (EventPlace, Arc<LoggedEvent>)| {
            KeptEvent { event: logged.event().clone(), position: Position { lane, offset } }
        };
        Page { events: events.into_iter().map(kept).collect(), next, complete: self.complete }
    }
}
