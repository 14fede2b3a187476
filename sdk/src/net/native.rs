//! WebSockets by tokio and tungstenite.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::{Sink, Stream as _};
use tidings_core::message::{Close, CloseCode, Frame};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::header::{HeaderValue, RETRY_AFTER};
use tokio_tungstenite::tungstenite::http::{Response, StatusCode};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Utf8Bytes};

use super::SocketEvent;
use super::stream::Stream;

/// How much is read at once. The default of the WebSocket library, 128 KiB, would be most of what
/// an idle client takes.
const READ_BUFFER: usize = 4 << 10;
/// How many bytes of frames are gathered before they are written without being asked.
const WRITE_BUFFER: usize = 8 << 10;
const SUBPROTOCOL: &str = "sec-websocket-protocol";

/// How connections are encrypted.
#[cfg(feature = "tls")]
pub(crate) type TlsConfig = std::sync::Arc<rustls::ClientConfig>;
/// Without the feature `tls` there is nothing to configure.
#[cfg(not(feature = "tls"))]
#[derive(Debug, Clone)]
pub(crate) enum TlsConfig {}

type WebSocket = WebSocketStream<Stream>;
type Opening = Pin<Box<dyn Future<Output = Result<(WebSocket, Option<String>), Close>> + Send>>;

/// One WebSocket from the attempt to open it to its end.
pub(crate) struct Socket {
    state: State,
    outgoing: VecDeque<Message>,
    /// Whether something may wait in the WebSocket's own buffer.
    unflushed: bool,
    /// Set once this side has closed it: what comes is not of interest any more.
    closing: bool,
}

enum State {
    Opening(Opening),
    Open(Box<WebSocket>),
    /// Writing has failed; to be told by the next [`Socket::poll_event`].
    Failed(Close),
    Over,
}

impl Socket {
    /// Begins to open a WebSocket.
    pub(crate) fn open(
        url: String,
        subprotocol: Option<&'static str>,
        max_message: usize,
        tls: Option<TlsConfig>,
    ) -> Self {
        let opening = Box::pin(open(url, subprotocol, max_message, tls));
        Self {
            state: State::Opening(opening),
            outgoing: VecDeque::new(),
            unflushed: false,
            closing: false,
        }
    }

    /// Puts a frame behind those to be written.
    pub(crate) fn send(&mut self, frame: Frame) {
        let message = match frame {
            Frame::Text(text) => match Utf8Bytes::try_from(text) {
                Ok(text) => Message::Text(text),
                Err(error) => {
                    let reason = format!("a text frame must be UTF-8: {error}");
                    self.state = State::Failed(Close::new(CloseCode::BAD_FRAME, reason));
                    return;
                }
            },
            Frame::Binary(bytes) => Message::Binary(bytes),
        };
        self.outgoing.push_back(message);
    }

    /// Closes after what waits is written. The last event comes when the server has closed, too.
    pub(crate) fn close(&mut self, close: &Close) {
        self.closing = true;
        match self.state {
            State::Open(_) => {
                // The largest reason that fits the close frame of RFC 6455.
                let end = close.reason.floor_char_boundary(120);
                let reason = close.reason.get(..end).unwrap_or_default().into();
                let code = match close.code {
                    CloseCode::ABNORMAL => CloseCode::NORMAL,
                    code => code,
                };
                let frame = CloseFrame { code: code.0.into(), reason };
                self.outgoing.push_back(Message::Close(Some(frame)));
            }
            State::Opening(_) => self.state = State::Failed(close.clone()),
            State::Failed(_) | State::Over => {}
        }
    }

    /// Whether this side has closed it.
    pub(crate) const fn is_closing(&self) -> bool {
        self.closing
    }

    /// What happens next.
    pub(crate) fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<SocketEvent> {
        loop {
            let (event, next) = match &mut self.state {
                State::Opening(opening) => match ready!(opening.as_mut().poll(cx)) {
                    Ok((socket, subprotocol)) => {
                        (SocketEvent::Opened(subprotocol), State::Open(Box::new(socket)))
                    }
                    Err(close) => (SocketEvent::Closed(close), State::Over),
                },
                State::Open(socket) => {
                    match ready!(Pin::new(&mut **socket).poll_next(cx)) {
                        Some(Ok(_)) if self.closing => continue,
                        Some(Ok(Message::Text(text))) => {
                            return Poll::Ready(SocketEvent::Frame(Frame::Text(text.into())));
                        }
                        Some(Ok(Message::Binary(bytes))) => {
                            return Poll::Ready(SocketEvent::Frame(Frame::Binary(bytes)));
                        }
                        // Tungstenite has queued the pong and will flush it with the next read.
                        Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {
                            self.unflushed = true;
                            continue;
                        }
                        Some(Ok(Message::Close(frame))) => {
                            (SocketEvent::Closed(closed_by(frame)), State::Over)
                        }
                        Some(Err(error)) => (SocketEvent::Closed(failed(error)), State::Over),
                        None => (SocketEvent::Closed(closed_by(None)), State::Over),
                    }
                }
                State::Failed(close) => (SocketEvent::Closed(close.clone()), State::Over),
                State::Over => return Poll::Pending,
            };
            self.state = next;
            return Poll::Ready(event);
        }
    }

    /// Writes what waits; ready when nothing waits any more.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let State::Open(socket) = &mut self.state else { return Poll::Ready(()) };
        let result = write(Pin::new(&mut **socket), &mut self.outgoing, &mut self.unflushed, cx);
        match ready!(result) {
            Ok(()) => {}
            // Reading says it better: there may be a close frame with a reason.
            Err(Error::ConnectionClosed | Error::AlreadyClosed | Error::Io(_)) => {
                self.outgoing.clear();
                self.unflushed = false;
            }
            Err(error) => self.state = State::Failed(failed(error)),
        }
        Poll::Ready(())
    }
}

fn write(
    mut socket: Pin<&mut WebSocket>,
    outgoing: &mut VecDeque<Message>,
    unflushed: &mut bool,
    cx: &mut Context<'_>,
) -> Poll<Result<(), Error>> {
    while !outgoing.is_empty() {
        ready!(socket.as_mut().poll_ready(cx))?;
        if let Some(message) = outgoing.pop_front() {
            *unflushed = true;
            socket.as_mut().start_send(message)?;
        }
    }
    if *unflushed {
        ready!(socket.poll_flush(cx))?;
        *unflushed = false;
    }
    Poll::Ready(Ok(()))
}

async fn open(
    url: String,
    subprotocol: Option<&'static str>,
    max_message: usize,
    tls: Option<TlsConfig>,
) -> Result<(WebSocket, Option<String>), Close> {
    let mut request = url.as_str().into_client_request().map_err(failed)?;
    if let Some(subprotocol) = subprotocol {
        request.headers_mut().insert(SUBPROTOCOL, HeaderValue::from_static(subprotocol));
    }
    let uri = request.uri();
    let secure = uri.scheme_str() == Some("wss");
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let tcp = TcpStream::connect((host.as_str(), port)).await.map_err(unreachable)?;
    tcp.set_nodelay(true).map_err(unreachable)?;
    let stream = if secure { encrypt(tcp, host, tls).await? } else { Stream::Plain(tcp) };
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_message_size(Some(max_message))
        .max_frame_size(Some(max_message));
    let opened = tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await;
    let (socket, response) = opened.map_err(failed)?;
    let chosen = response.headers().get(SUBPROTOCOL).and_then(|value| value.to_str().ok());
    Ok((socket, chosen.map(str::to_owned)))
}

#[cfg(feature = "tls")]
async fn encrypt(tcp: TcpStream, host: String, tls: Option<TlsConfig>) -> Result<Stream, Close> {
    let tls = match tls {
        Some(tls) => tls,
        None => default_tls()?,
    };
    let name = rustls::pki_types::ServerName::try_from(host)
        .map_err(|error| Close::new(CloseCode::UNSUPPORTED, error.to_string()))?;
    let stream = tokio_rustls::TlsConnector::from(tls).connect(name, tcp).await;
    Ok(Stream::Tls(Box::new(stream.map_err(unreachable)?)))
}

#[cfg(not(feature = "tls"))]
async fn encrypt(_: TcpStream, _: String, _: Option<TlsConfig>) -> Result<Stream, Close> {
    let reason = "wss:// needs the feature `tls` of the crate `tidings`";
    Err(Close::new(CloseCode::UNSUPPORTED, reason))
}

/// Certificates are checked against Mozilla's roots.
#[cfg(feature = "tls")]
fn default_tls() -> Result<TlsConfig, Close> {
    let roots: rustls::RootCertStore = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Close::new(CloseCode::UNSUPPORTED, error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config.into())
}

fn unreachable(error: std::io::Error) -> Close {
    Close::new(CloseCode::ABNORMAL, format!("cannot connect: {error}"))
}

fn closed_by(frame: Option<CloseFrame>) -> Close {
    match frame {
        Some(CloseFrame { code, reason }) => Close::new(CloseCode(code.into()), reason.as_str()),
        None => Close::new(CloseCode::ABNORMAL, "the connection broke"),
    }
}

fn failed(error: Error) -> Close {
    match error {
        Error::Http(response) => refused(&response),
        Error::Capacity(error) => Close::new(CloseCode(1009), error.to_string()),
        Error::Utf8(error) => Close::new(CloseCode(1007), error),
        Error::ConnectionClosed | Error::AlreadyClosed => closed_by(None),
        Error::Url(error) => Close::new(CloseCode::UNSUPPORTED, error.to_string()),
        error => Close::new(CloseCode::ABNORMAL, error.to_string()),
    }
}

/// The server answered the request for a WebSocket with something else.
fn refused(response: &Response<Option<Vec<u8>>>) -> Close {
    let status = response.status();
    let code = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => CloseCode::UNAUTHORIZED,
        _ => CloseCode::ABNORMAL,
    };
    let delay = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .map(Duration::from_secs);
    Close { delay, ..Close::new(code, format!("the server answered {status}")) }
}
