//! Manifests, docs and the sizes of files.

use std::path::Path;

use super::{files_below, is_published, members, none, read};

#[test]
fn every_dependency_says_why_it_is_there() {
    let manifest = read("Cargo.toml");
    let (_, table) = manifest.split_once("[workspace.dependencies]\n").expect("a table");
    let mut complaints = Vec::new();
    let mut reason = false;
    for line in table.lines().take_while(|line| !line.starts_with('[')) {
        if line.starts_with('#') {
            reason = true;
        } else if line.trim().is_empty() {
            reason = false;
        } else if !line.starts_with("runner-") && !reason {
            complaints.push(format!("Cargo.toml: no word on why `{line}`"));
        }
    }
    none(&complaints);
}

#[test]
fn every_published_crate_has_what_its_readers_need() {
    let mut complaints = Vec::new();
    for member in members().iter().filter(|member| is_published(member)) {
        let folder = Path::new(member);
        let manifest = read(folder.join("Cargo.toml"));
        for needed in [
            "version.workspace = true",
            "rust-version.workspace = true",
            "license.workspace = true",
            "description = ",
            "[package.metadata.docs.rs]\nall-features = true",
            "[lints]\nworkspace = true",
        ] {
            if !manifest.contains(needed) {
                complaints.push(format!("{member}/Cargo.toml: no `{needed}`"));
            }
        }
        let page = read(folder.join("src/lib.rs"));
        let unsafety = match member.as_str() {
            "runner-backends" => "#![deny(unsafe_code)]",
            _ => "#![forbid(unsafe_code)]",
        };
        if !page.contains(unsafety) {
            complaints.push(format!("{member}/src/lib.rs: no `{unsafety}`"));
        }
        let title = format!("# {member}\n");
        if !read(folder.join("README.md")).starts_with(&title) {
            complaints.push(format!("{member}/README.md: does not begin with `{}`", title.trim()));
        }
        if !read("README.md").contains(&format!("({member}/README.md)")) {
            complaints.push(format!("README.md: does not lead to {member}"));
        }
    }
    none(&complaints);
}

#[test]
fn versions_are_told_once_and_repeated_truly() {
    let manifest = read("Cargo.toml");
    let value = |key: &str| {
        let line = manifest.lines().find(|line| line.starts_with(key)).expect(key);
        line.split('"').nth(1).expect("a quoted value").to_owned()
    };
    let (version, rust) = (value("version = "), value("rust-version = "));
    let mut complaints = Vec::new();
    let readme = read("README.md");
    if !readme.contains(&format!("They need Rust {rust} or newer")) {
        complaints.push(format!("README.md: does not say that Rust {rust} is needed"));
    }
    for line in readme.lines().filter(|line| line.starts_with("runner-")) {
        if !line.contains(&format!("version = \"{version}\"")) {
            complaints.push(format!("README.md: not version {version}: {line}"));
        }
    }
    if !read("clippy.toml").contains(&format!("msrv = \"{rust}\"")) {
        complaints.push(format!("clippy.toml: msrv is not {rust}"));
    }
    none(&complaints);
}

#[test]
fn every_example_is_run_by_a_test() {
    let tests: String = files_below(Path::new("examples/tests"), ".rs").iter().map(read).collect();
    let complaints: Vec<_> = files_below(Path::new("examples/src/bin"), ".rs")
        .iter()
        // What a binary keeps in a folder of its own is a part of it.
        .filter(|path| path.components().count() == 4)
        .filter_map(|path| {
            let name = path.file_stem()?.to_str()?;
            let variable = format!("CARGO_BIN_EXE_{name}\"");
            (!tests.contains(&variable)).then(|| format!("no test runs the example {name}"))
        })
        .collect();
    none(&complaints);
}

#[test]
fn a_source_file_says_what_it_is_and_fits_in_one_head() {
    let mut complaints = Vec::new();
    for member in members() {
        for path in files_below(Path::new(&member), ".rs") {
            let text = read(&path);
            let lines = text.lines().count();
            let is_test = path
                .components()
                .any(|part| part.as_os_str().to_string_lossy().starts_with("tests"));
            if !text.starts_with("//! ") && !path.ends_with("tests.rs") {
                complaints.push(format!("{}: does not begin by saying what it is", path.display()));
            }
            let most = if is_test { 1_000 } else { 700 };
            if lines > most {
                complaints.push(format!("{}: {lines} lines, more than {most}", path.display()));
            }
            for (number, line) in text.lines().enumerate() {
                let width = line.chars().count();
                // Code is rustfmt's to break; a line that it cannot is better long than bent.
                let words = line.trim_start().strip_prefix("//").unwrap_or("");
                // Tables, links and examples cannot be wrapped like prose.
                let is_prose = !words.is_empty() && !words.contains(['|', '{', '"', ']']);
                if width > 100 && is_prose {
                    complaints.push(format!("{}:{}: {width} wide", path.display(), number + 1));
                }
            }
        }
    }
    none(&complaints);
}
