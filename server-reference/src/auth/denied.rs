//! Why somebody was not let in.

use jsonwebtoken::errors::{Error, ErrorKind};
use tidings_core::message::{Close, CloseCode, ErrorCode, Refusal};

/// Why a token does not tell who somebody is. None of them has anything of the token in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Denied {
    /// None was presented.
    #[error("a token is needed: present a JWT as `token` in auth or hello, or as HTTP bearer")]
    NoToken,
    /// It is no JWT.
    #[error("the token is no JWT: three parts of base64url, separated by dots")]
    Malformed,
    /// It has an algorithm that no key stands for.
    #[error("the token is not signed as its key asks (see auth.secret, auth.jwks)")]
    Algorithm,
    /// It says that something must be understood which is not.
    #[error("the token's header has `crit`, of which nothing is understood")]
    Critical,
    /// No key has the name that it gives, or none fits.
    #[error("the token is signed with a key that is not known here")]
    UnknownKey,
    /// The key set is at a URL, and did not have the key that it names when it was fetched last.
    #[error("the token is signed with a key that is not known yet: try again in some seconds")]
    KeyNotYet,
    /// The signature is wrong.
    #[error("the token's signature is wrong")]
    Signature,
    /// A claim is missing.
    #[error("the token has no claim `{0}`")]
    Missing(String),
    /// A claim is not what it should be.
    #[error("the token's claim `{claim}` must be {expected}")]
    Claim {
        /// Which claim.
        claim: String,
        /// What it should be.
        expected: String,
    },
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// Its time has not come.
    #[error("the token is not valid yet: compare the clocks of who issued it and of this server")]
    NotYet,
    /// It is for somebody else.
    #[error("the token is not for this server (claim `aud`; see auth.audience)")]
    Audience,
    /// It is of somebody who is not trusted.
    #[error("the token is of an issuer that is not trusted (claim `iss`; see auth.issuer)")]
    Issuer,
    /// It, or its subject, has been revoked.
    #[error("the token has been revoked")]
    Revoked,
    /// The connection, or the session, is another subject's.
    #[error("the token is another subject's (claim `sub`): connect anew to be somebody else")]
    OtherSubject,
    /// Too many tokens from the same address were wrong.
    #[error(
        "too many wrong tokens came from this address: none is looked at for some seconds \
             (limits.wrong_tokens_rate)"
    )]
    TooManyWrong,
    /// Its subject has as many connections as it may.
    #[error("one subject may have {0} connections at an instance (limits.connections_per_subject)")]
    TooManyConnections(usize),
}

impl Denied {
    /// A word for it, to count it by.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::NoToken => "no_token",
            Self::Malformed => "malformed",
            Self::Algorithm => "algorithm",
            Self::Critical => "critical",
            Self::UnknownKey | Self::KeyNotYet => "unknown_key",
            Self::Signature => "signature",
            Self::Missing(_) | Self::Claim { .. } => "claim",
            Self::Expired => "expired",
            Self::NotYet => "not_yet",
            Self::Audience => "audience",
            Self::Issuer => "issuer",
            Self::Revoked => "revoked",
            Self::OtherSubject => "other_subject",
            Self::TooManyWrong => "too_many_wrong",
            Self::TooManyConnections(_) => "too_many_connections",
        }
    }

    /// Whether a fresh token may be taken where this one was not.
    pub const fn wants_fresh_token(&self) -> bool {
        matches!(self, Self::Expired | Self::Revoked)
    }

    /// Whether it may pass by itself, so that the same token is worth another try.
    pub const fn passes(&self) -> bool {
        matches!(self, Self::KeyNotYet | Self::TooManyWrong | Self::TooManyConnections(_))
    }

    /// Whether the token was none that this server, or its issuers, would make: a guess, maybe.
    pub(crate) const fn is_wrong(&self) -> bool {
        match self {
            Self::Malformed
            | Self::Algorithm
            | Self::Critical
            | Self::UnknownKey
            | Self::KeyNotYet
            | Self::Signature
            | Self::Audience
            | Self::Issuer => true,
            Self::NoToken
            | Self::Missing(_)
            | Self::Claim { .. }
            | Self::Expired
            | Self::NotYet
            | Self::Revoked
            | Self::OtherSubject
            | Self::TooManyWrong
            | Self::TooManyConnections(_) => false,
        }
    }

    /// How a connection ends because of it.
    pub(crate) fn close(&self) -> Close {
        let code = match self {
            Self::Expired => CloseCode::TOKEN_EXPIRED,
            Self::Revoked => CloseCode::TOKEN_REVOKED,
            _ if self.passes() => CloseCode::TOO_MANY,
            _ => CloseCode::UNAUTHORIZED,
        };
        Close::new(code, self.to_string())
    }

    /// How a fresh token is refused because of it.
    pub(crate) fn refusal(&self) -> Refusal {
        let code = if self.wants_fresh_token() {
            ErrorCode::TOKEN_EXPIRED
        } else if self.passes() {
            ErrorCode::TOO_MANY
        } else {
            ErrorCode::UNAUTHORIZED
        };
        Refusal::new(code, self.to_string())
    }
}

/// What is wrong with a header that cannot be read.
pub(super) fn of_header(error: &Error) -> Denied {
    match error.kind() {
        // An algorithm that is not known, `none` among them.
        ErrorKind::Json(error) if error.to_string().starts_with("unknown variant") => {
            Denied::Algorithm
        }
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => Denied::Algorithm,
        _ => Denied::Malformed,
    }
}

/// What is wrong with a token.
pub(super) fn of(error: &Error) -> Denied {
    let claim = |claim: &str, expected: &str| Denied::Claim {
        claim: claim.to_owned(),
        expected: expected.to_owned(),
    };
    match error.kind() {
        ErrorKind::InvalidSignature => Denied::Signature,
        ErrorKind::ExpiredSignature => Denied::Expired,
        ErrorKind::ImmatureSignature => Denied::NotYet,
        ErrorKind::InvalidAudience => Denied::Audience,
        ErrorKind::InvalidIssuer => Denied::Issuer,
        ErrorKind::MissingRequiredClaim(claim) => Denied::Missing(claim.clone()),
        ErrorKind::InvalidClaimFormat(name) => claim(name, "a number of seconds"),
        // What does not fit is named by serde without its value.
        ErrorKind::Json(_) => claim(
            "sub, jti, iat, exp, subscribe, publish, mutate, sensitive or admin",
            "of \
            its type: strings, numbers of seconds, lists of patterns, true or false",
        ),
        ErrorKind::InvalidAlgorithm
        | ErrorKind::MissingAlgorithm
        | ErrorKind::UnsupportedAlgorithm
        | ErrorKind::InvalidKeyFormat => Denied::Algorithm,
        _ => Denied::Malformed,
    }
}
