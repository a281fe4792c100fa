//! Which crates the public interfaces name.

use std::path::Path;

use super::{
    files_below, is_published, members, none, read,
    source::{bare, crates_named, imports, public_texts},
};

/// Crates that any public interface may name: they are stable, or ours.
const ALLOWED: [&str; 7] =
    ["bytes", "futures_core", "http", "http_body", "serde", "tower_layer", "tower_service"];

/// What a file or folder may name beyond these: features that open sockets name tokio's traits, and
/// types that nobody outside can name implement what they are for.
const ALLOWED_IN: [(&str, &[&str]); 18] = [
    ("runner-health/src/probe/connect.rs", &["tokio"]),
    ("runner-platform/src/journal/disk.rs", &["redb"]),
    ("runner-platform/src/journal/worker.rs", &["tokio"]),
    ("runner-platform/src/path/limited.rs", &["tokio"]),
    ("runner-platform/src/path/reach.rs", &["tokio"]),
    ("runner-platform/src/testing.rs", &["http_body_util"]),
    ("runner-platform/src/testing/certificate/disk.rs", &["redb"]),
    ("runner-proxy/src/forward/connect.rs", &["tokio"]),
    ("runner-proxy/src/forward/http1/mod.rs", &["tokio"]),
    ("runner-proxy/src/forward/memory.rs", &["hyper", "tokio"]),
    ("runner-proxy/src/forward/tasks.rs", &["hyper"]),
    ("runner-proxy/src/forward/tunnel.rs", &["tokio"]),
    ("runner-proxy/src/front_door/connection.rs", &["tokio"]),
    ("runner-proxy/src/front_door/io.rs", &["tokio"]),
    ("runner-proxy/src/front_door/listener.rs", &["tokio"]),
    ("runner-proxy/src/front_door/serve.rs", &["hyper"]),
    ("runner-proxy/src/front_door/streams.rs", &["hyper"]),
    ("runner-proxy/src/sync.rs", &["tokio"]),
];

#[test]
fn public_interfaces_name_only_what_they_may() {
    let mut complaints = Vec::new();
    for member in members().into_iter().filter(|member| is_published(member)) {
        let known = dependencies(&member);
        for path in files_below(&Path::new(&member).join("src"), ".rs") {
            if path.ends_with("tests.rs") || path.components().any(|c| c.as_os_str() == "tests") {
                continue;
            }
            let source = bare(&read(&path));
            let brought = imports(&source);
            for text in public_texts(&source) {
                for name in crates_named(&text, &brought, &known) {
                    let here = path.to_string_lossy();
                    let extra = ALLOWED_IN.iter().filter(|(folder, _)| here.starts_with(folder));
                    let allowed = extra.flat_map(|(_, names)| names.iter()).chain(&ALLOWED);
                    let ours = name.starts_with("runner_") || !known.contains(&name);
                    if !ours && !allowed.into_iter().any(|allowed| *allowed == name) {
                        let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
                        complaints.push(format!("{here}: `{name}` in `{line}`"));
                    }
                }
            }
        }
    }
    none(&complaints);
}

/// The crates that a member depends on, as its code names them.
fn dependencies(member: &str) -> Vec<String> {
    let manifest = read(Path::new(member).join("Cargo.toml"));
    let mut inside = false;
    let mut names = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.ends_with("dependencies]") && !line.contains("dev-");
        } else if inside && line.starts_with(|c: char| c.is_ascii_alphabetic()) {
            let name = line.split(['.', ' ', '=']).next().unwrap_or(line);
            names.push(name.replace('-', "_"));
        }
    }
    names
}

#[test]
fn the_reader_of_sources_sees_what_it_should() {
    let source = bare(
        "use tokio::{sync::{Notify, Mutex as Lock}, time::Instant};\nuse std::fmt;\n\
         /// Not tokio::net.\npub struct Open { pub at: Instant, inner: Notify }\n\
         pub(crate) fn hidden(_: Notify) {}\n\
         impl Open { pub fn lock<T>(&self, with: fn() -> T) -> Lock<T> { let _: Notify; } }\n\
         pub trait Waits { fn until(&self) -> tokio::time::Sleep; }\n\
         impl From<Notify> for Open { type Error = Instant; }\n",
    );
    let brought = imports(&source);
    let known = ["tokio".to_owned()];
    let named: Vec<_> = public_texts(&source)
        .iter()
        .filter(|text| crates_named(text, &brought, &known).iter().any(|name| name == "tokio"))
        .map(|text| text.split_whitespace().take(3).collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(
        named,
        [
            "pub at: Instant",
            "pub fn lock<T>(&self,",
            "pub trait Waits",
            "impl From<Notify> for",
            "type Error ="
        ]
    );
}
