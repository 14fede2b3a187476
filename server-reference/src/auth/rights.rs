//! What somebody may do.

use serde::Deserialize;
use tidings_core::message::{ErrorCode, Refusal};
use tidings_core::{Pattern, PatternSet};

use crate::config::Auth;

/// What somebody may do, and see: of which events.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rights {
    subscribe: Allowed,
    publish: Allowed,
    mutate: Allowed,
    sensitive: Allowed,
    admin: bool,
}

/// What a token says of it, where it does.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Stated {
    subscribe: Option<Vec<String>>,
    publish: Option<Vec<String>>,
    mutate: Option<Vec<String>>,
    sensitive: Option<Vec<String>>,
    admin: Option<bool>,
}

/// The events that something is allowed for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Allowed {
    All,
    Of(PatternSet),
}

impl Default for Allowed {
    fn default() -> Self {
        Self::Of(PatternSet::default())
    }
}

impl Allowed {
    fn matches(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Of(patterns) => patterns.matches(name),
        }
    }

    /// The patterns; `None`: all.
    fn patterns(&self) -> Option<PatternSet> {
        match self {
            Self::All => None,
            Self::Of(patterns) => Some(patterns.clone()),
        }
    }

    /// What of it there is, for people.
    fn listed(&self) -> String {
        match self {
            Self::All => "**".to_owned(),
            Self::Of(patterns) if patterns.is_empty() => "nothing".to_owned(),
            Self::Of(patterns) => {
                patterns.iter().map(Pattern::as_str).collect::<Vec<_>>().join(", ")
            }
        }
    }
}

impl Rights {
    /// Everything, where nobody is authenticated; but of what is sensitive only what `defaults` say:
    /// it is for those of whom somebody has said so.
    pub(super) fn all(defaults: &Self) -> Self {
        let (subscribe, publish, mutate) = (Allowed::All, Allowed::All, Allowed::All);
        let sensitive = defaults.sensitive.clone();
        Self { subscribe, publish, mutate, sensitive, admin: true }
    }

    /// Those of whoever has no others.
    pub(super) fn defaults(config: &Auth) -> Result<Self, (&'static str, String)> {
        let read = |key, patterns: &[String]| {
            allowed(patterns).map_err(|(pattern, error)| (key, format!("{pattern:?}: {error}")))
        };
        Ok(Self {
            subscribe: read("auth.subscribe", &config.subscribe)?,
            publish: read("auth.publish", &config.publish)?,
            mutate: read("auth.mutate", &config.mutate)?,
            sensitive: read("auth.sensitive", &config.sensitive)?,
            admin: false,
        })
    }

    /// Those that a token states, and `defaults` where it says nothing. The error is the claim and
    /// what is wrong with it.
    pub(super) fn stated(stated: &Stated, defaults: &Self) -> Result<Self, (&'static str, String)> {
        let read = |claim, patterns: &Option<Vec<String>>, default: &Allowed| match patterns {
            None => Ok(default.clone()),
            Some(patterns) => allowed(patterns)
                .map_err(|(_, error)| (claim, format!("a list of patterns ({error})"))),
        };
        Ok(Self {
            subscribe: read("subscribe", &stated.subscribe, &defaults.subscribe)?,
            publish: read("publish", &stated.publish, &defaults.publish)?,
            mutate: read("mutate", &stated.mutate, &defaults.mutate)?,
            sensitive: read("sensitive", &stated.sensitive, &defaults.sensitive)?,
            admin: stated.admin.unwrap_or(defaults.admin),
        })
    }

    /// Whether events of this name may be received.
    pub fn may_receive(&self, name: &str) -> bool {
        self.subscribe.matches(name)
    }

    /// Whether events of this name may be published, and requests of this name made.
    pub fn may_publish(&self, name: &str) -> bool {
        self.publish.matches(name)
    }

    /// Whether the record may be changed whose changes are events of this name.
    pub fn may_mutate(&self, name: &str) -> bool {
        self.mutate.matches(name)
    }

    /// Whether what is sensitive in events of this name, as their schema says, may be seen. Whoever may
    /// do everything else may not for that.
    pub fn may_see_sensitive(&self, name: &str) -> bool {
        self.sensitive.matches(name)
    }

    /// Whether what is about the server and all of its clients may be seen and done.
    pub const fn is_admin(&self) -> bool {
        self.admin
    }

    /// The names of the events that may be received; `None`: of all.
    pub(crate) fn received(&self) -> Option<PatternSet> {
        self.subscribe.patterns()
    }

    /// The names of the events of which what is sensitive may be seen; `None`: of all.
    pub(crate) fn revealed(&self) -> Option<PatternSet> {
        self.sensitive.patterns()
    }

    /// Refuses a subscription that could not get anything.
    pub(crate) fn check_subscribe(&self, pattern: &Pattern) -> Result<(), Refusal> {
        match &self.subscribe {
            Allowed::Of(patterns) if !patterns.meets(pattern) => Err(forbidden(format!(
                "nothing that {:?} matches may be received, only {}: ask for less, or for a token \
                 whose claim `subscribe` has it",
                pattern.as_str(),
                self.subscribe.listed()
            ))),
            _ => Ok(()),
        }
    }

    /// Refuses what may not be seen as a whole.
    pub(crate) fn check_reads_all_of(&self, pattern: &Pattern) -> Result<(), Refusal> {
        match &self.subscribe {
            Allowed::Of(patterns) if !patterns.covers(pattern) => Err(forbidden(format!(
                "reading all of {:?} needs a claim `subscribe` that covers it; this one has {}",
                pattern.as_str(),
                self.subscribe.listed()
            ))),
            _ => Ok(()),
        }
    }

    /// Refuses a publish, or a request.
    pub(crate) fn check_publish(&self, name: &str) -> Result<(), Refusal> {
        if self.may_publish(name) {
            return Ok(());
        }
        Err(forbidden(format!(
            "{name:?} may not be sent: the claim `publish` has {}",
            self.publish.listed()
        )))
    }

    /// Why a record may not be changed.
    pub(crate) fn check_mutate(&self, name: &str) -> Result<(), String> {
        if self.may_mutate(name) {
            return Ok(());
        }
        let has = self.mutate.listed();
        Err(format!("{name:?} may not be changed: the claim `mutate` has {has}"))
    }
}

fn forbidden(message: String) -> Refusal {
    Refusal::new(ErrorCode::FORBIDDEN, message)
}

/// The events that these patterns are for, or the one that is none.
fn allowed(patterns: &[String]) -> Result<Allowed, (String, String)> {
    let parse = |text: &String| {
        Pattern::new(text.as_str()).map_err(|error| (text.clone(), error.to_string()))
    };
    let patterns = patterns.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    if patterns.iter().any(|pattern| pattern.as_str() == "**") {
        return Ok(Allowed::All);
    }
    Ok(Allowed::Of(patterns.into_iter().collect()))
}
