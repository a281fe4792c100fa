//! The front door and the journal on disk, in real time: what paused time cannot show.

use std::{path::PathBuf, time::Duration};

use runner_core::{error::ErrorKind, service::Status, spec::ServiceSpec};
use runner_platform::{Aftermath, Error, Platform, testing::Memory};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinHandle,
};

/// A directory that is removed with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("runner-platform-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn begin(world: &Memory, folder: &Folder) -> (Platform, JoinHandle<Result<(), Error>>) {
    let builder = world.builder().journal(folder.0.join("state.redb")).listen("127.0.0.1:0");
    let (platform, driver) = builder.build().expect("built");
    #[expect(clippy::disallowed_methods, reason = "the embedding program spawns the driver")]
    (platform, tokio::spawn(driver.run()))
}

/// The first line of the answer.
async fn get(platform: &Platform, host: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(platform.addresses()[0]).await?;
    let request = format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}

async fn serves_over_sockets_and_restarts() {
    let folder = Folder::new("restart");
    let world = Memory::new(1);
    let (platform, driver) = begin(&world, &folder);
    let spec = ServiceSpec::command(["./hello"]).cap(10).between(1, 4);
    let spec = spec.with(|raw| raw.deployment.bake = Some("10ms".into()));
    platform.create("hello", spec).await.expect("accepted").finished().await.expect("deployed");
    assert_eq!(get(&platform, "hello.localhost").await.expect("served"), "HTTP/1.1 200 OK");
    let nobody = get(&platform, "nobody.localhost").await.expect("answered");
    assert_eq!(nobody, "HTTP/1.1 404 Not Found");

    let second = world.engine().clone();
    let held = Platform::builder().backend(second.open()).journal(folder.0.join("state.redb"));
    let Err(refusal) = held.build() else { panic!("it is held") };
    assert_eq!(refusal.kind(), ErrorKind::Conflict);
    let holder = format!("pid {}", std::process::id());
    assert!(refusal.to_string().contains(&holder), "{refusal}");

    platform.shutdown(Duration::from_secs(10), Aftermath::Leave).await.expect("ended");
    driver.await.expect("no panic").expect("an orderly end");
    assert!(get(&platform, "hello.localhost").await.is_err(), "the port is closed");
    // Handles and data path hold the journal; the next one opens it when they are gone.
    drop(platform);
    let before = world.engine().living();
    assert_eq!(before.len(), 1);

    let (platform, driver) = begin(&world, &folder);
    // It waits in the queue until the instance was found and probed.
    assert_eq!(get(&platform, "hello.localhost").await.expect("served"), "HTTP/1.1 200 OK");
    let seen = platform.describe("hello").await.expect("there");
    assert_eq!(seen.status, Status::Running);
    assert_eq!(seen.instances[0].id, before[0].instance);
    driver.abort();
    let _ = driver.await;
    assert!(get(&platform, "hello.localhost").await.is_err(), "a dropped driver closes its port");
}

#[tokio::test]
async fn it_works_on_one_thread() {
    serves_over_sockets_and_restarts().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_is_busy_is_said_before_anything_begins() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address").to_string();
    let builder = Memory::new(2).builder().listen(address.clone());
    let Err(refusal) = builder.build() else { panic!("it is busy") };
    assert_eq!(refusal.kind(), ErrorKind::Conflict);
    assert!(refusal.to_string().contains(&address), "{refusal}");
}

#[tokio::test]
async fn a_backup_that_is_put_in_place_works_on() {
    let folder = Folder::new("backup");
    let world = Memory::new(3);
    let copy = folder.0.join("copy.redb");
    let (platform, driver) = begin(&world, &folder);
    let spec = ServiceSpec::command(["./hello"]).cap(10).between(1, 4);
    let spec = spec.with(|raw| raw.deployment.bake = Some("10ms".into()));
    platform.create("hello", spec).await.expect("accepted").finished().await.expect("deployed");
    platform.back_up(&copy).await.expect("copied");
    let refusal = platform.back_up(&copy).await.expect_err("there already");
    assert_eq!(refusal.kind(), ErrorKind::Conflict);
    let _ = platform.change("hello", |spec| spec.cap(20)).await.expect("it goes on");
    platform.shutdown(Duration::from_secs(10), Aftermath::Leave).await.expect("ended");
    driver.await.expect("no panic").expect("an orderly end");
    drop(platform);
    // The backend hears of later epochs than the copy knows of.
    for _ in 0..2 {
        let (platform, driver) = begin(&world, &folder);
        platform.list().await.expect("it runs");
        get(&platform, "hello.localhost").await.expect("served");
        platform.shutdown(Duration::from_secs(10), Aftermath::Leave).await.expect("ended");
        driver.await.expect("no panic").expect("an orderly end");
    }

    std::fs::copy(&copy, folder.0.join("state.redb")).expect("put in place");
    let (platform, driver) = begin(&world, &folder);
    let cap = platform.describe("hello").await.expect("there").spec.settings().scaling().cap;
    let deployed = platform.change("hello", |spec| spec.environment("A", "b")).await;
    deployed.expect("accepted").finished().await.expect("the backend takes its word");
    let after = platform.change("hello", |spec| spec.cap(10)).await;
    drop(after.expect("accepted"));
    let as_copied = platform.describe("hello").await.expect("there").spec.settings().scaling().cap;
    assert_eq!(cap, as_copied, "what came after the copy is forgotten");
    driver.abort();
    let _ = driver.await;
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_is_no_file_says_that_it_does_not_copy_itself() {
    let (platform, _driver) = Memory::new(4).platform();
    let refusal = platform.back_up("nowhere.redb").await.expect_err("it is in memory");
    assert_eq!(refusal.kind(), ErrorKind::Unsupported);
}
