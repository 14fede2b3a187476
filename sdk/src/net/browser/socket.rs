//! WebSockets of the browser.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use js_sys::{ArrayBuffer, Function, Uint8Array};
use tidings_core::io::HttpHeaders;
use tidings_core::message::{Close, CloseCode, Frame};
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{BinaryType, CloseEvent, MessageEvent, WebSocket};

use super::events::{Listener, on_loss};
use super::{TlsConfig, failed};
use crate::net::SocketEvent;
use crate::runtime::Alarm;

/// A socket whose browser holds more bytes than this takes no more: what is queued here can still
/// be put into order, and be sent by another connection.
const HELD: u32 = 64 << 10;
/// How often such a socket is looked at: browsers do not tell when they have sent something.
const LOOK: Duration = Duration::from_millis(20);
/// The code for a message that is too large (RFC 6455, section 7.4.1).
const TOO_BIG: CloseCode = CloseCode(1009);
/// What a browser says when a close frame had no code.
const NO_CODE: u16 = 1005;
/// Why a socket could not be opened, pages are not told.
const CANNOT_CONNECT: &str = "cannot connect";
/// The longest reason in a close frame, in bytes.
const MAX_REASON: usize = 123;

/// A WebSocket that a page has begun to open before there was a client; see
/// [`ClientBuilder::opened`](crate::ClientBuilder::opened).
#[derive(Debug)]
pub struct OpenedSocket(WebSocket);

impl From<WebSocket> for OpenedSocket {
    fn from(socket: WebSocket) -> Self {
        Self(socket)
    }
}

impl OpenedSocket {
    /// The socket, if it is to this URL and may still become of use. It is closed otherwise.
    fn to(self, url: &str) -> Option<WebSocket> {
        let Self(socket) = self;
        if socket.url() == url && socket.ready_state() <= WebSocket::OPEN {
            return Some(socket);
        }
        say_goodbye(&socket, &Close::new(CloseCode::NORMAL, ""));
        None
    }
}

/// One WebSocket from the attempt to open it to its end.
pub(crate) struct Socket {
    inbox: Rc<Inbox>,
    /// Until it is over.
    line: Option<Line>,
    /// Until what the browser holds has become less.
    look: Option<Alarm>,
    /// Set once this side has closed it: what comes is not of interest any more.
    closing: bool,
}

/// The browser's socket, and what listens to it.
struct Line {
    socket: WebSocket,
    _listeners: (Vec<Listener>, Closures),
}

type Closures =
    ([Closure<dyn FnMut()>; 2], Closure<dyn FnMut(MessageEvent)>, Closure<dyn FnMut(CloseEvent)>);

/// What has happened and was not told yet.
struct Inbox {
    events: RefCell<VecDeque<SocketEvent>>,
    /// How many bytes of messages are among it.
    bytes: Cell<usize>,
    /// The largest message, and how many bytes may wait: a browser cannot be told to read slower.
    max_message: usize,
    opened: Cell<bool>,
    over: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Socket {
    /// Begins to open a WebSocket, or goes on with the one that was. A page cannot choose its headers.
    pub(crate) fn open(
        url: String,
        subprotocol: Option<&'static str>,
        _: HttpHeaders,
        max_message: usize,
        _: Option<TlsConfig>,
        opened: Option<OpenedSocket>,
    ) -> Self {
        let inbox = Rc::new(Inbox::new(max_message));
        let socket = match (opened.and_then(|opened| opened.to(&url)), subprotocol) {
            (Some(socket), _) => Ok(socket),
            (None, Some(subprotocol)) => WebSocket::new_with_str(&url, subprotocol),
            (None, None) => WebSocket::new(&url),
        };
        let line = match socket {
            Ok(socket) => Some(Line::new(socket, &inbox)),
            Err(error) => {
                // A page that came by https may not open a ws URL: trying again does not help.
                let close = failed(CANNOT_CONNECT, &error);
                inbox.end(Close { code: CloseCode::UNSUPPORTED, ..close });
                None
            }
        };
        Self { inbox, line, look: None, closing: false }
    }

    /// Gives a message to the browser.
    pub(crate) fn send(&mut self, frame: Frame) {
        let Some(Line { socket, .. }) = &self.line else { return };
        let sent = match &frame {
            Frame::Text(text) => socket.send_with_str(&String::from_utf8_lossy(text)),
            Frame::Binary(bytes) => socket.send_with_u8_array(bytes),
        };
        if let Err(error) = sent {
            self.inbox.end(failed("cannot send", &error));
        }
    }

    /// Closes after what waits is sent. The last event comes when the server has closed, too.
    pub(crate) fn close(&mut self, close: &Close) {
        self.closing = true;
        if !self.inbox.opened.get() {
            self.inbox.end(close.clone());
        }
        if let Some(Line { socket, .. }) = &self.line {
            say_goodbye(socket, close);
        }
    }

    /// Whether this side has closed it.
    pub(crate) const fn is_closing(&self) -> bool {
        self.closing
    }

    /// What happens next.
    pub(crate) fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<SocketEvent> {
        while let Some(event) = self.inbox.take() {
            match event {
                SocketEvent::Frame(_) if self.closing => {}
                SocketEvent::Closed(close) => {
                    if let Some(line) = self.line.take() {
                        say_goodbye(&line.socket, &close);
                    }
                    return Poll::Ready(SocketEvent::Closed(close));
                }
                event => return Poll::Ready(event),
            }
        }
        self.inbox.waker.replace(Some(cx.waker().clone()));
        Poll::Pending
    }

    /// Ready when the browser takes more.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let held = self.line.as_ref().map_or(0, |line| line.socket.buffered_amount());
        if held <= HELD || self.inbox.over.get() {
            self.look = None;
            return Poll::Ready(());
        }
        let look = self.look.get_or_insert_default();
        if !look.is_set() {
            look.set(LOOK);
        }
        look.poll(cx)
    }
}

impl Line {
    fn new(socket: WebSocket, inbox: &Rc<Inbox>) -> Self {
        socket.set_binary_type(BinaryType::Arraybuffer);
        let on_open = {
            let (inbox, socket) = (inbox.clone(), socket.clone());
            Closure::<dyn FnMut()>::new(move || inbox.open(&socket))
        };
        let on_message = {
            let inbox = inbox.clone();
            Closure::<dyn FnMut(MessageEvent)>::new(move |event: MessageEvent| {
                inbox.message(&event.data());
            })
        };
        let on_close = {
            let inbox = inbox.clone();
            Closure::<dyn FnMut(CloseEvent)>::new(move |event: CloseEvent| {
                inbox.end(close_of(&event, inbox.opened.get()));
            })
        };
        let on_error = {
            let inbox = inbox.clone();
            Closure::<dyn FnMut()>::new(move || {
                // Node 20 says no more than this of a socket that could not be opened; of others
                // the end comes with what can be said about it.
                if !inbox.opened.get() {
                    inbox.end(Close::new(CloseCode::ABNORMAL, CANNOT_CONNECT));
                }
            })
        };
        socket.set_onopen(Some(function(on_open.as_ref())));
        socket.set_onmessage(Some(function(on_message.as_ref())));
        socket.set_onclose(Some(function(on_close.as_ref())));
        socket.set_onerror(Some(function(on_error.as_ref())));
        let lost = inbox.clone();
        if socket.ready_state() == WebSocket::OPEN {
            inbox.open(&socket);
        }
        let listeners = on_loss(move |reason| lost.end(Close::new(CloseCode::ABNORMAL, reason)));
        Self { socket, _listeners: (listeners, ([on_open, on_error], on_message, on_close)) }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.socket.set_onopen(None);
        self.socket.set_onmessage(None);
        self.socket.set_onclose(None);
        self.socket.set_onerror(None);
        say_goodbye(&self.socket, &Close::new(CloseCode::NORMAL, ""));
    }
}

impl Inbox {
    fn new(max_message: usize) -> Self {
        Self {
            events: RefCell::default(),
            bytes: Cell::new(0),
            max_message,
            opened: Cell::new(false),
            over: Cell::new(false),
            waker: RefCell::default(),
        }
    }

    fn open(&self, socket: &WebSocket) {
        let subprotocol = Some(socket.protocol()).filter(|chosen| !chosen.is_empty());
        self.opened.set(true);
        self.put(SocketEvent::Opened(subprotocol), 0);
    }

    fn message(&self, data: &JsValue) {
        let frame = match data.dyn_ref::<ArrayBuffer>() {
            Some(buffer) => Frame::Binary(Uint8Array::new(buffer).to_vec().into()),
            None => Frame::Text(data.as_string().unwrap_or_default().into()),
        };
        let bytes = frame.bytes().len();
        if bytes > self.max_message {
            let reason = format!("a message has more than {} bytes", self.max_message);
            return self.end(Close::new(TOO_BIG, reason));
        }
        if self.bytes.get() > self.max_message {
            // The server has it, and gives it again when it is asked for.
            let reason = "more has arrived than the application takes";
            return self.end(Close::new(CloseCode::ABNORMAL, reason));
        }
        self.put(SocketEvent::Frame(frame), bytes);
    }

    fn put(&self, event: SocketEvent, bytes: usize) {
        if self.over.get() {
            return;
        }
        self.bytes.set(self.bytes.get() + bytes);
        self.events.borrow_mut().push_back(event);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Nothing comes after this.
    fn end(&self, close: Close) {
        self.put(SocketEvent::Closed(close), 0);
        self.over.set(true);
    }

    fn take(&self) -> Option<SocketEvent> {
        let event = self.events.borrow_mut().pop_front()?;
        if let SocketEvent::Frame(frame) = &event {
            self.bytes.set(self.bytes.get() - frame.bytes().len());
        }
        Some(event)
    }
}

fn function(closure: &JsValue) -> &Function {
    closure.unchecked_ref()
}

/// Closes if that has not been done. Pages may say no more than this in a close frame.
fn say_goodbye(socket: &WebSocket, close: &Close) {
    if socket.ready_state() >= WebSocket::CLOSING {
        return;
    }
    let code = match close.code.0 {
        code @ 3000..=4999 => code,
        _ => CloseCode::NORMAL.0,
    };
    let reason = &close.reason[..close.reason.floor_char_boundary(MAX_REASON)];
    // Nothing of this can be wrong.
    let _ = socket.close_with_code_and_reason(code, reason);
}

fn close_of(event: &CloseEvent, opened: bool) -> Close {
    let (code, reason) = match (event.code(), event.reason()) {
        (1006, _) if !opened => (CloseCode::ABNORMAL, CANNOT_CONNECT.to_owned()),
        (1006, reason) if reason.is_empty() => {
            (CloseCode::ABNORMAL, "the connection broke".to_owned())
        }
        (NO_CODE, _) => (CloseCode::ABNORMAL, "closed without a reason".to_owned()),
        (code, reason) => (CloseCode(code), reason),
    };
    Close::new(code, reason)
}
