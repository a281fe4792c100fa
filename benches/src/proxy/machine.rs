//! Processes that are measured: where they run, what they took, how many instructions.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::thread::{CpuSet, sched_setaffinity};

/// A proxy in a process of its own. Dropping it ends it.
#[derive(Debug)]
pub struct Running {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    /// Files that were written for it.
    folder: Option<PathBuf>,
}

/// Processor time that a process took so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Taken {
    /// All of it, in microseconds.
    pub total: f64,
    /// As sampled by ticks of the clock: in the program.
    pub user: f64,
    /// In the kernel.
    pub system: f64,
}

impl Running {
    /// One of ours: this program, started once more. `before` stands before its name, as a program
    /// that watches it does.
    pub fn own(name: &str, upstream: SocketAddr, before: &[String]) -> Self {
        let program = env::current_exe().expect("a program").to_string_lossy().into_owned();
        let mut words: Vec<String> = before.to_vec();
        words.extend([program, "serve".into(), name.into(), upstream.to_string()]);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = on_core(PROXY, || command.spawn()).expect("this program starts");
        let mut line = String::new();
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped"));
        lines.read_line(&mut line).expect("its address");
        let address = line.trim().parse().expect("an address");
        Self { child, address, folder: None }
    }

    /// nginx, if it is installed.
    pub fn nginx(upstream: SocketAddr) -> Option<Self> {
        let address = free_address();
        let folder = scratch("nginx");
        let place = folder.display();
        let text = format!(
            "daemon off; master_process off; pid {place}/pid; error_log /dev/null;
             events {{ worker_connections 4096; }}
             http {{
               access_log off; keepalive_requests 1000000000; client_body_temp_path {place}/b;
               proxy_temp_path {place}/p; fastcgi_temp_path {place}/f; uwsgi_temp_path {place}/u;
               scgi_temp_path {place}/s;
               upstream instance {{ server {upstream}; keepalive 128;
                 keepalive_requests 1000000000; }}
               server {{ listen {address};
                 location / {{ proxy_pass http://instance; proxy_http_version 1.1;
                   proxy_set_header Connection \"\"; }} }}
             }}"
        );
        Self::other("nginx", &folder, &text, &["-c"], address)
    }

    /// HAProxy, if it is installed.
    pub fn haproxy(upstream: SocketAddr) -> Option<Self> {
        let address = free_address();
        let text = format!(
            "global\n  nbthread 1\n  maxconn 4096\n\
             defaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n\
             \x20 timeout server 60s\n  http-reuse always\n\
             frontend door\n  bind {address}\n  default_backend instance\n\
             backend instance\n  server one {upstream}\n"
        );
        Self::other("haproxy", &scratch("haproxy"), &text, &["-db", "-q", "-f"], address)
    }

    fn other(
        program: &str,
        folder: &Path,
        text: &str,
        options: &[&str],
        address: SocketAddr,
    ) -> Option<Self> {
        let path = folder.join("conf");
        fs::write(&path, text).expect("a file");
        let program = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"]
            .map(|place| Path::new(place).join(program))
            .into_iter()
            .find(|path| path.exists())?;
        let mut command = Command::new(program);
        command.args(options).arg(path).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let child = on_core(PROXY, || command.spawn()).ok()?;
        let mut running = Self { child, address, folder: Some(folder.to_owned()) };
        let end = Instant::now() + Duration::from_secs(5);
        while TcpStream::connect(address).is_err() {
            // One that refuses its file is as good as not installed.
            if Instant::now() > end || running.child.try_wait().ok()?.is_some() {
                return None;
            }
            // A program of others says nobody when it listens: all there is to do is to try.
            std::thread::sleep(Duration::from_millis(5));
        }
        Some(running)
    }

    /// What it took so far, over all its threads.
    pub fn taken(&self) -> Taken {
        let place = PathBuf::from(format!("/proc/{}", self.child.id()));
        let mut taken = Taken::default();
        for thread in fs::read_dir(place.join("task")).into_iter().flatten().flatten() {
            let text = fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
            let nanos = text.split(' ').next().and_then(|word| word.parse::<f64>().ok());
            taken.total += nanos.unwrap_or_default() / 1e3;
        }
        let text = fs::read_to_string(place.join("stat")).unwrap_or_default();
        // The name stands in brackets and may hold anything.
        let words: Vec<&str> =
            text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |at: usize| words.get(at).and_then(|word| word.parse::<f64>().ok());
        taken.user = ticks(11).unwrap_or_default() * TICK;
        taken.system = ticks(12).unwrap_or_default() * TICK;
        taken
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(folder) = &self.folder {
            let _ = fs::remove_dir_all(folder);
        }
    }
}

/// One of ours whose instructions are counted.
#[derive(Debug)]
pub struct Counted {
    running: Running,
    log: PathBuf,
}

impl Counted {
    /// Starts it under callgrind; nothing where that is not installed. `tag` tells runs apart.
    pub fn start(name: &str, upstream: SocketAddr, tag: &str) -> Option<Self> {
        let valgrind = Path::new("/usr/bin/valgrind");
        if !valgrind.exists() {
            return None;
        }
        let folder = scratch(&format!("callgrind-{name}-{tag}"));
        let (out, log) = (folder.join("out"), folder.join("log"));
        let before = [
            valgrind.display().to_string(),
            "--tool=callgrind".into(),
            "--cache-sim=no".into(),
            format!("--callgrind-out-file={}", out.display()),
            format!("--log-file={}", log.display()),
        ];
        let mut running = Running::own(name, upstream, &before);
        running.folder = env::var_os("KEEP_CALLGRIND").is_none().then_some(folder);
        Some(Self { running, log })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.running.address
    }

    /// Ends it; how many instructions it took in user space from start to end.
    pub fn finish(mut self) -> Option<f64> {
        drop(self.running.child.stdin.take());
        let _ = self.running.child.wait();
        let text = fs::read_to_string(&self.log).ok()?;
        let line = text.lines().find(|line| line.contains("Collected :"))?;
        line.rsplit(' ').next()?.parse().ok()
    }
}

/// From now on this thread runs on one core, as do processes that it starts.
pub fn pin(core: usize) {
    let mut cores = CpuSet::new();
    cores.set(core);
    // A machine with one core has no other: then all share it, and the report says so.
    let _ = sched_setaffinity(None, &cores);
}

fn on_core<T>(core: usize, start: impl FnOnce() -> T) -> T {
    pin(core);
    let started = start();
    pin(LOAD);
    started
}

fn free_address() -> SocketAddr {
    let held = TcpListener::bind("127.0.0.1:0").and_then(|held| held.local_addr());
    held.expect("a free port")
}

fn scratch(name: &str) -> PathBuf {
    let folder = env::temp_dir().join(format!("runner-benches-{}-{name}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    folder
}

/// The core of the proxy that is measured.
const PROXY: usize = 0;

/// The core of everything else.
pub const LOAD: usize = 1;

/// Microseconds of a tick: a hundred in a second, whatever the kernel's own clock does.
const TICK: f64 = 10_000.0;
