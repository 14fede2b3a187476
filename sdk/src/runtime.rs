//! Tasks, timers, time and chance of the platform. With `net` and the storage of files, the only
//! module that knows which platform it is.

#[cfg(target_family = "wasm")]
mod browser;
#[cfg(not(target_family = "wasm"))]
mod native;

use tidings_core::rng::Rng;

#[cfg(target_family = "wasm")]
pub use browser::MaybeSend;
#[cfg(target_family = "wasm")]
pub(crate) use browser::{Alarm, BoxFuture, Clock, Runtime, Timer, off_thread, sleep, unix_millis};
#[cfg(not(target_family = "wasm"))]
pub use native::MaybeSend;
#[cfg(not(target_family = "wasm"))]
pub(crate) use native::{BoxFuture, Clock, Runtime, Timer, off_thread, sleep, unix_millis};

/// Something hard to guess: an identifier of `len` characters, and a seed for jitter.
pub(crate) fn random(len: usize) -> Result<(String, u64), getrandom::Error> {
    let mut id = String::with_capacity(len);
    while id.len() < len {
        // Ten characters of six bits use 60 of the 64 bits each generator starts from.
        let chunk = Rng::new(getrandom::u64()?).id(10.min(len - id.len()));
        id.push_str(&chunk);
    }
    Ok((id, getrandom::u64()?))
}
