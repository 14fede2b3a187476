//! Tasks, timers and time of tokio.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tidings_core::Time;
use tokio::runtime::Handle;
use tokio::time::{Instant, Sleep};

/// A future on the heap.
pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// `Send` where there are threads to send to: everywhere but in a browser. What an application
/// gives a client there may hold what belongs to the page.
pub trait MaybeSend: Send {}

impl<T: Send + ?Sized> MaybeSend for T {}

/// Where tasks run.
#[derive(Debug, Clone)]
pub(crate) struct Runtime(Handle);

impl Runtime {
    /// The one this is called in, if there is one.
    pub(crate) fn current() -> Option<Self> {
        Handle::try_current().ok().map(Self)
    }

    /// Runs `task` beside everything else.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(task);
    }
}

/// The driver's clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock(Instant);

impl Clock {
    /// Starts now.
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// How long it has been running.
    pub(crate) fn now(self) -> Time {
        Time::from_start(self.0.elapsed())
    }
}

/// Wakes a task at a certain time.
#[derive(Debug, Default)]
pub(crate) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    armed: Option<Time>,
}

impl Timer {
    /// Sees to it that the task is woken at `at` or before. A deadline that has moved on costs
    /// nothing: the timer goes off at the old one and is set again.
    pub(crate) fn wake_by(&mut self, clock: Clock, now: Time, at: Time, cx: &mut Context<'_>) {
        if self.armed.is_some_and(|armed| armed <= at && armed > now) {
            return;
        }
        let deadline = clock.0 + at.since_start();
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(Duration::MAX)));
        sleep.as_mut().reset(deadline);
        self.armed = match sleep.as_mut().poll(cx) {
            Poll::Pending => Some(at),
            Poll::Ready(()) => {
                cx.waker().wake_by_ref();
                None
            }
        };
    }
}

/// Waits.
pub(crate) async fn sleep(time: Duration) {
    tokio::time::sleep(time).await;
}

/// Does work that blocks where it holds up nobody.
pub(crate) fn off_thread<R: Send + 'static>(
    work: impl FnOnce() -> R + Send + 'static,
) -> BoxFuture<R> {
    Box::pin(async move {
        match tokio::task::spawn_blocking(work).await {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is going away, and this future with it.
                Err(_cancelled) => std::future::pending().await,
            },
        }
    })
}

/// Milliseconds since the Unix epoch.
pub(crate) fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
