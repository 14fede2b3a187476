//! What is shown while a run goes on: redrawn in place on a terminal, plain lines elsewhere.
//! Everything goes to standard error, so that standard output has the result alone.

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::report::{Mark, Paint, Point};

/// Plain lines come this often.
const PLAIN_INTERVAL: Duration = Duration::from_secs(1);

/// Characters of the sparkline.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Points the sparkline shows.
const SPARK_POINTS: usize = 48;

/// Tells how a run goes.
pub(crate) struct Progress {
    terminal: bool,
    paint: Paint,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Lines drawn that the next drawing replaces.
    drawn: usize,
    phase: String,
    last_plain: Option<Instant>,
    rates: Vec<f64>,
    last_at_ms: u64,
    since_plain: Sums,
}

/// What happened since the last plain line.
#[derive(Default)]
struct Sums {
    published: u64,
    delivered: u64,
    ms: u64,
    p99_us: u64,
}

impl Progress {
    /// Redraws if standard error is a terminal.
    pub(crate) fn stderr() -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self { terminal, paint: Paint::for_terminal(terminal), state: Mutex::default() }
    }

    /// A new phase begins.
    pub(crate) fn phase(&self, phase: &str) {
        let mut state = self.lock();
        state.phase = phase.to_owned();
        if self.terminal {
            self.draw(&mut state, &[]);
        } else {
            eprintln!("{phase}");
        }
    }

    /// So many of all clients have connected or failed to.
    pub(crate) fn connecting(&self, done: usize, total: usize) {
        let mut state = self.lock();
        if self.terminal {
            state.phase = format!("connecting {done} of {total}");
            if done.is_multiple_of(16) || done == total {
                self.draw(&mut state, &[]);
            }
        } else if done == total {
            eprintln!("connected {done} of {total}");
        }
        if done == total {
            state.phase = "publishing".to_owned();
        }
    }

    /// Something happened.
    pub(crate) fn mark(&self, mark: &Mark) {
        let mut state = self.lock();
        self.erase(&mut state);
        eprintln!("{:>6.1}s  {}", mark.at_ms as f64 / 1000.0, self.paint.mark(mark));
    }

    /// The newest figures.
    pub(crate) fn point(&self, point: &Point) {
        let mut state = self.lock();
        let ms = point.at_ms.saturating_sub(state.last_at_ms).max(1);
        state.last_at_ms = point.at_ms;
        let per_second = |count: u64| count as f64 * 1000.0 / ms as f64;
        if self.terminal {
            if state.rates.len() == SPARK_POINTS {
                state.rates.remove(0);
            }
            state.rates.push(per_second(point.delivered));
            let lines = [
                format!(
                    "{:>6.1}s  {} connected   {:.0} published/s   {:.0} delivered/s   {} on the way",
                    point.at_ms as f64 / 1000.0,
                    point.connected,
                    per_second(point.published),
                    per_second(point.delivered),
                    point.outstanding,
                ),
                format!(
                    "         delivery p50 {} p99 {} max {}   emission p99 {}",
                    millis(point.p50_us),
                    millis(point.p99_us),
                    millis(point.max_us),
                    millis(point.emission_p99_us),
                ),
                format!(
                    "         servers {:.2} cores, {:.0} MB   harness {:.2} cores   {}",
                    point.server_cpu,
                    point.server_rss_bytes as f64 / 1e6,
                    point.harness_cpu,
                    sparkline(&state.rates),
                ),
            ];
            self.draw(&mut state, &lines);
            return;
        }
        let sums = &mut state.since_plain;
        sums.published += point.published;
        sums.delivered += point.delivered;
        sums.p99_us = sums.p99_us.max(point.p99_us);
        sums.ms += ms;
        if state.last_plain.is_none_or(|last| last.elapsed() >= PLAIN_INTERVAL) {
            let Sums { published, delivered, ms, p99_us } = std::mem::take(&mut state.since_plain);
            state.last_plain = Some(Instant::now());
            eprintln!(
                "{:>6.1}s  connected {}  published/s {:.0}  delivered/s {:.0}  outstanding {}  \
                 p99 {}",
                point.at_ms as f64 / 1000.0,
                point.connected,
                published as f64 * 1000.0 / ms as f64,
                delivered as f64 * 1000.0 / ms as f64,
                point.outstanding,
                millis(p99_us),
            );
        }
    }

    /// Takes the live view away.
    pub(crate) fn finish(&self) {
        self.erase(&mut self.lock());
    }

    fn draw(&self, state: &mut State, lines: &[String]) {
        self.erase(state);
        let width = width();
        let phase = fit(&format!("· {}", state.phase), width);
        let mut out = format!("{}\n", self.paint.dim(&phase));
        for line in lines {
            out.push_str(&fit(line, width));
            out.push('\n');
        }
        state.drawn = 1 + lines.len();
        // A terminal that is gone is no reason to stop measuring.
        let _ = std::io::stderr().write_all(out.as_bytes());
    }

    fn erase(&self, state: &mut State) {
        if self.terminal && state.drawn > 0 {
            let _ = write!(std::io::stderr(), "\x1b[{}A\x1b[J", state.drawn);
            state.drawn = 0;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Columns of the terminal.
fn width() -> usize {
    let size = rustix::termios::tcgetwinsize(std::io::stderr());
    size.map_or(0, |size| usize::from(size.ws_col)).max(40)
}

/// As much of a line as fits: one that wraps could not be erased.
fn fit(line: &str, width: usize) -> String {
    line.chars().take(width - 1).collect()
}

fn millis(us: u64) -> String {
    if us == 0 { "-".to_owned() } else { format!("{:.2}ms", us as f64 / 1000.0) }
}

fn sparkline(rates: &[f64]) -> String {
    let top = rates.iter().copied().fold(1.0, f64::max);
    rates.iter().filter_map(|rate| BARS.get(((rate / top * 7.0).round() as usize).min(7))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sparkline_scales_to_its_highest() {
        assert_eq!(sparkline(&[0.0, 50.0, 100.0]), "▁▅█");
        assert_eq!(sparkline(&[]), "");
    }
}
