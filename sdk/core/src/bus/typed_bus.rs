//! The bus with types.

use std::fmt;
use std::future::Future;
use std::num::NonZeroU32;

use super::deliver::{Call, Outcome};
use super::listener::ListenerHandle;
use super::{EmitAsync, EventBus, Listen, PostError, WaitFor};
use crate::event::Event;
use crate::name::NameError;
use crate::pattern::Pattern;
use crate::time::Time;
use crate::typed::{Codec, CodecError, TypedEvent};

/// An [`EventBus`] whose events are Rust types.
///
/// Emitting encodes the value once, so that listeners without types and whoever forwards events
/// to the network get what they always get. Typed listeners in the process get a reference to the
/// very value if it is of their type, without decoding; events that came as bytes are decoded for
/// them. A payload that does not fit is [told](super::Notice::Undecodable), and the listener is
/// not called.
#[derive(Clone)]
pub struct TypedBus<C> {
    bus: EventBus,
    codec: C,
}

/// Why a typed event was not emitted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TypedEmitError {
    /// Its name is not one.
    #[error(transparent)]
    Name(#[from] NameError),
    /// It cannot be encoded.
    #[error("the event {name:?} cannot be encoded: {error}")]
    Encode {
        /// The event's name.
        name: String,
        /// What the codec said.
        error: CodecError,
    },
    /// It was posted and the queue is full.
    #[error(transparent)]
    Full(#[from] PostError),
}

impl<C: Clone + Send + Sync + 'static> TypedBus<C> {
    /// A typed view of `bus`.
    pub const fn new(bus: EventBus, codec: C) -> Self {
        Self { bus, codec }
    }

    /// The bus itself.
    pub const fn bus(&self) -> &EventBus {
        &self.bus
    }

    /// The event that [`emit`](Self::emit) would emit for this value.
    ///
    /// # Errors
    /// If the value has no valid name or cannot be encoded.
    pub fn event<E>(&self, value: &E) -> Result<Event, TypedEmitError>
    where
        E: TypedEvent,
        C: Codec<E>,
    {
        let name = value.name()?;
        let payload = self
            .codec
            .encode(value)
            .map_err(|error| TypedEmitError::Encode { name: name.to_string(), error })?;
        let event = self.bus.event(name, payload)?;
        Ok(Event { priority: E::PRIORITY, ..event })
    }

    /// Emits a value; returns how many listeners were called. See [`EventBus::emit`].
    ///
    /// # Errors
    /// If the value has no valid name or cannot be encoded. Nobody is called then.
    pub fn emit<E>(&self, value: &E) -> Result<usize, TypedEmitError>
    where
        E: TypedEvent + 'static,
        C: Codec<E>,
    {
        let event = self.event(value)?;
        Ok(self.bus.core.deliver(&self.bus.emission(&event, Some(value), None)))
    }

    /// Emits a value also to async listeners. See [`EventBus::emit_async`].
    ///
    /// # Errors
    /// If the value has no valid name or cannot be encoded. Nobody is called then.
    pub fn emit_async<E>(&self, value: &E) -> Result<EmitAsync, TypedEmitError>
    where
        E: TypedEvent + 'static,
        C: Codec<E>,
    {
        let event = self.event(value)?;
        Ok(self.bus.emit_async_with(&event, Some(value)))
    }

    /// Posts a value, to be emitted by priority. See [`EventBus::post`].
    ///
    /// # Errors
    /// If the value has no valid name or cannot be encoded, or the queue is full.
    pub fn post<E>(&self, value: &E) -> Result<(), TypedEmitError>
    where
        E: TypedEvent,
        C: Codec<E>,
    {
        Ok(self.bus.post(self.event(value)?)?)
    }

    /// A listener to all events of a type, to be described further.
    pub fn listen<E: TypedEvent>(&self) -> TypedListen<'_, C> {
        self.listen_pattern(E::PATTERN)
    }

    /// A listener to the names that match `pattern`, whose payloads are read as whatever type the
    /// listener takes.
    pub fn listen_pattern<P>(&self, pattern: P) -> TypedListen<'_, C>
    where
        P: TryInto<Pattern, Error: Into<NameError>>,
    {
        TypedListen { listen: self.bus.listen(pattern), codec: self.codec.clone() }
    }

    /// Calls `listener` with every event of a type.
    ///
    /// # Errors
    /// If the type's pattern is not one (derived ones always are).
    pub fn on<E>(
        &self,
        listener: impl Fn(&E, &Event) + Send + Sync + 'static,
    ) -> Result<ListenerHandle, NameError>
    where
        E: TypedEvent + 'static,
        C: Codec<E>,
    {
        self.listen::<E>().call(listener)
    }

    /// Calls `listener` with the next event of a type only. One that cannot be decoded does not
    /// count.
    ///
    /// # Errors
    /// If the type's pattern is not one (derived ones always are).
    pub fn once<E>(
        &self,
        listener: impl Fn(&E, &Event) + Send + Sync + 'static,
    ) -> Result<ListenerHandle, NameError>
    where
        E: TypedEvent + 'static,
        C: Codec<E>,
    {
        self.many(NonZeroU32::MIN, listener)
    }

    /// Calls `listener` with the next `times` events of a type. Those that cannot be decoded do
    /// not count.
    ///
    /// # Errors
    /// If the type's pattern is not one (derived ones always are).
    pub fn many<E>(
        &self,
        times: NonZeroU32,
        listener: impl Fn(&E, &Event) + Send + Sync + 'static,
    ) -> Result<ListenerHandle, NameError>
    where
        E: TypedEvent + 'static,
        C: Codec<E>,
    {
        self.listen::<E>().times(times).call(listener)
    }

    /// Like [`on`](Self::on), before the listeners registered so far.
    ///
    /// # Errors
    /// If the type's pattern is not one (derived ones always are).
    pub fn prepend<E>(
        &self,
        listener: impl Fn(&E, &Event) + Send + Sync + 'static,
    ) -> Result<ListenerHandle, NameError>
    where
        E: TypedEvent + 'static,
        C: Codec<E>,
    {
        self.listen::<E>().prepend().call(listener)
    }

    /// Waits for the first event of a type that `filter` wants. The value is decoded from the
    /// payload, to be owned. See [`EventBus::wait_for`].
    ///
    /// # Errors
    /// If the type's pattern is not one (derived ones always are).
    pub fn wait_for<E>(
        &self,
        deadline: Option<Time>,
        filter: impl Fn(&E) -> bool + Send + Sync + 'static,
    ) -> Result<WaitFor<(E, Event)>, NameError>
    where
        E: TypedEvent + Send + 'static,
        C: Codec<E>,
    {
        let TypedListen { listen, codec } = self.listen::<E>();
        listen.wait(deadline, move |call| {
            let value = decode(&codec, call)?;
            Ok(filter(&value).then(|| (value, call.event().clone())))
        })
    }
}

impl<C> fmt::Debug for TypedBus<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TypedBus").field(&self.bus).finish()
    }
}

/// A typed listener about to be registered; see [`Listen`].
#[must_use = "a listener is registered by `call` or `call_async`"]
pub struct TypedListen<'a, C> {
    listen: Listen<'a>,
    codec: C,
}

impl<C: Send + Sync + 'static> TypedListen<'_, C> {
    /// Listeners of higher priority are called before those of lower; the default is 0.
    pub fn priority(mut self, priority: i32) -> Self {
        self.listen = self.listen.priority(priority);
        self
    }

    /// After this many calls the listener is removed.
    pub fn times(mut self, times: NonZeroU32) -> Self {
        self.listen = self.listen.times(times);
        self
    }

    /// Puts the listener before all of its priority that are registered now.
    pub fn prepend(mut self) -> Self {
        self.listen = self.listen.prepend();
        self
    }

    /// Registers a function that is called with each value and its event.
    ///
    /// # Errors
    /// If the pattern is not one.
    pub fn call<T: 'static>(
        self,
        listener: impl Fn(&T, &Event) + Send + Sync + 'static,
    ) -> Result<ListenerHandle, NameError>
    where
        C: Codec<T>,
    {
        let codec = self.codec;
        self.listen.register(Box::new(move |call| {
            let decoded;
            let value = match call.emission.value.and_then(|value| value.downcast_ref()) {
                Some(value) => value,
                None => match decode(&codec, call) {
                    Ok(value) => {
                        decoded = value;
                        &decoded
                    }
                    Err(outcome) => return outcome,
                },
            };
            if !call.claim() {
                return Outcome::Passed;
            }
            listener(value, call.event());
            Outcome::Called
        }))
    }

    /// Registers a function that makes a future of each value and its event; the value is decoded
    /// from the payload, to be owned. See [`Listen::call_async`].
    ///
    /// # Errors
    /// If the pattern is not one.
    pub fn call_async<T, F>(
        self,
        listener: impl Fn(T, Event) -> F + Send + Sync + 'static,
    ) -> Result<ListenerHandle, NameError>
    where
        T: 'static,
        C: Codec<T>,
        F: Future<Output = ()> + Send + 'static,
    {
        let codec = self.codec;
        self.listen.register(Box::new(move |call| {
            if !call.can_run() {
                return Outcome::Skipped;
            }
            let value = match decode(&codec, call) {
                Ok(value) => value,
                Err(outcome) => return outcome,
            };
            if !call.claim() {
                return Outcome::Passed;
            }
            call.run(Box::pin(listener(value, call.event().clone())));
            Outcome::Called
        }))
    }
}

impl<C> fmt::Debug for TypedListen<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TypedListen").field(&self.listen).finish()
    }
}

fn decode<T, C: Codec<T>>(codec: &C, call: &Call<'_>) -> Result<T, Outcome> {
    codec.decode(&call.event().payload).map_err(|error| Outcome::Undecodable(error.0))
}
