//! Every entrance with every kind of identity.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::raw::{self, Http, Polling, Ws};
use crate::tokens::{at, config, signed, token};

/// What each entrance says to each identity. `in` is in; a number is the code of an error or a close,
/// or a status; `-`: there is no such thing.
///
/// - `ws`: hello over the plain WebSocket; `socketio`: CONNECT over a WebSocket; `polling`: the same
///   over HTTP; `chat`: CONNECT to a namespace of an application
/// - `fresh ws`, `fresh sio`: a fresh token on a connection that was let in with another one of ann
/// - `stats`, `sessions`, `events`, `subscriptions`, `metrics`, `schemas`: REST for operators
/// - `openapi`: the description of REST
/// - `publish`, `stream`, `history`, `event`: REST, of orders
const OUTCOMES: &str = "
    identity         ws   socketio polling chat fresh-ws fresh-sio stats sessions events publish stream history event subscriptions  metrics openapi schemas
    none             4502 4502     4502    4502 -        -         401   401      401    401     401    401     401   401            401     200     401
    not-a-token      4502 4502     4502    4502 310      310       401   401      401    401     401    401     401   401            401     200     401
    wrong-signature  4502 4502     4502    4502 310      310       401   401      401    401     401    401     401   401            401     200     401
    wrong-algorithm  4502 4502     4502    4502 310      310       401   401      401    401     401    401     401   401            401     200     401
    alg-none         4502 4502     4502    4502 310      310       401   401      401    401     401    401     401   401            401     200     401
    expired          4300 4300     4300    4300 200      200       401   401      401    401     401    401     401   401            401     200     401
    not-yet-valid    4502 4502     4502    4502 310      310       401   401      401    401     401    401     401   401            401     200     401
    wrong-audience   4502 4502     4502    4502 310      310       401   401      401    401     401    401     401   401            401     200     401
    broken-claim     4502 4502     4502    4502 310      310       401   401      401    401     401    401     401   401            401     200     401
    another-subject  in   in       in      in   310      310       403   403      403    403     403    403     404   403            403     200     403
    narrow           in   in       in      in   in       in        403   403      403    200     200    200     404   403            403     200     403
    admin            in   in       in      in   in       in        200   200      200    403     403    403     404   200            200     200     200
";

fn identities() -> BTreeMap<&'static str, Option<String>> {
    let header = |alg: &str| format!(r#"{{"alg":"{alg}"}}"#);
    let none = signed("", &header("none"), json!({}));
    let (unsigned, _) = none.rsplit_once('.').expect("three parts");
    BTreeMap::from([
        ("none", None),
        ("not-a-token", Some("open sesame".to_owned())),
        ("wrong-signature", Some(signed("guessed", &header("HS256"), json!({})))),
        ("wrong-algorithm", Some(signed(crate::tokens::SECRET, &header("HS384"), json!({})))),
        ("alg-none", Some(format!("{unsigned}."))),
        ("expired", Some(token(json!({"exp": at(-5)})))),
        ("not-yet-valid", Some(token(json!({"nbf": at(60)})))),
        ("wrong-audience", Some(token(json!({"aud": "others"})))),
        ("broken-claim", Some(token(json!({"subscribe": "everything"})))),
        ("another-subject", Some(token(json!({"sub": "ben"})))),
        ("narrow", Some(token(json!({"subscribe": ["orders.*"], "publish": ["orders.*"]})))),
        ("admin", Some(token(json!({"admin": true})))),
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn every_entrance_knows_every_identity() {
    let config = config().listen(SocketAddr::from(([127, 0, 0, 1], 0)));
    let server = tidings_server::Server::builder().config(config).bind().await.expect("a server");
    server.namespace("/chat").expect("a namespace");
    let server = raw::run(server);
    let mut rows = OUTCOMES.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let entrances = rows.by_ref().find(|row| !row.is_empty()).expect("a head");
    let rows: Vec<_> = rows.filter(|row| !row.is_empty()).collect();
    let identities = identities();
    assert_eq!(rows.len(), identities.len(), "each identity has a row");
    let mut wrong = Vec::new();
    for row in rows {
        let token = identities[row[0]].as_deref();
        for (entrance, expected) in entrances.iter().zip(&row).skip(1) {
            let outcome = enter(server.address, entrance, token).await;
            if outcome != *expected {
                wrong.push(format!("{} by {entrance}: {outcome}, not {expected}", row[0]));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    server.stop().await;
}

async fn enter(address: SocketAddr, entrance: &str, token: Option<&str>) -> String {
    let known = crate::tokens::token(json!({"subscribe": ["**"]}));
    match entrance {
        "ws" => {
            let mut ws = Ws::connect(address, "/ws").await.expect("a WebSocket");
            ws_outcome(&hello(&mut ws, token).await)
        }
        "socketio" => {
            let mut ws = socketio(address).await;
            ws.text(&format!("40{}", auth(token))).await;
            connect_outcome(&ws.next_packet().await)
        }
        "chat" => {
            let mut ws = socketio(address).await;
            ws.text(&format!("40/chat,{}", auth(token))).await;
            connect_outcome(&ws.next_packet().await.replace("/chat,", ""))
        }
        "polling" => {
            let polling = Polling::open(address, "/socket.io/").await;
            polling.post(&format!("40{}", auth(token))).await;
            connect_outcome(&polling.packets(1).await[0])
        }
        "fresh-ws" => {
            let Some(token) = token else { return "-".to_owned() };
            let mut ws = Ws::connect(address, "/ws").await.expect("a WebSocket");
            assert_eq!(ws_outcome(&hello(&mut ws, Some(&known)).await), "in");
            ws.text(&json!(["token", token]).to_string()).await;
            ws_outcome(&ws.next_text().await)
        }
        "fresh-sio" => {
            let Some(token) = token else { return "-".to_owned() };
            let mut ws = socketio(address).await;
            ws.text(&format!("40{}", auth(Some(&known)))).await;
            assert_eq!(connect_outcome(&ws.next_packet().await), "in");
            ws.text(&format!("420{}", json!(["tidings:token", token]))).await;
            let answer = ws.next_packet().await;
            let answer = answer.strip_prefix("430").expect("an acknowledgement");
            let answer: Value = serde_json::from_str(answer).expect("JSON");
            match answer[0]["ok"].as_bool() {
                Some(true) => "in".to_owned(),
                _ => answer[0]["error"]["code"].to_string(),
            }
        }
        "stats" => rest(address, "/api/websocket/stats", token).await,
        "schemas" => rest(address, "/api/schemas", token).await,
        "sessions" => rest(address, "/api/websocket/sessions", token).await,
        "events" => rest(address, "/api/events/stats", token).await,
        "publish" => publish(address, token).await,
        "stream" => rest(address, "/api/events/stream?pattern=orders.**", token).await,
        "history" => rest(address, "/api/events?pattern=orders.**", token).await,
        "event" => rest(address, "/api/events/17-4", token).await,
        "metrics" => rest(address, "/metrics", token).await,
        "openapi" => rest(address, "/api/openapi.json", token).await,
        "subscriptions" => rest(address, "/api/events/subscriptions", token).await,
        other => panic!("no entrance {other}"),
    }
}

pub(crate) fn auth(token: Option<&str>) -> String {
    token.map(|token| json!({"token": token}).to_string()).unwrap_or_default()
}

async fn hello(ws: &mut Ws, token: Option<&str>) -> String {
    let mut members = json!({"v": 1, "producer": "p"});
    if let Some(token) = token {
        members["token"] = token.into();
    }
    ws.text(&json!(["hello", members]).to_string()).await;
    ws.next_text().await
}

pub(crate) async fn socketio(address: SocketAddr) -> Ws {
    let mut ws =
        Ws::connect(address, "/socket.io/?EIO=4&transport=websocket").await.expect("a WebSocket");
    assert!(ws.next_text().await.starts_with('0'));
    ws
}

fn ws_outcome(text: &str) -> String {
    let message: Value = serde_json::from_str(text).expect("JSON");
    match message[0].as_str() {
        Some("welcome" | "tokened") => "in".to_owned(),
        Some("close" | "tokerr") => message[1].to_string(),
        _ => panic!("{text}"),
    }
}

fn connect_outcome(packet: &str) -> String {
    if packet.starts_with("40") {
        return "in".to_owned();
    }
    let error = packet.strip_prefix("44").unwrap_or_else(|| panic!("no CONNECT_ERROR: {packet}"));
    let error: Value = serde_json::from_str(error).expect("JSON");
    assert!(error["message"].as_str().is_some_and(|message| message.contains("token")), "{packet}");
    error["data"]["code"].to_string()
}

async fn publish(address: SocketAddr, token: Option<&str>) -> String {
    let headers = format!("{}Content-Type: application/json\r\n", bearer(token));
    let body = r#"{"name": "orders.eu", "payload": null}"#;
    let mut http = Http::connect(address).await;
    http.ask("POST", "/api/events", &headers, body).await.status.to_string()
}

pub(crate) fn bearer(token: Option<&str>) -> String {
    token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default()
}

async fn rest(address: SocketAddr, target: &str, token: Option<&str>) -> String {
    let answer = Http::connect(address).await.ask("GET", target, &bearer(token), "").await;
    if answer.status == 401 {
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
    answer.status.to_string()
}
