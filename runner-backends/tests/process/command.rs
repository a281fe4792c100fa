//! Commands beside an instance: in its surroundings, bounded, and ended with it.

use std::{fs, time::Duration};

use runner_core::{
    Error,
    backend::{CommandOutput, ContainerBackend, ExitStatus, PortRequest},
    error::ErrorKind,
    secret::Secret,
};

use super::bed::{Bed, id, is_root, lives, shell};

const LONG: Duration = Duration::from_secs(20);

async fn run(bed: &Bed, script: &str, limit: Duration) -> Result<CommandOutput, Error> {
    let words = ["sh", "-c", script].map(str::to_owned).to_vec();
    bed.backend.run_command(bed.fence, id(1), words, limit).await
}

/// The number that a command leaves in `number`, once it has; it has to go on running.
async fn number_of<F>(bed: &Bed, running: &mut std::pin::Pin<&mut F>) -> u32
where
    F: Future<Output = Result<CommandOutput, Error>>,
{
    let file = bed.folder(id(1)).join("work/number");
    loop {
        let turn = tokio::time::timeout(Duration::from_millis(5), &mut *running).await;
        assert!(turn.is_err(), "it ended by itself: {turn:?}");
        let text = fs::read_to_string(&file).unwrap_or_default();
        if let Ok(number) = text.trim().parse() {
            return number;
        }
    }
}

/// No folder of a command is left, and nobody is at home in one.
fn nothing_is_left(bed: &Bed) {
    let names = fs::read_dir(bed.folder(id(1))).expect("it is there").flatten();
    let left: Vec<_> = names
        .map(|entry| entry.file_name())
        .filter(|name| name.to_string_lossy().starts_with("run-"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn a_command_has_the_surroundings_of_its_instance() {
    let bed = Bed::with("command", 4, |builder| builder.umask(0o077).max_open_files(123));
    let mut request = shell(id(1), "pwd > here; sleep 1000");
    request.environment.insert("GREETING".to_owned(), "hello".to_owned());
    request.secrets.insert("KEY".to_owned(), Secret::new("value"));
    bed.backend.start(bed.fence, request).await.expect("a start");
    let script = "echo $GREETING $KEY $PORT; pwd; umask; ulimit -n; \
                  cut -d' ' -f6 /proc/$$/stat; echo $$; echo to standard error >&2; exit 3";
    let output = run(&bed, script, LONG).await.expect("it ends");
    assert_eq!(output.exit.status, ExitStatus::Code(3));
    let lines = output.exit.last_lines;
    let listing = bed.backend.list(bed.fence).await.expect("a list");
    let address = listing.instances[0].address.clone().expect("an address").to_string();
    let port = address.rsplit(':').next().expect("a port");
    let work = bed.folder(id(1)).join("work");
    let [given, place, umask, files, session, own, error] = lines.as_slice() else {
        panic!("{lines:?}");
    };
    assert_eq!(*given, format!("hello value {port}"));
    assert_eq!(
        (place.as_str(), umask.as_str(), files.as_str()),
        (work.to_str().expect("text"), "0077", "123")
    );
    assert_eq!((session, error.as_str()), (own, "to standard error"), "a session of its own");
    nothing_is_left(&bed);
    bed.stop(id(1)).await;
}

#[tokio::test]
async fn an_adopted_instance_has_its_surroundings_still() {
    let mut bed = Bed::new("command-adopted", 4);
    let mut request = shell(id(1), "sleep 1000");
    request.secrets.insert("KEY".to_owned(), Secret::new("value"));
    request.directory = Some("/usr".into());
    bed.backend.start(bed.fence, request).await.expect("a start");
    bed.reopen();
    let output = run(&bed, "echo $KEY $PORT; pwd", LONG).await.expect("it ends");
    let [given, place] = output.exit.last_lines.as_slice() else { panic!("{output:?}") };
    let port = given.strip_prefix("value ").expect("both").parse().expect("a port");
    assert!(bed.scratch.ports(4).contains(&port), "{given}");
    assert_eq!(place, "/usr");
    bed.stop(id(1)).await;
}

#[tokio::test]
async fn a_command_over_its_limit_ends_with_all_it_started() {
    let bed = Bed::new("command-limit", 2);
    bed.start(id(1), "sleep 1000").await;
    // In a group of its own, deaf to being asked.
    let script =
        "exec 2>/dev/null; trap '' TERM; set -m; sleep 1000 & echo $! > child; echo waits; wait";
    let mut limit = Duration::from_millis(100);
    let refusal = loop {
        let refusal = run(&bed, script, limit).await.expect_err("it is endless");
        assert_eq!(refusal.kind(), ErrorKind::TimedOut);
        // A shell that has to wait for a processor may not get as far as its last line.
        match refusal.to_string().ends_with(": waits") {
            true => break refusal,
            false => limit *= 2,
        }
    };
    assert_eq!(refusal.to_string(), format!("the command was ended after {limit:?}: waits"));
    let child = fs::read_to_string(bed.folder(id(1)).join("work/child")).expect("it was told");
    assert!(!lives(child.trim().parse().expect("a number")), "its child ended with it");
    nothing_is_left(&bed);
    let still = run(&bed, "true", LONG).await.expect("the instance lives on");
    assert_eq!(still.exit.status, ExitStatus::Code(0));
    bed.stop(id(1)).await;
}

#[tokio::test]
async fn what_a_command_writes_is_bounded_and_its_end_is_told() {
    let bed = Bed::with("command-output", 2, |builder| builder.output_bound(64 << 10));
    bed.start(id(1), "sleep 1000").await;
    let output = run(&bed, "yes 'says nothing' | head -n 2000000; echo over", LONG).await;
    let lines = output.expect("it ends").exit.last_lines;
    assert_eq!((lines.len(), lines.last().map(String::as_str)), (10, Some("over")));
    bed.stop(id(1)).await;
}

#[tokio::test]
async fn a_command_ends_with_its_instance_and_none_begins_in_what_is_frozen() {
    let bed = Bed::new("command-ends", 3);
    bed.start(id(1), "sleep 1000").await;
    let script = "echo $$ > number; trap '' TERM; while :; do sleep 1; done";
    let mut running = std::pin::pin!(run(&bed, script, LONG));
    let number = number_of(&bed, &mut running).await;
    let stopped = async {
        bed.backend.freeze(bed.fence, id(1)).await.expect("a freeze");
        let refusal = run(&bed, "true", LONG).await.expect_err("it is frozen");
        bed.backend.thaw(bed.fence, id(1)).await.expect("a thaw");
        bed.stop(id(1)).await;
        refusal
    };
    let (ended, refusal) = tokio::join!(running, stopped);
    assert_eq!(refusal.to_string(), "it is frozen, and nothing can run in it; thaw it first");
    let ended = ended.expect_err("it was ended");
    assert_eq!(ended.kind(), ErrorKind::NotFound);
    assert_eq!(ended.to_string(), "the instance ended while the command ran in it");
    assert!(!lives(number));
    assert!(!bed.folder(id(1)).exists());
}

#[tokio::test]
async fn a_command_does_not_outlive_who_asked_for_it() {
    let mut bed = Bed::new("command-dropped", 2);
    bed.start(id(1), "sleep 1000").await;
    let number = {
        let mut running = std::pin::pin!(run(&bed, "echo $$ > number; exec sleep 1000", LONG));
        number_of(&bed, &mut running).await
    };
    bed.reopen();
    assert!(!lives(number), "its last handle is gone");
    let listing = bed.backend.list(bed.fence).await.expect("a list");
    assert_eq!(listing.instances.len(), 1, "the instance is not");
    nothing_is_left(&bed);
    bed.stop(id(1)).await;
}

#[tokio::test]
async fn what_cannot_be_run_beside_it_is_told_as_at_a_start() {
    let bed = Bed::new("command-refused", 3);
    let mut request = shell(id(1), "sleep 1000");
    request.port = PortRequest::None;
    bed.backend.start(bed.fence, request).await.expect("a start");
    let words = vec!["/no/such/program".to_owned()];
    let refusal = bed.backend.run_command(bed.fence, id(1), words, LONG).await;
    let refusal = refusal.expect_err("there is none");
    assert_eq!(refusal.kind(), ErrorKind::NotFound);
    assert_eq!(refusal.to_string(), "there is no program /no/such/program");
    nothing_is_left(&bed);
    let endless = Duration::from_secs(1000);
    let eight = futures_util::future::join_all((0..8).map(|_| run(&bed, "sleep 1000", endless)));
    // It is asked for after them, and they end with their instance, however long that takes.
    let ninth = async {
        let refusal = run(&bed, "sleep 1000", endless).await;
        bed.stop(id(1)).await;
        refusal
    };
    let (answers, refusal) = tokio::join!(biased; eight, ninth);
    assert_eq!(refusal.expect_err("the ninth at once").kind(), ErrorKind::Exhausted);
    for answer in answers {
        // Each may hear by itself that its instance should end.
        match answer {
            Ok(output) => assert_eq!(output.exit.status, ExitStatus::Signal(15)),
            Err(ended) => assert_eq!(ended.kind(), ErrorKind::NotFound, "{ended}"),
        }
    }
}

#[tokio::test]
async fn a_command_runs_as_the_user_of_its_instance() {
    if !is_root() {
        println!("skipped: only root may start instances as somebody else");
        return;
    }
    let bed = Bed::with("command-user", 2, |builder| builder.user(65_534, 65_534));
    bed.start(id(1), "sleep 1000").await;
    let output = run(&bed, "id -u; touch file && echo may write", LONG).await.expect("it ends");
    assert_eq!(output.exit.last_lines, ["65534", "may write"]);
    bed.stop(id(1)).await;
}
