//! An instance: answers who it is, and whether it had passed its probes.

use std::{
    io::Write as _,
    process::{ExitCode, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    signal::unix::{SignalKind, signal},
    task::JoinSet,
    time::timeout,
};

use super::{
    own::block_on,
    roles::{App, Manner, Role},
    services::{Question, filler, sum},
    time::pause,
};

pub(super) fn run(app: App) -> ExitCode {
    if app.manner == Manner::Crashes {
        say("it is of no use");
        return ExitCode::from(7);
    }
    // What an instance starts ends with it, however that ends. Its output is no pipe of ours.
    let child = Role::Child(app.run.clone()).command().stdout(Stdio::null()).spawn();
    let code = block_on(listen(app));
    if let Ok(mut child) = child {
        let _ = child.kill();
        let _ = child.wait();
    }
    code
}

async fn listen(app: App) -> ExitCode {
    let Ok(mut asked_to_end) = signal(SignalKind::terminate()) else {
        return ExitCode::FAILURE;
    };
    pause(START).await;
    let port = std::env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(8080);
    let listener = match TcpListener::bind(("127.0.0.1", port)).await {
        Ok(listener) => listener,
        Err(error) => {
            say(&format!("cannot listen on port {port}: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let app = Arc::new((app, AtomicBool::new(false)));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let app = Arc::clone(&app);
                connections.spawn(async move {
                    let _ = serve(stream, &app.0, &app.1).await;
                });
            }
            Some(_) = connections.join_next() => {}
            _ = asked_to_end.recv() => break,
        }
    }
    drop(listener);
    // Requests under way are finished; connections without one are closed after a while.
    let _ = timeout(GRACE, async { while connections.join_next().await.is_some() {} }).await;
    ExitCode::SUCCESS
}

/// Answers what comes by one connection, until it is closed.
async fn serve(stream: TcpStream, app: &App, passed: &AtomicBool) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    loop {
        let mut target = String::new();
        let mut length = 0;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            let line = line.trim_end();
            if target.is_empty() {
                target = line.split(' ').nth(1).unwrap_or("/").to_owned();
                continue;
            }
            if line.is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().unwrap_or(0);
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        answer(stream.get_mut(), app, passed, &target, &body).await?;
    }
}

async fn answer(
    stream: &mut TcpStream,
    app: &App,
    passed: &AtomicBool,
    target: &str,
    body: &[u8],
) -> std::io::Result<()> {
    let Some(question) = Question::parse(target) else {
        let well = app.manner == Manner::Well;
        let status = if well { "200 OK" } else { "500 Internal Server Error" };
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
        stream.write_all(head.as_bytes()).await?;
        if well {
            // After it was answered: nobody can know of it before.
            passed.store(true, Ordering::Release);
        }
        return Ok(());
    };
    let has_passed = passed.load(Ordering::Acquire);
    pause(question.work).await;
    let mark = if has_passed { "passed" } else { "unproven" };
    let (service, version, id) = (&app.service, &app.version, question.id);
    let (process, sum) = (std::process::id(), sum(body));
    let mut text = format!("{mark} {service} {version} {id} {process} {sum}\n").into_bytes();
    text.extend(filler(id, question.size));
    say(&format!("{id}: {} bytes for {} bytes", text.len(), body.len()));
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", text.len());
    stream.write_all(head.as_bytes()).await?;
    let pieces = question.pieces.max(1);
    for piece in text.chunks(text.len().div_ceil(pieces)) {
        stream.write_all(piece).await?;
        if pieces > 1 {
            pause(BETWEEN_PIECES).await;
        }
    }
    Ok(())
}

/// Is there until somebody ends it.
pub(super) fn stay() -> ExitCode {
    block_on(std::future::pending())
}

/// Its log; on a full disk there is a line less.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// How long an instance takes to start.
const START: Duration = Duration::from_millis(100);
const BETWEEN_PIECES: Duration = Duration::from_millis(40);
/// How long requests under way have when it is asked to end.
const GRACE: Duration = Duration::from_secs(2);
