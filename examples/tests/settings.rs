//! The setting whose effect only a real upgraded connection shows: beside those that the platform's
//! own tests see.
#![expect(clippy::disallowed_methods, reason = "a test spawns its platform, and waits for sockets")]

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use runner_backends::process::Process;
use runner_core::spec::ServiceSpec;
use runner_examples::sample_app::SampleApp;
use runner_platform::{Aftermath, Platform};

/// A WebSocket through the front door, its handshake done.
fn upgraded(door: SocketAddr) -> TcpStream {
    let mut socket = TcpStream::connect(door).expect("it listens");
    socket.set_read_timeout(Some(Duration::from_secs(60))).expect("set");
    let head = "GET /ws HTTP/1.1\r\nhost: app.localhost\r\nconnection: upgrade\r\n\
                upgrade: websocket\r\nsec-websocket-version: 13\r\n\
                sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    socket.write_all(head.as_bytes()).expect("sent");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte).expect("a head");
        answer.extend(byte);
    }
    assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&answer));
    socket
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgraded_connection_may_be_silent_for_so_long() {
    let folder = std::env::temp_dir().join(format!("runner-settings-{}", std::process::id()));
    let backend = Process::builder(&folder).ports(18_340..=18_349).build().expect("a backend");
    let (platform, driver) =
        Platform::builder().backend(backend).listen("127.0.0.1:0").build().expect("built");
    let driver = tokio::spawn(driver.run());
    let app = SampleApp::new("app").command_of(env!("CARGO_BIN_EXE_quickstart"));
    let spec = ServiceSpec::command(app).cap(10).between(1, 1);
    platform.create("app", spec).await.expect("accepted").finished().await.expect("deployed");
    let door = platform.addresses()[0];

    let before = tokio::task::spawn_blocking(move || upgraded(door)).await.expect("upgraded");
    let short = platform
        .change("app", |spec| spec.with(|raw| raw.limits.upgraded_idle = Some("200ms".into())));
    short.await.expect("accepted").finished().await.expect("done");
    let after = tokio::task::spawn_blocking(move || {
        let mut after = upgraded(door);
        let mut rest = Vec::new();
        // A word of goodbye, or none, and the end: it ends for no other reason.
        after.read_to_end(&mut rest)
    });
    match after.await.expect("no panic") {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}"),
    }
    // The one that was there keeps the limit that it began with.
    before.set_nonblocking(true).expect("set");
    let silent = before.peek(&mut [0]).expect_err("nothing came, and it is open");
    assert_eq!(silent.kind(), ErrorKind::WouldBlock);

    drop(before);
    platform.shutdown(Duration::from_secs(30), Aftermath::Stop).await.expect("ended");
    driver.await.expect("no panic").expect("an orderly end");
    let _ = std::fs::remove_dir_all(folder);
}
