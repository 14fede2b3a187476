//! Collections that instances share.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tidings::collection::{Reason, WriteError};
use tidings::{Client, Transport};
use tidings_harness::redis_cluster::RedisCluster;
use tidings_server::Config;
use tidings_server::collections::CollectionError;
use tidings_server::config::Collection as Declared;
use tidings_tests::node;
use tidings_tests::person::{Person, Todo, todo};

use super::breaking::slot;
use super::instances::{Gate, Instance, until};
use super::{BOTH, connect, within};

fn declare(config: &mut Config) {
    config.collections.insert("todos".into(), Declared::default());
}

async fn host(redis: &RedisCluster, name: &str) -> Instance {
    Instance::start_with(redis, name, declare).await
}

async fn two_at_each(instances: &[Instance]) -> Vec<Person> {
    let mut people = Vec::new();
    for instance in instances {
        for transport in BOTH {
            people.push(Person::with(connect(&instance.url(), transport).await).await);
        }
    }
    people
}

/// Waits until all of them show the same as a service at this instance reads.
async fn converge(people: &[Person], instance: &Instance) {
    let todos = instance.remote.collection("todos").unwrap();
    for person in people {
        within(person.todos.settled()).await;
    }
    let records = within(todos.records()).await.unwrap();
    let there: Vec<(String, Todo)> = records
        .iter()
        .map(|(key, record)| {
            (key.to_string(), serde_json::from_slice(record.value.bytes()).unwrap())
        })
        .collect();
    for person in people {
        let alike = async {
            while person.shown() != there {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(60), alike).await.is_err() {
            assert_eq!(person.shown(), there, "all show the same");
        }
    }
}

/// Everybody counts on one record, renames another and inserts what others insert, too.
async fn argue(people: &[Person], rounds: u32) {
    let arguing = people.iter().enumerate().map(|(who, person)| async move {
        for round in 0..rounds {
            person.todos.increment("tea", &json!({"cups": 1})).unwrap();
            person.todos.update("milk", &json!({"title": format!("{who} {round}")})).unwrap();
            // Only one of them can.
            let insert = person.todos.insert(&format!("new.{round}"), &todo(&format!("{who}")));
            if round % 5 == 4
                && let Ok(write) = insert
            {
                match within(write.acknowledged()).await {
                    Ok(_) => {}
                    Err(WriteError::Rejected(rejection)) => {
                        assert_eq!(rejection.reason, Reason::Exists);
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        }
    });
    futures_util::future::join_all(arguing).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_on_two_instances_see_the_same_and_lose_nothing() {
    let redis = RedisCluster::start().await.unwrap();
    let instances = [host(&redis, "a").await, host(&redis, "b").await];
    let service = instances[1].remote.collection("todos").unwrap();
    let watched = Arc::new(Mutex::new(Vec::new()));
    let watching = service.watch({
        let watched = Arc::clone(&watched);
        move |change| watched.lock().unwrap().push((change.key.to_string(), change.stamp.version))
    });
    within(service.insert("tea", &todo("Tea"))).await.unwrap();
    within(service.insert("milk", &todo("Milk"))).await.unwrap();
    let error = within(service.insert("tea", &todo("Tea"))).await.unwrap_err();
    assert!(matches!(error, CollectionError::Rejected(_)), "{error}");
    let people = two_at_each(&instances).await;
    argue(&people, 40).await;
    converge(&people, &instances[0]).await;
    let cups = within(service.get::<Todo>("tea")).await.unwrap().unwrap().cups;
    assert_eq!(cups, 160, "every increment once");
    assert_eq!(people[0].todos.len(), 42);
    // Whoever comes later has everything, page by page.
    let late = connect(&instances[0].url(), Transport::Ws).await;
    let late = within(late.collection::<Todo>("todos").page(7)).await.unwrap();
    within(late.loaded()).await;
    assert_eq!(late.all().len(), 42);
    until("the service has watched it", || {
        watched.lock().unwrap().iter().filter(|(key, _)| key == "tea").count() >= 160
    })
    .await;
    let versions: Vec<_> = watched.lock().unwrap().iter().map(|(_, version)| *version).collect();
    assert!(versions.is_sorted(), "in order");
    drop(watching);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_instance_took_with_it_is_sent_again_and_has_one_effect() {
    let redis = RedisCluster::start().await.unwrap();
    let other = host(&redis, "other").await;
    let watcher = Person::with(connect(&other.url(), Transport::Ws).await).await;
    within(watcher.todos.insert("tea", &todo("Tea")).unwrap().observed()).await.unwrap();
    for (round, transport) in BOTH.into_iter().enumerate() {
        let before = watcher.todos.get("tea").unwrap().cups;
        let dying = host(&redis, &format!("dying {round}")).await;
        let gate = Gate::to(&dying).await;
        let person = Person::with(connect(&gate.url, transport).await).await;
        let count = |person: &Person| person.todos.increment("tea", &json!({"cups": 1})).unwrap();
        let counting = async {
            for n in 0..300 {
                let write = count(&person);
                if n % 3 == 0 {
                    within(write.acknowledged()).await.unwrap();
                }
            }
        };
        let killing = async {
            watcher.sees("tea", |tea| tea.is_some_and(|tea| tea.cups > before + 60)).await;
            gate.lead_to(None);
            dying.kill();
            gate.lead_to(Some(&other));
        };
        tokio::join!(counting, killing);
        within(person.todos.settled()).await;
        watcher.sees("tea", |tea| tea.is_some_and(|tea| tea.cups >= before + 300)).await;
        let service = other.remote.collection("todos").unwrap();
        let tea = within(service.get::<Todo>("tea")).await.unwrap().unwrap();
        assert_eq!(tea.cups, before + 300, "each once");
        assert!(person.client.stats().await.counters.reconnects > 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_that_loses_the_tail_loses_no_change() {
    let mut redis = RedisCluster::start().await.unwrap();
    let instances = [host(&redis, "a").await, host(&redis, "b").await];
    let service = instances[0].remote.collection("todos").unwrap();
    within(service.insert("tea", &todo("Tea"))).await.unwrap();
    within(service.insert("milk", &todo("Milk"))).await.unwrap();
    let people = two_at_each(&instances).await;
    argue(&people, 10).await;
    converge(&people, &instances[0]).await;
    let partition = Config::default().partitioning().of_name("state.todos.x");
    let slot = slot(&redis, partition).await;
    let master = redis.owner(slot).await.unwrap();
    redis.cut_replicas(master).await.unwrap();
    // The replica does not get these.
    argue(&people, 10).await;
    let milk = people[0].todos.update("milk", &json!({"title": "Last"})).unwrap();
    within(milk.observed()).await.unwrap();
    converge(&people, &instances[0]).await;
    redis.kill(master);
    argue(&people, 20).await;
    converge(&people, &instances[0]).await;
    assert_ne!(redis.owner(slot).await.unwrap(), master, "a replica has taken over");
    let put_back: u64 = instances.iter().map(|instance| instance.redis().put_back).sum();
    assert!(put_back > 0, "something was lost");
    // Who comes later sees what Redis has.
    let third = host(&redis, "c").await;
    let late = Person::with(connect(&third.url(), Transport::Ws).await).await;
    assert_eq!(late.shown(), people[0].shown());
    assert_eq!(late.todos.get("tea").unwrap().cups, 160, "every increment once");
}

/// One has only read it, one knows what came last, and who made it is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_only_a_reader_and_what_only_a_judge_knows_survives_a_failover() {
    let mut redis = RedisCluster::start().await.unwrap();
    let reader = host(&redis, "reader").await;
    let judge = host(&redis, "judge").await;
    let maker = host(&redis, "maker").await;
    let [made, judged] = [&maker, &judge].map(|i| i.remote.collection("todos").unwrap());
    within(made.insert("tea", &todo("Tea"))).await.unwrap();
    within(made.insert("milk", &todo("Milk"))).await.unwrap();
    let person = Person::with(connect(&reader.url(), Transport::Ws).await).await;
    let partition = Config::default().partitioning().of_name("state.todos.x");
    let slot = slot(&redis, partition).await;
    let master = redis.owner(slot).await.unwrap();
    redis.cut_replicas(master).await.unwrap();
    for cups in 1..=10 {
        within(made.update("tea", &json!({"cups": cups}))).await.unwrap();
    }
    let op = json!({"op": "update", "key": "coffee", "patch": {"title": "Late"}});
    let mutation = json!({"client": "ann", "mutations": [{"seq": 1, "ops": [op]}]});
    let asking = connect(&judge.url(), Transport::Ws).await;
    let answer = within(asking.request::<Value>("state.todos.mutate", &mutation)).await.unwrap();
    assert_eq!(answer["results"][0]["rejected"]["reason"], "missing", "{answer}");
    within(judged.update("milk", &json!({"cups": 1}))).await.unwrap();
    person.sees("milk", |milk| milk.is_some_and(|milk| milk.cups == 1)).await;
    maker.kill();
    redis.kill(master);
    within(judged.insert("coffee", &todo("Coffee"))).await.unwrap();
    assert_ne!(redis.owner(slot).await.unwrap(), master, "a replica has taken over");
    let tea = within(judged.get::<Todo>("tea")).await.unwrap().unwrap();
    assert_eq!(tea.cups, 10, "what only the reader knew");
    let asking = connect(&reader.url(), Transport::Ws).await;
    let again = within(asking.request::<Value>("state.todos.mutate", &mutation)).await.unwrap();
    assert_eq!(again, answer, "what only the judge knew");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_mutations_wait_and_those_who_waited_too_long_may_come_again() {
    let redis = RedisCluster::single().await.unwrap();
    let a = host(&redis, "a").await;
    let impatient = Instance::start_with(&redis, "b", |config| {
        declare(config);
        config.redis.publish_timeout = Duration::from_millis(300);
        config.redis.buffer = 20_000;
    })
    .await;
    let people = [
        Person::with(connect(&a.url(), Transport::SocketIo).await).await,
        Person::with(connect(&impatient.url(), Transport::Ws).await).await,
    ];
    within(people[0].todos.insert("tea", &todo("Tea")).unwrap().observed()).await.unwrap();
    people[1].sees("tea", |tea| tea.is_some()).await;
    redis.pause(0);
    let writes: Vec<_> = people
        .iter()
        .flat_map(|person| (0..50).map(|_| person.todos.increment("tea", &json!({"cups": 1}))))
        .collect();
    assert_eq!(people[0].todos.get("tea").unwrap().cups, 50, "shown at once");
    let service = impatient.remote.collection("todos").unwrap();
    match within(service.update("tea", &json!({"title": "x"}))).await {
        Err(CollectionError::Unavailable(refusal)) => {
            assert!(refusal.message.starts_with("the collection cannot be reached"), "{refusal}");
        }
        other => panic!("{other:?}"),
    }
    match within(service.update("tea", &json!({"title": "x".repeat(20_000)}))).await {
        Err(CollectionError::Unavailable(refusal)) => {
            assert!(refusal.message.contains("redis.buffer"), "{refusal}");
        }
        other => panic!("{other:?}"),
    }
    until("the client is told", || people[1].todos.status().trouble.is_some()).await;
    redis.resume(0);
    for write in writes {
        within(write.unwrap().acknowledged()).await.unwrap();
    }
    converge(&people, &a).await;
    assert_eq!(people[0].todos.get("tea").unwrap().cups, 100, "each once");
    until("all is well", || {
        [&a, &impatient].iter().all(|i| i.remote.websocket_stats().backplane.trouble.is_none())
    })
    .await;
}

/// How many changes there are, and the last number of `who`.
async fn load(client: Client, who: usize) -> (usize, u64) {
    let wanted = json!({"client": format!("client {who}")});
    let page = within(client.request::<Value>("state.todos.load", &wanted)).await.unwrap();
    (page["changes"].as_array().unwrap().len(), page["judged"].as_u64().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_equal_loads_are_a_few_calls() {
    const CLIENTS: usize = 20;
    const LOADS: usize = 50;
    let redis = RedisCluster::single().await.unwrap();
    let a = host(&redis, "a").await;
    let mut clients = Vec::new();
    for who in 0..CLIENTS {
        let client = connect(&a.url(), BOTH[who % 2]).await;
        for seq in 1..=who {
            let op = json!({"op": "insert", "key": format!("{who}.{seq}"), "value": {}});
            let mutation = json!({"seq": seq, "ops": [op]});
            let wanted = json!({"client": format!("client {who}"), "mutations": [mutation]});
            within(client.request::<Value>("state.todos.mutate", &wanted)).await.unwrap();
        }
        clients.push(client);
    }
    let before = redis.calls("zrange").await.unwrap();
    redis.pause(0);
    let all = (0..CLIENTS * LOADS).map(|n| load(clients[n % CLIENTS].clone(), n % CLIENTS));
    let resuming = async {
        for client in &clients {
            // Refused without Redis, when those before it on this connection have begun.
            let refused = within(client.request::<Value>("state.todos.load", &"all")).await;
            assert!(refused.unwrap_err().to_string().contains("must be an object"));
        }
        redis.resume(0);
    };
    let (loaded, ()) = tokio::join!(futures_util::future::join_all(all), resuming);
    for (n, loaded) in loaded.into_iter().enumerate() {
        assert_eq!(loaded, ((0..CLIENTS).sum(), (n % CLIENTS) as u64));
    }
    let calls = redis.calls("zrange").await.unwrap() - before;
    assert!((1..=20).contains(&calls), "{calls} calls for {} loads", CLIENTS * LOADS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_that_a_client_leaves_out_cost_nobody_anything() {
    let redis = RedisCluster::single().await.unwrap();
    let a = host(&redis, "a").await;
    let client = connect(&a.url(), Transport::Ws).await;
    let mutate = |seq: u64| {
        let op = json!({"op": "increment", "key": "tea", "by": {"cups": 1}});
        let op = if seq == 1 { json!({"op": "insert", "key": "tea", "value": {}}) } else { op };
        json!({"client": "hostile", "mutations": [{"seq": seq, "ops": [op]}]})
    };
    const LAST: u64 = (1 << 53) - 1;
    let mut answers = Vec::new();
    for seq in [1, 2, 1 << 40, LAST - 1, LAST, LAST] {
        let answer = client.request::<Value>("state.todos.mutate", &mutate(seq));
        answers.push(within(answer).await.unwrap());
    }
    assert_eq!(answers[4], answers[5], "it is known that this was judged");
    let refused = within(client.request::<Value>("state.todos.mutate", &mutate(LAST + 1))).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("seq: must be at most 9007199254740991"), "{refused}");
    let tea = a.remote.collection("todos").unwrap().get::<Value>("tea").await.unwrap();
    assert_eq!(tea.unwrap()["cups"], 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collection_that_redis_forgot_begins_again() {
    let redis = RedisCluster::single().await.unwrap();
    let a = host(&redis, "a").await;
    let gate = Gate::to(&a).await;
    let person = Person::with(connect(&gate.url, Transport::Ws).await).await;
    within(person.todos.insert("tea", &todo("Tea")).unwrap().observed()).await.unwrap();
    gate.lead_to(None);
    let _: () = redis.ask(0, &["FLUSHALL"]).await.unwrap();
    let service = a.remote.collection("todos").unwrap();
    within(service.insert("sun", &todo("Sun"))).await.unwrap();
    person.todos.insert("milk", &todo("Milk")).unwrap();
    gate.lead_to(Some(&a));
    person.sees("tea", |tea| tea.is_none()).await;
    person.sees("sun", |sun| sun.is_some()).await;
    converge(&[person], &a).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unmodified_socket_io_client_takes_part() {
    let redis = RedisCluster::single().await.unwrap();
    let (a, b) = (host(&redis, "a").await, host(&redis, "b").await);
    let person = Person::with(connect(&b.url(), Transport::Ws).await).await;
    within(person.todos.insert("tea", &todo("Tea")).unwrap().observed()).await.unwrap();
    let url = a.url();
    let said = tokio::task::spawn_blocking({
        let todos = person.todos.clone();
        move || {
            let arguments = [&*url, "socket.io-client", "default", "default"];
            node::converse("shared_collection.js", &arguments, |request| match request {
                "count" => drop(todos.increment("tea", &json!({"cups": 1})).unwrap()),
                other => panic!("nobody can {other:?}"),
            })
        }
    });
    let said = within(said).await.unwrap().unwrap_or_else(|error| panic!("{error}"));
    assert!(said.ends_with("done\n"), "{said}");
    person.sees("milk", |milk| milk.is_some_and(|milk| milk.title == "Buy milk")).await;
    person.sees("tea", |tea| tea.is_some_and(|tea| tea.cups == 3)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_at_a_killed_instance_goes_and_may_come_back_at_another() {
    let redis = RedisCluster::single().await.unwrap();
    let declare = |config: &mut Config| {
        let mut people = Declared::default();
        (people.presence, people.presence_timeout) = (true, Duration::from_secs(1));
        config.collections.insert("people".into(), people);
    };
    let dying = Instance::start_with(&redis, "a", declare).await;
    let other = Instance::start_with(&redis, "b", declare).await;
    let gate = Gate::to(&dying).await;
    let watching = connect(&other.url(), Transport::Ws).await;
    let people = within(watching.collection::<Todo>("people")).await.unwrap();
    within(people.loaded()).await;
    let titles = || {
        let mut titles: Vec<_> = people.all().iter().map(|e| e.value.title.clone()).collect();
        titles.sort();
        titles
    };
    let _watching = within(watching.join("people", &todo("Watching"))).await.unwrap();
    let mut members = Vec::new();
    for (transport, name) in BOTH.into_iter().zip(["Ann", "Ben"]) {
        let client = connect(&gate.url, transport).await;
        let there = within(client.join("people", &todo(name))).await.unwrap();
        members.push((client, there));
    }
    until("all are there", || titles() == ["Ann", "Ben", "Watching"]).await;
    gate.lead_to(None);
    dying.kill();
    until("they are gone", || titles() == ["Watching"]).await;
    gate.lead_to(Some(&other));
    until("they are back", || titles() == ["Ann", "Ben", "Watching"]).await;
    let (client, there) = members.remove(0);
    drop(there);
    until("Ann has left", || titles() == ["Ben", "Watching"]).await;
    client.close().await;
    members.remove(0).0.close().await;
    until("Ben has said goodbye", || titles() == ["Watching"]).await;
}
