//! One page of what the log has and what was kept.

use std::cmp::Ordering;
use std::collections::HashSet;

use tidings_core::message::{ErrorCode, Refusal};

use super::{Page, Query};
use crate::store::{EventPage, EventPlace, KeptEvent, StoreError};

/// `page`, which is from the log, with what was kept: each event once.
///
/// Each of the two is known up to where its next page begins. What lies beyond that of either is left
/// to the next page, so that nothing can be missing in between.
///
/// # Errors
/// If the database does not answer, and the log has not all of the page by itself.
pub(super) fn with_kept(
    page: Page,
    query: &Query,
    kept: Result<EventPage, StoreError>,
) -> Result<Page, Refusal> {
    let kept = match kept {
        Ok(kept) => kept,
        // The newest ones are in the log.
        Err(_) if page.next.is_some() && !query.oldest_first => {
            return Ok(Page { complete: false, ..page });
        }
        Err(error) => return Err(unavailable(error)),
    };
    let in_order = |a: &EventPlace, b: &EventPlace| {
        if query.oldest_first { a.cmp(b) } else { b.cmp(a) }
    };
    let end = page.next.into_iter().chain(kept.next).min_by(in_order);
    let mut seen = HashSet::new();
    let mut events: Vec<KeptEvent> = page
        .events
        .into_iter()
        .chain(kept.events)
        .filter(|kept| {
            end.is_none_or(|end| in_order(&place(kept), &end) != Ordering::Greater)
                && seen.insert(kept.event.id.clone())
        })
        .collect();
    events.sort_by(|a, b| in_order(&place(a), &place(b)));
    let is_cut = events.len() > query.limit;
    events.truncate(query.limit);
    let next = if is_cut { events.last().map(place) } else { end };
    Ok(Page { events, next, complete: page.complete })
}

/// The database did not answer.
pub(super) fn unavailable(error: StoreError) -> Refusal {
    Refusal::new(ErrorCode::UNAVAILABLE, error.to_string())
}

fn place(kept: &KeptEvent) -> EventPlace {
    EventPlace { offset: kept.position.offset, lane: kept.position.lane }
}

#[cfg(test)]
mod tests {
    use tidings_core::lane::{Lane, Offset};
    use tidings_core::message::Position;
    use tidings_core::{Event, Headers, Payload, Priority};

    use super::*;

    const LANE: Lane = Lane::new(1, Priority::Normal);

    fn at(offset: u64) -> EventPlace {
        EventPlace { offset: Offset(offset), lane: LANE }
    }

    fn event(offset: u64) -> KeptEvent {
        let event = Event {
            name: "a".into(),
            payload: Payload::NULL,
            id: offset.to_string().into(),
            priority: Priority::Normal,
            time: 0,
            headers: Headers::NONE,
        };
        KeptEvent { event, position: Position { lane: LANE, offset: Offset(offset) } }
    }

    fn merged(
        oldest_first: bool,
        log: (&[u64], Option<u64>),
        kept: (&[u64], Option<u64>),
    ) -> (Vec<u64>, Option<u64>) {
        let events = |offsets: &[u64]| offsets.iter().copied().map(event).collect();
        let page = Page { events: events(log.0), next: log.1.map(at), complete: true };
        let kept = EventPage { events: events(kept.0), next: kept.1.map(at) };
        let pattern = tidings_core::Pattern::new("**").expect("a pattern");
        let query =
            Query { oldest_first, id: None, limit: 4, ..Query::by_id(String::new(), pattern) };
        let page = with_kept(page, &query, Ok(kept)).expect("a page");
        let offsets = page.events.iter().map(|kept| kept.position.offset.0).collect();
        (offsets, page.next.map(|next| next.offset.0))
    }

    #[test]
    fn each_event_is_there_once_and_none_is_missing_in_between() {
        // All of both fits.
        assert_eq!(merged(true, (&[3, 4], None), (&[1, 2, 3], None)), (vec![1, 2, 3, 4], None));
        assert_eq!(merged(false, (&[4, 3], None), (&[3, 2, 1], None)), (vec![4, 3, 2, 1], None));
        // More than a page.
        assert_eq!(merged(false, (&[6, 5], None), (&[4, 3, 2], None)), (vec![6, 5, 4, 3], Some(3)));
        // What lies beyond the end of either waits: there may be something in between.
        assert_eq!(merged(true, (&[8, 9], None), (&[1, 2], Some(5))), (vec![1, 2], Some(5)));
        assert_eq!(merged(false, (&[9, 8], Some(8)), (&[7, 6], None)), (vec![9, 8], Some(8)));
        // A page may be empty, and not the last one.
        assert_eq!(merged(true, (&[8], None), (&[], Some(5))), (vec![], Some(5)));
    }

    #[test]
    fn without_the_database_the_log_alone_tells_what_is_newest() {
        let page = |next| Page { events: vec![event(9)], next, complete: true };
        let pattern = tidings_core::Pattern::new("**").expect("a pattern");
        let query = Query { oldest_first: false, ..Query::by_id(String::new(), pattern) };
        let failed = || Err(StoreError::NotKept("events"));
        let told = with_kept(page(Some(at(9))), &query, failed()).expect("the log's");
        assert_eq!((told.events.len(), told.complete), (1, false));
        assert!(with_kept(page(None), &query, failed()).is_err(), "there may be older ones");
    }
}
