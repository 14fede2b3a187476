//! Tabs that share a connection (`ts/tabs`): a client without one of its own, whose page does what it
//! wants; and what a client with one does for others, beside what any does.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use tidings::error::EventError;
use tidings::relay::{
    Asked, Command, Notice, Publish, PublishError, Recipients, Relay, RequestError, SubId,
    SwitchError, Ticket,
};
use tidings::{
    Close, CloseCode, Cursor, Delivery, ErrorCode, Gap, Headers, Payload, Position, Priority,
    Refusal, State, Status, Subscribed,
};
use tidings_core::json::{MAX_DEPTH, Value, Writer, parse};
use tidings_core::map::Map;
use tidings_core::{Epoch, Event, Lane, Offset};
use wasm_bindgen::prelude::wasm_bindgen;

use crate::client::tell_statuses;
use crate::event::{cursor, write_event};
use crate::failure::Failure;
use crate::outbox::{tell, tell_with};
use crate::registry::{add_client, client, run, spawn};
use crate::settings::{builder, transport, transport_name};

/// What a page has told the client it carries, and the client has not taken.
#[derive(Default)]
struct Inbox {
    notices: VecDeque<Notice>,
    waker: Option<Waker>,
}

type SharedInbox = Rc<RefCell<Inbox>>;

thread_local! {
    static INBOXES: RefCell<Map<u32, SharedInbox>> = const { RefCell::new(Map::new()) };
    static SUBSCRIBED: RefCell<Map<u32, Rc<Subscribed>>> =
        const { RefCell::new(Map::new()) };
}

/// Makes a client with this number that the page carries: it tells `command`s, and is told `notice`s.
///
/// # Errors
/// If a setting is not what it should be.
#[wasm_bindgen]
pub fn connect_relayed(number: u32, url: &str, settings: &str) -> Result<(), String> {
    let inbox = SharedInbox::default();
    INBOXES.with_borrow_mut(|inboxes| inboxes.insert(number, inbox.clone()));
    let relay = PageRelay { number, inbox };
    let client = builder(number, url, settings)
        .and_then(|builder| Ok(builder.build_relayed(relay)?))
        .map_err(|failure| failure.text())?;
    tell_statuses(number, &client);
    add_client(number, client);
    Ok(())
}

/// Carries a client by way of the page.
struct PageRelay {
    number: u32,
    inbox: SharedInbox,
}

impl Relay for PageRelay {
    fn command(&mut self, command: Command) {
        if !matches!(command, Command::Connect) {
            tell_with(self.number, "command", |w, binaries| write_command(command, w, binaries));
        }
    }

    fn handles(&mut self, name: &str, whether: bool) {
        tell(self.number, "command", |w| {
            begin(w, "handles").key("name").str(name).key("whether").bool(whether).end_object();
        });
    }

    fn poll_notice(&mut self, cx: &mut Context<'_>) -> Poll<Notice> {
        let mut inbox = self.inbox.borrow_mut();
        if let Some(notice) = inbox.notices.pop_front() {
            return Poll::Ready(notice);
        }
        inbox.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for PageRelay {
    fn drop(&mut self) {
        let inbox = INBOXES.with_borrow_mut(|inboxes| inboxes.remove(&self.number));
        drop(inbox);
    }
}

fn begin<'a, 'b>(w: &'a mut Writer<'b>, what: &str) -> &'a mut Writer<'b> {
    w.begin_object().key("do").str(what)
}

fn write_command(command: Command, w: &mut Writer<'_>, binaries: &mut Vec<Bytes>) {
    match command {
        Command::Publish { ticket, publish, timeout } => {
            begin(w, "publish").key("ticket").u64(ticket.0).key("name").str(&publish.name);
            write_packed(&publish.payload, w.key("payload"), binaries);
            w.key("options").begin_object();
            write_options(&publish, w);
            write_millis(timeout, w);
            w.end_object();
        }
        Command::Subscribe(subscribe) => {
            begin(w, "subscribe").key("id").u64(subscribe.id.0.into());
            w.key("pattern").str(&subscribe.pattern);
            if let Some(since) = &subscribe.since {
                write_cursor(since, w.key("since"));
            }
        }
        Command::Unsubscribe(id) => {
            begin(w, "unsubscribe").key("id").u64(id.0.into());
        }
        Command::Request { ticket, name, payload, timeout } => {
            begin(w, "request").key("ticket").u64(ticket.0).key("name").str(&name);
            write_packed(&payload, w.key("payload"), binaries);
            write_millis(timeout, w);
        }
        Command::CancelRequest(ticket) => {
            begin(w, "cancel").key("ticket").u64(ticket.0);
        }
        Command::Respond { to, result } => {
            begin(w, "respond").key("question").u64(to.number().into()).key("outcome");
            w.begin_object();
            match result {
                Ok(payload) => write_packed(&payload, w.key("value"), binaries),
                Err(refusal) => Failure::from(refusal).write(w.key("failure")),
            }
            w.end_object();
        }
        Command::Switch { ticket, transport } => {
            begin(w, "switch").key("ticket").u64(ticket.0);
            w.key("transport").str(transport_name(transport));
        }
        Command::Close { timeout } => {
            begin(w, "close").key("timeout").u64(timeout.as_millis() as u64);
        }
        // A page is told no `Connect`.
        Command::RefreshToken | Command::Connect => drop(begin(w, "refresh")),
    }
    w.end_object();
}

/// JSON as text, or the place of the bytes.
fn write_packed(payload: &Payload, w: &mut Writer<'_>, binaries: &mut Vec<Bytes>) {
    match payload {
        Payload::Json(json) => w.str(&String::from_utf8_lossy(json)),
        Payload::Binary(bytes) => {
            binaries.push(bytes.clone());
            w.u64(binaries.len() as u64 - 1)
        }
    };
}

fn write_options(publish: &Publish, w: &mut Writer<'_>) {
    w.key("priority").str(publish.priority.as_str());
    if publish.volatile {
        w.key("volatile").bool(true);
    }
    if !publish.headers.is_empty() {
        w.key("headers").begin_object();
        for (key, value) in publish.headers.iter() {
            w.key(key).str(value);
        }
        w.end_object();
    }
}

fn write_millis(timeout: Option<Duration>, w: &mut Writer<'_>) {
    if let Some(timeout) = timeout {
        w.key("timeout").u64(timeout.as_millis() as u64);
    }
}

fn write_cursor(cursor: &Cursor, w: &mut Writer<'_>) {
    w.begin_array();
    for (lane, place) in cursor.iter() {
        w.u64(lane.number().into()).u64(place.epoch.0.into()).u64(place.offset.0);
    }
    w.end_array();
}

/// Tells the client with this number, which the page carries, what has become of what it wanted.
#[wasm_bindgen]
pub fn notice(number: u32, json: &str, bytes: Option<Vec<u8>>) {
    let inbox = INBOXES.with_borrow(|inboxes| inboxes.get(&number).cloned());
    let notice = parse(json.as_bytes(), MAX_DEPTH).ok().and_then(|told| read(told, bytes));
    let (Some(inbox), Some(notice)) = (inbox, notice) else { return };
    let waker = {
        let mut inbox = inbox.borrow_mut();
        inbox.notices.push_back(notice);
        inbox.waker.take()
    };
    if let Some(waker) = waker {
        waker.wake();
    }
}

fn read(told: Value<'_>, bytes: Option<Vec<u8>>) -> Option<Notice> {
    let number = |key: &str| told.get(key).and_then(Value::as_u64);
    let id = || Some(SubId(told.get("id")?.as_u32()?));
    let ticket = || Some(Ticket(told.get("ticket")?.as_u64()?));
    let failure = told.get("failure").map(Told::read);
    Some(match &*told.get("k")?.as_str()? {
        "status" => Notice::Status(read_status(told.get("status")?)?),
        "subscribed" => Notice::Subscribed { id: id()?, cursor: Cursor::new() },
        "event" => {
            let delivery = read_event(told.get("event")?, bytes)?;
            Notice::Event { delivery, to: Recipients::One(id()?) }
        }
        "gap" => {
            let gap = Gap {
                lane: Lane::from_number(u32::try_from(number("lane")?).ok()?)?,
                from: Offset(number("from")?),
                to: Offset(number("to")?),
                epoch: Epoch(u32::try_from(number("epoch")?).ok()?),
                replay_for: None,
            };
            Notice::Gap { gap, to: Recipients::One(id()?) }
        }
        "ended" => Notice::SubscribeFailed { id: id()?, refusal: failure?.refusal() },
        "published" => {
            let result = match failure {
                Some(failure) => Err(failure.of_publish()),
                None => Ok(told.get("position").and_then(read_position)),
            };
            Notice::Published { ticket: ticket()?, result }
        }
        "reply" => {
            let result = match failure {
                Some(failure) => Err(failure.of_request()),
                None => Ok(read_payload(told.get("payload"), bytes)),
            };
            Notice::Reply { ticket: ticket()?, result }
        }
        "request" => Notice::Request {
            from: Asked::relayed(told.get("question")?.as_u32()?),
            name: (&*told.get("name")?.as_str()?).into(),
            payload: read_payload(told.get("payload"), bytes),
        },
        "switched" => {
            let result = match failure {
                Some(failure) => Err(SwitchError::Failed(failure.close())),
                None => Ok(transport(&told.get("transport")?.as_str()?)),
            };
            Notice::Switched { ticket: ticket()?, result }
        }
        "refreshed" => {
            Notice::TokenRefreshed(failure.map_or(Ok(()), |failure| Err(failure.refusal())))
        }
        _ => return None,
    })
}

/// A payload as it stands in a text, unless it is bytes.
fn read_payload(value: Option<Value<'_>>, bytes: Option<Vec<u8>>) -> Payload {
    match (bytes, value) {
        (Some(bytes), _) => Payload::Binary(bytes.into()),
        (None, Some(value)) => Payload::Json(Bytes::copy_from_slice(value.raw().as_bytes())),
        (None, None) => Payload::NULL,
    }
}

fn read_status(status: Value<'_>) -> Option<Status> {
    let state = match &*status.get("state")?.as_str()? {
        "connected" => State::Connected,
        "reconnecting" => State::Reconnecting,
        "closed" => State::Closed,
        _ => State::Connecting,
    };
    let carried = status.get("transport").and_then(Value::as_str);
    let next = status.get("nextAttempt").and_then(Value::as_u64);
    Some(Status {
        state,
        transport: carried.map(|carried| transport(&carried)),
        code: CloseCode(u16::try_from(status.get("code")?.as_u32()?).ok()?),
        reason: (&*status.get("reason")?.as_str()?).into(),
        retryable: status.get("retryable").and_then(Value::as_bool) == Some(true),
        next_attempt: next.map(Duration::from_millis),
    })
}

/// Reads what [`write_event`] has written.
fn read_event(event: Value<'_>, bytes: Option<Vec<u8>>) -> Option<Delivery> {
    let mut parts = event.array()?;
    let name = parts.next()?.as_str()?;
    let payload = read_payload(parts.next(), bytes);
    let id = parts.next()?.as_str()?;
    let priority = usize::try_from(parts.next()?.as_u64()?).ok()?;
    let time = parts.next()?.as_u64()?;
    let replayed = parts.next()?.as_u64()? != 0;
    // A volatile one has the lane -1.
    let lane = parts.next()?.as_u32().and_then(Lane::from_number);
    let offset = Offset(parts.next()?.as_u64()?);
    let headers = parts.next().and_then(Value::object).into_iter().flatten();
    let headers = headers
        .map(|(key, value)| (key.into_owned(), value.as_str().unwrap_or_default().into_owned()));
    Some(Delivery {
        event: Event {
            name: (&*name).into(),
            payload,
            id: (&*id).into(),
            priority: *Priority::URGENT_FIRST.iter().rev().nth(priority)?,
            time,
            headers: Headers::new(headers),
        },
        position: lane.map(|lane| Position { lane, offset }),
        // It is not asked which one it is for.
        replay_for: replayed.then_some(SubId(0)),
    })
}

fn read_position(position: Value<'_>) -> Option<Position> {
    let lane = Lane::from_number(position.get("lane")?.as_u32()?)?;
    Some(Position { lane, offset: Offset(position.get("offset")?.as_u64()?) })
}

/// A failure that the page tells: as [`Failure`] has written it, perhaps in another tab.
struct Told {
    code: String,
    message: String,
    refusal: Option<u16>,
    /// How long it was waited for.
    after: Duration,
    count: usize,
}

impl Told {
    fn read(value: Value<'_>) -> Self {
        let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
        let number = |key: &str| value.get(key).and_then(Value::as_u64);
        Self {
            code: text("code").into_owned(),
            message: text("message").into_owned(),
            refusal: number("refusal").and_then(|code| u16::try_from(code).ok()),
            after: Duration::from_millis(number("after").unwrap_or_default()),
            count: number("count").and_then(|n| usize::try_from(n).ok()).unwrap_or_default(),
        }
    }

    fn refusal(self) -> Refusal {
        Refusal::new(self.refusal.map_or(ErrorCode::INTERNAL, ErrorCode), self.message)
    }

    fn close(self) -> Close {
        Close::new(self.refusal.map_or(CloseCode::ABNORMAL, CloseCode), self.message)
    }

    fn of_publish(self) -> PublishError {
        match &*self.code {
            "closed" => PublishError::Closed(self.close()),
            "timeout" => PublishError::TimedOut(self.after),
            "expired" => PublishError::Expired(self.after),
            "not-connected" => PublishError::NotConnected,
            "queue-full" => {
                PublishError::QueueFull { priority: Priority::Normal, count: self.count, bytes: 0 }
            }
            _ => PublishError::Refused(self.refusal()),
        }
    }

    fn of_request(self) -> RequestError {
        match &*self.code {
            "closed" => RequestError::Closed(self.close()),
            "timeout" => RequestError::TimedOut(self.after),
            "disconnected" => RequestError::Disconnected(self.close()),
            "queue-full" => RequestError::TooMany(self.count),
            _ => RequestError::Refused(self.refusal()),
        }
    }
}

/// Subscribes for another tab, until it is stopped. It tells `subscribed`; `event` with lane and
/// offset (-1 if it is volatile), the event as text, and the place of its bytes if it has any; `gap`;
/// `failed`, which is the end; and `cursor`, when [`tell_cursor`] is called.
///
/// # Errors
/// If the client is closed.
#[wasm_bindgen]
pub fn subscribe_for(of: u32, number: u32, pattern: String, since: &str) -> Result<(), String> {
    let (client, since) = (client(of)?, cursor(since));
    run(number, async move {
        match client.on_each(pattern, since, move |item| tell_for(number, item)).await {
            Ok(subscribed) => {
                let subscribed = Rc::new(subscribed);
                SUBSCRIBED.with_borrow_mut(|all| all.insert(number, subscribed.clone()));
                let _forget = ForgetSubscribed(number);
                tell(number, "subscribed", |w| _ = w.null());
                tell_cursor(number);
                drop(client);
                std::future::pending::<()>().await;
                drop(subscribed);
            }
            Err(error) => tell(number, "failed", |w| Failure::from(error).write(w)),
        }
    });
    Ok(())
}

struct ForgetSubscribed(u32);

impl Drop for ForgetSubscribed {
    fn drop(&mut self) {
        let subscribed = SUBSCRIBED.with_borrow_mut(|all| all.remove(&self.0));
        drop(subscribed);
    }
}

fn tell_for(number: u32, item: Result<&Delivery, &EventError>) {
    let Ok(delivery) = item else { return crate::event::tell_item(number, item) };
    tell_with(number, "event", |w, binaries| {
        w.begin_array();
        match delivery.position {
            Some(Position { lane, offset }) => w.u64(lane.number().into()).u64(offset.0),
            None => w.raw(b"-1").u64(0),
        };
        let (mut text, mut own) = (Vec::new(), Vec::new());
        write_event(delivery, &mut Writer::new(&mut text), &mut own);
        w.str(&String::from_utf8_lossy(&text));
        if let Some(bytes) = own.pop() {
            w.u64(binaries.len() as u64);
            binaries.push(bytes);
        }
        w.end_array();
    });
}

/// Has the subscription tell how far it has come.
#[wasm_bindgen]
pub fn tell_cursor(number: u32) {
    let subscribed = SUBSCRIBED.with_borrow(|all| all.get(&number).cloned());
    let Some(subscribed) = subscribed else { return };
    spawn(async move {
        if let Some(cursor) = subscribed.cursor().await {
            tell(number, "cursor", |w| write_cursor(&cursor, w));
        }
    });
}

/// Asks for another tab, until it is stopped: with JSON, or with bytes. It tells `reply`, JSON as text
/// or the place of bytes, or `failed`. `timeout` in milliseconds; 0 for the client's own.
///
/// # Errors
/// If the client is closed.
#[wasm_bindgen]
pub fn request_for(
    of: u32,
    number: u32,
    name: &str,
    json: String,
    bytes: Option<Vec<u8>>,
    timeout: u32,
) -> Result<(), String> {
    let payload = match bytes {
        Some(bytes) => Payload::Binary(bytes.into()),
        None => Payload::Json(json.into()),
    };
    let mut request = client(of)?.request_raw(name, payload);
    if timeout > 0 {
        request = request.timeout(Duration::from_millis(timeout.into()));
    }
    run(number, async move {
        match request.raw().await {
            Ok(reply) => {
                tell_with(number, "reply", |w, binaries| write_packed(&reply, w, binaries))
            }
            Err(error) => tell(number, "failed", |w| Failure::from(error).write(w)),
        }
    });
    Ok(())
}
