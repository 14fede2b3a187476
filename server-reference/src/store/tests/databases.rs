//! Databases that are empty, old, new, or none.

use super::*;
use crate::store::StoreError;

#[tokio::test(flavor = "multi_thread")]
async fn several_that_start_at_once_make_the_tables_once() {
    for somewhere in Somewhere::all() {
        let (log, config) = (log(false), somewhere.config());
        let opened = (0..6).map(|_| Store::open(&config, &log));
        let stores = futures_util::future::join_all(opened).await;
        for store in stores {
            let store = store.expect("the tables are there").expect("a store");
            assert_eq!(store.status().degraded, None);
            close(&store).await;
        }
        // And find them again.
        let store = open(&config, &log).await;
        publish_numbers(&log, 0..1);
        until("it is kept", async || kept_numbers(&store).await == [0]).await;
        close(&store).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_a_newer_server_are_left_alone() {
    for somewhere in Somewhere::all() {
        let (log, config) = (log(false), somewhere.config());
        let store = open(&config, &log).await;
        let newer = "INSERT INTO tidings_store_versions (version, since_ms) VALUES (99, 0)";
        let done = sqlx::query(newer).execute(store.database.pool()).await;
        done.expect("the table is there");
        close(&store).await;
        let refused = refused(&config.store.database.to_string()).await;
        assert!(refused.contains("version 99") && refused.contains("newer server"), "{refused}");
    }
}

async fn refused(url: &str) -> String {
    match Store::open(&config(url), &log(false)).await {
        Err(error) => {
            assert!(!matches!(error, StoreError::Unreadable(_)), "it says what to do: {error}");
            error.to_string()
        }
        Ok(_) => panic!("{url} was opened"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_used_is_refused_with_what_to_do() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = in_file(directory.path());
    std::fs::write(directory.path().join("tidings.db"), "not a database at all".repeat(100))
        .expect("written");
    let error = refused(&file).await;
    assert!(error.contains("tidings.db") && error.contains("SQLite database"), "{error}");
    let error = refused(&in_file(&directory.path().join("nowhere"))).await;
    assert!(error.contains("see that the directory is there"), "{error}");

    let postgres = Postgres::shared();
    let error = refused(&postgres.url("nothing")).await;
    assert!(error.contains("createdb"), "{error}");
    let error = refused(&postgres.url("postgres").replace("tidings@", "stranger:hush@")).await;
    assert!(error.contains("PGPASSWORD") && !error.contains("hush"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_does_not_answer_yet_is_waited_for() {
    let postgres = Postgres::start();
    let url = postgres.database();
    postgres.crash();
    let log = log(false);
    let store = open(&config(&url), &log).await;
    let degraded = store.status().degraded.expect("it is not there").reason;
    assert!(degraded.contains("see that PostgreSQL runs there"), "{degraded}");
    publish_numbers(&log, 0..50);
    postgres.resume();
    until("it is well", async || store.status().degraded.is_none()).await;
    until("all are kept", async || store.status().events == 50).await;
    assert_eq!(kept_numbers(&store).await, (0..50).collect::<Vec<_>>());
    close(&store).await;
}
