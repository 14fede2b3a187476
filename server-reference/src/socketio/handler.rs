//! Handlers: functions whose parameters say what of an event they want.

use std::any::type_name;
use std::fmt;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tidings_core::message::{ErrorCode, Refusal};
use tidings_core::socketio::{Args, refusal_args};

use super::args::{self, ArgsError, RawArgs};
use super::reason::DisconnectReason;
use super::reply::Ack;
use super::socket::Socket;

/// What a handler is called with; [`FromCall`] takes it apart.
#[derive(Debug, Clone)]
pub struct Call {
    pub(super) socket: Socket,
    pub(super) event: Arc<str>,
    pub(super) args: Args,
    /// The first argument after the event's name.
    pub(super) from: usize,
    pub(super) ack: Ack,
    pub(super) reason: Option<DisconnectReason>,
}

impl Call {
    /// What is not an event of the client's, like its connecting.
    pub(super) fn without_event(socket: Socket, args: Args) -> Self {
        let (event, ack) = ("".into(), Ack::unwanted(&socket));
        Self { socket, event, args, from: 0, ack, reason: None }
    }
}

/// A parameter of a handler.
pub trait FromCall: Sized {
    /// Takes the parameter's value out of what the handler is called with.
    ///
    /// # Errors
    /// When it is not there, or not of this type. The handler is not called then, and the client
    /// is told.
    fn from_call(call: &Call) -> Result<Self, ArgsError>;
}

impl FromCall for Socket {
    fn from_call(call: &Call) -> Result<Self, ArgsError> {
        Ok(call.socket.clone())
    }
}

/// The arguments of an event, or the `auth` of a client that connects, as a value of this type: a
/// tuple takes several arguments, any other type the first one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Data<T>(pub T);

impl<T: DeserializeOwned> FromCall for Data<T> {
    fn from_call(call: &Call) -> Result<Self, ArgsError> {
        args::read(&call.args, call.from).map(Self)
    }
}

impl FromCall for RawArgs {
    fn from_call(call: &Call) -> Result<Self, ArgsError> {
        let mut raw = Args::new();
        let values = (call.from..call.args.len()).filter_map(|index| call.args.json(index));
        values.for_each(|json| raw.push_json(json.clone()));
        for data in call.args.attachments() {
            raw.push_attachment(data.clone());
        }
        Ok(Self(raw))
    }
}

impl FromCall for Ack {
    fn from_call(call: &Call) -> Result<Self, ArgsError> {
        Ok(call.ack.clone())
    }
}

/// The name of the event, for handlers of any event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventName(pub Arc<str>);

impl FromCall for EventName {
    fn from_call(call: &Call) -> Result<Self, ArgsError> {
        Ok(Self(Arc::clone(&call.event)))
    }
}

impl FromCall for DisconnectReason {
    fn from_call(call: &Call) -> Result<Self, ArgsError> {
        call.reason.ok_or_else(|| ArgsError::new("only a disconnect has a reason"))
    }
}

/// What the application shares with all handlers of a namespace; see
/// [`Namespace::state`](super::Namespace::state).
#[derive(Debug)]
pub struct State<T>(pub Arc<T>);

impl<T: Send + Sync + 'static> FromCall for State<T> {
    fn from_call(call: &Call) -> Result<Self, ArgsError> {
        let state = call.socket.namespace().shared_state();
        let missing = || ArgsError::new(format!("the namespace has no {}", type_name::<T>()));
        state.map(Self).ok_or_else(missing)
    }
}

/// What a handler may return.
pub trait HandlerOutput {
    /// Does what the output stands for.
    fn finish(self, call: &Call);
}

impl HandlerOutput for () {
    fn finish(self, _: &Call) {}
}

/// Acknowledges the event with this value: a tuple is several arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply<T>(pub T);

impl<T: Serialize> HandlerOutput for Reply<T> {
    fn finish(self, call: &Call) {
        if let Err(error) = call.ack.send(self.0) {
            call.refuse(&Refusal::new(ErrorCode::INTERNAL, error.to_string()));
        }
    }
}

/// An error answers the event with `null` and `{"error": {"code", "message"}}`, as everywhere in
/// Tidings; without an acknowledgement the client is told by the event `tidings:error`.
impl<T: HandlerOutput, E: fmt::Display> HandlerOutput for Result<T, E> {
    fn finish(self, call: &Call) {
        match self {
            Ok(output) => output.finish(call),
            Err(error) => call.refuse(&Refusal::new(ErrorCode::HANDLER, error.to_string())),
        }
    }
}

impl Call {
    fn refuse(&self, refusal: &Refusal) {
        if self.ack.is_wanted() {
            self.ack.send_args(&refusal_args(refusal));
        } else {
            self.socket.tell_refused(refusal);
        }
    }

    fn misfit(&self, error: &ArgsError) {
        let message = format!("event {:?}: {error}", self.event);
        tracing::debug!(namespace = self.socket.namespace_path(), "{message}");
        self.refuse(&Refusal::new(ErrorCode::BAD_REQUEST, message));
    }
}

pub(super) type ErasedHandler = Arc<dyn Fn(Call) -> BoxFuture<'static, ()> + Send + Sync>;

/// An asynchronous function whose parameters are all [`FromCall`], and that returns a
/// [`HandlerOutput`].
///
/// ```
/// use tidings_server::socketio::{Data, Reply, Socket};
///
/// async fn greet(socket: Socket, Data((name, loud)): Data<(String, bool)>) -> Reply<String> {
///     let greeting = format!("hello {name}, you are {}", socket.id());
///     Reply(if loud { greeting.to_uppercase() } else { greeting })
/// }
/// ```
pub trait Handler<Parameters>: Send + Sync + 'static {
    /// Handles one call.
    fn call(&self, call: Call) -> BoxFuture<'static, ()>;
}

pub(super) fn erase<P: 'static>(handler: impl Handler<P>) -> ErasedHandler {
    Arc::new(move |call| handler.call(call))
}

/// Why a client is refused: what `connect_error` tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectError {
    pub(crate) message: String,
    pub(crate) data: Option<Vec<u8>>,
}

impl ConnectError {
    /// With this message.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), data: None }
    }

    /// With `data`, which the client finds in its error. A value that is not to be written as JSON
    /// is left out.
    #[must_use]
    pub fn data(mut self, data: impl Serialize) -> Self {
        self.data = serde_json::to_vec(&data).ok();
        self
    }
}

impl<T: Into<String>> From<T> for ConnectError {
    fn from(message: T) -> Self {
        Self::new(message)
    }
}

pub(super) type ErasedMiddleware =
    Arc<dyn Fn(Call) -> BoxFuture<'static, Result<(), ConnectError>> + Send + Sync>;

/// An asynchronous function whose parameters are all [`FromCall`], and that returns whether the
/// client may come in.
pub trait Middleware<Parameters>: Send + Sync + 'static {
    /// Judges one client.
    fn judge(&self, call: Call) -> BoxFuture<'static, Result<(), ConnectError>>;
}

pub(super) fn erase_middleware<P: 'static>(middleware: impl Middleware<P>) -> ErasedMiddleware {
    Arc::new(move |call| middleware.judge(call))
}

macro_rules! functions {
    ($($parameter:ident)*) => {
        impl<Function, Output, $($parameter,)*> Handler<($($parameter,)*)> for Function
        where
            Function: Fn($($parameter),*) -> Output + Send + Sync + 'static,
            Output: Future<Output: HandlerOutput> + Send + 'static,
            $($parameter: FromCall,)*
        {
            #[allow(non_snake_case)]
            fn call(&self, call: Call) -> BoxFuture<'static, ()> {
                $(let $parameter = match $parameter::from_call(&call) {
                    Ok(value) => value,
                    Err(error) => {
                        call.misfit(&error);
                        return std::future::ready(()).boxed();
                    }
                };)*
                let output = self($($parameter),*);
                async move { output.await.finish(&call) }.boxed()
            }
        }

        impl<Function, Output, $($parameter,)*> Middleware<($($parameter,)*)> for Function
        where
            Function: Fn($($parameter),*) -> Output + Send + Sync + 'static,
            Output: Future<Output = Result<(), ConnectError>> + Send + 'static,
            $($parameter: FromCall,)*
        {
            #[allow(non_snake_case, unused_variables)]
            fn judge(&self, call: Call) -> BoxFuture<'static, Result<(), ConnectError>> {
                $(let $parameter = match $parameter::from_call(&call) {
                    Ok(value) => value,
                    Err(error) => {
                        let refused = Err(ConnectError::new(format!("auth: {error}")));
                        return std::future::ready(refused).boxed();
                    }
                };)*
                self($($parameter),*).boxed()
            }
        }
    };
}

functions!();
functions!(A);
functions!(A B);
functions!(A B C);
functions!(A B C D);
functions!(A B C D E);
functions!(A B C D E F);
