//! The program itself, and all that it writes to its log.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

use crate::tokens::SECRET;

/// The program, which logs as much as it can.
pub(crate) struct Program {
    child: Child,
    pub(crate) address: SocketAddr,
    /// What it had logged when it listened, and what it logs after that.
    begun: String,
    rest: Option<JoinHandle<String>>,
}

impl Drop for Program {
    fn drop(&mut self) {
        // It has ended already, unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Program {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tidings-server"))
            .args(["--listen", "127.0.0.1:0", "--log", "trace"])
            .args(arguments)
            .env("TIDINGS_AUTH_SECRET", SECRET)
            .env_remove("RUST_LOG")
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut log = BufReader::new(child.stderr.take().expect("its log"));
        let mut begun = String::new();
        let address = loop {
            let mut line = String::new();
            assert_ne!(log.read_line(&mut line).expect("a line"), 0, "it has ended: {begun}");
            begun.push_str(&line);
            let word = line.split_whitespace().find_map(|word| word.strip_prefix("address="));
            if let Some(address) = word {
                break address.parse().expect("an address");
            }
        };
        let rest = Some(std::thread::spawn(move || {
            let mut rest = String::new();
            log.read_to_string(&mut rest).expect("text");
            rest
        }));
        Self { child, address, begun, rest }
    }

    /// Stops it. Returns all that it has logged.
    pub(crate) fn stop(mut self) -> String {
        Command::new("kill").arg(self.child.id().to_string()).status().expect("kill");
        self.child.wait().expect("it ends");
        let rest = self.rest.take().map(|rest| rest.join().expect("read"));
        let text = format!("{}{}", self.begun, rest.unwrap_or_default());
        assert!(text.contains("TRACE") || text.contains("DEBUG"), "the log says enough: {text}");
        text
    }
}
