//! A timer whose deadline changes all the time.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep};

/// Ends at the deadline it was given or before.
///
/// A deadline that has moved on costs nothing: the alarm goes off at the old one, and whoever waits
/// for it finds that nothing is due and gives it the new one. So the heartbeat of a busy connection
/// touches the runtime's timers once in a while, not with every message.
pub(crate) struct Alarm {
    /// Made with the first deadline, and kept for the next ones.
    sleep: Option<Pin<Box<Sleep>>>,
    armed: Option<Instant>,
}

impl Alarm {
    /// An alarm without a deadline.
    pub(crate) const fn new() -> Self {
        Self { sleep: None, armed: None }
    }

    /// Sees to it that this ends at `deadline` or before.
    pub(crate) fn wake_by(&mut self, deadline: Option<Instant>) {
        let Some(deadline) = deadline else { return };
        if self.armed.is_some_and(|armed| armed <= deadline) {
            return;
        }
        self.armed = Some(deadline);
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().reset(deadline),
            None => self.sleep = Some(Box::pin(tokio::time::sleep_until(deadline))),
        }
    }
}

impl Future for Alarm {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        match &mut this.sleep {
            Some(sleep) if this.armed.is_some() => {
                let rung = sleep.as_mut().poll(cx);
                if rung.is_ready() {
                    this.armed = None;
                }
                rung
            }
            _ => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn rings_at_the_earliest_deadline_and_again_for_the_next() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut alarm = Alarm::new();
        alarm.wake_by(Some(at(20)));
        alarm.wake_by(Some(at(10)));
        alarm.wake_by(Some(at(30)));
        alarm.wake_by(None);
        (&mut alarm).await;
        assert_eq!(start.elapsed(), Duration::from_secs(10));
        alarm.wake_by(Some(at(30)));
        (&mut alarm).await;
        assert_eq!(start.elapsed(), Duration::from_secs(30));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_deadline_it_never_rings() {
        let rung = tokio::time::timeout(Duration::from_secs(3600), Alarm::new()).await;
        assert!(rung.is_err());
    }
}
