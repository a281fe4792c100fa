//! Checks a specification, or plans the way from one to another.
//!
//! Without an argument it checks a sample and shows how it is understood. The exit code is 0 when
//! there are no faults (warnings are none), 1 when there are, and 2 when it was called wrongly or
//! a file cannot be read.

use std::{
    fmt::Write as _,
    io::{self, Read as _, Write as _},
    path::Path,
    process::ExitCode,
};

use runner_core::spec::{
    Checked, Effect, Faults, Finding, Format, LARGEST_TEXT, Plan, Reading, ServiceSpec, Severity,
    WaitingBound, plan, read,
};
use serde_json::json;

const HELP: &str = "\
Checks a specification, or plans the way from one to another.

usage: check_spec [--json] [FILE [NEW]]

  without a file  checks a sample and shows how it is understood
  FILE            its faults and warnings, each with line and column
  FILE NEW        what changes from the one to the other, and what that takes
  -               stands for standard input
  --json          the same for programs
  --help          this text

Files are TOML, or JSON where the name ends in .json or the text begins with `{`.
Exit code: 0 no faults, 1 faults, 2 wrong usage or a file that cannot be read.
";

fn main() -> ExitCode {
    runner_examples::sample_app::run_if_asked();
    let (output, code) = match Call::from_arguments(std::env::args().skip(1)) {
        Ok(Call::Help) => (HELP.to_owned(), 0),
        Ok(Call::Check { json, files }) => match check(json, &files) {
            Ok(report) => report,
            Err(refusal) => return refuse(&refusal),
        },
        Err(refusal) => return refuse(&format!("{refusal}\n\n{HELP}")),
    };
    // Whoever closed the pipe has read enough.
    let _ = io::stdout().lock().write_all(output.as_bytes());
    ExitCode::from(code)
}

fn refuse(why: &str) -> ExitCode {
    let _ = writeln!(io::stderr().lock(), "check_spec: {}", why.trim_end());
    ExitCode::from(2)
}

/// What was asked for.
enum Call {
    Check { json: bool, files: Vec<String> },
    Help,
}

impl Call {
    fn from_arguments(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let (mut json, mut files, mut flags) = (false, Vec::new(), true);
        for argument in arguments {
            match argument.as_str() {
                "--" if flags => flags = false,
                "--help" | "-h" if flags => return Ok(Self::Help),
                "--json" if flags => json = true,
                flag if flags && flag.starts_with('-') && flag != "-" => {
                    return Err(format!("unknown flag {flag}"));
                }
                _ => files.push(argument),
            }
        }
        match files.as_slice() {
            [_, _, _, ..] => Err("at most two files can be compared".to_owned()),
            [a, b] if a == "-" && b == "-" => Err("standard input can be read once".to_owned()),
            _ => Ok(Self::Check { json, files }),
        }
    }
}

/// A text, what it is called, and what came of reading it.
struct Document {
    name: String,
    text: String,
    reading: Reading,
}

impl Document {
    fn sample() -> Self {
        let text = include_str!("../../specs/hello.toml");
        Self::new("examples/specs/hello.toml", text.as_bytes())
    }

    fn open(name: &str) -> Result<Self, String> {
        let mut bytes = Vec::new();
        // One byte more than is ever read as a specification: enough to be told so.
        let most = LARGEST_TEXT as u64 + 1;
        let read = match name {
            "-" => io::stdin().lock().take(most).read_to_end(&mut bytes),
            _ => std::fs::File::open(name).and_then(|file| file.take(most).read_to_end(&mut bytes)),
        };
        match read {
            Ok(_) if name == "-" => Ok(Self::new("standard input", &bytes)),
            Ok(_) => Ok(Self::new(name, &bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(format!("there is no file {name}"))
            }
            Err(error) => Err(format!("cannot read {name}: {error}")),
        }
    }

    fn new(name: &str, bytes: &[u8]) -> Self {
        let named_json = Path::new(name).extension().is_some_and(|end| end == "json");
        let looks_like_json = bytes.trim_ascii_start().starts_with(b"{");
        let format = match named_json || looks_like_json {
            true => Format::Json,
            false => Format::Toml,
        };
        Self {
            name: name.to_owned(),
            text: String::from_utf8_lossy(bytes).into_owned(),
            reading: read(bytes, format),
        }
    }

    fn spec(&self) -> Option<&ServiceSpec> {
        self.reading.outcome.as_ref().ok().map(|checked| &checked.value)
    }

    fn findings(&self) -> &[Finding] {
        match &self.reading.outcome {
            Ok(Checked { warnings, .. }) => warnings,
            Err(faults) => faults.findings(),
        }
    }

    fn faults(&self) -> usize {
        self.reading.outcome.as_ref().err().map_or(0, |faults: &Faults| faults.faults().count())
    }
}

fn check(json: bool, files: &[String]) -> Result<(String, u8), String> {
    let documents = match files {
        [] => vec![Document::sample()],
        files => files.iter().map(|name| Document::open(name)).collect::<Result<_, _>>()?,
    };
    let plan = match documents.as_slice() {
        [old, new] => old.spec().zip(new.spec()).map(|(old, new)| plan(old, new)),
        [only] => only.spec().map(Plan::creating),
        _ => None,
    };
    let faults: usize = documents.iter().map(Document::faults).sum();
    let output = match json {
        true => as_json(&documents, plan.as_ref()),
        false => as_text(&documents, plan.as_ref(), files.is_empty()),
    };
    Ok((output, u8::from(faults > 0)))
}

fn as_json(documents: &[Document], plan: Option<&Plan>) -> String {
    let document = |document: &Document| {
        json!({
            "file": document.name,
            "findings": document.findings(),
            "spec": document.spec(),
        })
    };
    let documents: Vec<_> = documents.iter().map(document).collect();
    format!("{:#}\n", json!({ "files": documents, "plan": plan }))
}

fn as_text(documents: &[Document], plan: Option<&Plan>, explain: bool) -> String {
    let mut output = String::new();
    for document in documents {
        for finding in document.findings() {
            show_finding(document, finding, &mut output);
        }
        put(&mut output, format_args!("{}: {}\n", document.name, summary(document)));
        if let Some(spec) = document.spec().filter(|_| explain) {
            show_spec(document, spec, &mut output);
        }
    }
    match (documents, plan) {
        ([only], Some(plan)) if explain => show_creation(only, plan, &mut output),
        ([_, _], Some(plan)) => put(&mut output, format_args!("\n{plan}")),
        _ => {}
    }
    output
}

/// `no faults`, `1 fault, 2 warnings`.
fn summary(document: &Document) -> String {
    let counted = |count: usize, what: &str| match count {
        0 => format!("no {what}s"),
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    };
    let faults = document.faults();
    match document.findings().len() - faults {
        0 => counted(faults, "fault"),
        warnings => format!("{}, {}", counted(faults, "fault"), counted(warnings, "warning")),
    }
}

/// The finding, the line it is about, and under its place what would be right.
fn show_finding(document: &Document, finding: &Finding, output: &mut String) {
    let severity = match finding.severity {
        Severity::Fault => "fault",
        Severity::Warning => "warning",
    };
    let place = finding.place.map_or_else(String::new, |place| format!(":{place}"));
    put(output, format_args!("{}{place}: {severity}: ", document.name));
    if !finding.path.is_root() {
        put(output, format_args!("{}: ", finding.path));
    }
    if let Some(found) = &finding.found {
        put(output, format_args!("{found} "));
    }
    put(output, format_args!("{}\n", finding.problem));
    let line = finding.place.and_then(|place| document.text.lines().nth(place.line - 1));
    match (finding.place, line) {
        (Some(place), Some(line)) => {
            let number = place.line.to_string();
            let gap = " ".repeat(number.len());
            // One cell for each character, so that the caret stands under its place.
            let shown: String = line
                .chars()
                .take(WIDEST_LINE)
                .map(|c| if c.is_control() { ' ' } else { c })
                .collect();
            let caret = " ".repeat(place.column.min(WIDEST_LINE) - 1);
            put(output, format_args!(" {gap} |\n {number} | {}\n", shown.trim_end()));
            put(output, format_args!(" {gap} | {caret}^ {}\n\n", finding.right));
        }
        _ => put(output, format_args!("  {}\n\n", finding.right)),
    }
}

/// Every field with the value in effect, those that nobody wrote marked as defaults.
fn show_spec(document: &Document, spec: &ServiceSpec, output: &mut String) {
    let written = document.reading.raw.as_ref().map(|raw| raw.fields()).unwrap_or_default();
    let written = |path: &_| written.iter().any(|field| field.path == *path);
    let parts = [
        ("revision (a change deploys)", spec.revision().fields()),
        ("settings (a change applies at once)", spec.settings().fields()),
    ];
    let all = parts.iter().flat_map(|(_, fields)| fields);
    let width = all.map(|field| field.path.to_string().len()).max().unwrap_or(0);
    for (heading, fields) in &parts {
        put(output, format_args!("\n{heading}\n"));
        for field in fields {
            let path = field.path.to_string();
            let mark = if written(&field.path) { "" } else { "  (default)" };
            put(output, format_args!("  {path:width$}  {}", field.value));
            if let ("overflow.max_waiting", WaitingBound::Derived(count)) =
                (path.as_str(), spec.settings().overflow().max_waiting)
            {
                put(output, format_args!(", which is {count}"));
            }
            put(output, format_args!("{mark}\n"));
        }
    }
}

fn show_creation(document: &Document, plan: &Plan, output: &mut String) {
    let Some(spec) = document.spec() else { return };
    let deployed = plan.changes().iter().filter(|one| one.effect == Effect::Deploys);
    let deployed = deployed.count();
    put(
        output,
        format_args!(
            "\nplan\n  create the service {}\n  deploy its first revision, made from {deployed} fields\n  \
             apply {} settings at once\n",
            spec.name(),
            plan.changes().len() - deployed,
        ),
    );
}

fn put(output: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = output.write_fmt(text);
}

/// What a terminal shows of a line; what stands further right is pointed at from its end.
const WIDEST_LINE: usize = 160;
