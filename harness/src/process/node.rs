//! Servers on Node: the script comes with the harness, its npm packages are installed when they are
//! needed first, and kept in the user's cache.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use sha1::{Digest, Sha1};

const SCRIPT: &str = include_str!("../../node/server.js");
const PACKAGES: &str = include_str!("../../node/package.json");

/// What has to be there.
const INSTALL: &str = "install Node 20 or later with npm (Debian: apt install nodejs npm)";

/// The script, with the packages it needs beside it.
pub(super) fn script() -> Result<PathBuf, String> {
    let directory = cache().join(format!("node-{}", digest()));
    let failed = |error: std::io::Error| format!("{}: {error}", directory.display());
    fs::create_dir_all(&directory).map_err(failed)?;
    // Runs that begin at the same time do not install over each other.
    let lock = fs::File::create(directory.join(".install-lock")).map_err(failed)?;
    lock.lock().map_err(failed)?;
    let script = directory.join("server.js");
    if !directory.join("installed").exists() {
        fs::write(&script, SCRIPT).map_err(failed)?;
        fs::write(directory.join("package.json"), PACKAGES).map_err(failed)?;
        let npm = Command::new("npm")
            .args(["install", "--no-package-lock", "--no-audit", "--no-fund"])
            .current_dir(&directory)
            .output()
            .map_err(|error| format!("cannot run npm: {error}; {INSTALL}"))?;
        if !npm.status.success() {
            let why = String::from_utf8_lossy(&npm.stderr).trim().to_owned();
            return Err(format!("npm cannot install what servers on Node need: {why}"));
        }
        fs::write(directory.join("installed"), "").map_err(failed)?;
    }
    Ok(script)
}

/// Explains why `node` could not be run.
pub(super) fn not_run(error: &std::io::Error) -> String {
    format!("cannot run node: {error}; {INSTALL}")
}

fn cache() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|path| !path.is_empty());
    let cache = set("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| set("HOME").map(|home| PathBuf::from(home).join(".cache")));
    cache.unwrap_or_else(std::env::temp_dir).join("tidings-harness")
}

/// Another script, or other packages, get another directory.
fn digest() -> String {
    let digest = Sha1::new().chain_update(SCRIPT).chain_update(PACKAGES).finalize();
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
