//! The parameters in the query of a request.

use std::str::FromStr;

use axum::http::StatusCode;
use tidings_core::Pattern;

use super::problem::Problem;
use crate::app::App;
use crate::auth::Identity;

/// The parameters of a request, decoded. Those that nobody asks for are wrong.
#[derive(Debug)]
pub(super) struct Parameters {
    pairs: Vec<(String, String)>,
    known: Vec<&'static str>,
}

impl Parameters {
    pub(super) fn new(query: Option<&str>) -> Self {
        let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        Self { pairs: pairs.into_owned().collect(), known: Vec::new() }
    }

    /// All values of a parameter.
    pub(super) fn all(&mut self, name: &'static str) -> Vec<String> {
        self.known.push(name);
        let named = self.pairs.iter().filter(|(key, _)| key == name);
        named.map(|(_, value)| value.clone()).collect()
    }

    /// The value of a parameter that may be there once.
    pub(super) fn one<T: FromStr>(
        &mut self,
        name: &'static str,
        expected: &str,
    ) -> Result<Option<T>, Problem> {
        match self.all(name).as_slice() {
            [] => Ok(None),
            [value] => value.parse().map(Some).map_err(|_| wrong(name, value, expected)),
            [_, second, ..] => Err(wrong(name, second, "there once")),
        }
    }

    /// A number within bounds.
    pub(super) fn number(
        &mut self,
        name: &'static str,
        (least, most): (usize, usize),
        default: usize,
    ) -> Result<usize, Problem> {
        let expected = format!("a number from {least} to {most}");
        match self.one::<usize>(name, &expected)? {
            None => Ok(default),
            Some(number) if (least..=most).contains(&number) => Ok(number),
            Some(number) => Err(wrong(name, &number.to_string(), &expected)),
        }
    }

    /// The patterns somebody asks for, each of which may get them something.
    pub(super) fn patterns(
        &mut self,
        app: &App,
        identity: &Identity,
    ) -> Result<Vec<Pattern>, Problem> {
        let texts = self.all("pattern");
        let max = app.config.limits.max_subscriptions;
        if texts.len() > max {
            let detail = format!("there may be {max} patterns (max_subscriptions)");
            return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
        }
        let read = |text: &String| {
            let pattern = Pattern::new(text.as_str()).map_err(|error| {
                Problem::new(StatusCode::BAD_REQUEST, format!("pattern: {error}"))
            })?;
            identity.rights().check_subscribe(&pattern).map_err(Problem::from)?;
            Ok(pattern)
        };
        texts.iter().map(read).collect()
    }

    /// That was all: others are not known here.
    pub(super) fn finish(self) -> Result<(), Problem> {
        let Some((unknown, _)) =
            self.pairs.iter().find(|(key, _)| !self.known.contains(&key.as_str()))
        else {
            return Ok(());
        };
        let known = self.known.join(", ");
        let detail = format!("there is no parameter {unknown:?} here, only {known}");
        Err(Problem::new(StatusCode::BAD_REQUEST, detail))
    }
}

fn wrong(name: &str, value: &str, expected: &str) -> Problem {
    let detail = format!("{name} is {value:?}, but must be {expected}");
    Problem::new(StatusCode::BAD_REQUEST, detail)
}
