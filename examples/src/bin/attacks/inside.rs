//! An instance that looks around: what of the platform and of other instances it can reach.
//!
//! The process backend is no boundary between tenants, and says so. What is asked here is which
//! part of that is true: as the platform's own user an instance reaches nearly everything that the
//! user does; as another user only what instances share among themselves.

use std::{fs, path::PathBuf};

use serde_json::Value;

use crate::{
    bed::{Bed, Sad},
    requests::summary,
    rows::{Row, Verdict, short},
};

/// Whom something is closed to.
#[derive(Clone, Copy)]
enum ClosedTo {
    /// Every instance.
    All,
    /// An instance of another user than the platform's.
    Others,
    /// No instance.
    Nobody(&'static str),
}

/// An instance as its backend wrote it down.
pub(crate) struct Found {
    pub(crate) service: String,
    pub(crate) pid: u32,
    port: u64,
    folder: PathBuf,
}

/// All instances that a platform has now.
pub(crate) fn instances(bed: &Bed) -> Vec<Found> {
    let below = |path: PathBuf| {
        fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path())
    };
    let folders = below(bed.place.instances()).flat_map(below);
    let found = folders.filter_map(|folder| {
        let record: Value =
            serde_json::from_slice(&fs::read(folder.join("record.json")).ok()?).ok()?;
        let pid = record["pid"].as_u64()?.try_into().ok()?;
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
        // Program, mark, kind, name.
        let service = line.split('\0').nth(3)?.to_owned();
        Some(Found { service, pid, port: record["port"].as_u64()?, folder })
    });
    found.collect()
}

/// All attempts, by an instance that runs as this user.
pub(crate) async fn attempts(bed: &Bed, user: Option<u32>) -> Result<Vec<Row>, Sad> {
    let group = if user.is_some() { "another user" } else { "the same user" };
    let all = instances(bed);
    let find = |service: &str| all.iter().find(|one| one.service == service);
    let (Some(own), Some(other)) = (find("intruder"), find("vault")) else {
        return Err("the instances that this is about do not run".into());
    };
    let mut rows = Vec::new();
    for (name, what, closed) in list(bed, own, other) {
        let (token, said) = try_it(bed, &what).await?;
        let (could, found) = (said["could"] == true, said["found"].as_str().unwrap_or_default());
        let verdict = match (could, closed, user) {
            (false, ..) => Verdict::Held,
            (true, ClosedTo::Nobody(why), _) => Verdict::Open(why),
            (true, ClosedTo::Others, None) => Verdict::Open("it is the platform's own user's"),
            (true, ..) => Verdict::Wrong(format!("it could: {}", short(found, 200))),
        };
        let heard = format!("{}: {found}", if could { "could" } else { "could not" });
        let seen = summary(&bed.seen(&token));
        rows.push(Row { group, name: name.into(), sent: what, heard, seen, verdict });
    }
    rows.extend(own_things(bed, group, own).await?);
    for row in &rows {
        println!("{}", row.line());
    }
    Ok(rows)
}

async fn try_it(bed: &Bed, what: &str) -> Result<(String, Value), Sad> {
    let token = bed.token();
    let said = bed.get("intruder.localhost", &format!("/{token}/try?{what}")).await?;
    let said = serde_json::from_str(&said).map_err(|error| format!("{error}: {said}"))?;
    Ok((token, said))
}

fn list(bed: &Bed, own: &Found, other: &Found) -> Vec<(&'static str, String, ClosedTo)> {
    let path = |verb: &str, path: PathBuf| format!("{verb}={}", path.display());
    let place = &bed.place;
    let lock = place.0.join("journal.redb.lock");
    let one_network = ClosedTo::Nobody("all instances are on one network");
    let one_user = ClosedTo::Nobody("instances of one backend are of one user");
    let ports = place.instances().join("ports");
    vec![
        ("read the journal", path("read", place.journal()), ClosedTo::Others),
        ("write the journal", path("write", place.journal()), ClosedTo::Others),
        ("write who has the journal open", path("write", lock), ClosedTo::Others),
        ("list where everything is", path("list", place.0.clone()), ClosedTo::Others),
        (
            "read a secret in its store",
            path("read", place.secrets().join("vault-key")),
            ClosedTo::Others,
        ),
        ("make a file among the backend's", path("make", place.instances()), ClosedTo::Others),
        ("make a file among the ports", path("make", ports), ClosedTo::Others),
        ("write its own record", path("write", own.folder.join("record.json")), ClosedTo::Others),
        ("make a file in its own folder", path("make", own.folder.clone()), ClosedTo::Others),
        ("read another's record", path("read", other.folder.join("record.json")), ClosedTo::Others),
        (
            "write another's record",
            path("write", other.folder.join("record.json")),
            ClosedTo::Others,
        ),
        ("make a file in another's folder", path("make", other.folder.clone()), ClosedTo::Others),
        ("read another's output", path("read", other.folder.join("stdout")), ClosedTo::Others),
        ("write another's output", path("write", other.folder.join("stdout")), ClosedTo::Others),
        ("make a file where another runs", path("make", other.folder.join("work")), one_user),
        ("read the platform's environment", format!("environment={}", bed.pid), ClosedTo::Others),
        ("read the platform's memory", format!("memory={}", bed.pid), ClosedTo::Others),
        ("list the platform's files", format!("files={}", bed.pid), ClosedTo::Others),
        ("signal the platform", format!("signal={}", bed.pid), ClosedTo::Others),
        ("read another's environment", format!("environment={}", other.pid), one_user),
        ("read another's memory", format!("memory={}", other.pid), one_user),
        ("signal another", format!("signal={}", other.pid), one_user),
        ("connect to another past its queue", format!("connect={}", other.port), one_network),
        ("listen in another's place", format!("listen={}", other.port), ClosedTo::All),
        ("listen in the door's place", format!("listen={}", bed.address.port()), ClosedTo::All),
    ]
}

/// What it has from the start, and must not have more of.
async fn own_things(bed: &Bed, group: &'static str, own: &Found) -> Result<Vec<Row>, Sad> {
    let mut rows = Vec::new();
    let mut row = |name: &str, sent: &str, heard: &str, wrong: Option<String>| {
        let (name, sent, heard) = (name.to_owned(), sent.to_owned(), heard.to_owned());
        let verdict = wrong.map_or(Verdict::Held, Verdict::Wrong);
        rows.push(Row { group, name, sent, heard, seen: "itself".into(), verdict });
    };
    let (_, said) = try_it(bed, "environment=self").await?;
    let found = said["found"].as_str().unwrap_or_default();
    let names: Vec<_> = found.lines().filter_map(|line| line.split('=').next()).collect();
    let strange: Vec<_> =
        names.iter().filter(|name| !["PORT", "INTRUDER_KEY"].contains(name)).collect();
    let wrong = format!("its environment holds {names:?}");
    row(
        "an environment of its own",
        "environment=self",
        &names.join(" "),
        (!strange.is_empty() || names.len() != 2).then_some(wrong),
    );

    let (_, said) = try_it(bed, "files=self").await?;
    let found = said["found"].as_str().unwrap_or_default();
    let is_own = |file: &&str| {
        let inside = own.folder.to_string_lossy();
        // What its own runtime opens has no path.
        !file.starts_with('/')
            || file.starts_with(&*inside)
            || file.starts_with("/dev/null")
            || file.starts_with("/proc/")
    };
    let strange: Vec<_> = found.lines().filter(|file| !is_own(file)).collect();
    row(
        "no file of the platform's open",
        "files=self",
        &format!("{} files", found.lines().count()),
        (!strange.is_empty()).then(|| format!("it has {strange:?} open")),
    );

    let (_, said) = try_it(bed, "status=self").await?;
    let found = said["found"].as_str().unwrap_or_default();
    let line = found.lines().find(|line| line.starts_with("NoNewPrivs")).unwrap_or_default();
    row(
        "no way to more rights",
        "status=self",
        line,
        (!line.ends_with('1')).then(|| "it may become more than it is".into()),
    );

    let (_, said) = try_it(bed, &format!("sockets={}", bed.place.0.display())).await?;
    let found = said["found"].as_str().unwrap_or_default();
    row(
        "no socket of the platform's to speak to",
        "sockets",
        found,
        (!found.is_empty()).then(|| format!("there is {found}")),
    );
    Ok(rows)
}
