//! The kit for secret providers, over those of the crate and over saboteurs.

mod saboteur;

use std::{fs, path::PathBuf, sync::Arc};

use runner_core::{
    Error,
    error::ErrorKind,
    secret::{EnvironmentSecrets, FileSecrets, Secret, SecretProvider},
    spec::SecretReference,
    testing::{
        clock::TestClock,
        kit::{Report, SecretKit},
    },
};

use self::saboteur::{Flaw, VersionedStore};

/// A directory of this test process that is gone with it.
struct Directory(PathBuf);

impl Directory {
    fn new(test: &str) -> Self {
        let name = format!("runner-conformance-{test}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        // Numbers of processes come again, and a run that was killed left its files.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a directory for the test");
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn secrets_in_files_pass() {
    let (clock, directory) = (TestClock::new(), Directory::new("files"));
    fs::write(directory.0.join("known"), "a value that is known\n").expect("written");
    let path = directory.0.clone();
    let provider = Arc::new(FileSecrets::in_directory(&directory.0));
    let kit = SecretKit::new("files", clock.clone(), provider)
        .known(SecretReference::new("known"), Secret::new("a value that is known"))
        .put(move |reference, value| {
            fs::write(path.join(&reference.name), value.expose())
                .map(|()| None)
                .map_err(|error| Error::new(ErrorKind::Denied, "cannot write").caused_by(error))
        });
    let report = clock.run(kit.run());
    report.assert();
    assert_eq!(report.skipped(), ["a version that is told can be asked for"]);
}

#[test]
fn secrets_in_the_environment_pass() {
    let clock = TestClock::new();
    let known = SecretReference::new("CARGO_PKG_NAME");
    let kit = SecretKit::new("environment", clock.clone(), Arc::new(EnvironmentSecrets::new()))
        .known(known, Secret::new("runner-core"))
        .missing(SecretReference::new("CONFORMANCE_NO_SUCH_VARIABLE"));
    let report = clock.run(kit.run());
    report.assert();
    let without_putting =
        ["a value that was put comes back exactly", "a version that is told can be asked for"];
    assert_eq!(report.skipped(), without_putting);
}

fn examine(flaw: Option<Flaw>) -> Report {
    let clock = TestClock::new();
    let store = Arc::new(VersionedStore::new(flaw));
    let known = SecretReference::new("known");
    store.put(&known, &Secret::new("the-known-value"));
    let putting = Arc::clone(&store);
    let kit = SecretKit::new("versioned", clock.clone(), store as Arc<dyn SecretProvider>)
        .known(known, Secret::new("the-known-value"))
        .put(move |reference, value| Ok(Some(putting.put(reference, value))));
    clock.run(kit.run())
}

#[test]
fn a_store_with_versions_passes_without_a_skip() {
    let report = examine(None);
    report.assert();
    assert!(report.skipped().is_empty(), "{report}");
}

#[test]
fn with_nothing_given_only_refusals_are_checked() {
    let clock = TestClock::new();
    let kit = SecretKit::new("empty", clock.clone(), Arc::new(VersionedStore::new(None)));
    let report = clock.run(kit.run());
    report.assert();
    assert_eq!(report.passed(), 4, "{report}");
}

#[test]
fn each_check_fails_on_a_provider_that_breaks_its_clause_and_no_other() {
    let mut wrong = Vec::new();
    for flaw in Flaw::ALL {
        let report = examine(Some(*flaw));
        if report.failed() != flaw.breaks() {
            wrong.push(format!("{flaw:?} should fail {:?}: {report}", flaw.breaks()));
        }
        assert!(!report.to_string().contains("-known-"), "the report holds a value: {report}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn there_is_a_saboteur_for_every_check() {
    let broken: Vec<_> = Flaw::ALL.iter().flat_map(|flaw| flaw.breaks()).collect();
    let never: Vec<_> =
        SecretKit::checks().into_iter().filter(|name| !broken.contains(name)).collect();
    assert!(never.is_empty(), "nothing shows that these can fail: {never:#?}");
}
