//! HTTP requests by hyper, on connections that are kept for the next ones.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST, RETRY_AFTER};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tidings_core::io::{HttpHeaders, HttpResponse};
use tidings_core::message::{Close, CloseCode};

use super::connect::{TlsConfig, connect};
use super::handshake::Address;

/// How many connections are kept that no request uses: one for each kind of request that a session
/// makes.
const MAX_IDLE: usize = 2;

/// A request under way; dropping it gives it up.
pub(crate) type Exchange = Pin<Box<dyn Future<Output = Result<HttpResponse, Close>> + Send>>;

type Sender = SendRequest<Full<Bytes>>;

/// Makes requests.
#[derive(Clone)]
pub(crate) struct HttpClient {
    tls: Option<TlsConfig>,
    /// The largest content accepted, in bytes.
    max_body: usize,
    idle: Arc<Mutex<Vec<Idle>>>,
}

/// A connection that waits for its next request.
struct Idle {
    address: (bool, String, u16),
    sender: Sender,
}

impl HttpClient {
    pub(crate) fn new(tls: Option<TlsConfig>, max_body: usize) -> Self {
        Self { tls, max_body, idle: Arc::default() }
    }

    /// Begins a GET request, or a POST request if there is a body.
    pub(crate) fn request(
        &self,
        url: String,
        headers: HttpHeaders,
        body: Option<Bytes>,
    ) -> Exchange {
        let client = self.clone();
        Box::pin(async move { client.exchange(&url, &headers, body).await })
    }

    async fn exchange(
        self,
        url: &str,
        headers: &[(String, String)],
        body: Option<Bytes>,
    ) -> Result<HttpResponse, Close> {
        let address = Address::parse(url)?;
        let origin = (address.secure, address.host.clone(), address.port);
        let mut request = request(&address, headers, body)?;
        while let Some(mut sender) = self.take_idle(&origin) {
            match sender.try_send_request(request).await {
                Ok(response) => return self.read(origin, sender, response).await,
                // The server has closed it in the meantime; nothing of the request went out.
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(broken(error.error())),
                },
            }
        }
        let stream = connect(&address, self.tls.clone()).await?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
        // It ends with its sender; what goes wrong is told to the request.
        tokio::spawn(async move { drop(connection.await) });
        let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
        self.read(origin, sender, response).await
    }

    async fn read(
        &self,
        address: (bool, String, u16),
        sender: Sender,
        response: Response<Incoming>,
    ) -> Result<HttpResponse, Close> {
        let status = response.status().as_u16();
        let retry_after = response.headers().get(RETRY_AFTER);
        let retry_after = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
        let mut incoming = response.into_body();
        let mut body = Vec::new();
        while let Some(frame) = incoming.frame().await {
            let Ok(data) = frame.map_err(|error| broken(&error))?.into_data() else { continue };
            if body.len() + data.len() > self.max_body {
                let reason = format!("the server's answer has more than {} bytes", self.max_body);
                return Err(Close::new(CloseCode::ABNORMAL, reason));
            }
            body.extend_from_slice(&data);
        }
        let mut idle = self.lock();
        if idle.len() < MAX_IDLE {
            idle.push(Idle { address, sender });
        }
        drop(idle);
        let retry_after = retry_after.map(Duration::from_secs);
        Ok(HttpResponse { status, retry_after, body: body.into() })
    }

    /// A connection to this server that can take a request.
    fn take_idle(&self, address: &(bool, String, u16)) -> Option<Sender> {
        let mut idle = self.lock();
        idle.retain(|idle| !idle.sender.is_closed());
        let at = idle.iter().position(|idle| idle.address == *address)?;
        Some(idle.swap_remove(at).sender)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Idle>> {
        // Nothing in here panics while it holds the lock.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn request(
    address: &Address,
    headers: &[(String, String)],
    body: Option<Bytes>,
) -> Result<Request<Full<Bytes>>, Close> {
    let method = if body.is_some() { Method::POST } else { Method::GET };
    let mut request =
        Request::builder().method(method).uri(&address.path).header(HOST, &address.authority);
    if body.is_some() {
        request = request.header(CONTENT_TYPE, "text/plain;charset=UTF-8");
    }
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let request = request.body(Full::new(body.unwrap_or_default()));
    request.map_err(|error| Close::new(CloseCode::UNSUPPORTED, format!("no request: {error}")))
}

fn broken(error: &hyper::Error) -> Close {
    use std::error::Error;
    let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
    Close::new(CloseCode::ABNORMAL, format!("the request failed: {error}{cause}"))
}
