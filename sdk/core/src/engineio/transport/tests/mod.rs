//! The transport against requests and WebSockets that a test answers by hand.

mod carriers;
mod simulation;
mod upgrading;

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::io::HttpResponse;

const OPEN: &str = r#"0{"sid":"s1","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":20}"#;

fn at(millis: u64) -> Time {
    Time::from_start(Duration::from_millis(millis))
}

fn config() -> TransportConfig {
    TransportConfig::new("http://h".parse().unwrap())
}

fn ok(body: &str) -> Result<HttpResponse, Close> {
    let body = bytes::Bytes::copy_from_slice(body.as_bytes());
    Ok(HttpResponse { status: 200, body, retry_after: None })
}

fn broken() -> Close {
    Close::new(CloseCode::ABNORMAL, "broken")
}

fn text(text: &str) -> Frame {
    Frame::Text(bytes::Bytes::copy_from_slice(text.as_bytes()))
}

/// What the transport did, with what it asks for by kind.
struct Hand {
    transport: ClientTransport,
    now: Time,
    gets: Vec<IoId>,
    posts: Vec<(IoId, String)>,
    sockets: Vec<IoId>,
    sent: Vec<(IoId, Frame)>,
    closed: Vec<IoId>,
    aborted: Vec<IoId>,
    urls: Vec<String>,
    happened: Vec<TransportOutput>,
}

impl Hand {
    fn new(config: TransportConfig) -> Self {
        Self::first(config, None)
    }

    fn first(config: TransportConfig, first: Option<Carrier>) -> Self {
        let mut hand = Self {
            transport: ClientTransport::open(Arc::new(config), 1, first, 7, at(0)),
            now: at(0),
            gets: Vec::new(),
            posts: Vec::new(),
            sockets: Vec::new(),
            sent: Vec::new(),
            closed: Vec::new(),
            aborted: Vec::new(),
            urls: Vec::new(),
            happened: Vec::new(),
        };
        hand.drain();
        hand
    }

    /// One that polls, with a WebSocket it tries.
    fn polling() -> Self {
        let mut hand = Self::new(config());
        hand.answer_get(ok(OPEN));
        hand.happened.clear();
        hand
    }

    fn drain(&mut self) {
        while let Some(output) = self.transport.poll_output() {
            match output {
                TransportOutput::Io(Io::Request { id, url, body, .. }) => {
                    self.urls.push(url);
                    match body {
                        Some(body) => {
                            self.posts.push((id, String::from_utf8(body.to_vec()).unwrap()));
                        }
                        None => self.gets.push(id),
                    }
                }
                TransportOutput::Io(Io::OpenWs { id, url, .. }) => {
                    self.urls.push(url);
                    self.sockets.push(id);
                }
                TransportOutput::Io(Io::SendWs { id, frame }) => self.sent.push((id, frame)),
                TransportOutput::Io(Io::CloseWs { id, .. }) => self.closed.push(id),
                TransportOutput::Io(Io::Abort { id }) => self.aborted.push(id),
                other => self.happened.push(other),
            }
        }
    }

    fn input(&mut self, event: IoEvent) {
        self.transport.handle_input(self.now, event);
        self.drain();
    }

    fn answer(&mut self, id: IoId, result: Result<HttpResponse, Close>) {
        self.input(IoEvent::Http { id, result });
    }

    fn answer_get(&mut self, result: Result<HttpResponse, Close>) {
        let id = self.gets.remove(0);
        self.answer(id, result);
    }

    fn answer_post(&mut self) -> String {
        let (id, body) = self.posts.remove(0);
        self.answer(id, ok("ok"));
        body
    }

    fn send(&mut self, packet: &str) {
        self.transport.send(text(packet));
        self.drain();
    }

    fn frame(&mut self, id: IoId, packet: &str) {
        self.input(IoEvent::WsFrame { id, frame: text(packet) });
    }

    /// What has come since the last time.
    fn frames(&mut self) -> Vec<Frame> {
        let frames =
            std::mem::take(&mut self.happened).into_iter().filter_map(|output| match output {
                TransportOutput::Frame(frame) => Some(frame),
                _ => None,
            });
        frames.collect()
    }

    fn end(&self) -> Option<(CloseReason, &str)> {
        self.happened.iter().find_map(|output| match output {
            TransportOutput::Closed { reason, close } => Some((*reason, close.reason.as_str())),
            _ => None,
        })
    }
}
