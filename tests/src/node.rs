//! Running scripts in tests/node with the npm packages they need.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Runs a script in tests/node to its end and returns what it wrote to its standard output.
///
/// The packages named in tests/node/package.json are installed first if they are not there.
///
/// # Errors
/// Says what to install when Node is missing, or what the script complained about.
pub fn run(script: &str) -> Result<String, String> {
    static INSTALLED: OnceLock<Result<(), String>> = OnceLock::new();
    INSTALLED.get_or_init(install).clone()?;
    output(Command::new("node").arg(script))
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("node")
}

/// Installs the packages, unless that was done since package.json was last changed. A lock keeps
/// test processes that run at the same time from installing over each other.
fn install() -> Result<(), String> {
    let lock = std::fs::File::create(directory().join(".install-lock"));
    let lock = lock.map_err(|error| format!("cannot write to tests/node: {error}"))?;
    lock.lock().map_err(|error| format!("cannot lock tests/node: {error}"))?;
    let changed = |file: &str| std::fs::metadata(directory().join(file)).and_then(|m| m.modified());
    match (changed("package.json"), changed("node_modules/.package-lock.json")) {
        (Ok(wanted), Ok(installed)) if wanted <= installed => Ok(()),
        _ => {
            eprintln!("installing the npm packages of tests/node");
            let arguments = ["install", "--no-package-lock", "--no-audit", "--no-fund"];
            output(Command::new("npm").args(arguments)).map(drop)
        }
    }
}

fn output(command: &mut Command) -> Result<String, String> {
    let output = command.current_dir(directory()).output().map_err(|error| {
        format!(
            "cannot run {command:?}: {error}; install Node 20 or later with npm, for example by \
             `apt install nodejs npm`"
        )
    })?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(format!(
            "{command:?} ended with {}\n{}{}",
            output.status,
            text(&output.stdout),
            text(&output.stderr)
        ))
    }
}
