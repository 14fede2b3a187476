//! Plots as inline SVG.

use std::fmt::Write;

/// Size of a plot, in SVG units.
const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 240.0;
/// Room for the labels of the axes.
const LEFT: f64 = 52.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 34.0;

/// One line of a plot.
pub(super) struct Line {
    /// What it shows.
    pub(super) name: &'static str,
    /// CSS class that gives its colour: `a`, `b`, `c`.
    pub(super) class: &'static str,
    /// Its points.
    pub(super) points: Vec<(f64, f64)>,
}

/// A labelled place on the x axis.
pub(super) struct Tick {
    /// Where.
    pub(super) at: f64,
    /// What is written there.
    pub(super) label: String,
}

/// A vertical line that says what happened there.
pub(super) struct Flag {
    /// Where on the x axis.
    pub(super) at: f64,
    /// What happened.
    pub(super) text: String,
    /// Whether it should not have happened.
    pub(super) fault: bool,
}

/// A plot.
pub(super) struct Plot {
    /// What a screen reader says.
    pub(super) title: &'static str,
    /// The lines.
    pub(super) lines: Vec<Line>,
    /// The places named on the x axis; their first and last are its ends.
    pub(super) ticks: Vec<Tick>,
    /// What happened.
    pub(super) flags: Vec<Flag>,
    /// A limit to be drawn across.
    pub(super) limit: Option<f64>,
    /// Whether the y axis is logarithmic.
    pub(super) log: bool,
}

impl Plot {
    /// The plot as an SVG element with its legend.
    pub(super) fn svg(&self) -> String {
        let mut out = String::new();
        let scale = Scale::of(self);
        // Writing to a String cannot fail.
        let _ = write!(
            out,
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
            escape(self.title)
        );
        for value in scale.y_ticks() {
            let y = scale.y(value);
            let _ = write!(
                out,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                WIDTH - RIGHT,
                LEFT - 6.0,
                y + 4.0,
                short(value)
            );
        }
        for (n, tick) in self.ticks.iter().enumerate() {
            let x = scale.x(tick.at);
            let anchor = if n + 1 == self.ticks.len() { "end" } else { "middle" };
            let _ = write!(
                out,
                "<text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
                HEIGHT - BOTTOM + 18.0,
                escape(&tick.label)
            );
        }
        for (n, flag) in self.flags.iter().enumerate() {
            let x = scale.x(flag.at);
            let class = if flag.fault { "flag fault" } else { "flag" };
            let _ = write!(
                out,
                "<g class=\"{class}\"><line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{:.1}\"/>\
                 <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\">{}</text><title>{}</title></g>",
                HEIGHT - BOTTOM,
                x + 3.0,
                TOP + 9.0,
                n + 1,
                escape(&flag.text)
            );
        }
        if let Some(limit) = self.limit.filter(|limit| scale.shows(*limit)) {
            let y = scale.y(limit);
            let _ = write!(
                out,
                "<line class=\"limit\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\">\
                 <title>limit {}</title></line>",
                WIDTH - RIGHT,
                short(limit)
            );
        }
        for line in &self.lines {
            let mut path = String::new();
            for (n, (x, y)) in line.points.iter().enumerate() {
                let pen = if n == 0 { 'M' } else { 'L' };
                let _ = write!(path, "{pen}{:.1} {:.1}", scale.x(*x), scale.y(*y));
            }
            let _ = write!(out, "<path class=\"line {}\" d=\"{path}\"/>", line.class);
        }
        out.push_str("</svg>");
        if self.lines.len() > 1 || self.limit.is_some() {
            out.push_str("<p class=\"legend\">");
            for line in &self.lines {
                let _ = write!(out, "<span class=\"{}\">{}</span> ", line.class, escape(line.name));
            }
            if self.limit.is_some() {
                out.push_str("<span class=\"limit\">limit</span>");
            }
            out.push_str("</p>");
        }
        out
    }
}

struct Scale {
    x: (f64, f64),
    y: (f64, f64),
    log: bool,
}

impl Scale {
    fn of(plot: &Plot) -> Self {
        let first = plot.ticks.first().map_or(0.0, |tick| tick.at);
        let last = plot.ticks.last().map_or(1.0, |tick| tick.at);
        let values = || plot.lines.iter().flat_map(|line| line.points.iter().map(|(_, y)| *y));
        let highest = values().chain(plot.limit).fold(0.0, f64::max);
        let y = if plot.log {
            let positive = values().filter(|y| *y > 0.0);
            let lowest = positive.chain(plot.limit).fold(f64::INFINITY, f64::min);
            let lowest = if lowest.is_finite() { lowest } else { 0.1 };
            let low = 10_f64.powf(lowest.log10().floor());
            (low, 10_f64.powf(highest.max(low * 10.0).log10().ceil()))
        } else {
            let step = step(highest.max(1.0));
            (0.0, (highest.max(1.0) / step).ceil() * step)
        };
        Self { x: (first, if last > first { last } else { first + 1.0 }), y, log: plot.log }
    }

    fn x(&self, value: f64) -> f64 {
        let part = (value - self.x.0) / (self.x.1 - self.x.0);
        LEFT + part.clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        let part = if self.log {
            let (low, high) = (self.y.0.log10(), self.y.1.log10());
            (value.max(self.y.0).log10() - low) / (high - low)
        } else {
            (value - self.y.0) / (self.y.1 - self.y.0)
        };
        HEIGHT - BOTTOM - part.clamp(0.0, 1.0) * (HEIGHT - TOP - BOTTOM)
    }

    fn shows(&self, value: f64) -> bool {
        (self.y.0..=self.y.1).contains(&value)
    }

    fn y_ticks(&self) -> Vec<f64> {
        if self.log {
            let decades = (self.y.1 / self.y.0).log10().round() as i32;
            return (0..=decades).map(|n| self.y.0 * 10_f64.powi(n)).collect();
        }
        let step = step(self.y.1);
        let count = (self.y.1 / step).round() as usize;
        (0..=count).map(|n| n as f64 * step).collect()
    }
}

/// A round distance between ticks that gives about five of them.
fn step(highest: f64) -> f64 {
    let rough = highest / 5.0;
    let power = 10_f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0, 10.0].map(|n| n * power).into_iter().find(|s| *s >= rough).unwrap_or(rough)
}

/// A number in few characters.
fn short(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{}M", trim(v / 1e6)),
        v if v >= 1e4 => format!("{}k", trim(v / 1e3)),
        v => trim(v),
    }
}

fn trim(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Text inside HTML and SVG.
pub(super) fn escape(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            other => out.push(other),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(points: Vec<(f64, f64)>, log: bool) -> Plot {
        let tick = |at| Tick { at, label: "x".into() };
        Plot {
            title: "t",
            lines: vec![Line { name: "one", class: "a", points }],
            ticks: vec![tick(0.0), tick(10.0)],
            flags: Vec::new(),
            limit: Some(5.0),
            log,
        }
    }

    #[test]
    fn every_point_lies_inside() {
        for log in [false, true] {
            let scale = Scale::of(&plot(vec![(0.0, 0.0), (10.0, 1234.0)], log));
            for (x, y) in [(-5.0, -1.0), (0.0, 0.0), (10.0, 1234.0), (99.0, 1e9)] {
                assert!((LEFT..=WIDTH - RIGHT).contains(&scale.x(x)));
                assert!((TOP..=HEIGHT - BOTTOM).contains(&scale.y(y)));
            }
        }
    }

    #[test]
    fn nothing_measured_is_still_a_plot() {
        for log in [false, true] {
            let svg = plot(Vec::new(), log).svg();
            assert!(
                svg.starts_with("<svg") && !svg.contains("NaN") && !svg.contains("inf"),
                "{svg}"
            );
        }
    }

    #[test]
    fn steps_are_round() {
        assert_eq!([7.0, 43.0, 1000.0].map(step), [2.0, 10.0, 200.0]);
    }

    #[test]
    fn text_cannot_break_out() {
        assert_eq!(escape("<a b=\"&\">"), "&lt;a b=&quot;&amp;&quot;&gt;");
    }
}
