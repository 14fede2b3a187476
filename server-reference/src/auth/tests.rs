//! Tokens of every kind, and what becomes of them.

use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use ring::rand::SystemRandom;
use ring::signature::{self, KeyPair};
use serde_json::{Value, json};
use tidings_core::base64;

use super::*;
use crate::clock::unix_micros;

const SECRET: &str = "a secret of thirty-two bytes, too";

fn authenticator(change: impl FnOnce(&mut Auth)) -> Authenticator {
    let mut config = Auth { secret: SECRET.into(), ..Auth::default() };
    change(&mut config);
    Authenticator::new(&config).expect("good keys")
}

/// Seconds since the Unix epoch, so much later than now.
fn at(offset: i64) -> i64 {
    i64::try_from(unix_micros() / 1_000_000).expect("a time") + offset
}

fn signed(header: &Header, claims: &Value, key: &EncodingKey) -> String {
    crypto::install();
    encode(header, claims, key).expect("signed")
}

fn token(claims: &Value) -> String {
    signed(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(SECRET.as_bytes()))
}

/// A token that says so in its header, with a signature that is right for HS256.
fn with_header(header: &str, claims: &Value) -> String {
    let part = |bytes: &[u8]| url_safe(bytes);
    let message = format!("{}.{}", part(header.as_bytes()), part(claims.to_string().as_bytes()));
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, SECRET.as_bytes());
    let signature = ring::hmac::sign(&key, message.as_bytes());
    format!("{message}.{}", part(signature.as_ref()))
}

fn url_safe(bytes: &[u8]) -> String {
    let mut text = Vec::new();
    base64::encode(bytes, &mut text);
    let text = String::from_utf8(text).expect("base64");
    text.trim_end_matches('=').replace('+', "-").replace('/', "_")
}

fn good() -> Value {
    json!({"sub": "ann", "exp": at(60), "jti": "t1", "subscribe": ["orders.*"], "publish": []})
}

fn with(change: Value) -> Value {
    let mut claims = good();
    let members = change.as_object().expect("an object").clone();
    for (key, value) in members {
        claims[key] = value;
    }
    claims
}

#[test]
fn a_good_token_says_who_it_is_and_what_may_be_done() {
    let identity =
        authenticator(|_| {}).identify(Some(&token(&with(json!({"tenant": 7}))))).expect("good");
    assert_eq!(identity.subject().map(|s| &**s), Some("ann"));
    assert_eq!(identity.token_id(), Some("t1"));
    let left = identity.expires_in().expect("it expires");
    assert!(left <= Duration::from_secs(60) && left > Duration::from_secs(30), "{left:?}");
    let rights = identity.rights();
    assert!(rights.may_receive("orders.eu") && !rights.may_receive("users.ann"));
    assert!(!rights.may_publish("orders.eu") && !rights.may_mutate("state.a.b"));
    assert!(!rights.is_admin());
    assert_eq!(identity.claim::<u32>("tenant").expect("a number"), Some(7));
    assert_eq!(identity.claim::<u32>("other").expect("none"), None);
    let wrong = identity.claim::<String>("tenant").expect_err("no text").to_string();
    assert!(wrong.starts_with("the claim \"tenant\": "), "{wrong}");
    assert!(!format!("{identity:?}").contains("t1"), "{identity:?}");
}

#[test]
fn what_a_token_leaves_out_is_what_the_configuration_says() {
    let claims = json!({"sub": "ann", "exp": at(60), "publish": ["a"]});
    let rights = |authenticator: &Authenticator| {
        authenticator.identify(Some(&token(&claims))).expect("good").rights().clone()
    };
    let strict = rights(&authenticator(|_| {}));
    assert!(!strict.may_receive("x") && strict.may_publish("a") && !strict.may_mutate("x"));
    let lenient = rights(&authenticator(|config| {
        config.subscribe = vec!["**".to_owned()];
        config.publish = vec!["b".to_owned()];
    }));
    assert!(lenient.may_receive("x") && lenient.may_publish("a") && !lenient.may_publish("b"));
    let wrong = Auth { secret: SECRET.into(), mutate: vec![String::new()], ..Auth::default() };
    let error = Authenticator::new(&wrong).expect_err("no pattern").to_string();
    assert!(error.starts_with("auth.mutate: \"\""), "{error}");
}

#[test]
fn every_other_token_is_refused_with_its_reason() {
    let strict = authenticator(|config| {
        config.audience = vec!["tidings".to_owned(), "other".to_owned()];
        config.issuer = vec!["https://id.example".to_owned()];
    });
    let lax = authenticator(|_| {});
    let ours = json!({"aud": ["x", "tidings"], "iss": "https://id.example"});
    strict.identify(Some(&token(&with(ours.clone())))).expect("good");
    let missing = |claim: &str| Denied::Missing(claim.to_owned());
    let without = |claim: &str| {
        let mut claims = good();
        claims.as_object_mut().expect("an object").remove(claim);
        token(&claims)
    };
    let other = EncodingKey::from_secret(b"another secret, of others, 32 byte");
    let forged = token(&good());
    let (head, signature) = forged.rsplit_once('.').expect("three parts");
    let (header, _) = head.split_once('.').expect("three parts");
    let changed = url_safe(with(json!({"sub": "root"})).to_string().as_bytes());
    let none = url_safe(br#"{"alg":"none","typ":"JWT"}"#);
    for (authenticator, token, reason) in [
        (&lax, String::new(), Denied::Malformed),
        (&lax, "a.b".to_owned(), Denied::Malformed),
        (&lax, "a.b.c".to_owned(), Denied::Malformed),
        (&lax, format!("{forged}.x"), Denied::Malformed),
        (&lax, signed(&Header::new(Algorithm::HS256), &good(), &other), Denied::Signature),
        (&lax, format!("{header}.{changed}.{signature}"), Denied::Signature),
        (&lax, format!("{head}."), Denied::Signature),
        (&lax, format!("{none}.{changed}."), Denied::Algorithm),
        (&lax, with_header(r#"{"alg":"None"}"#, &good()), Denied::Algorithm),
        (&lax, with_header(r#"{"alg":"HS512"}"#, &good()), Denied::Algorithm),
        (&lax, with_header(r#"{"alg":"RS256"}"#, &good()), Denied::Algorithm),
        (&lax, with_header(r#"{"alg":"HS256","crit":["x"]}"#, &good()), Denied::Critical),
        (&lax, with_header(r#"{"typ":"JWT"}"#, &good()), Denied::Malformed),
        (&lax, token(&with(json!({"exp": at(-30)}))), Denied::Expired),
        (&lax, token(&with(json!({"nbf": at(30)}))), Denied::NotYet),
        (&lax, without("exp"), missing("exp")),
        (&lax, without("sub"), missing("sub")),
        (&strict, token(&with(json!({"iss": "https://id.example"}))), missing("aud")),
        (&strict, token(&with(json!({"aud": "x", "iss": "https://id.example"}))), Denied::Audience),
        (&strict, token(&with(json!({"aud": "tidings", "iss": "x"}))), Denied::Issuer),
        (&strict, token(&with(json!({"aud": "tidings"}))), missing("iss")),
    ] {
        let denied = authenticator.identify(Some(&token)).expect_err(&token);
        assert_eq!(denied, reason, "{token}");
        assert!(!denied.to_string().contains(signature));
    }
    for (claims, part) in [
        (json!({"subscribe": "orders"}), "lists of patterns"),
        (json!({"subscribe": ["orders..\u{7}"]}), "`subscribe` must be a list of patterns"),
        (json!({"admin": "yes"}), "true or false"),
    ] {
        let denied = lax.identify(Some(&token(&with(claims)))).expect_err(part);
        assert!(denied.to_string().contains(part), "{denied}");
        assert_eq!(denied.word(), "claim");
    }
    assert_eq!(lax.identify(None), Err(Denied::NoToken));
}

#[test]
fn clocks_may_differ_a_little() {
    let lax = authenticator(|config| config.leeway = Duration::from_secs(60));
    for claims in [json!({"exp": at(-30)}), json!({"nbf": at(30)})] {
        let identity = lax.identify(Some(&token(&with(claims)))).expect("within the leeway");
        assert!(identity.ends_in().expect("it ends") > Duration::ZERO);
    }
    assert_eq!(lax.identify(Some(&token(&with(json!({"exp": at(-90)}))))), Err(Denied::Expired));
    let far = lax.identify(Some(&token(&with(json!({"exp": 1e12}))))).expect("far away");
    assert!(far.ends_in().expect("it ends") > Duration::from_secs(1 << 30));
}

#[test]
fn without_keys_everybody_is_let_in_and_anonymous_clients_if_it_is_said() {
    let open = Authenticator::new(&Auth::default()).expect("open");
    assert!(open.is_open());
    let rights = open.identify(Some("whatever")).expect("anybody").rights().clone();
    assert!(rights.is_admin() && rights.may_publish("x") && rights.may_receive("x"));
    let anonymous = authenticator(|config| {
        config.anonymous = true;
        config.subscribe = vec!["news.*".to_owned()];
    });
    let identity = anonymous.identify(None).expect("anonymous");
    assert_eq!(identity.subject(), None);
    assert!(identity.rights().may_receive("news.x") && !identity.rights().is_admin());
    assert_eq!(anonymous.identify(Some("a.b.c")), Err(Denied::Malformed), "a token must be good");
}

/// A pair of keys for each of the algorithms that ring makes keys for, with its JWK.
fn pairs() -> [(Algorithm, EncodingKey, Value); 2] {
    let random = SystemRandom::new();
    let ec = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
    let p256 = signature::EcdsaKeyPair::generate_pkcs8(ec, &random).expect("a key");
    let pair = signature::EcdsaKeyPair::from_pkcs8(ec, p256.as_ref(), &random).expect("a key");
    let point = pair.public_key().as_ref();
    let (x, y) = (url_safe(&point[1..33]), url_safe(&point[33..]));
    let ec = json!({"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": "ec", "use": "sig"});
    let ed25519 = signature::Ed25519KeyPair::generate_pkcs8(&random).expect("a key");
    let pair = signature::Ed25519KeyPair::from_pkcs8(ed25519.as_ref()).expect("a key");
    let x = url_safe(pair.public_key().as_ref());
    let ed = json!({"kty": "OKP", "crv": "Ed25519", "x": x, "kid": "ed", "alg": "EdDSA"});
    [
        (Algorithm::ES256, EncodingKey::from_ec_der(p256.as_ref()), ec),
        (Algorithm::EdDSA, EncodingKey::from_ed_der(ed25519.as_ref()), ed),
    ]
}

#[test]
fn a_key_is_good_for_its_own_algorithm_and_can_be_changed_while_it_runs() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("keys.json");
    let [(es256, ec_key, ec), (eddsa, ed_key, ed)] = pairs();
    let write = |keys: &[&Value]| std::fs::write(&file, json!({"keys": keys}).to_string()).unwrap();
    let oct = json!({"kty": "oct", "k": url_safe(SECRET.as_bytes()), "kid": "ec2", "alg": "HS256"});
    let skipped = json!({"kty": "EC", "crv": "P-521", "x": "AA", "y": "AA", "kid": "p521"});
    write(&[&ec, &oct, &skipped]);
    let config = Auth { jwks: file.display().to_string(), ..Auth::default() };
    let authenticator = Authenticator::new(&config).expect("keys");
    let named = |algorithm, id: Option<&str>, key: &EncodingKey| {
        let header = Header { kid: id.map(str::to_owned), ..Header::new(algorithm) };
        let token = signed(&header, &good(), key);
        authenticator.identify(Some(&token)).map(|identity| identity.subject().cloned())
    };
    let ann = Ok(Some("ann".into()));
    assert_eq!(named(es256, Some("ec"), &ec_key), ann);
    assert_eq!(named(es256, None, &ec_key), ann, "the only one for ES256");
    assert_eq!(named(eddsa, Some("ed"), &ed_key), Err(Denied::UnknownKey));
    // The public key as a secret: the classic confusion.
    let point = url_safe(ec.to_string().as_bytes());
    let public = EncodingKey::from_secret(point.as_bytes());
    assert_eq!(named(Algorithm::HS256, Some("ec"), &public), Err(Denied::Algorithm));
    assert_eq!(named(Algorithm::HS256, None, &public), Err(Denied::Signature));
    assert_eq!(named(es256, Some("ec2"), &ec_key), Err(Denied::Algorithm));

    write(&[&ec, &ed]);
    authenticator.reload();
    assert_eq!(named(es256, Some("ec"), &ec_key), ann);
    assert_eq!(named(eddsa, Some("ed"), &ed_key), ann);
    // What cannot be read leaves the keys there were.
    std::fs::write(&file, "{").unwrap();
    authenticator.reload();
    assert_eq!(named(eddsa, Some("ed"), &ed_key), ann);
    write(&[&ed]);
    authenticator.reload();
    assert_eq!(named(es256, Some("ec"), &ec_key), Err(Denied::UnknownKey));
}

#[test]
fn an_old_secret_is_good_until_it_is_gone_from_the_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("secrets");
    let next = "the next secret, and it is long enough";
    std::fs::write(&file, format!("{SECRET}\n{next}\n")).unwrap();
    let config = Auth { secret_file: file.display().to_string(), ..Auth::default() };
    let authenticator = Authenticator::new(&config).expect("secrets");
    let token_of = |secret: &str| {
        issue(secret, "ann", Duration::from_secs(60), serde_json::Map::new()).expect("a token")
    };
    let (old, new) = (token_of(SECRET), token_of(next));
    authenticator.identify(Some(&old)).expect("good");
    authenticator.identify(Some(&new)).expect("good");
    std::fs::write(&file, next).unwrap();
    authenticator.reload();
    assert_eq!(authenticator.identify(Some(&old)), Err(Denied::Signature));
    authenticator.identify(Some(&new)).expect("good");
}

#[test]
fn keys_that_cannot_be_used_are_named_at_the_start() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("keys");
    let jwks = Auth { jwks: file.display().to_string(), ..Auth::default() };
    let secrets = Auth { secret_file: file.display().to_string(), ..Auth::default() };
    let error = |config: &Auth| Authenticator::new(config).expect_err("unusable").to_string();
    assert!(error(&jwks).starts_with("auth.jwks: cannot read "), "{}", error(&jwks));
    std::fs::write(&file, " \n").unwrap();
    assert!(error(&jwks).contains("is no JSON Web Key Set"), "{}", error(&jwks));
    assert!(error(&secrets).starts_with("auth.secret_file: "), "{}", error(&secrets));
    std::fs::write(&file, r#"{"keys": [{"kty": "x"}]}"#).unwrap();
    assert!(error(&jwks).contains("has no key that tokens"), "{}", error(&jwks));
}
