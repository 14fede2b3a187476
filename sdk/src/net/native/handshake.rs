//! The opening handshake of a WebSocket (RFC 6455, section 4.1), as the client.

use std::str;
use std::time::Duration;

use sha1::{Digest, Sha1};
use tidings_core::base64;
use tidings_core::message::{Close, CloseCode};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The longest head of an answer.
const MAX_HEAD: usize = 16 << 10;
/// How many headers an answer may have.
const MAX_HEADERS: usize = 64;
/// How much of an answer is read at once.
const PORTION: usize = 512;
/// What RFC 6455 has the server append to the client's key.
const KEY_SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Where a WebSocket or an HTTP resource is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) secure: bool,
    /// Without the brackets of IPv6.
    pub(super) host: String,
    pub(super) port: u16,
    /// As the server is to be told whom it is asked for.
    pub(super) authority: String,
    /// Path and query.
    pub(super) path: String,
}

impl Address {
    /// Reads a URL with one of the schemes `ws`, `wss`, `http` and `https`.
    pub(super) fn parse(url: &str) -> Result<Self, Close> {
        let unsupported =
            || Close::new(CloseCode::UNSUPPORTED, format!("{url} is no server's URL"));
        Self::read(url).ok_or_else(unsupported)
    }

    fn read(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let secure = match scheme {
            "ws" | "http" => false,
            "wss" | "https" => true,
            _ => return None,
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port.parse().ok()?),
            _ => (authority, if secure { 443 } else { 80 }),
        };
        Some(Self {
            secure,
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
            authority: authority.to_owned(),
            path: if path.starts_with('/') { path.to_owned() } else { format!("/{path}") },
        })
    }
}

/// What came of a handshake.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Agreed {
    /// The subprotocol the server chose.
    pub(super) subprotocol: Option<String>,
    /// What the server sent right after its answer.
    pub(super) early: Vec<u8>,
}

/// Asks for a WebSocket and reads the answer.
pub(super) async fn shake_hands(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    address: &Address,
    subprotocol: Option<&str>,
    headers: &[(String, String)],
) -> Result<Agreed, Close> {
    let key = key()?;
    let request = request(address, &key, subprotocol, headers);
    stream.write_all(request.as_bytes()).await.map_err(broken)?;
    stream.flush().await.map_err(broken)?;
    let mut answer = Vec::with_capacity(PORTION);
    loop {
        if stream.read_buf(&mut answer).await.map_err(broken)? == 0 {
            return Err(abnormal("the server closed the connection instead of answering"));
        }
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut head = httparse::Response::new(&mut headers);
        match head.parse(&answer) {
            Ok(httparse::Status::Complete(len)) => {
                let subprotocol = check(&head, &key, subprotocol)?;
                return Ok(Agreed { subprotocol, early: answer.split_off(len) });
            }
            Ok(httparse::Status::Partial) if answer.len() < MAX_HEAD => {}
            Ok(httparse::Status::Partial) => {
                return Err(abnormal("the head of the server's answer is too long"));
            }
            Err(error) => {
                return Err(abnormal(&format!("the server's answer is no HTTP: {error}")));
            }
        }
    }
}

/// A key that nobody can have foreseen, in base64.
fn key() -> Result<String, Close> {
    let mut nonce = [0; 16];
    getrandom::fill(&mut nonce).map_err(|error| abnormal(&format!("no randomness: {error}")))?;
    Ok(in_base64(&nonce))
}

fn in_base64(data: &[u8]) -> String {
    let mut text = Vec::new();
    base64::encode(data, &mut text);
    text.into_iter().map(char::from).collect()
}

fn request(
    address: &Address,
    key: &str,
    subprotocol: Option<&str>,
    headers: &[(String, String)],
) -> String {
    let Address { path, authority, .. } = address;
    let extra: String =
        headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let offer = subprotocol
        .map(|subprotocol| format!("Sec-WebSocket-Protocol: {subprotocol}\r\n"))
        .unwrap_or_default();
    format!(
        "GET {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n{offer}{extra}\r\n"
    )
}

/// The subprotocol agreed on, if the answer grants a WebSocket.
fn check(
    head: &httparse::Response<'_, '_>,
    key: &str,
    offered: Option<&str>,
) -> Result<Option<String>, Close> {
    if head.code != Some(101) {
        return Err(refused(head));
    }
    let has_word = |name: &str, word: &str| {
        values(head, name)
            .any(|value| value.split(',').any(|w| w.trim().eq_ignore_ascii_case(word)))
    };
    if !has_word("upgrade", "websocket") || !has_word("connection", "upgrade") {
        return Err(abnormal("the server switched to something else than a WebSocket"));
    }
    let accept = in_base64(&Sha1::digest(format!("{key}{KEY_SUFFIX}")));
    if value(head, "sec-websocket-accept") != Some(&accept) {
        return Err(abnormal("the server's answer is for another handshake"));
    }
    if value(head, "sec-websocket-extensions").is_some() {
        return Err(abnormal("the server uses an extension that was not offered"));
    }
    let chosen = value(head, "sec-websocket-protocol");
    if chosen.is_some() && chosen != offered {
        return Err(abnormal("the server chose a subprotocol that was not offered"));
    }
    Ok(chosen.map(str::to_owned))
}

/// The server answered the request for a WebSocket with something else.
fn refused(head: &httparse::Response<'_, '_>) -> Close {
    let status = head.code.unwrap_or_default();
    let code = match status {
        401 | 403 => CloseCode::UNAUTHORIZED,
        _ => CloseCode::ABNORMAL,
    };
    let delay =
        value(head, "retry-after").and_then(|value| value.parse().ok()).map(Duration::from_secs);
    let reason = head.reason.unwrap_or_default();
    let reason = format!("the server answered {status} {reason}").trim_end().to_owned();
    Close { delay, ..Close::new(code, reason) }
}

fn values<'h>(
    head: &'h httparse::Response<'_, '_>,
    name: &'h str,
) -> impl Iterator<Item = &'h str> {
    let named = head.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
    named.filter_map(|header| str::from_utf8(header.value).ok()).map(str::trim)
}

fn value<'h>(head: &'h httparse::Response<'_, '_>, name: &'h str) -> Option<&'h str> {
    values(head, name).next()
}

fn broken(error: std::io::Error) -> Close {
    abnormal(&format!("the connection broke during the handshake: {error}"))
}

fn abnormal(reason: &str) -> Close {
    Close::new(CloseCode::ABNORMAL, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_urls_are_written() {
        let parsed = |url| Address::parse(url).ok().map(|a| (a.secure, a.host, a.port, a.path));
        let address = |secure, host: &str, port, path: &str| {
            Some((secure, host.to_owned(), port, path.to_owned()))
        };
        assert_eq!(parsed("ws://h/ws"), address(false, "h", 80, "/ws"));
        assert_eq!(parsed("wss://h/a?b=c"), address(true, "h", 443, "/a?b=c"));
        assert_eq!(parsed("wss://[::1]:9000/ws"), address(true, "::1", 9000, "/ws"));
        assert_eq!(parsed("ws://[::1]"), address(false, "::1", 80, "/"));
        assert_eq!(parsed("ws://h?x"), address(false, "h", 80, "/?x"));
        assert_eq!(parsed("https://h/a"), address(true, "h", 443, "/a"));
        for url in ["h:80/ws", "ftp://h/ws", "ws://h:port/"] {
            assert_eq!(parsed(url), None, "{url}");
        }
    }

    /// What comes of a handshake that is answered with `answer`, where `{accept}` stands for the
    /// right answer to the key.
    async fn answered(answer: &str) -> Result<Agreed, Close> {
        let (mut client, mut server) = tokio::io::duplex(64 << 10);
        let address = Address::parse("ws://example.org:9000/ws?a=b").unwrap();
        let serve = async {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                assert!(server.read_buf(&mut request).await.unwrap() > 0);
            }
            let request = String::from_utf8(request).unwrap();
            assert!(request.starts_with("GET /ws?a=b HTTP/1.1\r\nHost: example.org:9000\r\n"));
            assert!(request.contains("\r\nx-extra: 1\r\n"));
            let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
            let key = key.unwrap();
            assert_eq!(base64::decode(key.as_bytes()).unwrap().len(), 16);
            let accept = in_base64(&Sha1::digest(format!("{key}{KEY_SUFFIX}")));
            let answer = answer.replace("{accept}", &accept);
            // In two parts, to see that the rest is waited for.
            let (first, second) = answer.split_at(answer.len() / 2);
            server.write_all(first.as_bytes()).await.unwrap();
            tokio::task::yield_now().await;
            server.write_all(second.as_bytes()).await.unwrap();
            drop(server);
        };
        let headers = [("x-extra".to_owned(), "1".to_owned())];
        let (agreed, ()) = tokio::join!(
            shake_hands(&mut client, &address, Some("tidings.v1.json"), &headers),
            serve
        );
        agreed
    }

    const GRANTED: &str = "HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\n\
        connection: keep-alive, Upgrade\r\nsec-websocket-accept: {accept}\r\n";

    #[tokio::test]
    async fn a_grant_is_understood_with_what_follows_it() {
        let granted = format!("{GRANTED}Sec-WebSocket-Protocol: tidings.v1.json\r\n\r\n");
        let agreed = answered(&format!("{granted}first frame")).await;
        let subprotocol = Some("tidings.v1.json".to_owned());
        assert_eq!(agreed, Ok(Agreed { subprotocol, early: b"first frame".to_vec() }));
        let agreed = answered(&format!("{GRANTED}\r\n")).await;
        assert_eq!(agreed, Ok(Agreed { subprotocol: None, early: Vec::new() }));
    }

    #[tokio::test]
    async fn a_refusal_says_whether_and_when_to_try_again() {
        let close = answered("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 7\r\n\r\n")
            .await
            .unwrap_err();
        assert_eq!(close.code, CloseCode::ABNORMAL);
        assert_eq!(close.reason, "the server answered 503 Service Unavailable");
        assert_eq!(close.delay, Some(Duration::from_secs(7)));
        for status in [401, 403] {
            let close = answered(&format!("HTTP/1.1 {status} No\r\n\r\n")).await.unwrap_err();
            assert_eq!(close.code, CloseCode::UNAUTHORIZED);
        }
    }

    #[tokio::test]
    async fn what_is_no_grant_is_named() {
        let endless = format!("HTTP/1.1 101 Yes\r\nx: {}", "y".repeat(2 * MAX_HEAD));
        for (answer, complaint) in [
            ("SSH-2.0-server\r\n\r\n", "no HTTP"),
            ("HTTP/1.1 101 Yes\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n", "something else"),
            (
                "HTTP/1.1 101 Yes\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
                 sec-websocket-accept: AAAA\r\n\r\n",
                "another handshake",
            ),
            (&format!("{GRANTED}sec-websocket-extensions: x\r\n\r\n"), "extension"),
            (&format!("{GRANTED}sec-websocket-protocol: x\r\n\r\n"), "subprotocol"),
            ("HTTP/1.1 101 Yes\r\n", "instead of answering"),
            (&endless, "too long"),
        ] {
            let close = answered(answer).await.unwrap_err();
            assert!(close.reason.contains(complaint), "{answer:.60}: {}", close.reason);
        }
    }
}
