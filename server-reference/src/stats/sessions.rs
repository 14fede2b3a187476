//! The sessions that are connected, as they are shown to people.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};
use tidings_core::engineio::Carrier;
use tidings_core::link::Wire;

use super::{Live, Totals};
use crate::app::App;
use crate::sessions::Carried;

/// A session that is connected.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionInfo {
    /// What it is called here. Derived from the session's own id, which its client takes it up with
    /// again and which therefore nobody else is shown; it stays the same at all instances.
    pub id: String,
    /// The instance it is connected to.
    pub instance: String,
    /// `ws`, `socketio` or `sse`.
    pub transport: String,
    /// `websocket`, `polling` or, of `sse`, `http`.
    pub carrier: String,
    /// `json` or `msgpack`.
    pub encoding: String,
    /// Where its client connected from, as IP:PORT; the proxy, if there is one.
    pub address: String,
    /// Who it is, if it has said so by a token (claim `sub`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Since when, in milliseconds since the Unix epoch.
    pub since_ms: u64,
    /// How many subscriptions it has.
    pub subscriptions: u64,
    /// Bytes that wait for it.
    pub queued_bytes: u64,
    /// Events it was sent over this connection.
    pub delivered: u64,
    /// Events a full queue cost it.
    pub dropped: u64,
    /// Gaps it was told of.
    pub gaps: u64,
}

/// All about a session: what `GET /api/websocket/sessions/{id}` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionDetail {
    /// What the list says of it.
    #[serde(flatten)]
    pub info: SessionInfo,
    /// The patterns of its subscriptions, the first [`SessionDetail::MAX_PATTERNS`].
    pub patterns: Vec<String>,
    /// Events it was read from the log after a reconnect, or because its queue was full.
    pub recovered: u64,
    /// How often a lane went on by reading the log because its queue was full.
    pub fell_behind: u64,
    /// Bytes that were written to it over this connection.
    pub written_bytes: u64,
}

/// Which sessions are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionQuery {
    /// Those behind this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<SessionPlace>,
    /// At most so many, and not more than [`SessionPage::MAX`].
    pub limit: usize,
    /// Those of which the id, the instance, the transport, the carrier, the encoding, the address or
    /// the subject has this in it, in any case; all if it is empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub search: String,
}

/// A page of the sessions of all instances.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ClusterSessionPage {
    /// The sessions of the instances that have answered.
    #[serde(flatten)]
    pub page: SessionPage,
    /// The instances that have not answered within `timeouts.sessions`.
    pub missing: BTreeSet<String>,
}

/// A page of sessions, the longest connected ones first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionPage {
    /// How many there are in all; how many were found, if something was searched for.
    pub total: u64,
    /// Those of this page.
    pub sessions: Vec<SessionInfo>,
    /// Where the next page begins: for `after`. `None` if this is the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub next: Option<SessionPlace>,
}

/// The place of a session in the order in which they are listed, written `SINCE_MS.ID`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct SessionPlace {
    since_ms: u64,
    id: String,
}

/// No place of a session is written like this.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no place of a session: use what `next` says, or leave it out")]
pub struct BadPlace(String);

impl SessionInfo {
    pub(crate) fn of(app: &App, id: String, carried: &Carried) -> Self {
        let connection = &carried.connection;
        let live = Live::of(connection);
        let wire = connection.with_feed(|feed| feed.wire());
        let (transport, encoding) = match wire {
            Wire::WsJson => ("ws", "json"),
            Wire::WsMsgpack => ("ws", "msgpack"),
            Wire::SocketIo | Wire::SocketIoTidings | Wire::SocketIoRecoverable => {
                ("socketio", "json")
            }
            Wire::SocketIoMsgpack
            | Wire::SocketIoTidingsMsgpack
            | Wire::SocketIoRecoverableMsgpack => ("socketio", "msgpack"),
            Wire::Sse => ("sse", "json"),
        };
        let carrier = match connection.carrier() {
            Some(Carrier::Polling) => "polling",
            None if wire == Wire::Sse => "http",
            Some(Carrier::WebSocket) | None => "websocket",
        };
        let totals = &live.totals;
        Self {
            id,
            instance: app.config.instance.clone(),
            transport: transport.to_owned(),
            carrier: carrier.to_owned(),
            encoding: encoding.to_owned(),
            address: shown(carried.peer),
            subject: carried.subject.as_deref().map(str::to_owned),
            since_ms: carried.since_ms,
            subscriptions: live.subscriptions,
            queued_bytes: live.queued.iter().sum::<u64>()
                + live.queued_volatile
                + live.queued_control,
            delivered: totals.delivered.iter().sum::<u64>() + totals.volatile,
            dropped: totals.dropped_low + totals.dropped_volatile,
            gaps: totals.gaps,
        }
    }
}

impl SessionInfo {
    /// Whether it has `search`, in lower case, in it.
    fn has(&self, search: &str) -> bool {
        let Self { id, instance, transport, carrier, encoding, address, subject, .. } = self;
        [id, instance, transport, carrier, encoding, address]
            .into_iter()
            .chain(subject)
            .any(|text| text.to_lowercase().contains(search))
    }
}

impl SessionDetail {
    /// How many patterns are told.
    pub const MAX_PATTERNS: usize = 100;

    /// The session of this instance that is shown by this id.
    pub(crate) fn of(app: &App, id: &str) -> Option<Self> {
        let (_, carried) = app.sessions.all().into_iter().find(|(own, _)| public_id(own) == id)?;
        let totals = Totals::of(&carried.connection);
        let patterns = carried.connection.with_feed(|feed| {
            let patterns = feed.patterns().take(Self::MAX_PATTERNS);
            patterns.map(|pattern| pattern.as_str().to_owned()).collect()
        });
        Some(Self {
            info: SessionInfo::of(app, id.to_owned(), &carried),
            patterns,
            recovered: totals.recovered,
            fell_behind: totals.fell_behind,
            written_bytes: totals.written_bytes,
        })
    }
}

impl SessionPage {
    /// How many sessions a page may have.
    pub const MAX: usize = 1000;

    /// Sessions of this instance.
    pub(crate) fn of(app: &App, query: &SessionQuery) -> Self {
        let SessionQuery { after, search, .. } = query;
        let limit = query.limit.min(Self::MAX);
        let search = search.to_lowercase();
        let mut all: Vec<_> = app
            .sessions
            .all()
            .into_iter()
            .map(|(session, carried)| {
                let place = SessionPlace { since_ms: carried.since_ms, id: public_id(&session) };
                (place, carried)
            })
            .filter(|(place, carried)| {
                search.is_empty() || SessionInfo::of(app, place.id.clone(), carried).has(&search)
            })
            .collect();
        let total = all.len() as u64;
        all.retain(|(place, _)| after.as_ref().is_none_or(|after| place > after));
        all.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let more = all.len() > limit;
        all.truncate(limit);
        let sessions =
            all.into_iter().map(|(place, carried)| SessionInfo::of(app, place.id, &carried));
        Self::new(total, sessions.collect(), more)
    }

    /// One page of the pages of several instances, with at most `limit` sessions.
    pub(crate) fn merge(pages: impl IntoIterator<Item = Self>, limit: usize) -> Self {
        let (mut total, mut sessions, mut more) = (0, Vec::new(), false);
        for page in pages {
            total += page.total;
            more |= page.next.is_some();
            sessions.extend(page.sessions);
        }
        sessions.sort_unstable_by_key(SessionPlace::of);
        more |= sessions.len() > limit;
        sessions.truncate(limit);
        Self::new(total, sessions, more)
    }

    fn new(total: u64, sessions: Vec<SessionInfo>, more: bool) -> Self {
        let next = sessions.last().filter(|_| more).map(SessionPlace::of);
        Self { total, sessions, next }
    }
}

impl SessionPlace {
    pub(crate) const fn new(since_ms: u64, id: String) -> Self {
        Self { since_ms, id }
    }

    pub(crate) const fn since_ms(&self) -> u64 {
        self.since_ms
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    fn of(session: &SessionInfo) -> Self {
        Self { since_ms: session.since_ms, id: session.id.clone() }
    }
}

impl FromStr for SessionPlace {
    type Err = BadPlace;

    fn from_str(text: &str) -> Result<Self, BadPlace> {
        let parts = text.split_once('.').and_then(|(since, id)| Some((since.parse().ok()?, id)));
        let (since_ms, id) = parts.ok_or_else(|| BadPlace(text.to_owned()))?;
        Ok(Self { since_ms, id: id.to_owned() })
    }
}

impl TryFrom<String> for SessionPlace {
    type Error = BadPlace;

    fn try_from(text: String) -> Result<Self, BadPlace> {
        text.parse()
    }
}

impl From<SessionPlace> for String {
    fn from(place: SessionPlace) -> Self {
        format!("{}.{}", place.since_ms, place.id)
    }
}

/// What a session is called where others see it: its own id cannot be had back from that.
pub(crate) fn public_id(session: &str) -> String {
    let digest = Sha1::digest(session.as_bytes());
    digest[..10].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An address as it is shown: proxies do not tell from which port.
fn shown(peer: SocketAddr) -> String {
    match peer.port() {
        0 => peer.ip().to_string(),
        _ => peer.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(sessions: &[(u64, &str)], more: bool) -> SessionPage {
        let info = |(since_ms, id): &(u64, &str)| SessionInfo {
            id: (*id).to_owned(),
            instance: String::new(),
            transport: String::new(),
            carrier: String::new(),
            encoding: String::new(),
            address: String::new(),
            subject: None,
            since_ms: *since_ms,
            subscriptions: 0,
            queued_bytes: 0,
            delivered: 0,
            dropped: 0,
            gaps: 0,
        };
        SessionPage::new(10, sessions.iter().map(info).collect(), more)
    }

    #[test]
    fn pages_of_instances_become_one_in_order() {
        let merge = |limit| {
            SessionPage::merge(
                [page(&[(1, "b"), (3, "a")], false), page(&[(1, "a")], false)],
                limit,
            )
        };
        let listed = |page: &SessionPage| {
            page.sessions.iter().map(|s| format!("{}{}", s.since_ms, s.id)).collect::<Vec<_>>()
        };
        assert_eq!(listed(&merge(3)), ["1a", "1b", "3a"]);
        assert_eq!((merge(3).total, merge(3).next), (20, None));
        assert_eq!(listed(&merge(2)), ["1a", "1b"]);
        assert_eq!(merge(2).next, Some("1.b".parse().unwrap()));
        assert!(SessionPage::merge([page(&[(1, "a")], true)], 5).next.is_some());
    }

    #[test]
    fn a_session_cannot_be_taken_up_by_what_is_shown_of_it() {
        let shown = public_id("the secret");
        assert_eq!(shown.len(), 20);
        assert!(!shown.contains("secret"));
        assert_eq!(shown, public_id("the secret"));
    }

    #[test]
    fn places_are_written_and_read() {
        let place = SessionPlace { since_ms: 17, id: "ab".to_owned() };
        assert_eq!(String::from(place.clone()), "17.ab");
        assert_eq!("17.ab".parse(), Ok(place));
        for wrong in ["", "x.ab", "17"] {
            assert!(wrong.parse::<SessionPlace>().is_err(), "{wrong}");
        }
    }
}
