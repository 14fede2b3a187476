//! What schemas declare sensitive: every exit, with every claim that matters.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use tidings_server::Config;
use tidings_server::config::Layers;

use crate::program::Program;
use crate::raw::{self, Http, Message, Polling, Running, Sse, Ws};
use crate::table::{auth, bearer, socketio};
use crate::tokens::token;

/// What nobody may get who may not see it.
const CANARY: &str = "4111-hush-1111";

const CONFIG: &str = r##"
recovery.max_age = "1 min"
[events."orders.**"]
schema = '''{
  "properties": {"card": {"x-tidings-sensitive": true}, "lines": {"items": {"$ref": "#/$defs/line"}}},
  "$defs": {"line": {"patternProperties": {"^price": {"x-tidings-sensitive": true}}}}
}'''
[collections.users]
policy = "server-wins"
schema = '{"properties": {"card": {"type": "string", "x-tidings-sensitive": true}}}'
[collections.people]
presence = true
schema = '{"properties": {"card": {"type": "string", "x-tidings-sensitive": true}}}'
"##;

/// What somebody sees of what is sensitive, by the claims of their token, at each exit.
///
/// - live, by `ws` (JSON and MessagePack), `socketio` (ordinary, as a client of Tidings, polling) and
///   Server-Sent Events; `volatile` ones
/// - missed: `replayed` for a new subscription, `recovered` by cursor, by Socket.IO's own recovery
///   and by `Last-Event-ID`
/// - REST: `history`, and an `event` by its id
/// - collections: `load`, a `change`, the other side of a `conflict`, those who are there (`people`)
const OUTCOMES: &str = "
    claim   ws    msgpack socketio tidings polling sse   volatile replayed recovered sio-recovered sse-resumed history event load  change conflict people
    all     shown shown   shown    shown   shown   shown shown    shown    shown     shown         shown       shown   shown shown shown  shown    shown
    orders  shown shown   shown    shown   shown   shown shown    shown    shown     shown         shown       shown   shown -     -      -        -
    records -     -       -        -       -       -     -        -        -         -             -           -       -     shown shown  shown    shown
    admin   -     -       -        -       -       -     -        -        -         -             -           -       -     -     -      -        -
    none    -     -       -        -       -       -     -        -        -         -             -           -       -     -     -      -        -
";

fn claims(row: &str) -> Value {
    match row {
        "all" => json!({"sensitive": ["**"]}),
        "orders" => json!({"sensitive": ["orders.*", "others.**"]}),
        "records" => json!({"sensitive": ["state.**"]}),
        "admin" => json!({"admin": true}),
        _ => json!({}),
    }
}

/// A token that may do everything else.
fn reader(row: &str) -> String {
    let mut all = json!({"subscribe": ["**"], "publish": ["**"], "mutate": ["**"]});
    for (claim, value) in claims(row).as_object().expect("an object") {
        all[claim] = value.clone();
    }
    token(all)
}

fn writer() -> String {
    token(json!({"sub": "writer", "publish": ["**"], "mutate": ["**"]}))
}

/// A name that nothing else has.
fn mark() -> String {
    static LAST: AtomicU32 = AtomicU32::new(0);
    format!("mark-{}-", LAST.fetch_add(1, Ordering::Relaxed))
}

/// Publishes a marked event with something sensitive in it; says what its id is.
async fn publish(address: SocketAddr, mark: &str, volatile: bool) -> Option<String> {
    let lines = json!([{"price_net": CANARY, "count": 1}, {"count": 2}]);
    let order = json!({"mark": mark, "card": {"number": [CANARY]}, "lines": lines});
    let event = json!({"name": "orders.eu", "payload": order, "volatile": volatile});
    let headers = format!("{}Content-Type: application/json\r\n", bearer(Some(&writer())));
    let mut http = Http::connect(address).await;
    let answer = http.ask("POST", "/api/events", &headers, &event.to_string()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let receipt: Value = serde_json::from_str(&answer.body).expect("JSON");
    receipt["id"].as_str().map(str::to_owned)
}

/// A client of the plain WebSocket that has said hello with these members.
async fn ws(address: SocketAddr, token: &str, members: Value) -> Ws {
    let mut hello = json!({"v": 1, "producer": mark(), "token": token});
    for (key, value) in members.as_object().expect("an object") {
        hello[key] = value.clone();
    }
    let mut ws = Ws::connect(address, "/ws").await.expect("a WebSocket");
    assert_eq!(ask(&mut ws, json!(["hello", hello])).await[0], "welcome");
    ws
}

async fn ask(ws: &mut Ws, message: Value) -> Value {
    ws.text(&message.to_string()).await;
    serde_json::from_str(&ws.next_text().await).expect("JSON")
}

/// A client of Socket.IO that is let in, and what it was told.
async fn sio(address: SocketAddr, auth: &Value) -> (Ws, Value) {
    let mut ws = socketio(address).await;
    ws.text(&format!("40{auth}")).await;
    let packet = ws.next_packet().await;
    let welcome = packet.strip_prefix("40").unwrap_or_else(|| panic!("{packet}"));
    (ws, serde_json::from_str(welcome).expect("JSON"))
}

/// All that comes, up to what is marked.
async fn up_to(mark: &str, mut next: impl AsyncFnMut() -> Vec<u8>) -> Vec<u8> {
    let mut all = Vec::new();
    while !contains(&all, mark) {
        all.extend(next().await);
    }
    all
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

async fn message(ws: &mut Ws) -> Vec<u8> {
    match ws.next().await.expect("it goes on") {
        Message::Text(text) => text.into_bytes(),
        Message::Binary(data) => data,
    }
}

async fn get(address: SocketAddr, target: &str, token: &str) -> Vec<u8> {
    let mut http = Http::connect(address).await;
    let answer = http.ask("GET", target, &bearer(Some(token)), "").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body.into_bytes()
}

/// What somebody gets by this exit, up to what is marked.
async fn leaving(address: SocketAddr, exit: &str, token: &str, mark: &str) -> Vec<u8> {
    match exit {
        "socketio" | "tidings" | "polling" | "sio-recovered" => {
            by_socketio(address, exit, token, mark).await
        }
        "sse" | "sse-resumed" | "history" | "event" => by_http(address, exit, token, mark).await,
        "load" | "change" | "conflict" | "people" => of_records(address, exit, token, mark).await,
        _ => by_ws(address, exit, token, mark).await,
    }
}

async fn by_ws(address: SocketAddr, exit: &str, token: &str, mark: &str) -> Vec<u8> {
    let subscribe = json!(["sub", 1, "orders.**"]);
    let mut ws = match exit {
        "ws" | "volatile" => {
            let mut ws = ws(address, token, json!({})).await;
            ask(&mut ws, subscribe).await;
            publish(address, mark, exit == "volatile").await;
            ws
        }
        "msgpack" => {
            let subprotocol = "Sec-WebSocket-Protocol: tidings.v1.msgpack\r\n";
            let mut ws = Ws::connect_with(address, "/ws", subprotocol).await.expect("a WebSocket");
            let hello = json!({"v": 1, "producer": mark, "token": token});
            for message in [json!(["hello", hello]), subscribe] {
                let mut bytes = Vec::new();
                let text = message.to_string();
                tidings_core::msgpack::from_json(text.as_bytes(), &mut bytes, 9).expect("JSON");
                ws.binary(&bytes).await;
                ws.next().await.expect("an answer");
            }
            publish(address, mark, false).await;
            ws
        }
        "replayed" => {
            publish(address, mark, false).await;
            let mut ws = ws(address, token, json!({})).await;
            let since: Vec<_> = (0..64).map(|lane| [lane, 0, 0]).collect();
            ask(&mut ws, json!(["sub", 1, "orders.**", {"since": since}])).await;
            ws
        }
        "recovered" => {
            let mut before = ws(address, token, json!({})).await;
            let subscribed = ask(&mut before, subscribe).await;
            drop(before);
            publish(address, mark, false).await;
            let members = json!({"subs": [[1, "orders.**"]], "cursor": subscribed[2]});
            ws(address, token, members).await
        }
        other => panic!("no exit {other}"),
    };
    up_to(mark, async || message(&mut ws).await).await
}

async fn by_socketio(address: SocketAddr, exit: &str, token: &str, mark: &str) -> Vec<u8> {
    let subscribe = format!("420{}", json!(["subscribe", {"id": 1, "pattern": "orders.**"}]));
    if exit == "polling" {
        let polling = Polling::open(address, "/socket.io/").await;
        for packet in [format!("40{}", auth(Some(token))), subscribe] {
            polling.post(&packet).await;
            polling.packets(1).await;
        }
        publish(address, mark, false).await;
        return up_to(mark, async || polling.packets(1).await.concat().into_bytes()).await;
    }
    let mut auth = json!({"token": token});
    if exit == "tidings" {
        auth["tidings"] = json!({"v": 1, "producer": mark});
    }
    let (mut ws, welcome) = sio(address, &auth).await;
    ws.text(&subscribe).await;
    assert!(ws.next_packet().await.contains("\"ok\":true"));
    if exit == "sio-recovered" {
        publish(address, "before", false).await;
        let seen = ws.next_packet().await;
        let seen: Vec<Value> = serde_json::from_str(&seen[2..]).expect("JSON");
        (auth["pid"], auth["offset"]) = (welcome["pid"].clone(), seen[seen.len() - 1].clone());
        drop(ws);
        publish(address, mark, false).await;
        // It is recovered from when its end was noticed.
        ws = loop {
            let (ws, again) = sio(address, &auth).await;
            if again["pid"] == welcome["pid"] {
                break ws;
            }
        };
    } else {
        publish(address, mark, false).await;
    }
    up_to(mark, async || ws.next_packet().await.into_bytes()).await
}

async fn by_http(address: SocketAddr, exit: &str, token: &str, mark: &str) -> Vec<u8> {
    let (stream, headers) = ("/api/events/stream?pattern=orders.**", bearer(Some(token)));
    if exit == "history" || exit == "event" {
        let id = publish(address, mark, false).await.expect("an id");
        let history = "/api/events?pattern=orders.**&limit=1".to_owned();
        let target = if exit == "event" { format!("/api/events/{id}") } else { history };
        return get(address, &target, token).await;
    }
    let (mut sse, open) = Sse::open(address, stream, &headers).await.expect("a stream");
    publish(address, mark, false).await;
    if exit == "sse-resumed" {
        let last = open.id.expect("where it begins");
        let headers = format!("{headers}Last-Event-ID: {last}\r\n");
        (sse, _) = Sse::open(address, stream, &headers).await.expect("a stream");
    }
    up_to(mark, async || sse.next().await.expect("it goes on").data.into_bytes()).await
}

async fn of_records(address: SocketAddr, exit: &str, token: &str, mark: &str) -> Vec<u8> {
    let mut reader = ws(address, token, json!({})).await;
    let mut writer = ws(address, &writer(), json!({})).await;
    if exit == "people" || exit == "change" {
        ask(&mut reader, json!(["sub", 1, "state.**"])).await;
    }
    let value = json!({"title": mark, "card": CANARY});
    if exit == "people" {
        let joined = ask(&mut writer, json!(["req", 1, "state.people.join", value])).await;
        assert_eq!(joined[0], "res", "{joined}");
    } else {
        mutate(&mut writer, json!({"op": "insert", "key": mark, "value": value})).await;
    }
    let mut all = Vec::new();
    if exit == "people" || exit == "change" {
        all = up_to(mark, async || message(&mut reader).await).await;
    }
    let op = json!({"op": "update", "key": mark, "base": 1, "patch": {"title": "mine"}});
    let (name, payload) = match exit {
        "change" => return all,
        "conflict" => ("state.users.mutate", json!({"ops": [op]})),
        "load" => ("state.users.load", Value::Null),
        _ => ("state.people.load", Value::Null),
    };
    reader.text(&json!(["req", 1, name, payload]).to_string()).await;
    all.extend(up_to("[\"res\",1,", async || message(&mut reader).await).await);
    all
}

/// Makes one change of a user; says what became of it.
async fn mutate(ws: &mut Ws, op: Value) -> Value {
    let answer = ask(ws, json!(["req", 9, "state.users.mutate", {"ops": [op]}])).await;
    assert_eq!(answer[0], "res", "{answer}");
    answer[2]["results"][0].clone()
}

fn outcome(bytes: &[u8], mark: &str) -> &'static str {
    assert!(contains(bytes, mark), "{}", String::from_utf8_lossy(bytes));
    if contains(bytes, CANARY) { "shown" } else { "-" }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_leaves_by_no_exit_without_its_claim() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name).to_str().expect("text").to_owned();
    let (file, database) = (path("tidings.toml"), format!("sqlite:{}", path("tidings.db")));
    std::fs::write(&file, CONFIG).expect("written");
    let arguments = ["--config", &file, "--database", &database, "--set", "store.events=true"];
    let program = Program::start(&arguments);
    let mut rows = OUTCOMES.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let exits = rows.by_ref().find(|row| !row.is_empty()).expect("a head");
    let mut wrong = Vec::new();
    for row in rows.filter(|row| !row.is_empty()) {
        let token = reader(row[0]);
        for (exit, expected) in exits.iter().zip(&row).skip(1) {
            let mark = mark();
            let got = outcome(&leaving(program.address, exit, &token, &mark).await, &mark);
            if got != *expected {
                wrong.push(format!("{} by {exit}: {got}, not {expected}", row[0]));
            }
        }
    }
    let id = publish(program.address, "the last", false).await.expect("an id");
    let mut log = program.stop();
    // What comes from the database, once the log in memory is gone.
    let program = Program::start(&arguments);
    let (history, event) = ("/api/events?pattern=orders.**&limit=1", format!("/api/events/{id}"));
    for (row, expected) in [("all", "shown"), ("admin", "-")] {
        for target in [history, &event] {
            let got = outcome(&get(program.address, target, &reader(row)).await, "the last");
            if got != expected {
                wrong.push(format!("{row} by {target}: {got}, not {expected}"));
            }
        }
    }
    log += &program.stop();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(!log.contains(CANARY), "it is in the log");
}

async fn start(change: impl FnOnce(&mut Config)) -> Running {
    let config = Layers::new().text(CONFIG, "a.toml").expect("settings");
    raw::start(config.finish().expect("settings").with(change)).await
}

#[tokio::test]
async fn where_nobody_is_authenticated_only_what_the_settings_say_is_seen() {
    for (revealed, expected) in [(vec![], "-"), (vec!["orders.**".to_owned()], "shown")] {
        let server = start(|c| c.auth.sensitive = revealed).await;
        let mark = mark();
        let seen = leaving(server.address, "ws", "nobody looks at it", &mark).await;
        assert_eq!(outcome(&seen, &mark), expected);
        server.stop().await;
    }
}

#[tokio::test]
async fn a_fresh_token_shows_more_or_less_at_once() {
    let server = start(|c| c.auth = crate::tokens::config().auth).await;
    let mut ws = ws(server.address, &reader("none"), json!({})).await;
    ask(&mut ws, json!(["sub", 1, "orders.**"])).await;
    for (fresh, expected) in [(None, "-"), (Some("all"), "shown"), (Some("none"), "-")] {
        if let Some(row) = fresh {
            assert_eq!(ask(&mut ws, json!(["token", reader(row)])).await[0], "tokened");
        }
        let mark = mark();
        publish(server.address, &mark, false).await;
        let seen = up_to(&mark, async || message(&mut ws).await).await;
        assert_eq!(outcome(&seen, &mark), expected);
    }
    server.stop().await;
}

#[tokio::test]
async fn who_does_not_see_it_changes_the_rest_and_can_set_it() {
    let server = start(|c| c.auth = crate::tokens::config().auth).await;
    let mut blind = ws(server.address, &reader("none"), json!({})).await;
    let mut seeing = ws(server.address, &reader("all"), json!({})).await;
    let record = json!({"title": "t", "card": CANARY});
    mutate(&mut blind, json!({"op": "insert", "key": "ann", "value": record})).await;
    let load = json!(["req", 1, "state.users.load", null]);
    for (op, card) in [
        (json!({"op": "update", "key": "ann", "patch": {"title": "a"}}), CANARY),
        (json!({"op": "update", "key": "ann", "patch": {"card": null}}), CANARY),
        (json!({"op": "replace", "key": "ann", "value": {"title": "b"}}), CANARY),
        (json!({"op": "increment", "key": "ann", "by": {"count": 1}}), CANARY),
        (json!({"op": "update", "key": "ann", "patch": {"card": "new"}}), "new"),
        (json!({"op": "replace", "key": "ann", "value": {"card": "newer"}}), "newer"),
    ] {
        let verdict = mutate(&mut blind, op.clone()).await;
        assert!(verdict["version"].is_u64(), "{verdict}");
        let loaded = ask(&mut seeing, load.clone()).await;
        assert_eq!(loaded[2]["changes"][0]["value"]["card"], card, "{op}");
    }
    // The error would tell what is there.
    let increment = json!({"op": "increment", "key": "ann", "by": {"card": 1}});
    let told = mutate(&mut blind, increment.clone()).await["rejected"].clone();
    assert_eq!((&told["reason"], told.to_string().contains("newer")), (&json!("refused"), false));
    let told = mutate(&mut seeing, increment).await.to_string();
    assert!(told.contains("newer"), "{told}");
    mutate(&mut seeing, json!({"op": "update", "key": "ann", "patch": {"card": null}})).await;
    let loaded = ask(&mut seeing, load).await;
    assert_eq!(loaded[2]["changes"][0]["value"], json!({}), "who sees it takes it away");
    server.stop().await;
}
