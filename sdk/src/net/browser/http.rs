//! HTTP requests by `fetch`.

use std::time::Duration;

use bytes::Bytes;
use js_sys::{Function, Promise, Reflect, Uint8Array};
use tidings_core::io::{HttpHeaders, HttpResponse};
use tidings_core::message::{Close, CloseCode};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    AbortController, Headers, ReadableStreamDefaultReader, Request, RequestCache, RequestInit,
    Response,
};

use super::events::on_loss;
use super::{TlsConfig, failed};
use crate::runtime::BoxFuture;

/// A request under way; dropping it gives it up.
pub(crate) type Exchange = BoxFuture<Result<HttpResponse, Close>>;

/// Makes requests.
#[derive(Clone)]
pub(crate) struct HttpClient {
    /// The largest content accepted, in bytes.
    max_body: usize,
}

/// Gives a request up when it is dropped, unless that is over.
struct Abort(AbortController);

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl HttpClient {
    pub(crate) fn new(_: Option<TlsConfig>, max_body: usize) -> Self {
        Self { max_body }
    }

    /// Begins a GET request, or a POST request if there is a body.
    pub(crate) fn request(
        &self,
        url: String,
        headers: HttpHeaders,
        body: Option<Bytes>,
    ) -> Exchange {
        let max_body = self.max_body;
        Box::pin(async move {
            let broken = |error: JsValue| failed("the request failed", &error);
            let abort = Abort(AbortController::new().map_err(broken)?);
            let gone = abort.0.clone();
            let _listeners = on_loss(move |reason| gone.abort_with_reason(&reason.into()));
            let request = request(&url, &headers, body.as_deref(), &abort.0).map_err(broken)?;
            let response = fetch(&request).await.map_err(broken)?;
            let retry_after = response.headers().get("retry-after").ok().flatten();
            let retry_after = retry_after.and_then(|value| value.parse().ok());
            Ok(HttpResponse {
                status: response.status(),
                retry_after: retry_after.map(Duration::from_secs),
                body: read(&response, max_body).await?,
            })
        })
    }
}

fn request(
    url: &str,
    headers: &[(String, String)],
    body: Option<&[u8]>,
    abort: &AbortController,
) -> Result<Request, JsValue> {
    let init = RequestInit::new();
    init.set_cache(RequestCache::NoStore);
    init.set_signal(Some(&abort.signal()));
    let all = Headers::new()?;
    if let Some(body) = body {
        init.set_method("POST");
        init.set_body(&String::from_utf8_lossy(body).as_ref().into());
        // A type that does not make the browser ask other origins for leave first.
        all.set("content-type", "text/plain;charset=UTF-8")?;
    }
    for (name, value) in headers {
        all.append(name, value)?;
    }
    init.set_headers(&all);
    Request::new_with_str_and_init(url, &init)
}

/// A page and a worker have it at different places of their types. What it gives is not looked at: it
/// may be somebody else's that the page has in its place.
async fn fetch(request: &Request) -> Result<Response, JsValue> {
    let fetch: Function = Reflect::get(&js_sys::global(), &"fetch".into())?.dyn_into()?;
    let answer: Promise = fetch.call1(&JsValue::UNDEFINED, request)?.unchecked_into();
    Ok(JsFuture::from(answer).await?.unchecked_into())
}

/// Reads the content, and not more than is accepted.
async fn read(response: &Response, max_body: usize) -> Result<Bytes, Close> {
    let broken = |error: JsValue| failed("the request failed", &error);
    let Some(stream) = response.body() else { return Ok(Bytes::new()) };
    let reader = ReadableStreamDefaultReader::new(&stream).map_err(broken)?;
    let mut body = Vec::new();
    loop {
        let portion = JsFuture::from(reader.read()).await.map_err(broken)?;
        let part = |name: &str| Reflect::get(&portion, &name.into()).map_err(broken);
        if part("done")?.is_truthy() {
            return Ok(body.into());
        }
        let data: Uint8Array = part("value")?.unchecked_into();
        if body.len() + data.length() as usize > max_body {
            let reason = format!("the server's answer has more than {max_body} bytes");
            return Err(Close::new(CloseCode::ABNORMAL, reason));
        }
        body.extend_from_slice(&data.to_vec());
    }
}
