//! A database that goes away while events come.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_dies_costs_what_does_not_fit_into_the_queue_and_that_is_counted() {
    let postgres = Postgres::start();
    // Room for some 700 events of about 150 bytes.
    let config = config(&postgres.database()).with(|c| c.store.queue = 100_000);
    let log = log(false);
    let store = open(&config, &log).await;
    publish_numbers(&log, 0..300);
    until("they are kept", async || store.status().events == 300).await;

    postgres.crash();
    publish_numbers(&log, 300..400);
    until("it says so", async || store.status().degraded.is_some()).await;
    let degraded = store.status().degraded.expect("it does not work");
    assert!(degraded.reason.contains("PostgreSQL"), "{}", degraded.reason);
    publish_numbers(&log, 400..3000);
    until("the log is read to its end", async || {
        let status = store.status();
        status.waiting_events as u64 + status.events_not_kept == 2700
    })
    .await;
    let status = store.status();
    assert!(status.waiting_bytes <= 100_000 && status.events_not_kept > 1000, "{status:?}");

    postgres.resume();
    until("it is well", async || store.status().degraded.is_none()).await;
    publish_numbers(&log, 3000..3100);
    let expected = 3100 - status.events_not_kept;
    until("it has caught up", async || store.status().events == expected).await;
    let kept = kept_numbers(&store).await;
    assert_eq!(kept.len() as u64, expected, "each once, and what is missing is counted");
    let waited = 300 + u32::try_from(status.waiting_events).expect("few");
    assert_eq!(kept[..waited as usize], (0..waited).collect::<Vec<_>>(), "the oldest have waited");
    close(&store).await;
}
