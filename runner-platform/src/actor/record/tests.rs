//! What released versions wrote, read by this one.
//!
//! `tests/journals/VERSION.redb` is a journal as that version left it, with services in states that
//! tell: in use, in the middle of a deployment, before approval, paused, failed. Once a version is
//! released its file is never written again. Before the first release that writes another form:
//!
//! ```console
//! $ cargo test -p runner-platform --lib -- --ignored a_fixture_is_written
//! ```
//!
//! writes `tests/journals/new.redb`; give it the version's name, and it a line in `FIXTURES`.

use std::path::PathBuf;

use runner_core::{
    BoxFuture,
    id::RevisionNumber,
    journal::Journal,
    secret::{ResolvedSecret, Secret, SecretProvider},
    service::Status,
    spec::{SecretReference, ServiceSpec},
};
use serde_json::{Value, json};

use super::*;
use crate::{journal::DiskJournal, testing::Memory};

const FIXTURES: &[(&str, &[u8])] = &[("0.1", include_bytes!("../../../tests/journals/0.1.redb"))];

/// A file that is removed with what is beside it.
struct File(PathBuf);

impl File {
    fn new(name: &str, bytes: &[u8]) -> Self {
        let folder = format!("runner-record-{}-{name}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        std::fs::create_dir_all(&folder).expect("a directory");
        std::fs::write(folder.join("state.redb"), bytes).expect("written");
        Self(folder)
    }

    fn path(&self) -> PathBuf {
        self.0.join("state.redb")
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Everything that was written is there with its value. A later version may know more.
fn assert_kept(path: &str, written: &Value, read: &Value) {
    match (written, read) {
        (Value::Object(written), Value::Object(read)) => {
            for (name, written) in written {
                let path = format!("{path}.{name}");
                let read = read.get(name).unwrap_or_else(|| panic!("{path} is not kept"));
                assert_kept(&path, written, read);
            }
        }
        (Value::Array(written), Value::Array(read)) => {
            assert_eq!(written.len(), read.len(), "{path}");
            for (index, (written, read)) in written.iter().zip(read).enumerate() {
                assert_kept(&format!("{path}[{index}]"), written, read);
            }
        }
        (written, read) => assert_eq!(written, read, "{path}"),
    }
}

#[tokio::test]
async fn what_released_versions_wrote_is_read_field_by_field() {
    for (version, bytes) in FIXTURES {
        let file = File::new("fields", bytes);
        let journal = DiskJournal::open(file.path()).expect("known");
        assert_eq!(journal.opened().epoch.number(), 2);
        let mut found = Vec::new();
        for record in journal.records().await.expect("read") {
            let RecordKey::Service(id) = record.key else { continue };
            let stored = Stored::read(&record).unwrap_or_else(|error| panic!("{version}: {error}"));
            let written: Value = serde_json::from_slice(&record.bytes).expect("JSON");
            let read = serde_json::to_value(&stored).expect("plain data");
            assert_kept(&format!("{version}: {}", stored.name), &written, &read);
            // And it goes on from there.
            let (machine, _) = Service::recover(stored.machine.clone(), journal.opened().newest);
            assert_eq!(machine.settings(), stored.settings());
            assert!(!journal.history(id, 9).await.expect("read").is_empty(), "{}", stored.name);
            let service = stored.machine.service();
            found.push((
                stored.name.to_string(),
                service.status(),
                (service.live(), service.green()),
                stored.operations.iter().map(|one| one.ended.is_some()).collect::<Vec<_>>(),
            ));
        }
        found.sort_by(|one, other| one.0.cmp(&other.0));
        let [first, second] = [1, 2].map(|number| Some(RevisionNumber::new(number)));
        let expected = [
            ("approved-soon", Status::OperationInProgress, (first, second), vec![true, false]),
            ("code", Status::CreateFailed, (None, None), vec![true]),
            ("deploying", Status::OperationInProgress, (first, second), vec![true, false]),
            ("everything", Status::Running, (second, None), vec![true, true]),
            ("failed", Status::CreateFailed, (None, None), vec![true]),
            ("image", Status::CreateFailed, (None, None), vec![true]),
            ("paused", Status::Paused, (first, None), vec![true, true]),
        ];
        let expected = expected.map(|(name, a, b, c)| (name.to_owned(), a, b, c));
        assert_eq!(found, expected, "{version}");
    }
}

#[tokio::test]
async fn a_platform_takes_up_what_released_versions_wrote() {
    for (version, bytes) in FIXTURES {
        let file = File::new("taken-up", bytes);
        let world = Memory::new(1);
        let (platform, driver) = world.builder().journal(file.path()).build().expect("known");
        #[expect(clippy::disallowed_methods, reason = "the embedding program spawns the driver")]
        let driver = tokio::spawn(driver.run());
        let services = platform.list().await.expect("it runs");
        assert_eq!(services.len(), 7, "{version}: {services:?}");
        let everything = platform.describe("everything").await.expect("it is there");
        let (_, settings) = (everything.spec.revision(), everything.spec.settings());
        let wanted = spec_of(&everything_that_is_offered("2"));
        assert_eq!(settings, wanted.settings());
        assert_eq!(everything.spec.revision(), wanted.revision());
        driver.abort();
        let _ = driver.await;
    }
}

/// The policy of the form: what an older program does not know it passes over, and forgets at its
/// next commit; what is missing is said.
#[tokio::test]
async fn fields_that_are_not_known_are_passed_over_and_those_that_are_missing_refused() {
    let file = File::new("policy", FIXTURES[0].1);
    let journal = DiskJournal::open(file.path()).expect("known");
    let mut records = journal.records().await.expect("read").into_iter();
    let record = records.find(|one| one.key != RecordKey::Platform).expect("a service");
    let with = |change: &dyn Fn(&mut serde_json::Map<String, Value>)| {
        let mut fields = serde_json::from_slice(&record.bytes).expect("JSON");
        change(&mut fields);
        let bytes = serde_json::to_vec(&fields).expect("JSON");
        Stored::read(&journal::Record { bytes, ..record.clone() })
    };
    with(&|fields| drop(fields.insert("later".into(), json!(1)))).expect("passed over");
    for field in ["name", "created", "form", "machine", "operations"] {
        let refusal = with(&|fields| drop(fields.remove(field))).expect_err("it is missing");
        assert_eq!(refusal.kind(), ErrorKind::Corrupt, "{field}");
    }
    let newer = with(&|fields| drop(fields.insert("form".into(), json!(9)))).expect_err("newer");
    assert_eq!(newer.kind(), ErrorKind::Unsupported);
    assert!(newer.to_string().contains("form 9"), "{newer}");
}

/// A store in which there is everything.
struct Known;

impl SecretProvider for Known {
    fn resolve<'a>(
        &'a self,
        _: &'a SecretReference,
    ) -> BoxFuture<'a, Result<ResolvedSecret, Error>> {
        Box::pin(async { Ok(ResolvedSecret::unversioned(Secret::new("nobody reads this"))) })
    }
}

fn spec_of(json: &Value) -> ServiceSpec {
    match ServiceSpec::from_json(json.to_string()) {
        Ok(checked) => checked.value,
        Err(faults) => panic!("{faults}"),
    }
}

/// A value for each field that a platform takes.
fn everything_that_is_offered(a: &str) -> Value {
    json!({
        "name": "everything",
        "source": { "command": ["./hello"] },
        "port": 3000,
        "protocol": "h2c",
        "environment": { "A": a },
        "secrets": { "B": { "name": "b", "version": "2", "provider": "vault" } },
        "instance": {
            "cpu": "0.5 vCPU", "memory": "512 MB", "disk": "10 GB",
            "working_directory": "/app", "stop_grace": "10s",
        },
        "health": {
            "start_allowance": "1m",
            "startup": { "protocol": "tcp", "interval": "1s" },
            "readiness": {
                "protocol": "http", "path": "/ready", "method": "POST", "host": "a.example",
                "headers": { "x-probe": "1" }, "success": "200-299,304", "contains": "up",
                "port": 9000, "delay": "1s", "interval": "3s", "timeout": "250ms",
                "healthy": 2, "unhealthy": 4,
            },
            "liveness": { "protocol": "grpc", "service": "hello" },
        },
        "scaling": {
            "cap": { "minimum": 5, "maximum": 50 }, "minimum": 2, "maximum": 9,
            "minimum_active": 2, "target_utilisation": 60, "scale_in_delay": "3m",
            "standby_after": "1m", "zero_after": "1h",
            "schedules": [{
                "days": ["monday", "friday"], "from": "08:00", "until": "18:00",
                "utc_offset": "+01:00", "minimum": 4, "maximum": 9,
            }],
        },
        "overflow": {
            "max_waiting": 1000, "max_wait": "5s", "hold_while_starting": "20s",
            "status": { "full": 503, "unavailable": 500, "too_slow": 502 },
            "priority": [{ "path": "/pay", "header": "x-plan", "value": "gold", "class": 1 }],
            "fairness": { "by": "header", "header": "x-tenant", "weights": { "big": 4 } },
        },
        "deployment": {
            "strategy": "stepped", "steps": [5, 50, 100], "step_interval": "2m", "surge": 50,
            "bake": "1m", "first_bake": "2s", "drain": "3m", "keep_warm": "10m",
            "concurrent_edits": "supersede", "failure_limit": 5,
        },
        "limits": {
            "body": "30s", "idle": "20s", "total": "90s", "upgraded_idle": "10m",
            "body_size": "10 MB",
        },
        "routing": {
            "published": true, "allow": ["192.0.2.0/24"],
            "routes": [{ "host": "a.example", "path": "/a" }],
            "domains": [{ "name": "example.com", "www": true }],
        },
        "sticky": { "by": "cookie", "name": "who", "lifetime": "1h", "strict": true },
        "observability": { "access_log": true },
        "tags": { "team": "greetings" },
    })
}

fn simple(name: &str, a: &str, deployment: &Value) -> Value {
    json!({
        "name": name,
        "source": { "command": ["./hello"] },
        "environment": { "A": a },
        "scaling": { "cap": 10, "minimum": 1, "maximum": 4 },
        "deployment": deployment,
    })
}

#[tokio::test(start_paused = true)]
#[ignore = "writes a file for versions to come; see the page of these tests"]
async fn a_fixture_is_written() {
    let world = Memory::new(1);
    let builder = world.builder().secret_store("vault", Known);
    let (platform, driver) = builder.build().expect("built");
    #[expect(clippy::disallowed_methods, reason = "the embedding program spawns the driver")]
    let driver = tokio::spawn(driver.run());
    let create = async |spec: Value| platform.create_checked(spec_of(&spec)).await.expect("taken");
    let update = async |spec: Value| platform.update_checked(spec_of(&spec)).await.expect("taken");

    create(everything_that_is_offered("1")).await.finished().await.expect("deployed");
    update(everything_that_is_offered("2")).await.finished().await.expect("deployed");
    create(simple("paused", "1", &json!({}))).await.finished().await.expect("deployed");
    platform.pause("paused").await.expect("taken").finished().await.expect("paused");
    let mut failed = simple("failed", "1", &json!({}));
    failed["source"]["command"] = json!(["exit", "7"]);
    create(failed).await.finished().await.expect_err("it ends");
    let credentials = json!({ "name": "registry", "version": "1", "provider": "vault" });
    let image = json!({ "name": "image", "source": {
        "image": "ghcr.io/acme/hello:1.2", "command": ["./hello", "--fast"],
        "credentials": credentials,
    }});
    create(image).await.finished().await.expect_err("nobody resolves images here");
    let code = json!({ "name": "code", "source": { "code": {
        "repository": "https://example.com/hello.git", "branch": "next",
        "credentials": credentials, "dockerfile": "Dockerfile",
    }}});
    create(code).await.finished().await.expect_err("nobody builds code here");
    for (name, deployment) in
        [("approved-soon", json!({ "approval": true })), ("deploying", json!({ "bake": "1h" }))]
    {
        let first = create(simple(name, "1", &deployment)).await;
        if name == "approved-soon" {
            pass(60).await;
            let _ = platform.approve(name).await;
        }
        first.finished().await.expect("deployed");
        let _ = update(simple(name, "2", &deployment)).await;
    }
    // Until each is where it waits.
    pass(300).await;
    driver.abort();
    let _ = driver.await;
    drop(platform);

    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/journals/new.redb");
    assert!(!path.exists(), "a fixture is written once");
    let before = world.storage().open("the fixture").expect("nobody has it");
    let journal = DiskJournal::open(&path).expect("made");
    for record in before.records().await.expect("read") {
        let mut batch = Batch::new(before.opened().newest);
        if let RecordKey::Service(id) = record.key {
            let history = before.history(id, 20).await.expect("read");
            batch = history.into_iter().rev().fold(batch, Batch::note);
        }
        journal.commit(batch.put(record)).await.expect("room");
    }
    drop(journal);
    // Nobody opens a fixture for writing; who has it open is told by a file beside it.
    std::fs::remove_file(path.with_extension("redb.lock")).expect("removed");
}

#[expect(clippy::disallowed_methods, reason = "time is paused: it passes when everybody waits")]
async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}
