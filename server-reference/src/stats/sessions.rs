//! The sessions that are connected, as they are shown to people.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};
use tidings_core::engineio::Carrier;
use tidings_core::link::Wire;

use super::Live;
use crate::app::App;
use crate::sessions::Carried;

/// A session that is connected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionInfo {
    /// What it is called here. Derived from the session's own id, which its client takes it up with
    /// again and which therefore nobody else is shown; it stays the same at all instances.
    pub id: String,
    /// The instance it is connected to.
    pub instance: String,
    /// `ws` or `socketio`.
    pub transport: String,
    /// `websocket` or `polling`.
    pub carrier: String,
    /// `json` or `msgpack`.
    pub encoding: String,
    /// Where its client connected from, as IP:PORT; the proxy, if there is one.
    pub address: String,
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

/// A page of sessions, the longest connected ones first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionPage {
    /// How many there are in all.
    pub total: u64,
    /// Those of this page.
    pub sessions: Vec<SessionInfo>,
    /// Where the next page begins: for `after`. `None` if this is the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
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
    fn of(app: &App, id: String, carried: &Carried) -> Self {
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
        };
        let carrier = match connection.carrier() {
            Some(Carrier::Polling) => "polling",
            Some(Carrier::WebSocket) | None => "websocket",
        };
        let totals = &live.totals;
        Self {
            id,
            instance: app.config.instance.clone(),
            transport: transport.to_owned(),
            carrier: carrier.to_owned(),
            encoding: encoding.to_owned(),
            address: carried.peer.to_string(),
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

impl SessionPage {
    /// How many sessions a page may have.
    pub const MAX: usize = 1000;

    /// At most `limit` sessions of this instance, those behind `after`.
    pub(crate) fn of(app: &App, after: Option<&SessionPlace>, limit: usize) -> Self {
        let all = app.sessions.all();
        let total = all.len() as u64;
        let mut places: Vec<_> = all
            .iter()
            .map(|(session, carried)| {
                let place = SessionPlace { since_ms: carried.since_ms, id: public_id(session) };
                (place, carried)
            })
            .filter(|(place, _)| after.is_none_or(|after| place > after))
            .collect();
        places.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let more = places.len() > limit;
        places.truncate(limit);
        let sessions =
            places.into_iter().map(|(place, carried)| SessionInfo::of(app, place.id, carried));
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
