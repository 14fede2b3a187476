//! Running the project's examples, and other servers, as programs of their own.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The project's directory.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Builds an example, so that it can be run (and killed) without cargo in between.
///
/// # Panics
/// When it does not build.
pub fn example(package: &str, name: &str) -> Command {
    let mut build = Command::new(env!("CARGO"));
    build.current_dir(root()).args(["build", "--quiet", "-p", package, "--example", name]);
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    assert!(build.status().expect("cargo").success(), "{name} does not build");
    let this = std::env::current_exe().expect("the path of this test");
    let profile = this.ancestors().nth(2).expect("target/PROFILE/deps/THIS");
    Command::new(profile.join("examples").join(name))
}

/// A server that ends with the test.
#[derive(Debug)]
pub struct Serving {
    child: Child,
    /// Where it listens, as it has said so.
    pub url: String,
}

impl Serving {
    /// Starts a program whose first line is `listening on` and a URL.
    ///
    /// # Panics
    /// When it does not start, or says something else.
    pub fn start(program: &mut Command) -> Self {
        let mut child = program.stdout(Stdio::piped()).spawn().expect("a server");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let url = line.trim().strip_prefix("listening on ").expect("the URL").to_owned();
        Self { child, url }
    }

    /// Sends the process a signal: `STOP` makes it silent, `KILL` ends it.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        // If it fails, so does the test that waits for its effect.
        let _ = Command::new("kill").args(["-s", name, &pid]).status();
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
