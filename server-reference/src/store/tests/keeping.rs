//! What is kept, and how it is found again.

use super::*;
use crate::stats::{SessionInfo, public_id};
use crate::store::KeptSessionQuery;

/// Three names, all priorities, in turn.
fn publish_mixed(log: &Arc<dyn Backplane>, count: usize) -> Vec<(String, Priority, Position)> {
    let publish_one = |number: usize| {
        let name = ["orders.eu.created", "orders.us.created", "ordersx"][number % 3].to_owned();
        let priority = Priority::URGENT_FIRST[number % 4];
        let payload = Payload::Json(number.to_string().into());
        let position = publish(log, &name, priority, payload);
        (name, priority, position)
    };
    (0..count).map(publish_one).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_found_by_pattern_time_and_priority_page_by_page() {
    for somewhere in Somewhere::all() {
        let log = log(false);
        let store = open(&somewhere.config(), &log).await;
        let published = publish_mixed(&log, 1300);
        until("all are kept", async || store.status().events == 1300).await;

        let numbers = |found: Vec<(String, String)>| -> Vec<usize> {
            found.iter().map(|(_, payload)| payload.parse().expect("a number")).collect()
        };
        let expected = |wanted: &dyn Fn(&(String, Priority, Position)) -> bool| -> Vec<usize> {
            (0..1300).filter(|number| wanted(&published[*number])).collect()
        };
        // Of two events in the same microsecond the lane decides, not who came first.
        let sorted = |mut numbers: Vec<usize>| {
            numbers.sort_unstable();
            numbers
        };
        let orders = EventQuery { limit: 77, ..query("orders.**") };
        let found = sorted(numbers(ask_all(&store, orders.clone()).await));
        assert_eq!(found, expected(&|(name, ..)| name.starts_with("orders.")));
        let one = query("orders.us.created");
        let found = sorted(numbers(ask_all(&store, one).await));
        assert_eq!(found, expected(&|(name, ..)| name == "orders.us.created"));
        let wild = query("*.eu.created");
        let found = sorted(numbers(ask_all(&store, wild).await));
        assert_eq!(found, expected(&|(name, ..)| name == "orders.eu.created"));
        let mut two = query("ordersx");
        two.patterns.extend(query("orders.eu.*").patterns);
        two.priorities = vec![Priority::High, Priority::Low];
        let found = sorted(numbers(ask_all(&store, two).await));
        let wanted = expected(&|(name, priority, _)| {
            name != "orders.us.created" && matches!(priority, Priority::High | Priority::Low)
        });
        assert_eq!(found, wanted);
        let ms = |number: usize| published[number].2.offset.0 / 1000;
        let (since, until_ms) = (ms(400), ms(900));
        let between = EventQuery { since, until: until_ms, ..query("**") };
        let found = sorted(numbers(ask_all(&store, between).await));
        let wanted =
            expected(&|(_, _, position)| (since..=until_ms).contains(&(position.offset.0 / 1000)));
        assert_eq!(found, wanted);
        let newest = EventQuery { oldest_first: false, ..orders.clone() };
        let mut found = ask_all(&store, newest).await;
        found.reverse();
        assert_eq!(found, ask_all(&store, orders).await, "the other way round");
        close(&store).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_comes_back_as_it_was() {
    for somewhere in Somewhere::all() {
        let log = log(false);
        let store = open(&somewhere.config(), &log).await;
        let pairs = [("traceparent", "00-1"), ("a", "b"), ("a", "c")];
        let headers = Headers::new(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())));
        let payload = Payload::Binary((0..=255).collect::<Vec<u8>>().into());
        let (name, priority) = ("a.\u{fc}.\u{1f600}".into(), Priority::Critical);
        let event = Event { name, payload, id: "the-id".into(), priority, time: 0, headers };
        let Published::Now(Ok(position)) = log.publish(event.clone(), None) else {
            panic!("the log is in memory");
        };
        until("it is kept", async || store.status().events == 1).await;
        let kept = store.event("the-id").await.expect("an answer").expect("it is there");
        assert_eq!(kept.position, position);
        assert_eq!(kept.event, Event { time: position.offset.0 / 1000, ..event });
        assert_eq!(store.event("another").await.expect("an answer"), None);
        close(&store).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_asked_for_is_kept_and_only_what_may_be_seen_is_told() {
    let somewhere = Somewhere::file();
    let config = somewhere.config().with(|c| {
        c.store.keep = vec!["orders.eu.**".into(), "ordersx".into()];
        c.store.max_looked_at = 10;
    });
    let log = log(false);
    let store = open(&config, &log).await;
    publish_mixed(&log, 60);
    until("what is wanted is kept", async || store.status().events == 40).await;
    let may_see = |name: &str| name == "ordersx";
    let first = store.events(&query("**"), may_see).await.expect("an answer");
    assert!(first.events.iter().all(|kept| &*kept.event.name == "ordersx"));
    assert!(first.events.len() < 10, "ten were looked at");
    let mut query = EventQuery { after: first.next, ..query("**") };
    let mut seen = first.events.len();
    while query.after.is_some() {
        let page = store.events(&query, may_see).await.expect("an answer");
        (seen, query.after) = (seen + page.events.len(), page.next);
    }
    assert_eq!(seen, 20);
    close(&store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_old_and_what_is_too_much_is_deleted_the_oldest_first() {
    for somewhere in Somewhere::all() {
        let config =
            somewhere.config().with(|c| c.store.sweep_interval = Duration::from_millis(20));
        // 2000 events of about 150 bytes each; half of that may stay.
        let config = config.with(|c| c.store.max_bytes = 150_000);
        let log = log(false);
        let store = open(&config, &log).await;
        publish_numbers(&log, 0..2000);
        until("much is deleted", async || store.status().deleted >= 500).await;
        until("nothing more is", async || {
            let before = store.status().deleted;
            tokio::time::sleep(Duration::from_millis(100)).await;
            store.status().deleted == before
        })
        .await;
        let deleted = u32::try_from(store.status().deleted).expect("few");
        assert!((500..=1500).contains(&deleted), "{deleted}");
        assert_eq!(kept_numbers(&store).await, (deleted..2000).collect::<Vec<_>>());
        close(&store).await;

        let config = config.with(|c| c.store.max_age = Duration::from_millis(1));
        let store = open(&config, &log).await;
        until("all is too old", async || kept_numbers(&store).await.is_empty()).await;
        close(&store).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_stopped_has_everything() {
    for somewhere in Somewhere::all() {
        // It would not look by itself.
        let config = somewhere.config().with(|c| {
            (c.store.interval, c.store.heartbeat) =
                (Duration::from_secs(3600), Duration::from_secs(3600));
        });
        let log = log(false);
        let store = open(&config, &log).await;
        publish_numbers(&log, 0..3000);
        close(&store).await;
        let again = open(&config, &log).await;
        assert_eq!(kept_numbers(&again).await, (0..3000).collect::<Vec<_>>());
        close(&again).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_that_share_a_log_keep_each_event_once_also_when_one_crashes() {
    for somewhere in Somewhere::all() {
        let log = log(true);
        // Before anybody keeps anything: it is still in the log.
        publish_numbers(&log, 0..100);
        let one = open(&somewhere.config().instance("one"), &log).await;
        let two = open(&somewhere.config().instance("two"), &log).await;
        publish_numbers(&log, 100..600);
        let kept = async || kept_numbers(&one).await.len();
        until("all are kept", async || kept().await == 600).await;
        until("both have a part", async || {
            let parts =
                [&one, &two].map(|store| store.follower.as_ref().expect("it reads").followed());
            parts.iter().all(|part| !part.is_empty()) && parts[0].is_disjoint(&parts[1])
        })
        .await;
        two.crash();
        publish_numbers(&log, 600..1200);
        until("the other goes on for it", async || kept().await == 1200).await;
        assert_eq!(kept_numbers(&one).await, (0..1200).collect::<Vec<_>>());
        close(&one).await;
        // While nobody was there.
        publish_numbers(&log, 1200..1300);
        let three = open(&somewhere.config().instance("three"), &log).await;
        until("it goes on", async || kept_numbers(&three).await.len() == 1300).await;
        assert_eq!(kept_numbers(&three).await, (0..1300).collect::<Vec<_>>());
        close(&three).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_that_know_nothing_of_each_other_share_a_database() {
    for somewhere in Somewhere::all() {
        let logs = [log(false), log(false)];
        let one = open(&somewhere.config(), &logs[0]).await;
        let two = open(&somewhere.config(), &logs[1]).await;
        publish_numbers(&logs[0], 0..300);
        publish_numbers(&logs[1], 300..600);
        until("all are kept", async || kept_numbers(&one).await.len() == 600).await;
        assert_eq!(kept_numbers(&two).await, (0..600).collect::<Vec<_>>());
        close(&one).await;
        close(&two).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_kept_with_their_end_and_why() {
    use tidings_core::message::{Close, CloseCode};
    for somewhere in Somewhere::all() {
        let store = open(&somewhere.config(), &log(false)).await;
        let info = |number: u64| SessionInfo {
            id: public_id(&number.to_string()),
            instance: "test".to_owned(),
            transport: "ws".to_owned(),
            carrier: "websocket".to_owned(),
            encoding: "json".to_owned(),
            address: "127.0.0.1:9".to_owned(),
            since_ms: number,
            ..SessionInfo::default()
        };
        for number in 0..300 {
            store.session_began(|| info(number));
        }
        let goodbye = Close::new(CloseCode::NORMAL, "goodbye");
        for number in 0..200 {
            let close = (number % 2 == 0).then_some(&goodbye);
            store.session_ended(&number.to_string(), number, close);
        }
        until("all is written", async || store.status().waiting_sessions == 0).await;
        let mut query =
            KeptSessionQuery { ended: Some(true), limit: 90, ..KeptSessionQuery::default() };
        let mut ended = Vec::new();
        loop {
            let page = store.sessions(&query).await.expect("an answer");
            ended.extend(page.sessions);
            match page.next {
                Some(next) => query.after = Some(next),
                None => break,
            }
        }
        let since: Vec<u64> = ended.iter().map(|session| session.since_ms).collect();
        assert_eq!(since, (0..200).rev().collect::<Vec<_>>(), "the latest first");
        assert_eq!((ended[1].code, ended[1].reason.as_deref()), (Some(1000), Some("goodbye")));
        assert_eq!(
            (ended[0].code, ended[0].reason.as_deref()),
            (None, Some("the connection broke"))
        );
        assert!(ended.iter().all(|session| session.ended_ms == Some(session.last_seen_ms)));

        // Those of an instance that is gone end when it was last seen.
        store.crash();
        let other = open(&somewhere.config(), &log(false)).await;
        let left =
            KeptSessionQuery { ended: Some(false), limit: 1000, ..KeptSessionQuery::default() };
        let open_ones = other.sessions(&left).await.expect("an answer").sessions;
        assert_eq!(open_ones.len(), 100);
        assert!(open_ones.iter().all(|session| session.ended_ms.is_none()));
        until("they are ended", async || {
            other.sweep().await.expect("done");
            other.sessions(&left).await.expect("an answer").sessions.is_empty()
        })
        .await;
        let query = KeptSessionQuery { limit: 1, ..KeptSessionQuery::default() };
        let latest = other.sessions(&query).await.expect("an answer").sessions.remove(0);
        assert_eq!(
            (latest.since_ms, latest.reason.as_deref()),
            (299, Some("its instance is gone"))
        );
        close(&other).await;
    }
}
