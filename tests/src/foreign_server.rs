//! Plain Socket.IO servers in Node.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::node;

/// A process that runs tests/node/foreign_server.js; ended when this is dropped.
#[derive(Debug)]
pub struct ForeignServer {
    child: Child,
    /// Ends the process when it is closed, also when this process is killed.
    _stdin: Option<ChildStdin>,
    port: u16,
}

impl ForeignServer {
    /// Starts the server of an npm package (an alias in tests/node/package.json), with `options` as
    /// JSON, and waits until it listens.
    ///
    /// # Errors
    /// If Node is missing, or the server does not start.
    pub fn start(package: &str, options: &str) -> Result<Self, String> {
        node::installed()?;
        let mut child = Command::new("node")
            .current_dir(node::directory())
            .args(["foreign_server.js", package, options])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot run node: {error}"))?;
        let stdin = child.stdin.take();
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).map_err(|error| error.to_string())?;
        }
        let port = line.trim().parse().map_err(|_| format!("{package} did not start: {line:?}"))?;
        Ok(Self { child, _stdin: stdin, port })
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its base URL.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Sends the process a signal: `STOP` makes it silent, `CONT` lets it go on.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        // If it fails, so does the test that waits for its effect.
        let _ = Command::new("kill").args(["-s", name, &pid]).status();
    }
}

impl Drop for ForeignServer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
