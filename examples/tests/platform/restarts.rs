//! The platform killed at any moment, and started again with the same state: what runs is taken up,
//! what was under way is carried on, and nothing is left over or there twice.

use std::{
    collections::BTreeSet,
    fs,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    time::{Duration, Instant},
};

use runner_examples::{
    load::{Load, Target, load},
    sample_app::{Failure, SampleApp},
};
use rustix::process::{Pid, Signal, kill_process};
use tokio::task::JoinSet;

use crate::{
    server::{PLATFORM, Server, ask, instances, platform, platform_at, write},
    support::{Scratch, TURN},
};

/// A file with one service of the sample app, and what else is to be said of it.
fn shop(app: &SampleApp, more: &str) -> String {
    let command = app.command_of(PLATFORM);
    format!(
        "[services.shop]\nsource = {{ command = {command:?} }}\n\
         instance = {{ memory = \"64 MB\" }}\ndeployment = {{ bake = \"0s\" }}\n{more}"
    )
}

/// One that has served, and the processes of its instances.
fn served(scratch: &Scratch, app: &SampleApp, more: &str) -> (Server, BTreeSet<u32>) {
    write(scratch, &shop(app, more));
    let mut server = Server::start(platform(scratch, &["services.toml"]));
    server.read_to(&["shop: The operation completed"]);
    let processes = of_version(scratch, "");
    assert!(!processes.is_empty(), "an instance runs");
    (server, processes)
}

fn again(scratch: &Scratch) -> Server {
    Server::start(platform(scratch, &["services.toml"]))
}

/// Processes of instances that run this version of the app.
fn of_version(scratch: &Scratch, version: &str) -> BTreeSet<u32> {
    let home = scratch.0.join("services.toml.state");
    let wanted = format!("sample-app {version}");
    let all = instances(&home).into_iter();
    all.filter(|(_, command)| command.contains(&wanted)).map(|(id, _)| id).collect()
}

/// Those of them whose start was finished: on record, and not only in the table of processes. What
/// a kill leaves half started is ended by the next program, and started anew.
fn started(scratch: &Scratch, version: &str) -> BTreeSet<u32> {
    let recorded: BTreeSet<u64> =
        records(scratch).filter_map(|record| record["pid"].as_u64()).collect();
    let of_version = of_version(scratch, version).into_iter();
    of_version.filter(|process| recorded.contains(&u64::from(*process))).collect()
}

/// What the backend has on record of each instance.
fn records(scratch: &Scratch) -> impl Iterator<Item = serde_json::Value> {
    let below = |folder: PathBuf| fs::read_dir(folder).into_iter().flatten().flatten();
    below(scratch.0.join("services.toml.state/instances"))
        .flat_map(move |platform| below(platform.path()))
        .filter_map(|instance| {
            let text = fs::read(instance.path().join("record.json")).ok()?;
            serde_json::from_slice(&text).ok()
        })
}

/// Looks until it is so. The time is for a machine that has much else to do.
#[expect(clippy::disallowed_methods, reason = "processes come and go in real time")]
fn until(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(120), "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn signal(process: u32, signal: Signal) {
    let id = Pid::from_raw(process.try_into().expect("a process id")).expect("not zero");
    kill_process(id, signal).expect("it lives");
}

/// All instances are stopped with it, and its state stays.
fn ends(server: Server, scratch: &Scratch) {
    assert_eq!(server.end(), Some(0));
    assert_eq!(of_version(scratch, ""), BTreeSet::new(), "an orphan");
    scratch.nothing_is_left();
    assert!(scratch.0.join("services.toml.state/journal.redb").exists());
}

#[test]
fn killed_while_idle_it_takes_up_what_runs() {
    let scratch = Scratch::new("idle");
    let (server, before) = served(&scratch, &SampleApp::new("v1"), "");
    server.kill();
    assert_eq!(of_version(&scratch, ""), before, "instances outlive it");
    let server = again(&scratch);
    assert_eq!(server.ask("shop"), "200 v1", "it waits for the probe, and for nothing else");
    assert_eq!(of_version(&scratch, ""), before, "none was started, none has ended");
    ends(server, &scratch);
}

#[test]
fn killed_in_the_middle_of_a_deployment_it_carries_on() {
    let scratch = Scratch::new("deploying");
    let (server, blue) = served(&scratch, &SampleApp::new("v1"), "");
    // It is killed long before that is over.
    let green = SampleApp::new("v2").start_delay(Duration::from_secs(10));
    write(&scratch, &shop(&green, ""));
    until("green starts", || !started(&scratch, "v2").is_empty());
    let green = started(&scratch, "v2");
    server.kill();
    assert_eq!(of_version(&scratch, "v1"), blue);

    let mut server = again(&scratch);
    assert!(server.ask("shop").starts_with("200 v"), "blue serves until green does");
    server.read_to(&["shop: The operation completed"]);
    assert_eq!(server.ask("shop"), "200 v2", "{}", server.so_far());
    assert_eq!(of_version(&scratch, "v2"), green, "started twice: {}", server.so_far());
    until("blue is stopped", || of_version(&scratch, "v1").is_empty());
    ends(server, &scratch);
}

#[test]
fn killed_in_the_middle_of_a_bad_deployment_it_rolls_back_with_the_cause() {
    let scratch = Scratch::new("bad");
    let (server, blue) = served(&scratch, &SampleApp::new("v1"), "");
    // Short for the bad version alone, and long enough to be killed in.
    let more = "health = { start_allowance = \"10s\" }\n";
    let bad = SampleApp::new("v2").fails(Failure::NeverListens);
    write(&scratch, &shop(&bad, more));
    until("green starts", || !started(&scratch, "v2").is_empty());
    server.kill();

    let mut server = again(&scratch);
    assert_eq!(server.ask("shop"), "200 v1");
    let told = server.line("shop: The operation failed and was rolled back");
    assert!(told.contains("listen"), "{told}");
    assert_eq!(server.ask("shop"), "200 v1");
    assert_eq!(of_version(&scratch, "v1"), blue);
    until("green is stopped", || of_version(&scratch, "v2").is_empty());
    ends(server, &scratch);
}

#[test]
fn killed_in_the_middle_of_scaling_out_it_starts_none_twice() {
    let _turn = TURN.blocking_lock();
    let scratch = Scratch::new("scaling");
    let app = SampleApp::new("v1").start_delay(Duration::from_secs(1));
    let more = "scaling = { cap = 1, minimum = 1, maximum = 4 }\n";
    let (server, before) = served(&scratch, &app, more);
    let address: SocketAddr = server.address.parse().expect("an address");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            // What becomes of those is the kill's.
            scope.spawn(move || {
                let _ = std::panic::catch_unwind(|| ask(address, "shop", "/?work=15000ms"));
            });
        }
        until("it scales out", || of_version(&scratch, "v1").len() > 1);
        server.kill();
    });
    let left = started(&scratch, "v1");
    assert!(left.is_superset(&before));

    let server = again(&scratch);
    let address: SocketAddr = server.address.parse().expect("an address");
    std::thread::scope(|scope| {
        let asked: Vec<_> =
            (0..3).map(|_| scope.spawn(move || ask(address, "shop", "/?work=15000ms"))).collect();
        until("as many as are needed are there", || of_version(&scratch, "v1").len() >= 3);
        for answer in asked {
            assert_eq!(answer.join().expect("answered"), "200 v1");
        }
    });
    let after = of_version(&scratch, "v1");
    // One that was still starting may have been given up for want of load, and another started.
    assert!(after.len() <= 4 && after.is_superset(&before), "{left:?} {after:?}");
    ends(server, &scratch);
}

/// A socket that outlives the platform, and a load on it.
struct Clients {
    socket: TcpListener,
    load: Load,
    generator: JoinSet<()>,
}

impl Clients {
    fn come(rate: f64) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = socket.local_addr().expect("bound");
        let target = Target::new(address, "shop.localhost", "/").expect("sound");
        let (load, generator) = load(target.limit(Duration::from_secs(120)));
        load.expect(["v1"]);
        load.rate(rate);
        let mut running = JoinSet::new();
        running.spawn(generator.run());
        Self { socket, load, generator: running }
    }

    /// Waits until so many more have been answered.
    async fn answered(&self, more: u64) {
        let wanted = self.load.tally().answered() + more;
        self.load.counted(|tally| tally.answered() >= wanted).await;
    }
}

/// What takes long is waited for beside the load.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    #[expect(clippy::disallowed_methods, reason = "one test at a time waits for a process")]
    let done = tokio::task::spawn_blocking(work).await;
    done.expect("no panic")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_under_load_it_serves_again_and_who_came_meanwhile_was_kept() {
    let _turn = TURN.lock().await;
    let scratch = Scratch::new("load");
    let mut clients = Clients::come(0.0);
    write(&scratch, &shop(&SampleApp::new("v1").work(Duration::from_millis(20)), ""));
    let mut server = Server::start(platform_at(&scratch, &clients.socket, &["services.toml"]));
    server = aside(move || {
        server.read_to(&["shop: The operation completed"]);
        server
    })
    .await;
    let before = of_version(&scratch, "");
    clients.load.rate(50.0);
    for _ in 0..3 {
        clients.answered(30).await;
        let command = platform_at(&scratch, &clients.socket, &["services.toml"]);
        let before = clients.load.tally();
        aside(move || server.kill()).await;
        let killed = clients.load.tally();
        server = aside(move || Server::start(command)).await;
        clients.answered(30).await;
        let tally = clients.load.tally();
        // One at most on each connection that it took with it; whoever came later waited.
        let (cut, most) = (tally.lost() - before.lost(), killed.connections);
        assert!(cut <= most, "{cut} on {most} connections: {tally}");
        assert_eq!(tally.refused(), 0, "{tally}");
    }
    assert_eq!(of_version(&scratch, ""), before, "the same instances served all along");
    clients.load.rate(0.0);
    let lost_before = clients.load.tally().lost();
    let all = clients.load.finish().await;
    assert_eq!(all.lost(), lost_before, "{all}");
    clients.generator.shutdown().await;
    aside(move || ends(server, &scratch)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_orderly_restart_by_a_handed_socket_loses_no_request() {
    let _turn = TURN.lock().await;
    let scratch = Scratch::new("handed");
    let mut clients = Clients::come(0.0);
    write(&scratch, &shop(&SampleApp::new("v1").work(Duration::from_millis(50)), ""));
    let arguments = ["--leave", "services.toml"];
    let mut server = Server::start(platform_at(&scratch, &clients.socket, &arguments));
    server = aside(move || {
        server.read_to(&["shop: The operation completed"]);
        server
    })
    .await;
    let before = of_version(&scratch, "");
    clients.load.rate(60.0);
    for _ in 0..3 {
        clients.answered(40).await;
        let command = platform_at(&scratch, &clients.socket, &arguments);
        server = aside(move || {
            server.signal(Signal::TERM);
            let mut server = server;
            assert_eq!(server.child.wait().expect("it ends").code(), Some(0));
            Server::start(command)
        })
        .await;
    }
    clients.answered(40).await;
    let all = clients.load.finish().await;
    assert_eq!((all.lost(), all.refused()), (0, 0), "{all}");
    assert_eq!(of_version(&scratch, ""), before, "instances were left and taken up");
    clients.generator.shutdown().await;
    // Left once more, they are stopped by the next one that does not leave them.
    aside(move || {
        assert_eq!(server.end(), Some(0));
        assert_eq!(of_version(&scratch, ""), before);
        let server = again(&scratch);
        assert_eq!(server.ask("shop"), "200 v1");
        ends(server, &scratch);
    })
    .await;
}

#[test]
fn stopped_with_its_instances_it_starts_them_again() {
    let scratch = Scratch::new("stopped");
    let (server, before) = served(&scratch, &SampleApp::new("v1"), "");
    ends(server, &scratch);
    let server = again(&scratch);
    assert_eq!(server.ask("shop"), "200 v1", "the first request waits for the start");
    assert!(of_version(&scratch, "").is_disjoint(&before));
    ends(server, &scratch);
}

/// What a process was given as this variable.
fn variable(process: u32, name: &str) -> Option<String> {
    let environment = fs::read_to_string(format!("/proc/{process}/environ")).ok()?;
    let mut pairs = environment.split('\0').filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
}

#[test]
fn secrets_are_looked_up_anew_and_what_runs_does_not_depend_on_them() {
    let scratch = Scratch::new("secrets");
    let more = "secrets = { TOKEN = \"SHOP_TOKEN\" }\n";
    write(&scratch, &shop(&SampleApp::new("v1"), more));
    let with = |token: Option<&str>| {
        let mut command = platform(&scratch, &["services.toml"]);
        match token {
            Some(token) => command.env("SHOP_TOKEN", token),
            None => command.env_remove("SHOP_TOKEN"),
        };
        Server::start(command)
    };
    let one = |besides: Option<u32>| {
        let mut all = of_version(&scratch, "").into_iter();
        all.find(|process| Some(*process) != besides)
    };
    let mut server = with(Some("old"));
    server.read_to(&["shop: The operation completed"]);
    // An end is said before it is stored, and a change is said when all before it is: a creation
    // that is still under way would fail without its secret.
    let more = format!("{more}scaling = {{ cap = 11 }}\n");
    write(&scratch, &shop(&SampleApp::new("v1"), &more));
    server.read_to(&["shop:   scaling.cap"]);
    let first = one(None).expect("it runs");
    assert_eq!(variable(first, "TOKEN").as_deref(), Some("old"));
    server.kill();

    // Whoever serves goes on, though its secret is lost; its successor would have none.
    let mut server = with(None);
    assert_eq!(server.ask("shop"), "200 v1");
    let told = server.line("shop: Revision 1 cannot be resolved");
    assert!(told.contains("SHOP_TOKEN"), "it is named: {told}");
    assert_eq!(one(None), Some(first));
    server.kill();

    let server = with(Some("new"));
    assert_eq!(server.ask("shop"), "200 v1");
    signal(first, Signal::KILL);
    until("another takes its place", || {
        one(Some(first)).is_some_and(|next| variable(next, "TOKEN").as_deref() == Some("new"))
    });
    assert_eq!(server.ask("shop"), "200 v1");
    ends(server, &scratch);
}

#[test]
fn a_stranger_on_the_port_of_an_instance_is_not_taken_for_it() {
    let scratch = Scratch::new("stranger");
    let app = SampleApp::new("v1").fails(Failure::NeverListens);
    write(&scratch, &shop(&app, "health = { start_allowance = \"60s\" }\n"));
    let mut server = Server::start(platform(&scratch, &["services.toml"]));
    until("an instance starts", || !started(&scratch, "v1").is_empty());
    let port = records(&scratch).find_map(|record| record["port"].as_u64()).expect("a port");
    // It takes every connection, and a probe is content with that.
    let stranger = TcpListener::bind(("127.0.0.1", port.try_into().expect("a port")));
    let stranger = stranger.expect("the instance does not listen there");
    let told = server.line("shop: Instance 1 failed");
    assert!(told.contains(&format!("port {port} is held by pid")), "{told}");
    assert!(!server.so_far().contains("routed incoming traffic"), "{}", server.so_far());
    drop(stranger);
    ends(server, &scratch);
}

#[test]
fn a_second_platform_of_one_state_is_told_who_has_it() {
    let scratch = Scratch::new("second");
    let (server, before) = served(&scratch, &SampleApp::new("v1"), "");
    let second = platform(&scratch, &["services.toml"]).output().expect("it runs");
    let errors = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(1), "{errors}");
    let holder = format!("is held by pid {}", server.child.id());
    assert!(errors.contains(&holder), "{errors}");
    assert_eq!(of_version(&scratch, ""), before);
    assert_eq!(server.ask("shop"), "200 v1");
    ends(server, &scratch);
}

/// A disk of its own for a platform: a small file system in memory, in a name space where that
/// takes no privileges.
fn on_a_small_disk(scratch: &Scratch) -> Option<(std::process::Command, PathBuf)> {
    let disk = scratch.0.join("disk");
    fs::create_dir_all(&disk).expect("made");
    let mounts = "mount -t tmpfs -o size=48m none \"$0\" && exec \"$@\"";
    let inside = |program: &str| {
        let mut command = std::process::Command::new("unshare");
        command.args(["-Urm", "sh", "-c", mounts]).arg(&disk).arg(program);
        command
    };
    let may = inside("true").output().is_ok_and(|output| output.status.success());
    let command = may.then(|| inside(PLATFORM))?;
    Some((command, disk))
}

#[test]
fn a_full_disk_stops_no_traffic_and_changes_wait_for_room() {
    let scratch = Scratch::new("full");
    let Some((mut command, disk)) = on_a_small_disk(&scratch) else {
        println!("no file system may be mounted here: a full disk is only injected, elsewhere");
        return;
    };
    write(&scratch, &shop(&SampleApp::new("v1"), "scaling = { cap = 10 }\n"));
    let state = disk.join("state");
    command.args(["--listen", "127.0.0.1:0", "--state"]).arg(&state).arg("services.toml");
    command.current_dir(&scratch.0).env("TMPDIR", scratch.temp());
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut server = Server::start(command);
    server.read_to(&["shop: The operation completed"]);
    // The disk as the platform sees it.
    let seen = PathBuf::from(format!("/proc/{}/root", server.child.id()));
    let filler = seen.join(disk.strip_prefix("/").expect("absolute")).join("filler");
    // To the last byte; what it keeps in reserve goes too.
    let fill = || {
        let mut file = fs::File::options().create(true).append(true).open(&filler).expect("made");
        for size in [1 << 16, 1 << 12, 1 << 8, 1] {
            while std::io::Write::write_all(&mut file, &vec![7; size]).is_ok() {}
        }
    };
    fill();
    // Larger than what the journal's file has room for already.
    let large = (0..8).map(|number| format!("LARGE_{number} = {:?}", "x".repeat(50_000)));
    let large = format!("environment = {{ {} }}\n", large.collect::<Vec<_>>().join(", "));
    write(&scratch, &shop(&SampleApp::new("v1"), &large));
    let told = server.line("shop: waits: the change cannot be stored");
    assert!(told.contains("no space is left on its disk"), "{told}");
    for _ in 0..20 {
        assert_eq!(server.ask("shop"), "200 v1", "traffic goes on");
    }
    fs::remove_file(&filler).expect("removed");
    // It need not be told that there is room again.
    write(&scratch, &shop(&SampleApp::new("v1"), "scaling = { cap = 30 }\n"));
    server.read_to(&["shop:   scaling.cap", "shop: The operation completed"]);
    assert_eq!(server.ask("shop"), "200 v1");
    assert_eq!(server.end(), Some(0));
    scratch.nothing_is_left();
}
