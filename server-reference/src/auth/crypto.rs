//! The cryptography of tokens, by ring, which TLS has in the process anyway. jsonwebtoken leaves it
//! to a provider; those it brings are one more implementation of everything.

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result, new_error};
use jsonwebtoken::jwk::ThumbprintHash;
use jsonwebtoken::signature::{Error, Signer, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, EncodingKey};
use ring::{digest, hmac, rand, signature};

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key| {
        if key.family() != algorithm.family() {
            return Err(new_error(ErrorKind::InvalidKeyFormat));
        }
        Ok(Box::new(Signs { algorithm: *algorithm, key: key.clone() }))
    },
    verifier_factory: |algorithm, key| {
        if key.family() != algorithm.family() {
            return Err(new_error(ErrorKind::InvalidAlgorithm));
        }
        Ok(Box::new(Verifies { algorithm: *algorithm, key: key.clone() }))
    },
    key_utils: KeyUtils {
        rsa_pub_components_from_private_key: |_| unsupported(),
        rsa_pub_components_from_public_key: |_| unsupported(),
        ec_pub_components_from_private_key: |_, _| unsupported(),
        ed_pub_components_from_private_key: |_, _| unsupported(),
        compute_digest: |data, hash| {
            let algorithm = match hash {
                ThumbprintHash::SHA256 => &digest::SHA256,
                ThumbprintHash::SHA384 => &digest::SHA384,
                ThumbprintHash::SHA512 => &digest::SHA512,
                _ => return unsupported(),
            };
            Ok(digest::digest(algorithm, data).as_ref().to_vec())
        },
    },
};

fn unsupported<T>() -> Result<T> {
    Err(new_error(ErrorKind::UnsupportedAlgorithm))
}

/// Has jsonwebtoken use ring in this process, unless it uses something else already.
pub(super) fn install() {
    // An application may have chosen: what it has chosen verifies as well.
    let _ = PROVIDER.install_default();
}

struct Verifies {
    algorithm: Algorithm,
    key: DecodingKey,
}

impl Verifier<Vec<u8>> for Verifies {
    fn verify(&self, message: &[u8], signed: &Vec<u8>) -> std::result::Result<(), Error> {
        if let Some(algorithm) = hash_of(self.algorithm) {
            let secret =
                self.key.try_get_as_bytes().map_err(|why| Error::from_source(why.to_string()))?;
            // Takes the same time wherever they differ.
            return hmac::verify(&hmac::Key::new(algorithm, secret), message, signed)
                .map_err(|_| Error::new());
        }
        let verified = match (rsa_of(self.algorithm), self.key.kind()) {
            (Some(algorithm), DecodingKeyKind::RsaModulusExponent { n, e }) => {
                signature::RsaPublicKeyComponents { n, e }.verify(algorithm, message, signed)
            }
            (Some(algorithm), DecodingKeyKind::SecretOrDer(key)) => {
                signature::UnparsedPublicKey::new(algorithm, key).verify(message, signed)
            }
            (None, DecodingKeyKind::SecretOrDer(key)) => {
                let algorithm: &dyn signature::VerificationAlgorithm = match self.algorithm {
                    Algorithm::ES256 => &signature::ECDSA_P256_SHA256_FIXED,
                    Algorithm::ES384 => &signature::ECDSA_P384_SHA384_FIXED,
                    Algorithm::EdDSA => &signature::ED25519,
                    _ => return Err(Error::new()),
                };
                signature::UnparsedPublicKey::new(algorithm, key).verify(message, signed)
            }
            (None, DecodingKeyKind::RsaModulusExponent { .. }) => return Err(Error::new()),
        };
        verified.map_err(|_| Error::new())
    }
}

impl JwtVerifier for Verifies {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

struct Signs {
    algorithm: Algorithm,
    key: EncodingKey,
}

impl Signer<Vec<u8>> for Signs {
    fn try_sign(&self, message: &[u8]) -> std::result::Result<Vec<u8>, Error> {
        let key = self.key.as_bytes();
        let random = rand::SystemRandom::new();
        if let Some(algorithm) = hash_of(self.algorithm) {
            return Ok(hmac::sign(&hmac::Key::new(algorithm, key), message).as_ref().to_vec());
        }
        let ecdsa = match self.algorithm {
            Algorithm::ES256 => &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
            Algorithm::ES384 => &signature::ECDSA_P384_SHA384_FIXED_SIGNING,
            Algorithm::EdDSA => {
                let pair = signature::Ed25519KeyPair::from_pkcs8_maybe_unchecked(key)
                    .map_err(|why| Error::from_source(why.to_string()))?;
                return Ok(pair.sign(message).as_ref().to_vec());
            }
            _ => return self.sign_rsa(message, &random),
        };
        let pair = signature::EcdsaKeyPair::from_pkcs8(ecdsa, key, &random)
            .map_err(|why| Error::from_source(why.to_string()))?;
        let signed = pair.sign(&random, message).map_err(|_| Error::new())?;
        Ok(signed.as_ref().to_vec())
    }
}

impl Signs {
    fn sign_rsa(
        &self,
        message: &[u8],
        random: &rand::SystemRandom,
    ) -> std::result::Result<Vec<u8>, Error> {
        let padding: &dyn signature::RsaEncoding = match self.algorithm {
            Algorithm::RS256 => &signature::RSA_PKCS1_SHA256,
            Algorithm::RS384 => &signature::RSA_PKCS1_SHA384,
            Algorithm::RS512 => &signature::RSA_PKCS1_SHA512,
            Algorithm::PS256 => &signature::RSA_PSS_SHA256,
            Algorithm::PS384 => &signature::RSA_PSS_SHA384,
            Algorithm::PS512 => &signature::RSA_PSS_SHA512,
            _ => return Err(Error::new()),
        };
        let pair = ring::rsa::KeyPair::from_der(self.key.as_bytes())
            .map_err(|why| Error::from_source(why.to_string()))?;
        let mut signed = vec![0; pair.public().modulus_len()];
        pair.sign(padding, random, message, &mut signed).map_err(|_| Error::new())?;
        Ok(signed)
    }
}

impl JwtSigner for Signs {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

fn hash_of(algorithm: Algorithm) -> Option<hmac::Algorithm> {
    match algorithm {
        Algorithm::HS256 => Some(hmac::HMAC_SHA256),
        Algorithm::HS384 => Some(hmac::HMAC_SHA384),
        Algorithm::HS512 => Some(hmac::HMAC_SHA512),
        _ => None,
    }
}

fn rsa_of(algorithm: Algorithm) -> Option<&'static signature::RsaParameters> {
    match algorithm {
        Algorithm::RS256 => Some(&signature::RSA_PKCS1_2048_8192_SHA256),
        Algorithm::RS384 => Some(&signature::RSA_PKCS1_2048_8192_SHA384),
        Algorithm::RS512 => Some(&signature::RSA_PKCS1_2048_8192_SHA512),
        Algorithm::PS256 => Some(&signature::RSA_PSS_2048_8192_SHA256),
        Algorithm::PS384 => Some(&signature::RSA_PSS_2048_8192_SHA384),
        Algorithm::PS512 => Some(&signature::RSA_PSS_2048_8192_SHA512),
        _ => None,
    }
}
