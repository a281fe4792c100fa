//! What an instance is given: nothing of this program's.

use futures_util::StreamExt;
use runner_core::{
    backend::{ContainerBackend, ExitStatus, OutputStream, PortRequest},
    secret::Secret,
    time::Timestamp,
};

use super::bed::{Bed, id, is_root, shell};

#[tokio::test]
async fn the_environment_is_what_was_asked_for_and_the_port() {
    let bed = Bed::new("environment", 10);
    let mut request = shell(id(1), "/usr/bin/env");
    request.environment.insert("PORT".to_owned(), "1".to_owned());
    request.environment.insert("GREETING".to_owned(), "hello".to_owned());
    request.secrets.insert("KEY".to_owned(), Secret::new("value"));
    let started = bed.backend.start(bed.fence, request).await.expect("a start");
    let address = started.address.expect("it takes requests").to_string();
    let port = address.rsplit(':').next().expect("a port");
    let mut lines: Vec<_> = bed.lines(id(1)).await.into_iter().map(|line| line.text).collect();
    // What a shell sets for itself.
    lines.retain(|line| {
        !["PWD=", "SHLVL=", "_=", "OLDPWD="].iter().any(|own| line.starts_with(own))
    });
    lines.sort();
    let port = format!("PORT={port}");
    assert_eq!(lines, ["GREETING=hello", "KEY=value", "PATH=/usr/bin:/bin", port.as_str()]);
    bed.stop(id(1)).await;
}

#[tokio::test]
async fn it_leads_its_session_in_its_own_directory_without_our_files_or_new_privileges() {
    let bed = Bed::with("surroundings", 10, |builder| builder.umask(0o077).max_open_files(123));
    let ours = std::fs::File::open("/dev/null").expect("one of our files");
    // Not to be closed by exec, as a careless library might leave it.
    rustix::io::fcntl_setfd(&ours, rustix::io::FdFlags::empty()).expect("set");
    let script = "pwd; umask; ulimit -n; ulimit -c; cut -d' ' -f5,6 /proc/$$/stat; echo $$; \
                  grep NoNewPrivs /proc/$$/status; touch file; exec sleep 1000";
    let mut request = shell(id(1), script);
    request.port = PortRequest::None;
    let started = bed.backend.start(bed.fence, request).await.expect("a start");
    assert_eq!(started.address, None);
    let logs = bed.backend.logs(bed.fence, id(1), Timestamp::EPOCH).await.expect("logs");
    let lines: Vec<_> = logs.take(7).map(|line| line.text).collect().await;
    let work = bed.folder(id(1)).join("work");
    let [pwd, umask, files, core, session, own, rest] = lines.as_slice() else {
        panic!("{lines:?}");
    };
    assert_eq!(pwd, work.to_str().expect("text"));
    assert_eq!((umask.as_str(), files.as_str(), core.as_str()), ("0077", "123", "0"));
    assert_eq!(*session, format!("{own} {own}"));
    assert_eq!(*rest, "NoNewPrivs:\t1");
    let open = std::fs::read_dir(format!("/proc/{own}/fd")).expect("it runs").flatten();
    let mut open: Vec<_> = open.map(|entry| entry.file_name()).collect();
    open.sort();
    assert_eq!(open, ["0", "1", "2"]);
    bed.stop(id(1)).await;
    assert!(!work.exists(), "its directory went with it");
    assert!(!bed.folder(id(1)).exists());
}

#[tokio::test]
async fn both_outputs_are_told_apart_and_a_last_line_needs_no_end() {
    let bed = Bed::new("outputs", 10);
    bed.start(id(1), "echo out; echo err >&2; printf 'no end'; exit 3").await;
    let exit = bed.ends(id(1)).await;
    assert_eq!(exit.status, ExitStatus::Code(3));
    let lines = bed.lines(id(1)).await;
    let of = |stream| {
        let of = lines.iter().filter(move |line| line.stream == stream);
        of.map(|line| line.text.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(of(OutputStream::Stdout), ["out", "no end"]);
    assert_eq!(of(OutputStream::Stderr), ["err"]);
    assert_eq!(exit.last_lines.len(), 3);
}

#[tokio::test]
async fn it_runs_as_the_user_it_should() {
    if !is_root() {
        println!("skipped: only root may start instances as somebody else");
        return;
    }
    let bed = Bed::with("user", 10, |builder| builder.user(65_534, 65_534));
    bed.start(id(1), "id -u; id -g; id -G; touch file && echo may write").await;
    let lines: Vec<_> = bed.lines(id(1)).await.into_iter().map(|line| line.text).collect();
    assert_eq!(lines, ["65534", "65534", "65534", "may write"]);
}

#[tokio::test]
async fn what_is_written_does_not_fill_the_disk() {
    use std::os::unix::fs::MetadataExt;
    let bound = 256 << 10;
    let bed = Bed::with("bound", 10, move |builder| builder.output_bound(bound));
    bed.start(id(1), "yes 'a line that says nothing' | head -n 2000000; echo over").await;
    let exit = bed.ends(id(1)).await;
    assert_eq!(exit.last_lines.last().map(String::as_str), Some("over"));
    let file = std::fs::metadata(bed.folder(id(1)).join("stdout")).expect("kept until the stop");
    let (written, held) = (file.len(), file.blocks() * 512);
    assert!(held <= bound, "of {written} bytes {held} are held, the bound is {bound}");
    println!("of {written} bytes written {held} are held");
    bed.stop(id(1)).await;
}
