//! What a page is told of the network, and of itself.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Waker};

use js_sys::Reflect;
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{Event, EventTarget, PageTransitionEvent};

/// A listener that is removed when this is dropped.
pub(super) struct Listener {
    target: EventTarget,
    event: &'static str,
    callback: Closure<dyn FnMut(Event)>,
}

impl Listener {
    /// Listens to an event of the page or worker, if it can have any.
    fn of_page(event: &'static str, callback: impl FnMut(Event) + 'static) -> Option<Self> {
        Self::new(&js_sys::global(), event, callback)
    }

    /// Listens to an event of the document, if there is one.
    fn of_document(event: &'static str, callback: impl FnMut(Event) + 'static) -> Option<Self> {
        let document = Reflect::get(&js_sys::global(), &"document".into()).ok()?;
        Self::new(&document, event, callback)
    }

    fn new(
        target: &JsValue,
        event: &'static str,
        callback: impl FnMut(Event) + 'static,
    ) -> Option<Self> {
        // Node's global object is no target of events.
        let target = target.dyn_ref::<EventTarget>()?.clone();
        let callback = Closure::<dyn FnMut(Event)>::new(callback);
        target.add_event_listener_with_callback(event, callback.as_ref().unchecked_ref()).ok()?;
        Some(Self { target, event, callback })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let callback = self.callback.as_ref().unchecked_ref();
        // It is there, and nothing else can be wrong with it.
        let _ = self.target.remove_event_listener_with_callback(self.event, callback);
    }
}

/// Listens to what ends connections: the network is gone, which browsers leave to the server's
/// silence otherwise; or the page goes to where it may come back from, by the browser's buttons, and
/// connections would keep it from that. `lost` is told which.
pub(super) fn on_loss(lost: impl Fn(&'static str) + Clone + 'static) -> Vec<Listener> {
    let put_away = lost.clone();
    let listeners = [
        Listener::of_page("offline", move |_| lost("the network is gone")),
        Listener::of_page("pagehide", move |event| {
            let event = event.dyn_ref::<PageTransitionEvent>();
            if event.is_some_and(PageTransitionEvent::persisted) {
                put_away("the page is put away");
            }
        }),
    ];
    listeners.into_iter().flatten().collect()
}

/// Tells when a network may be there again: the browser says so, or the page is seen again, or goes
/// on after it was frozen or put away. Who waits for the next attempt need not wait any longer.
pub(crate) struct Returns {
    noticed: Rc<Noticed>,
    _listeners: Vec<Listener>,
}

#[derive(Default)]
struct Noticed {
    returned: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Returns {
    pub(crate) fn new() -> Self {
        let noticed = Rc::<Noticed>::default();
        let notice = || {
            let noticed = noticed.clone();
            move |_: Event| noticed.notice()
        };
        let seen = noticed.clone();
        let listeners = [
            Listener::of_page("online", notice()),
            Listener::of_page("pageshow", notice()),
            Listener::of_document("resume", notice()),
            Listener::of_document("visibilitychange", move |_| {
                if is_visible() {
                    seen.notice();
                }
            }),
        ];
        Self { noticed, _listeners: listeners.into_iter().flatten().collect() }
    }

    /// Whether it has returned since this was last asked.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        self.noticed.waker.replace(Some(cx.waker().clone()));
        self.noticed.returned.take()
    }
}

impl Noticed {
    fn notice(&self) {
        self.returned.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

fn is_visible() -> bool {
    let document = Reflect::get(&js_sys::global(), &"document".into());
    let state = document.and_then(|document| Reflect::get(&document, &"visibilityState".into()));
    state.is_ok_and(|state| state.as_string().as_deref() == Some("visible"))
}
