//! Where secrets might be that should not be there: canaries, looked for in everything that the
//! platform says, writes and hands on.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    bed::{Bed, Control, Sad},
    inside::instances,
    requests::summary,
    rows::{Row, Verdict},
};

const GROUP: &str = "secrets";

/// A place in which canaries were looked for, and whose there were.
struct Looked {
    place: &'static str,
    bytes: u64,
    found: Vec<String>,
}

/// Provokes the platform into saying what it must not, and looks for it. Answers the attempts and
/// how many canaries were where they must not be.
pub(crate) async fn attempts(bed: &Bed, control: &mut Control) -> Result<(Vec<Row>, usize), Sad> {
    let mut rows = failures(bed, control).await;
    rows.push(sent_by_a_client(bed).await);
    let told = control.order("tell").await?.to_string();
    let mut looked = vec![in_text("what the platform tells of its services", told.as_bytes(), bed)];
    looked.push(in_files("the log, at its finest", &[bed.place.log()], bed));
    looked.push(in_files("the events", &[bed.place.events()], bed));
    looked.push(in_files("the journal", &[bed.place.journal()], bed));
    looked.push(in_files(
        "what it writes to its standard error",
        &[bed.place.0.join("errors")],
        bed,
    ));
    looked.push(in_files("all that the backend writes", &files_below(&bed.place.instances()), bed));
    looked.push(in_command_lines(bed));
    looked.push(in_environments(bed));
    looked.push(in_what_instances_saw(bed));
    let mut found = 0;
    for Looked { place, bytes, found: whose } in looked {
        found += whose.len();
        rows.push(Row {
            group: GROUP,
            name: place.to_owned(),
            sent: format!("{} canaries", bed.canaries.all().count()),
            heard: format!("{bytes} bytes"),
            seen: "nothing".into(),
            verdict: Verdict::held_if(whose.is_empty(), format!("in it are {whose:?}")),
        });
    }
    let told = bed.told.load(std::sync::atomic::Ordering::Relaxed);
    found += usize::try_from(told).unwrap_or(usize::MAX);
    rows.push(Row {
        group: GROUP,
        name: "what clients were answered".into(),
        sent: "all attempts".into(),
        heard: format!("{told} canaries"),
        seen: "nothing".into(),
        verdict: Verdict::held_if(told == 0, "a client was told a secret"),
    });
    rows.push(control_row(bed));
    for row in &rows {
        println!("{}", row.line());
    }
    Ok((rows, found))
}

/// Deployments that fail over a secret, each with its cause.
async fn failures(bed: &Bed, control: &mut Control) -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, secret) in [
        ("a secret with a null in it", "null-key"),
        ("a secret that no environment takes", "large-key"),
        ("a secret that is no text", "binary-key"),
        ("a secret that is not there", "missing-key"),
        ("a secret outside of its store", "../secrets/vault-key"),
    ] {
        let sent = format!("secret shop {secret}");
        let (heard, verdict) = match control.order(&sent).await {
            Ok(_) => ("done".to_owned(), Verdict::Wrong("it was deployed".into())),
            Err(why) => {
                let whose = bed.canaries.found_in(why.as_bytes());
                let wrong = format!("its cause holds {whose:?}");
                (why, Verdict::held_if(whose.is_empty(), wrong))
            }
        };
        rows.push(Row {
            group: GROUP,
            name: name.into(),
            sent,
            heard,
            seen: "nothing".into(),
            verdict,
        });
    }
    rows
}

/// A request with a secret wherever a client has one.
async fn sent_by_a_client(bed: &Bed) -> Row {
    let (token, canary) = (bed.token(), bed.canaries.of_client());
    let request = format!(
        "POST /{token}?key={canary} HTTP/1.1\r\nhost: shop.localhost\r\nconnection: close\r\n\
         authorization: Bearer {canary}\r\ncookie: session={canary}\r\nx-api-key: {canary}\r\n\
         content-length: {}\r\n\r\n{canary}",
        canary.len()
    );
    let heard = bed.ask(request.as_bytes(), "POST").await;
    // Those that are refused are written about too.
    for (method, target, host) in [
        ("GET", format!("/x/../{token}?key={canary}"), "shop.localhost"),
        ("GET", format!("/{token}?key={canary}"), "nobody.localhost"),
        ("CONNECT", format!("{canary}:80"), "nobody.localhost"),
        ("GET", format!("/{token}/early-close?key={canary}"), "liar.localhost"),
    ] {
        let request = format!(
            "{method} {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\
             authorization: Bearer {canary}\r\n\r\n"
        );
        bed.ask(request.as_bytes(), method).await;
    }
    let seen = bed.seen(&token);
    let is_seen = seen.iter().any(|one| one.service == "shop" && one.body == canary);
    Row {
        group: GROUP,
        name: "a client's own".into(),
        sent: request,
        heard: heard.summary(),
        seen: summary(&seen),
        verdict: Verdict::held_if(is_seen, "its service did not get it"),
    }
}

fn in_text(place: &'static str, bytes: &[u8], bed: &Bed) -> Looked {
    let found = bed.canaries.found_in(bytes).into_iter().map(str::to_owned).collect();
    Looked { place, bytes: bytes.len() as u64, found }
}

fn in_files(place: &'static str, files: &[PathBuf], bed: &Bed) -> Looked {
    let mut looked = Looked { place, bytes: 0, found: Vec::new() };
    for file in files {
        // One that is gone by now has nothing to tell.
        let Ok(bytes) = fs::read(file) else { continue };
        let found = bed.canaries.found_in(&bytes);
        looked.bytes += bytes.len() as u64;
        looked
            .found
            .extend(found.into_iter().map(|whose| format!("{whose} in {}", file.display())));
    }
    looked
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => files.extend(files_below(&entry.path())),
            Ok(kind) if kind.is_file() => files.push(entry.path()),
            _ => {}
        }
    }
    files
}

/// Every process of the machine.
fn processes() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn in_command_lines(bed: &Bed) -> Looked {
    let mut looked =
        Looked { place: "the command lines of all processes", bytes: 0, found: Vec::new() };
    for pid in processes() {
        let Ok(line) = fs::read(format!("/proc/{pid}/cmdline")) else { continue };
        looked.bytes += line.len() as u64;
        looked.found.extend(
            bed.canaries.found_in(&line).into_iter().map(|whose| format!("{whose} in {pid}")),
        );
    }
    looked
}

/// An instance may have its own service's secret, and the platform what it was started with.
fn in_environments(bed: &Bed) -> Looked {
    let instances = instances(bed);
    let mut looked =
        Looked { place: "the environments of all processes", bytes: 0, found: Vec::new() };
    for pid in processes() {
        let Ok(environment) = fs::read(format!("/proc/{pid}/environ")) else { continue };
        let own = instances.iter().find(|one| one.pid == pid).map(|one| &*one.service);
        let own = own.or_else(|| (pid == bed.pid).then_some("the platform's environment"));
        let found =
            bed.canaries.found_in(&environment).into_iter().filter(|whose| Some(*whose) != own);
        looked.bytes += environment.len() as u64;
        looked.found.extend(found.map(|whose| format!("{whose} in {pid}")));
    }
    looked
}

/// A client's secrets are for the service that it asked.
fn in_what_instances_saw(bed: &Bed) -> Looked {
    let files = fs::read_dir(bed.place.seen()).into_iter().flatten().flatten();
    let mut looked = Looked { place: "what instances were sent", bytes: 0, found: Vec::new() };
    for file in files {
        let name = file.file_name().to_string_lossy().into_owned();
        let bytes = fs::read(file.path()).unwrap_or_default();
        let is_asked = name.starts_with("shop-") || name.starts_with("liar-");
        let found = bed.canaries.found_in(&bytes).into_iter();
        let found = found.filter(|whose| !(is_asked && *whose == "a client"));
        looked.bytes += bytes.len() as u64;
        looked.found.extend(found.map(|whose| format!("{whose} in {name}")));
    }
    looked
}

/// Canaries are found where they have to be: else all the looking proves nothing.
fn control_row(bed: &Bed) -> Row {
    let lacking: Vec<_> = instances(bed)
        .into_iter()
        .filter(|one| {
            let environment = fs::read(format!("/proc/{}/environ", one.pid)).unwrap_or_default();
            !bed.canaries.found_in(&environment).contains(&&*one.service)
        })
        .map(|one| one.service)
        .collect();
    let own = fs::read(format!("/proc/{}/environ", bed.pid)).unwrap_or_default();
    let is_found = !bed.canaries.found_in(&own).is_empty();
    Row {
        group: GROUP,
        name: "each is where it has to be".into(),
        sent: "its own environment".into(),
        heard: "its own canary".into(),
        seen: "itself".into(),
        verdict: Verdict::held_if(
            lacking.is_empty() && is_found,
            format!("{lacking:?} have not their own secret, or the looking finds nothing"),
        ),
    }
}
