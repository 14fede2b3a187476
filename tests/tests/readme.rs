//! What the README shows is what runs, and what the documents link to is there.

use tidings_tests::example::{Serving, example, root};

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The part of an example that the README shows.
fn shown(example: &str) -> String {
    let text = read(example);
    let (_, rest) = text.split_once("// README: quick start\n").expect("the first mark");
    let (shown, _) = rest.split_once("// README: end").expect("the second mark");
    shown.to_owned()
}

#[test]
fn the_readme_shows_the_examples() {
    let readme = read("README.md");
    for example in
        ["sdk/examples/quick_start_client.rs", "server-reference/examples/quick_start_server.rs"]
    {
        let block = format!("```rust\n{}```", shown(example));
        assert!(readme.contains(&block), "README.md does not show {example} as it is:\n{block}");
    }
}

#[test]
fn the_documents_keep_their_length() {
    for (document, most) in [("README.md", 150), ("ARCHITECTURE.md", 130)] {
        let lines = read(document).lines().count();
        assert!(lines <= most, "{document} has {lines} lines, at most {most} can be read at once");
    }
}

/// The documents, by their paths from the root.
fn documents() -> Vec<String> {
    let mut documents: Vec<String> =
        ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"]
            .map(String::from)
            .into();
    for entry in std::fs::read_dir(root().join("docs")).expect("docs") {
        let name = entry.expect("an entry").file_name().into_string().expect("UTF-8");
        if name.ends_with(".md") {
            documents.push(format!("docs/{name}"));
        }
    }
    documents
}

/// What GitHub makes of a heading.
fn anchor(heading: &str) -> String {
    heading
        .trim_start_matches('#')
        .trim()
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

#[test]
fn links_lead_somewhere() {
    let mut broken = Vec::new();
    for document in documents() {
        let text = read(&document);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") {
                continue;
            }
            let (file, fragment) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => root().join(&document),
                file => root().join(&document).with_file_name("").join(file),
            };
            let found = target.exists()
                && (fragment.is_empty()
                    || std::fs::read_to_string(&target).is_ok_and(|text| {
                        let mut headings = text.lines().filter(|line| line.starts_with('#'));
                        headings.any(|heading| anchor(heading) == fragment)
                    }));
            if !found {
                broken.push(format!("{document}: {link}"));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn the_first_client_talks_to_the_first_server() {
    let mut server = example("tidings-server", "quick_start_server");
    let server = Serving::start(server.arg("127.0.0.1:0"));

    let mut client = example("tidings", "quick_start_client");
    let client = client.arg(&server.url).output().expect("the client");
    let text = String::from_utf8_lossy(&client.stdout);
    assert!(client.status.success(), "{text}");
    assert!(text.contains("orders.eu.created is No. 17"), "{text}");
}
