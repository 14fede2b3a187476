//! The event loop of a browser. Web workers and Node have the same.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use js_sys::{Date, Function, Reflect};
use tidings_core::Time;
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};

/// The longest timeout there is, in milliseconds: longer ones go off at once.
const LONGEST: f64 = i32::MAX as f64;
/// When the wall clock is ahead of the other one by more than this, in milliseconds, the machine has
/// slept: the other one stands still meanwhile.
const SLEPT: f64 = 2_000.0;

thread_local! {
    static SET_TIMEOUT: Option<Function> = global("setTimeout");
    static CLEAR_TIMEOUT: Option<Function> = global("clearTimeout");
    static PERFORMANCE: Option<web_sys::Performance> = global_object("performance");
    static CLOCKS: Cell<Clocks> = const { Cell::new(Clocks { awake: 0.0, wall: 0.0, slept: 0.0 }) };
}

/// A future on the heap.
pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T>>>;

/// `Send` where there are threads to send to: everywhere but in a browser. What an application
/// gives a client there may hold what belongs to the page.
pub trait MaybeSend {}

impl<T: ?Sized> MaybeSend for T {}

/// Where tasks run.
#[derive(Debug, Clone)]
pub(crate) struct Runtime;

impl Runtime {
    /// There always is one.
    pub(crate) const fn current() -> Option<Self> {
        Some(Self)
    }

    /// Runs `task` beside everything else.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        wasm_bindgen_futures::spawn_local(task);
    }
}

/// What the clocks said last, in milliseconds.
#[derive(Debug, Clone, Copy)]
struct Clocks {
    awake: f64,
    wall: f64,
    /// How long the machine has slept in all.
    slept: f64,
}

/// The driver's clock. It goes on while the machine sleeps: what is overdue then is overdue.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock(f64);

impl Clock {
    /// Starts now.
    pub(crate) fn start() -> Self {
        Self(monotonic())
    }

    /// How long it has been running.
    pub(crate) fn now(self) -> Time {
        Time::from_start(Duration::from_micros(((monotonic() - self.0) * 1_000.0) as u64))
    }
}

/// Milliseconds on a clock that is not set back.
fn monotonic() -> f64 {
    let wall = Date::now();
    let awake = PERFORMANCE
        .with(|performance| performance.as_ref().map_or(wall, web_sys::Performance::now));
    CLOCKS.with(|clocks| {
        let mut last = clocks.get();
        let missed = (wall - last.wall) - (awake - last.awake);
        if last.wall > 0.0 && missed > SLEPT {
            last.slept += missed;
        }
        clocks.set(Clocks { awake, wall, slept: last.slept });
        awake + last.slept
    })
}

/// A timeout that is cleared when this is dropped.
struct Timeout {
    id: JsValue,
    _callback: Closure<dyn FnMut()>,
}

impl Timeout {
    fn new(after: Duration, callback: impl FnMut() + 'static) -> Self {
        let callback = Closure::<dyn FnMut()>::new(callback);
        let millis = (after.as_secs_f64() * 1_000.0).ceil().min(LONGEST);
        let id = SET_TIMEOUT.with(|set| {
            let set = set.as_ref()?;
            set.call2(&JsValue::UNDEFINED, callback.as_ref(), &millis.into()).ok()
        });
        Self { id: id.unwrap_or_default(), _callback: callback }
    }
}

impl Drop for Timeout {
    fn drop(&mut self) {
        CLEAR_TIMEOUT.with(|clear| {
            // It cannot fail, whatever it is given.
            clear.as_ref().map(|clear| clear.call1(&JsValue::UNDEFINED, &self.id))
        });
    }
}

/// Wakes the task that waits for it, once.
#[derive(Default)]
pub(crate) struct Alarm {
    timeout: Option<Timeout>,
    bell: Rc<Bell>,
}

#[derive(Default)]
struct Bell {
    rung: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Alarm {
    /// Has it go off after this time, and not when it was to go off before.
    pub(crate) fn set(&mut self, after: Duration) {
        // A bell of its own: the old timeout may be on its way already.
        self.bell = Rc::default();
        let bell = self.bell.clone();
        self.timeout = Some(Timeout::new(after, move || {
            bell.rung.set(true);
            if let Some(waker) = bell.waker.take() {
                waker.wake();
            }
        }));
    }

    /// Whether it is set, and has not gone off.
    pub(crate) fn is_set(&self) -> bool {
        self.timeout.is_some() && !self.bell.rung.get()
    }

    /// Ready when it has gone off.
    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        if self.bell.rung.get() {
            return Poll::Ready(());
        }
        self.bell.waker.replace(Some(cx.waker().clone()));
        Poll::Pending
    }
}

/// Wakes a task at a certain time. In a page that is not seen it may be late by a minute; what
/// arrives wakes the task all the same.
#[derive(Default)]
pub(crate) struct Timer {
    alarm: Alarm,
    armed: Option<Time>,
}

impl Timer {
    /// Sees to it that the task is woken at `at` or before. A deadline that has moved on costs
    /// nothing: the timer goes off at the old one and is set again.
    pub(crate) fn wake_by(&mut self, _: Clock, now: Time, at: Time, cx: &mut Context<'_>) {
        let waits = self.armed.is_some_and(|armed| armed <= at && armed > now);
        if !(waits && self.alarm.is_set()) {
            self.alarm.set(at - now);
            self.armed = Some(at);
        }
        if self.alarm.poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
    }
}

/// Waits.
pub(crate) async fn sleep(time: Duration) {
    let mut alarm = Alarm::default();
    alarm.set(time);
    poll_fn(|cx| alarm.poll(cx)).await;
}

/// Does work that blocks. A page has one thread: it is held up.
pub(crate) fn off_thread<R: 'static>(work: impl FnOnce() -> R + 'static) -> BoxFuture<R> {
    Box::pin(async move { work() })
}

/// Milliseconds since the Unix epoch.
pub(crate) fn unix_millis() -> u64 {
    Date::now() as u64
}

/// What the page has under this name.
fn global_object<T: JsCast>(name: &str) -> Option<T> {
    let value = Reflect::get(&js_sys::global(), &name.into()).ok()?;
    (!value.is_undefined()).then(|| value.unchecked_into())
}

/// A function that every page has.
fn global(name: &str) -> Option<Function> {
    global_object(name)
}
