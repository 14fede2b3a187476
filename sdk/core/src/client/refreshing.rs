//! A fresh token for the connection that is in use, before the one it has expires.

use std::time::Duration;

use crate::message::{ClientMessage, ErrorCode, Refusal};
use crate::time::Time;

use super::connection::Connection;
use super::error::TokenError;
use super::io::{Notice, Output, TokenRequest};
use super::machine::ClientMachine;

/// A token is replaced when this much of the time for which it is good is over, in per mille, at a
/// moment drawn from so many: clients that connected together do not ask together.
const REFRESH_AT: u64 = 750;
const REFRESH_SPREAD: u64 = 150;

/// What could not be had is not asked for again before this.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What is known of the token in use.
#[derive(Debug, Default)]
pub(super) struct Refresh {
    /// The fresh token that is waited for.
    pub(super) asked: Option<TokenRequest>,
    /// When a fresh one is asked for.
    pub(super) at: Option<Time>,
    /// When the one in use expires.
    expires: Option<Time>,
}

impl ClientMachine {
    /// The server has taken a token that is good for so long.
    pub(super) fn token_taken(&mut self, now: Time, expires_in: Option<Duration>) {
        self.token_gone();
        if let Some(good) = expires_in.filter(|_| self.config.authenticated) {
            // Longer than a year is for ever.
            let good = good.min(Duration::from_secs(1 << 25));
            let part = (REFRESH_AT + self.rng.below(REFRESH_SPREAD)) as u32;
            self.refresh.at = Some(now + good * part / 1000);
            self.refresh.expires = Some(now + good);
        }
    }

    /// The connection is gone: the next one presents a token of its own.
    pub(super) fn token_gone(&mut self) {
        (self.refresh.at, self.refresh.expires) = (None, None);
    }

    /// Asks for a fresh token if it is time.
    pub(super) fn expire_token(&mut self, now: Time) {
        if self.refresh.at.is_some_and(|at| at <= now) {
            self.refresh.at = None;
            self.refresh_token();
        }
    }

    /// Asks for a fresh token, unless that is under way.
    pub(super) fn refresh_token(&mut self) {
        if self.config.authenticated && self.refresh.asked.is_none() {
            let request = self.new_token_request();
            self.refresh.asked = Some(request);
            self.outputs.push_back(Output::NeedToken { request });
        }
    }

    /// The application has answered.
    pub(super) fn refreshed(&mut self, now: Time, result: Result<Option<String>, TokenError>) {
        let refusal = match result {
            Ok(Some(token)) => {
                // Without a connection the next hello presents a fresh one anyway.
                if let Some(link) = self.primary.as_mut().and_then(Connection::live) {
                    link.send(ClientMessage::Token(token));
                }
                return;
            }
            Ok(None) => Refusal::new(ErrorCode::TOKEN_EXPIRED, "there is no token to present"),
            Err(error) => Refusal::new(ErrorCode::TOKEN_EXPIRED, error.reason),
        };
        self.token_answered(now, Err(refusal));
    }

    /// The server has answered the fresh token, or there is none. As long as the one in use is good,
    /// it is tried again.
    pub(super) fn token_answered(&mut self, now: Time, result: Result<Option<Duration>, Refusal>) {
        match &result {
            Ok(expires_in) => self.token_taken(now, *expires_in),
            Err(_) => {
                let left = self.refresh.expires.map(|expires| expires.saturating_since(now));
                let wait = left.map(|left| (left / 4).max(RETRY_AFTER));
                self.refresh.at = wait.map(|wait| now + wait);
            }
        }
        self.notify(Notice::TokenRefreshed(result.map(|_| ())));
    }
}
