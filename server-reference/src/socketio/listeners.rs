//! Who handles what in a namespace, or for one socket.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tidings_core::socketio::Args;

use super::args::ArgsError;
use super::handler::{ErasedHandler, ErasedMiddleware};

/// Values by their type.
#[derive(Debug, Clone, Default)]
pub(super) struct ByType(HashMap<TypeId, Arc<dyn Any + Send + Sync>>);

impl ByType {
    pub(super) fn set<T: Send + Sync + 'static>(&mut self, value: T) {
        self.0.insert(TypeId::of::<T>(), Arc::new(value));
    }

    pub(super) fn get<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        Arc::clone(self.0.get(&TypeId::of::<T>())?).downcast().ok()
    }
}

/// Handles what another instance sends to the instances; may answer.
pub(super) type ServerSideHandler =
    Arc<dyn Fn(&Args) -> Result<Option<BoxFuture<'static, Args>>, ArgsError> + Send + Sync>;

/// Who handles what. Handlers of the same thing run in the order in which they were added.
#[derive(Default)]
pub(super) struct Listeners {
    pub(super) middlewares: Vec<ErasedMiddleware>,
    pub(super) connect: Vec<ErasedHandler>,
    pub(super) disconnect: Vec<ErasedHandler>,
    pub(super) any: Vec<ErasedHandler>,
    by_event: HashMap<String, Vec<ErasedHandler>>,
    server_side: HashMap<String, Vec<ServerSideHandler>>,
    pub(super) state: ByType,
}

impl Listeners {
    pub(super) fn add(&mut self, event: String, handler: ErasedHandler) {
        self.by_event.entry(event).or_default().push(handler);
    }

    pub(super) fn add_server_side(&mut self, event: String, handler: ServerSideHandler) {
        self.server_side.entry(event).or_default().push(handler);
    }

    pub(super) fn of_server_side(&self, event: &str) -> &[ServerSideHandler] {
        self.server_side.get(event).map_or(&[], Vec::as_slice)
    }

    /// Ends all handlers of an event.
    pub(super) fn remove(&mut self, event: &str) {
        self.by_event.remove(event);
    }

    pub(super) fn of_event(&self, event: &str) -> &[ErasedHandler] {
        self.by_event.get(event).map_or(&[], Vec::as_slice)
    }
}

impl std::fmt::Debug for Listeners {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listeners")
            .field("events", &self.by_event.keys())
            .field("middlewares", &self.middlewares.len())
            .finish_non_exhaustive()
    }
}

/// Gives a type the methods that add handlers; the closure says where it keeps them.
macro_rules! adds_handlers {
    ($type:ty, |$self:ident| $listeners:expr) => {
        impl $type {
            fn listeners($self: &Self) -> &parking_lot::RwLock<Listeners> {
                &$listeners
            }
        }

        /// Adding handlers. Those of the same thing run in the order in which they were added.
        impl $type {
            /// Handles an event of clients. Events of one client are handled one after the other, also
            /// when a handler waits for something; clients do not wait for each other. Handlers of the same
            /// event run in the order in which they were added.
            ///
            /// ```
            /// use tidings_server::socketio::{Data, Namespace, Reply, Socket};
            ///
            /// fn chat(namespace: &Namespace) {
            ///     namespace
            ///         .on("message", |socket: Socket, Data(text): Data<String>| async move {
            ///             socket.to("lobby").emit("message", (socket.id(), text)).map(|()| Reply("sent"))
            ///         })
            ///         .on_connect(|socket: Socket| async move { socket.join("lobby") });
            /// }
            /// ```
            pub fn on<P: 'static>(
                &self,
                event: impl Into<String>,
                handler: impl $crate::socketio::Handler<P>,
            ) -> &Self {
                Self::listeners(self)
                    .write()
                    .add(event.into(), $crate::socketio::handler::erase(handler));
                self
            }

            /// Ends the handlers of an event.
            pub fn off(&self, event: &str) -> &Self {
                Self::listeners(self).write().remove(event);
                self
            }

            /// Handles every event of clients, before the handlers of the event itself.
            pub fn on_any<P: 'static>(&self, handler: impl $crate::socketio::Handler<P>) -> &Self {
                Self::listeners(self).write().any.push($crate::socketio::handler::erase(handler));
                self
            }

            /// Is called with each socket that is connected, before any event of it is handled. `Data` is
            /// the client's `auth`.
            pub fn on_connect<P: 'static>(
                &self,
                handler: impl $crate::socketio::Handler<P>,
            ) -> &Self {
                Self::listeners(self)
                    .write()
                    .connect
                    .push($crate::socketio::handler::erase(handler));
                self
            }

            /// Is called with each socket that is not connected any more, after its events were handled.
            pub fn on_disconnect<P: 'static>(
                &self,
                handler: impl $crate::socketio::Handler<P>,
            ) -> &Self {
                Self::listeners(self)
                    .write()
                    .disconnect
                    .push($crate::socketio::handler::erase(handler));
                self
            }

            /// Judges each client that wants to come in; Node's `use`. The first refusal counts, and the
            /// client finds it in its `connect_error`.
            ///
            /// ```
            /// use tidings_server::socketio::{ConnectError, Namespace, Socket};
            ///
            /// fn guard(namespace: &Namespace) {
            ///     namespace.middleware(|socket: Socket| async move {
            ///         let query = socket.handshake().query();
            ///         let user = query.get("user").ok_or(ConnectError::new("who are you?"))?;
            ///         socket.set_data(user.clone());
            ///         Ok(())
            ///     });
            /// }
            /// ```
            pub fn middleware<P: 'static>(
                &self,
                middleware: impl $crate::socketio::Middleware<P>,
            ) -> &Self {
                Self::listeners(self)
                    .write()
                    .middlewares
                    .push($crate::socketio::handler::erase_middleware(middleware));
                self
            }

            /// Gives all handlers a value, which they take as [`State`](super::State).
            pub fn state<T: Send + Sync + 'static>(&self, value: T) -> &Self {
                Self::listeners(self).write().state.set(value);
                self
            }
        }
    };
}

pub(super) use adds_handlers;
