//! Events of the past: what the log still has, and what was kept in a database.
//!
//! [`read`] is the one place where history is read. It reads the log of all instances from what this
//! one holds of it in memory, as connections that catch up do.

mod log;
mod merge;

use std::sync::Arc;

use tidings_core::message::Refusal;
use tidings_core::{Pattern, Priority};
use tokio::sync::watch;

use crate::app::App;
use crate::auth::Identity;
use crate::backplane::{Backplane, Signal};
use crate::store::{EventPlace, EventQuery, KeptEvent};

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
            oldest_first: false,
            limit: 1,
            id: Some(id),
        }
    }
}

/// Some of what was asked for.
#[derive(Debug, Default)]
pub(crate) struct Page {
    /// In the order asked for.
    pub(crate) events: Vec<KeptEvent>,
    /// Beyond which event the next page begins; `None` if this is the last one.
    pub(crate) next: Option<EventPlace>,
    /// Whether all that ever was in the time that the page is of was there to be read.
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

    fn loaded(&self) -> watch::Receiver<()> {
        self.loaded.subscribe()
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
    let page = log::read(app, query, &may_see).await?;
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
