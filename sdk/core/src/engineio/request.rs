//! What an HTTP request asks of an Engine.IO server, judged as Engine.IO's own server does.

use std::borrow::Cow;

/// What carries a session's packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Carrier {
    /// GET requests that wait for packets, and POST requests that bring some.
    Polling,
    /// A WebSocket.
    WebSocket,
}

impl Carrier {
    /// Its name in the query parameter `transport`, and in the upgrades that a handshake offers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Polling => "polling",
            Self::WebSocket => "websocket",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::Polling, Self::WebSocket].into_iter().find(|carrier| carrier.name() == name)
    }
}

/// A request was refused. Its code and message are those of Engine.IO's server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum RequestError {
    /// No `transport`, or one that is not served.
    #[error("Transport unknown")]
    UnknownTransport,
    /// No session has this `sid`, or has it any more.
    #[error("Session ID unknown")]
    UnknownSid,
    /// Sessions begin with a GET request.
    #[error("Bad handshake method")]
    BadMethod,
    /// The request does not fit its session, or a WebSocket was asked for without being one.
    #[error("Bad request")]
    BadRequest,
    /// Whoever asks may not.
    #[error("Forbidden")]
    Forbidden,
    /// `EIO` is missing or not 4.
    #[error("Unsupported protocol version")]
    UnsupportedVersion,
}

impl RequestError {
    /// The number clients are told.
    pub const fn code(self) -> u8 {
        match self {
            Self::UnknownTransport => 0,
            Self::UnknownSid => 1,
            Self::BadMethod => 2,
            Self::BadRequest => 3,
            Self::Forbidden => 4,
            Self::UnsupportedVersion => 5,
        }
    }

    /// The HTTP status it is answered with.
    pub const fn status(self) -> u16 {
        if matches!(self, Self::Forbidden) { 403 } else { 400 }
    }

    /// The JSON object it is answered with.
    pub fn to_json(self) -> String {
        // None of the messages has a character that JSON escapes.
        format!("{{\"code\":{},\"message\":\"{self}\"}}", self.code())
    }
}

/// The method of a request, as far as Engine.IO tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// GET
    Get,
    /// POST
    Post,
    /// Any other.
    Other,
}

/// The longest `t` that is looked at, in bytes.
const MAX_STAMP: usize = 64;

/// The parameters of a query that mean something here. A parameter that comes several times has
/// its last value; an empty `sid` is none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Query<'a> {
    transport: Option<Cow<'a, str>>,
    sid: Option<Cow<'a, str>>,
    version: Option<Cow<'a, str>>,
    stamp: Option<Cow<'a, str>>,
}

impl<'a> Query<'a> {
    /// Reads what stands after the question mark of a URL.
    pub fn parse(query: &'a str) -> Self {
        let mut parsed = Self::default();
        for (key, value) in decode_query(query) {
            match key.as_ref() {
                "transport" => parsed.transport = Some(value),
                "sid" => parsed.sid = Some(value).filter(|sid| !sid.is_empty()),
                "EIO" => parsed.version = Some(value),
                "t" => parsed.stamp = Some(value),
                _ => {}
            }
        }
        parsed
    }

    /// The session the request belongs to, if it names one.
    pub fn sid(&self) -> Option<&str> {
        self.sid.as_deref()
    }

    /// What tells the request from others of its client, by which one that a browser makes again
    /// unasked is known: its `t`, if it is at most 64 bytes long. One of digits alone is none, for
    /// some clients write there the seconds of the clock, and several requests in one second.
    pub fn stamp(&self) -> Option<&str> {
        let stamp = self.stamp.as_deref()?;
        let is_telling = stamp.bytes().any(|byte| !byte.is_ascii_digit());
        (is_telling && stamp.len() <= MAX_STAMP).then_some(stamp)
    }
}

/// The members of a query, names and values, with their escapes undone.
pub fn decode_query(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(key), decoded(value))
    })
}

/// Undoes the escapes of a query. What is no escape stays as it is.
fn decoded(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return Cow::Borrowed(text);
    }
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        match (first, digit(after.first()), digit(after.get(1))) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                rest = after.get(2..).unwrap_or_default();
            }
            (b'+', ..) => out.push(b' '),
            _ => out.push(*first),
        }
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

/// Which requests a server takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Served {
    /// Whether sessions may use HTTP polling.
    pub polling: bool,
    /// Whether they may use a WebSocket.
    pub websocket: bool,
    /// Whether they may move from one to the other.
    pub upgrades: bool,
}

impl Default for Served {
    /// Everything.
    fn default() -> Self {
        Self { polling: true, websocket: true, upgrades: true }
    }
}

/// What a request in order asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// A new session, carried by this.
    Open(Carrier),
    /// The packets that wait for its session, or the next that come.
    Poll,
    /// To take packets of its session's client in.
    Post,
    /// A WebSocket to which its session may move.
    Probe,
    /// Nothing that is known: a method other than GET and POST on a session. Engine.IO's server
    /// answers it with an empty 500.
    Nothing,
}

/// Judges a request. `upgrade` tells whether it is a WebSocket handshake; `session` is what carries
/// the session of the query's `sid` now, `None` if there is no such session.
///
/// # Errors
/// The first thing that is wrong, in the order in which Engine.IO's server looks at them.
pub fn check(
    method: Method,
    upgrade: bool,
    query: &Query<'_>,
    session: Option<Carrier>,
    served: Served,
) -> Result<Asked, RequestError> {
    let carrier = query.transport.as_deref().and_then(Carrier::from_name);
    let carrier = carrier
        .filter(|carrier| match carrier {
            Carrier::Polling => served.polling,
            Carrier::WebSocket => served.websocket,
        })
        .ok_or(RequestError::UnknownTransport)?;
    let known_version = query.version.as_deref() == Some("4");
    if query.sid.is_some() {
        let current = session.ok_or(RequestError::UnknownSid)?;
        // A WebSocket is never asked for by a plain request, and polling never by a handshake.
        if !known_version || upgrade != (carrier == Carrier::WebSocket) {
            return Err(RequestError::BadRequest);
        }
        return match (upgrade, method) {
            (true, Method::Get) if served.upgrades => Ok(Asked::Probe),
            (true, _) => Err(RequestError::BadRequest),
            (false, _) if current != carrier => Err(RequestError::BadRequest),
            (false, Method::Get) => Ok(Asked::Poll),
            (false, Method::Post) => Ok(Asked::Post),
            (false, Method::Other) => Ok(Asked::Nothing),
        };
    }
    if method != Method::Get {
        return Err(RequestError::BadMethod);
    }
    if upgrade != (carrier == Carrier::WebSocket) {
        return Err(RequestError::BadRequest);
    }
    if !known_version {
        return Err(RequestError::UnsupportedVersion);
    }
    Ok(Asked::Open(carrier))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(method: Method, upgrade: bool, query: &str, session: Option<Carrier>) -> String {
        let asked = check(method, upgrade, &Query::parse(query), session, Served::default());
        asked.map_or_else(|error| error.to_json(), |asked| format!("{asked:?}"))
    }

    #[test]
    fn sessions_begin_with_a_get_that_names_carrier_and_version() {
        use Method::{Get, Other, Post};
        let none = None;
        assert_eq!(ask(Get, false, "EIO=4&transport=polling", none), "Open(Polling)");
        assert_eq!(ask(Get, true, "transport=websocket&EIO=4", none), "Open(WebSocket)");
        assert_eq!(ask(Get, false, "EIO=4&transport=polling&sid=", none), "Open(Polling)");
        let unknown = r#"{"code":0,"message":"Transport unknown"}"#;
        for query in ["", "EIO=4", "EIO=4&transport=abc", "EIO=4&transport=webtransport"] {
            assert_eq!(ask(Get, false, query, none), unknown, "{query}");
            assert_eq!(ask(Post, true, query, none), unknown, "{query}");
        }
        let method = r#"{"code":2,"message":"Bad handshake method"}"#;
        for wrong in [Post, Other] {
            assert_eq!(ask(wrong, false, "EIO=4&transport=polling", none), method);
            assert_eq!(ask(wrong, true, "EIO=4&transport=websocket", none), method);
        }
        let bad = r#"{"code":3,"message":"Bad request"}"#;
        assert_eq!(ask(Get, false, "EIO=4&transport=websocket", none), bad);
        assert_eq!(ask(Get, true, "EIO=4&transport=polling", none), bad);
        let version = r#"{"code":5,"message":"Unsupported protocol version"}"#;
        for query in ["transport=polling", "EIO=3&transport=polling", "EIO=abc&transport=polling"] {
            assert_eq!(ask(Get, false, query, none), version, "{query}");
        }
    }

    #[test]
    fn a_session_is_asked_for_by_its_own_carrier() {
        use Carrier::{Polling, WebSocket};
        use Method::{Get, Other, Post};
        let query = "EIO=4&transport=polling&sid=x";
        assert_eq!(ask(Get, false, query, Some(Polling)), "Poll");
        assert_eq!(ask(Post, false, query, Some(Polling)), "Post");
        assert_eq!(ask(Other, false, query, Some(Polling)), "Nothing");
        let unknown = r#"{"code":1,"message":"Session ID unknown"}"#;
        assert_eq!(ask(Get, false, query, None), unknown);
        assert_eq!(ask(Get, true, "EIO=4&transport=websocket&sid=x", None), unknown);
        let bad = r#"{"code":3,"message":"Bad request"}"#;
        assert_eq!(ask(Get, false, query, Some(WebSocket)), bad);
        assert_eq!(ask(Get, false, "EIO=3&transport=polling&sid=x", Some(Polling)), bad);
        assert_eq!(ask(Get, true, query, Some(Polling)), bad);
        let query = "EIO=4&transport=websocket&sid=x";
        assert_eq!(ask(Get, false, query, Some(Polling)), bad);
        assert_eq!(ask(Get, false, query, Some(WebSocket)), bad);
        assert_eq!(ask(Get, true, query, Some(Polling)), "Probe");
    }

    #[test]
    fn what_is_not_served_is_unknown() {
        let query = Query::parse("EIO=4&transport=polling");
        let served = Served { polling: false, ..Served::default() };
        let refused = check(Method::Get, false, &query, None, served);
        assert_eq!(refused, Err(RequestError::UnknownTransport));
        let query = Query::parse("EIO=4&transport=websocket&sid=x");
        let served = Served { upgrades: false, ..Served::default() };
        let refused = check(Method::Get, true, &query, Some(Carrier::Polling), served);
        assert_eq!(refused, Err(RequestError::BadRequest));
    }

    #[test]
    fn queries_are_read_as_urls_are() {
        let query =
            Query::parse("transport=websocket&transport=poll%69ng&E%49O=4&sid=a%2Bb+c%zz%4");
        assert_eq!(query.transport.as_deref(), Some("polling"), "the last one counts");
        assert_eq!(query.version.as_deref(), Some("4"));
        assert_eq!(query.sid(), Some("a+b c%zz%4"));
        assert_eq!(Query::parse("sid").sid(), None);
        assert_eq!(Query::parse("sid=%ff%41").sid(), Some("\u{fffd}A"));
        assert_eq!(Query::parse("t=PcQ%2d-2x").stamp(), Some("PcQ--2x"));
        let long = format!("t={}", "x".repeat(MAX_STAMP + 1));
        for query in ["", "t=", "t=1764240000", &long] {
            assert_eq!(Query::parse(query).stamp(), None, "{query}");
        }
    }

    #[test]
    fn the_status_is_400_but_for_who_may_not() {
        assert_eq!(RequestError::Forbidden.status(), 403);
        assert_eq!((RequestError::UnknownSid.status(), RequestError::Forbidden.code()), (400, 4));
    }
}
