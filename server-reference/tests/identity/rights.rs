//! What a token allows, and that nothing widens it.

use serde_json::{Value, json};
use tidings_server::{Config, Server, reply};

use crate::raw::{self, Http, Running, Sse, Ws};
use crate::tokens::{at, config, token};

/// A client of the plain WebSocket.
struct Client(Ws);

impl Client {
    async fn connect(server: &Running, claims: Value) -> Self {
        Self::say_hello(server, json!({"token": token(claims)})).await.0
    }

    /// Says hello with these members; returns the welcome, too.
    async fn say_hello(server: &Running, members: Value) -> (Self, Value) {
        let mut hello = json!({"v": 1, "producer": "p"});
        for (key, value) in members.as_object().expect("an object") {
            hello[key] = value.clone();
        }
        let mut client = Self(Ws::connect(server.address, "/ws").await.expect("a WebSocket"));
        let welcome = client.ask(json!(["hello", hello])).await;
        assert_eq!(welcome[0], "welcome", "{welcome}");
        (client, welcome[1].clone())
    }

    async fn say(&mut self, message: Value) {
        self.0.text(&message.to_string()).await;
    }

    async fn hear(&mut self) -> Value {
        serde_json::from_str(&self.0.next_text().await).expect("JSON")
    }

    async fn ask(&mut self, message: Value) -> Value {
        self.say(message).await;
        self.hear().await
    }

    /// The names of the events that come, up to the one that is called so.
    async fn events_until(&mut self, last: &str) -> Vec<String> {
        let mut names = Vec::new();
        while names.last().is_none_or(|name| name != last) {
            let message = self.hear().await;
            let name = match message[0].as_str() {
                Some("e") => message[3].as_str(),
                Some("v") => message[1].as_str(),
                _ => panic!("no event: {message}"),
            };
            names.push(name.expect("a name").to_owned());
        }
        names
    }
}

async fn start(config: Config) -> Running {
    raw::start(config).await
}

#[tokio::test]
async fn a_wildcard_gets_what_is_allowed_and_nothing_else() {
    let server = start(config()).await;
    let mut writer = Client::connect(&server, json!({"sub": "writer", "publish": ["**"]})).await;
    let mut reader = Client::connect(&server, json!({"subscribe": ["orders.*", "end"]})).await;
    let publish = |seq: u32, name: &str| json!(["pub", seq, name, null]);
    writer.ask(publish(1, "orders.early")).await;
    writer.ask(publish(2, "users.early")).await;
    let everything =
        json!(["sub", 1, "**", {"since": (0..64).map(|l| [l, 0, 0]).collect::<Vec<_>>()}]);
    assert_eq!(reader.ask(everything).await[0], "subbed");
    assert_eq!(reader.events_until("orders.early").await, ["orders.early"], "of history, too");
    for (seq, name) in
        ["users.ann", "orders.eu", "orders.eu.x", "orders", "orders.us"].iter().enumerate()
    {
        writer.ask(publish(3 + seq as u32, name)).await;
    }
    writer.say(json!(["vol", "users.typing", null])).await;
    writer.say(json!(["vol", "end", null])).await;
    let events = reader.events_until("end").await;
    assert_eq!(events, ["orders.eu", "orders.us", "end"]);

    // What can get nothing is refused, with the part that is not allowed.
    let refused = reader.ask(json!(["sub", 2, "users.*"])).await;
    assert_eq!((&refused[0], &refused[2]), (&json!("suberr"), &json!(305)));
    let why = refused[3].as_str().expect("a reason");
    assert!(why.contains("\"users.*\"") && why.contains("orders.*, end"), "{why}");
    assert_eq!(reader.ask(json!(["sub", 3, "*.eu"])).await[0], "subbed", "a part of it is");
    server.stop().await;
}

#[tokio::test]
async fn what_was_missed_is_recovered_as_far_as_it_is_allowed() {
    let server = start(config()).await;
    let mut writer = Client::connect(&server, json!({"sub": "writer", "publish": ["**"]})).await;
    let mut reader = Client::connect(&server, json!({"subscribe": ["orders.*"]})).await;
    let subscribed = reader.ask(json!(["sub", 1, "**"])).await;
    drop(reader);
    for (seq, name) in ["users.ann", "orders.eu", "orders.us"].iter().enumerate() {
        writer.ask(json!(["pub", 1 + seq, name, null])).await;
    }
    let back = json!({
        "token": token(json!({"subscribe": ["orders.*"]})),
        "subs": [[1, "**"], [2, "users.**"]],
        "cursor": subscribed[2],
    });
    let (mut reader, welcome) = Client::say_hello(&server, back).await;
    assert_eq!(welcome["refused"][0][0], 2, "{welcome}");
    assert_eq!(welcome["refused"][0][1], 305);
    assert_eq!(reader.events_until("orders.us").await, ["orders.eu", "orders.us"]);
    server.stop().await;
}

#[tokio::test]
async fn publishes_and_requests_need_their_claim() {
    let config = config().listen(([127, 0, 0, 1], 0).into());
    let server = Server::builder().config(config).bind().await.expect("a server");
    server.handle("orders.who", |request: tidings_server::Request| async move {
        reply(&request.identity.subject().map(|subject| subject.to_string()))
    });
    let server = raw::run(server);
    let mut client = Client::connect(&server, json!({"publish": ["orders.**"]})).await;
    assert_eq!(client.ask(json!(["pub", 1, "orders.eu", 1])).await[0], "ack");
    let refused = client.ask(json!(["pub", 2, "users.ann", 1])).await;
    assert_eq!((&refused[0], &refused[2]), (&json!("nack"), &json!(305)));
    let refused = client.ask(json!(["vol", "users.ann", 1])).await;
    assert_eq!((&refused[0], &refused[1]), (&json!("err"), &json!(305)));
    assert_eq!(client.ask(json!(["req", 1, "orders.who", null])).await, json!(["res", 1, "ann"]));
    let refused = client.ask(json!(["req", 2, "users.who", null])).await;
    assert_eq!((&refused[0], &refused[2]), (&json!("rerr"), &json!(305)));
    server.stop().await;
}

#[tokio::test]
async fn a_fresh_token_changes_what_is_allowed_at_once() {
    let server = start(config()).await;
    let mut writer = Client::connect(&server, json!({"sub": "writer", "publish": ["**"]})).await;
    let (mut reader, welcome) = Client::say_hello(
        &server,
        json!({"token": token(json!({"subscribe": ["a.*", "b.*"], "exp": at(60)}))}),
    )
    .await;
    let left = welcome["expires_in"].as_u64().expect("it expires");
    assert!((30_000..=60_000).contains(&left), "{left}");
    reader.ask(json!(["sub", 1, "**"])).await;
    reader.ask(json!(["sub", 2, "a.*"])).await;
    writer.ask(json!(["pub", 1, "a.1", null])).await;
    assert_eq!(reader.events_until("a.1").await, ["a.1"]);

    let narrower = token(json!({"subscribe": ["b.*", "c.*"], "publish": ["c.*"]}));
    let ended = reader.ask(json!(["token", narrower])).await;
    assert_eq!((&ended[0], &ended[1], &ended[2]), (&json!("suberr"), &json!(2), &json!(305)));
    assert_eq!(reader.hear().await[0], "tokened");
    for (seq, name) in ["a.2", "b.1", "c.1"].iter().enumerate() {
        writer.ask(json!(["pub", 2 + seq, name, null])).await;
    }
    let mut events = reader.events_until("c.1").await;
    events.sort();
    assert_eq!(events, ["b.1", "c.1"], "lanes race");
    assert_eq!(reader.ask(json!(["pub", 1, "c.2", null])).await[0], "ack");
    server.stop().await;
}

#[tokio::test]
async fn rights_end_with_their_token_although_a_later_one_was_presented_elsewhere() {
    let config = config().listen(([127, 0, 0, 1], 0).into());
    let server = Server::builder().config(config).bind().await.expect("a server");
    server.namespace("/chat").expect("a namespace");
    let server = raw::run(server);
    let mut socket = Ws::connect(server.address, "/socket.io/?EIO=4&transport=websocket")
        .await
        .expect("a WebSocket");
    socket.next_text().await;
    let wide = token(json!({"subscribe": ["**"], "exp": at(4)}));
    let narrow = token(json!({"subscribe": []}));
    for (namespace, token) in [("", wide), ("/chat,", narrow)] {
        socket.text(&format!("40{namespace}{}", json!({"token": token}))).await;
        let let_in = socket.next_packet().await;
        assert!(let_in.starts_with(&format!("40{namespace}")), "{let_in}");
    }
    let told = socket.next_packet().await;
    assert!(told.contains("tidings:close") && told.contains("4300"), "{told}");
    server.stop().await;
}

#[tokio::test]
async fn a_session_ends_with_its_token_and_goes_on_with_a_fresh_one() {
    let server = start(config()).await;
    let mut writer = Client::connect(&server, json!({"sub": "writer", "publish": ["**"]})).await;
    let short = json!({"token": token(json!({"subscribe": ["**"], "exp": at(1)}))});
    let (mut reader, welcome) = Client::say_hello(&server, short).await;
    let subscribed = reader.ask(json!(["sub", 1, "a"])).await;
    let close = reader.hear().await;
    assert_eq!((&close[0], &close[1]), (&json!("close"), &json!(4300)));
    assert_eq!(close[2], "the token has expired");
    assert!(reader.0.closed().await.is_empty());
    writer.ask(json!(["pub", 1, "a", null])).await;
    let back = |claims: Value| {
        json!({
            "token": token(claims),
            "session": welcome["session"],
            "subs": [[1, "a"]],
            "cursor": subscribed[2],
        })
    };
    // Nobody else can take the session up, even with its name.
    let ben = back(json!({"sub": "ben", "subscribe": ["a"]}));
    let (_ben, bens) = Client::say_hello(&server, ben).await;
    assert_eq!(bens["resumed"], false);
    assert_ne!(bens["session"], welcome["session"]);
    let (mut reader, again) = Client::say_hello(&server, back(json!({"subscribe": ["a"]}))).await;
    assert_eq!((&again["resumed"], &again["session"]), (&json!(true), &welcome["session"]));
    assert_eq!(reader.events_until("a").await, ["a"], "nothing was lost");
    server.stop().await;
}

#[tokio::test]
async fn a_stream_and_history_give_what_is_allowed_until_the_token_ends() {
    let server = start(config()).await;
    let headers = |claims| format!("Authorization: Bearer {}\r\n", token(claims));
    let narrow = headers(json!({"subscribe": ["orders.*", "end"], "exp": at(3)}));
    let stream = "/api/events/stream?pattern=**";
    let (mut reader, open) =
        Sse::open(server.address, stream, &narrow).await.expect("a part of it is allowed");
    assert!(open.json()["expires_in"].as_u64().is_some_and(|left| left <= 3000), "{open:?}");
    let writer = headers(json!({"sub": "writer", "publish": ["**"]}));
    let writer = format!("{writer}Content-Type: application/json\r\n");
    let names = ["users.ann", "orders.eu", "orders.eu.x", "end"];
    let body: Vec<_> = names.iter().map(|name| json!({"name": name, "payload": null})).collect();
    let mut http = Http::connect(server.address).await;
    let published = http.ask("POST", "/api/events", &writer, &json!(body).to_string()).await;
    let published: Value = serde_json::from_str(&published.body).expect("JSON");
    let mut got = [reader.event().await.1, reader.event().await.1];
    got.sort_by_key(|event| event["name"].to_string());
    assert_eq!((&got[0]["name"], &got[1]["name"]), (&json!("end"), &json!("orders.eu")));
    let mut get = async |target: &str| {
        let answer = http.ask("GET", target, &narrow, "").await;
        (answer.status, serde_json::from_str::<Value>(&answer.body).expect("JSON"))
    };
    let (_, page) = get("/api/events?pattern=**&order=oldest").await;
    let listed = page["events"].as_array().expect("events").iter().map(|event| &event["name"]);
    assert_eq!(listed.collect::<Vec<_>>(), ["orders.eu", "end"]);
    for (receipt, status) in published.as_array().expect("receipts").iter().zip([404, 200, 404]) {
        let target = format!("/api/events/{}", receipt["id"].as_str().expect("an id"));
        assert_eq!(get(&target).await.0, status, "{receipt}");
    }
    let close = reader.next().await.expect("it is told");
    assert_eq!((close.event.as_str(), &close.json()["code"]), ("tidings.close", &json!(4300)));
    assert_eq!(reader.next().await, None, "it ends");
    server.stop().await;
}
