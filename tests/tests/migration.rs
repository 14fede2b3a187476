//! docs/migrating-from-socketio.md: one chat, on Node and on Tidings, with one front end.

use tidings_tests::example::{Serving, example, root};
use tidings_tests::node;

const ANY: &str = "127.0.0.1:0";

/// The front end with a version of socket.io-client.
fn front_end(server: &Serving, library: &str) {
    let arguments = [server.url.as_str(), library, "default", "default"];
    let said = node::converse("chat/client.js", &arguments, |request| panic!("{request:?}?"));
    let said = said.unwrap_or_else(|error| panic!("{error}"));
    assert!(said.ends_with("done\n"), "{said}");
}

#[test]
fn the_chat_works_on_node() {
    let mut server = node::script("chat/server.js").unwrap_or_else(|error| panic!("{error}"));
    let server = Serving::start(server.arg(ANY));
    front_end(&server, "socket.io-client");
}

#[test]
fn the_chat_works_on_tidings() {
    let server = Serving::start(example("tidings-server", "chat").arg(ANY));
    for library in ["socket.io-client", "socket.io-client-4.5", "socket.io-client-4.0"] {
        front_end(&server, library);
    }
}

/// A file without the comment at its beginning.
fn program(path: &str) -> String {
    let text = std::fs::read_to_string(root().join(path)).expect("a file");
    let lines = text.lines().skip_while(|line| line.is_empty() || line.starts_with("//"));
    lines.flat_map(|line| [line, "\n"]).collect()
}

#[test]
fn the_guide_shows_both_programs_as_they_are() {
    let guide = root().join("docs/migrating-from-socketio.md");
    let guide = std::fs::read_to_string(guide).expect("a file");
    for (language, path) in
        [("js", "tests/node/chat/server.js"), ("rust", "server-reference/examples/chat.rs")]
    {
        let block = format!("```{language}\n{}```", program(path));
        assert!(guide.contains(&block), "the guide does not show {path} as it is:\n{block}");
    }
}
