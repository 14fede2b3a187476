//! What attackers write.

use std::net::Ipv4Addr;

use tidings_core::websocket::{self, Opcode};

/// Larger than any message that a server takes by default.
const GIANT: usize = 4 << 20;

/// The mask of all frames: whether it can be guessed does not matter to an attacker.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A hello that is right.
pub(super) const HELLO: &str = r#"["hello",{"v":1,"producer":"hostile"}]"#;

/// One that wants everything.
pub(super) const HELLO_ALL: &str =
    r#"["hello",{"v":1,"producer":"hostile","subs":[[1,"**"],[2,"**.**"],[3,"**.*"]]}]"#;

/// The answer to a ping.
pub(super) const PONG: &str = r#"["pong"]"#;

fn head(named: Ipv4Addr, request: &str, headers: &str) -> String {
    format!("{request} HTTP/1.1\r\nhost: hostile\r\nx-forwarded-for: {named}\r\n{headers}\r\n")
}

/// A request for a WebSocket.
pub(super) fn upgrade(named: Ipv4Addr, path: &str) -> String {
    let headers = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                   sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    head(named, &format!("GET {path}"), headers)
}

/// A request with a token.
pub(super) fn bearer(named: Ipv4Addr, token: &str) -> String {
    let headers = format!("authorization: Bearer {token}\r\nconnection: close\r\n");
    head(named, "GET /api/websocket/stats", &headers)
}

/// A frame with a text.
pub(super) fn text(text: &str) -> Vec<u8> {
    frame(Opcode::Text, text.as_bytes())
}

fn frame(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    websocket::encode(&mut out, opcode, payload, Some(MASK));
    out
}

/// A frame whose first byte is this, whatever that means.
fn odd(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = frame(Opcode::Text, payload);
    out[0] = first;
    out
}

/// What is too large, or never ends.
pub(super) fn giants(named: Ipv4Addr) -> Vec<Vec<u8>> {
    let greeted = || [upgrade(named, "/ws").into_bytes(), text(HELLO)].concat();
    let filled = vec![b'x'; GIANT];
    // A header that announces 2^62 bytes, and some of them.
    let announced = [&[0x81, 0xff, 0x40, 0, 0, 0, 0, 0, 0, 0][..], &MASK, &filled].concat();
    let mut fragments = odd(0x01, &filled[..64 * 1024]);
    for _ in 0..GIANT / (64 * 1024) {
        fragments.extend(odd(0x00, &filled[..64 * 1024]));
    }
    let payload = format!(r#"["pub",1,"hostile.giant","{}"]"#, "x".repeat(GIANT));
    let json = "content-type: application/json\r\n";
    let post = |path: &str, headers: &str| {
        let head = head(named, &format!("POST {path}"), &format!("{json}{headers}"));
        [head.as_bytes(), &filled].concat()
    };
    let chunks = format!("{:x}\r\n{}\r\n", GIANT, "x".repeat(GIANT));
    let chunked = head(named, "POST /api/events", &format!("{json}transfer-encoding: chunked\r\n"));
    vec![
        [greeted(), announced].concat(),
        [greeted(), fragments].concat(),
        [greeted(), text(&payload)].concat(),
        post("/api/events", "content-length: 1099511627776\r\n"),
        post("/socket.io/?EIO=4&transport=polling&sid=x", "content-length: 1099511627776\r\n"),
        [chunked.into_bytes(), chunks.into_bytes()].concat(),
        head(named, "GET /api/events", &format!("x: {}\r\n", "x".repeat(GIANT))).into_bytes(),
        head(named, &format!("GET /{}", "x".repeat(GIANT)), "").into_bytes(),
        format!("GET / HTTP/1.1\r\n{}", "x: y\r\n".repeat(GIANT / 8)).into_bytes(),
    ]
}

/// What is broken.
pub(super) fn malformed(named: Ipv4Addr) -> Vec<Vec<u8>> {
    let request = |text: &str| text.as_bytes().to_vec();
    let mut all = vec![
        vec![0; 512],
        // The first bytes of a TLS handshake.
        vec![0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03],
        request("GET / HTTP/9.9\r\n\r\n"),
        request("POST /api/events HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n"),
        request(
            "POST /api/events HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\
             transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        request("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ];
    let greeted = [upgrade(named, "/ws").into_bytes(), text(HELLO)].concat();
    let deep = format!(r#"["pub",1,"a",{}{}]"#, "[".repeat(100_000), "]".repeat(100_000));
    let mut unmasked = Vec::new();
    websocket::encode(&mut unmasked, Opcode::Text, b"[\"bye\"]", None);
    let frames = [
        unmasked,
        odd(0xf1, b"reserved bits"),
        odd(0x83, b"reserved opcode"),
        odd(0x09, b"a ping in parts"),
        odd(0x80, b"goes on with nothing"),
        frame(Opcode::Ping, &[b'x'; 200]),
        frame(Opcode::Text, &[0xc3, 0x28, 0xff]),
        frame(Opcode::Close, &[0x03]),
        frame(Opcode::Binary, &[0xdf, 0xff, 0xff, 0xff, 0xff]),
        text("no JSON"),
        text("[\"pub\"]"),
        text("[\"pub\",-1,{},null]"),
        text("{\"hello\":1}"),
        text("[\"sub\",99999999999999999999,\"a\"]"),
        text("[\"sub\",1,\"..\"]"),
        text(HELLO),
        text("[\"token\",\"a.b.c\"]"),
        text(&deep),
    ];
    all.extend(frames.into_iter().map(|frame| [greeted.clone(), frame].concat()));
    all.push([upgrade(named, "/ws").into_bytes(), text("[\"pub\",1,\"a\",1]")].concat());
    let socketio = upgrade(named, "/socket.io/?EIO=4&transport=websocket").into_bytes();
    let packets =
        ["9", "4", "42[", "42[]", "42[1]", "451-", "4599999999-[\"a\",{}]", "40/x,{", "3"];
    all.extend(packets.iter().map(|packet| [socketio.clone(), text("40"), text(packet)].concat()));
    all
}

/// A subscription that matches much and is dear to match.
pub(super) fn costly_subscription(number: u64) -> String {
    let wild = ["**", "*", "**.*", "rooms.**", "**.message"];
    let pattern = (0..12).map(|n| wild[((number >> n) % 5) as usize]).collect::<Vec<_>>().join(".");
    format!(r#"["sub",{number},"**.{pattern}.x{number}"]"#)
}
