//! Clients with tokens: what they may do, and that tokens are replaced while they are connected.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use tidings::{AuthError, Client, State, Transport};
use tidings_server::auth::issue;

use super::network::{Proxy, Running};
use super::{ANY, BOTH, Received, complete, note, within};

const SECRET: &str = "a secret that only the tests know";

async fn server() -> Running {
    let change = |config: &mut tidings_server::Config| {
        config.auth.secret = SECRET.into();
        config.auth.leeway = Duration::from_secs(1);
    };
    Running::declaring(ANY.parse().unwrap(), change, Vec::new(), |_| {}).await
}

fn token(good_for: Duration, claims: Value) -> String {
    let claims = claims.as_object().cloned().unwrap_or_default();
    issue(SECRET, "ann", good_for, claims).expect("a token")
}

async fn connect<F>(url: String, transport: Transport, provider: F) -> Client
where
    F: Fn() -> Result<String, AuthError> + Send + Sync + 'static,
{
    let client = Client::builder(url)
        .transport(transport)
        .backoff(Duration::from_millis(5), Duration::from_millis(50))
        .auth(move || std::future::ready(provider()))
        .build()
        .unwrap();
    within(client.connected()).await.unwrap();
    client
}

/// Lets others run until it holds.
async fn until(holds: impl Fn() -> bool) {
    within(async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_replaced_on_the_live_connection() {
    let running = server().await;
    for transport in BOTH {
        let tokens = Arc::new(AtomicU32::new(0));
        let issued = Arc::clone(&tokens);
        let client = connect(running.url(), transport, move || {
            issued.fetch_add(1, Ordering::SeqCst);
            let claims = json!({"subscribe": ["a"], "publish": ["a"]});
            Ok(token(Duration::from_secs(2), claims))
        })
        .await;
        let received = Received::default();
        within(client.on("**", note(&received))).await.unwrap().detach();
        // Longer than the first one is good for.
        for n in 0..4_u32 {
            until(|| tokens.load(Ordering::SeqCst) > n).await;
            within(client.publish("a", &n)).await.unwrap();
        }
        complete(&received, &["a".to_owned()], 4).await;
        let stats = client.stats().await;
        assert_eq!((stats.counters.connects, stats.counters.reconnects), (1, 0), "{transport}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_whose_token_could_not_be_replaced_goes_on_without_loss() {
    let running = server().await;
    let may_publish = || Ok(token(Duration::from_secs(600), json!({"publish": ["**"]})));
    let publisher = connect(running.url(), Transport::Ws, may_publish).await;
    for transport in BOTH {
        let name = format!("a.{transport}");
        let (asked, signed_in) = (AtomicU32::new(0), Arc::new(AtomicBool::new(false)));
        let back = Arc::clone(&signed_in);
        let client = connect(running.url(), transport, move || {
            let claims = json!({"subscribe": ["a.*"]});
            if asked.fetch_add(1, Ordering::SeqCst) == 0 {
                Ok(token(Duration::from_secs(1), claims))
            } else if back.load(Ordering::SeqCst) {
                Ok(token(Duration::from_secs(600), claims))
            } else {
                Err(AuthError::retry("the issuer is away"))
            }
        })
        .await;
        let received = Received::default();
        within(client.on(name.clone(), note(&received))).await.unwrap().detach();
        within(publisher.publish(&*name, &0_u32)).await.unwrap();
        until(|| client.status().state != State::Connected).await;
        within(publisher.publish(&*name, &1_u32)).await.unwrap();
        signed_in.store(true, Ordering::SeqCst);
        until(|| client.status().state == State::Connected).await;
        within(publisher.publish(&*name, &2_u32)).await.unwrap();
        complete(&received, &[name], 3).await;
        assert_eq!(client.stats().await.counters.reconnects, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rights_hold_through_cuts() {
    let running = server().await;
    let proxy = Proxy::to(running.address).await;
    let may_publish = || Ok(token(Duration::from_secs(600), json!({"publish": ["**"]})));
    let publisher = connect(running.url(), Transport::Ws, may_publish).await;
    let mut clients = Vec::new();
    for transport in BOTH {
        let narrow = || Ok(token(Duration::from_secs(600), json!({"subscribe": ["a.*"]})));
        let client = connect(proxy.url.clone(), transport, narrow).await;
        let received = Received::default();
        within(client.on("**", note(&received))).await.unwrap().detach();
        clients.push((client, received));
    }
    for n in 0..50_u32 {
        if n % 10 == 5 {
            proxy.cut();
        }
        within(publisher.publish("b.secret", &n)).await.unwrap();
        within(publisher.publish("a.open", &n)).await.unwrap();
    }
    for (_, received) in &clients {
        complete(received, &["a.open".to_owned()], 50).await;
    }
}

#[tokio::test]
async fn collections_ask_what_a_token_allows() {
    let running = server().await;
    for transport in BOTH {
        let reads = json!({"subscribe": ["state.todos.**"], "mutate": ["state.todos.mine"]});
        let client = connect(running.url(), transport, move || {
            Ok(token(Duration::from_secs(600), reads.clone()))
        })
        .await;
        let todos = within(client.collection::<Value>("todos")).await.unwrap();
        let mine = todos.insert("mine", &json!({"by": "ann"})).unwrap();
        let written = within(mine.acknowledged()).await;
        // The second time it is there already.
        assert!(written.is_ok() || transport != BOTH[0], "{written:?}");
        let theirs = todos.insert("theirs", &json!({"by": "ann"})).unwrap();
        let why = within(theirs.acknowledged()).await.expect_err("forbidden").to_string();
        assert!(why.contains("state.todos.theirs") && why.contains("state.todos.mine"), "{why}");

        let part = json!({"subscribe": ["state.todos.mine"]});
        let other = connect(running.url(), transport, move || {
            Ok(token(Duration::from_secs(600), part.clone()))
        })
        .await;
        // Part of a collection cannot be loaded: it is told, and tried again.
        let todos = within(other.collection::<Value>("todos")).await.unwrap();
        let told = |why: &str| why.contains("state.todos.**") && why.contains("code 305");
        until(|| todos.status().trouble.is_some_and(|why| told(&why))).await;
        assert!(!todos.status().loaded);
    }
}
