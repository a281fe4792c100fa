//! Specifications from text, every fault with its line and column.
//!
//! Text becomes a tree that knows where each value stands; the tree is read as
//! [`raw::Service`] by a deserialiser that knows the path it is at. A value of the wrong kind is
//! recorded, masked, and the tree read again without it, until the rest can be read; fields that
//! are not known are recorded on the way. Then the rest is checked as any specification is, the
//! masked fields left out of every rule. So one reading finds all there is to find. Only a text
//! that is no TOML or JSON at all ends earlier, with what is wrong with its syntax.

mod de;
mod json;
mod toml;

use super::{
    Checked, Faults, FieldPath, Finding, Place, ServiceSpec, Severity,
    check::Check,
    path::Segment,
    raw,
    tree::{Entry, Node, Value},
};
use de::Recorder;

/// Which of the two forms a text has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_enums, reason = "who chooses by the name of a file names both")]
pub enum Format {
    /// JSON; a field that is `null` is not there.
    Json,
    /// TOML.
    Toml,
}

/// What was read from a text.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Reading {
    /// What was written, without what could not be read; none if the text has no form at all.
    pub raw: Option<raw::Service>,
    /// What it comes to.
    pub outcome: Result<Checked<ServiceSpec>, Faults>,
}

/// The largest text that is read. A specification is written by hand; what is larger is another
/// file.
pub const LARGEST_TEXT: usize = 1 << 20;

impl ServiceSpec {
    /// Reads and checks a TOML file.
    ///
    /// ```
    /// use runner_core::spec::ServiceSpec;
    ///
    /// let faults = ServiceSpec::from_toml(r#"
    /// name = "hello"
    /// source = { command = ["./hello"] }
    ///
    /// [scaling]
    /// mimimum = 2
    /// maximum = 0
    /// "#).unwrap_err();
    /// assert_eq!(faults.to_string(), "\
    /// 6:1: scaling.mimimum: is no field here; did you mean `minimum`?
    /// 7:11: scaling.maximum: 0 would serve nobody; write at least 1; to stop a service, pause it");
    /// ```
    ///
    /// # Errors
    ///
    /// Every fault there is, in the order of the text.
    pub fn from_toml(text: impl AsRef<[u8]>) -> Result<Checked<Self>, Faults> {
        read(text, Format::Toml).outcome
    }

    /// Reads and checks a JSON file.
    ///
    /// # Errors
    ///
    /// Every fault there is, in the order of the text.
    pub fn from_json(text: impl AsRef<[u8]>) -> Result<Checked<Self>, Faults> {
        read(text, Format::Json).outcome
    }
}

/// Reads a text, keeping what was written beside what it comes to.
pub fn read(text: impl AsRef<[u8]>, format: Format) -> Reading {
    let tree = decode(text.as_ref()).and_then(|text| {
        let tree = match format {
            Format::Json => json::parse(text),
            Format::Toml => toml::parse(text),
        };
        tree.map(|tree| (text, tree))
    });
    match tree {
        Ok((text, tree)) => read_tree(text, &tree),
        Err(findings) => Reading { raw: None, outcome: conclude(findings, None) },
    }
}

/// Reads a text of several services, each a table below `services` whose key is its name unless it
/// says another. A text without such tables is one service.
///
/// Paths begin at the service, places are those of the whole text. What stands beside `services` is
/// a reading of its own, of nothing but faults.
///
/// ```
/// use runner_core::spec::{Format, read_all};
///
/// let readings = read_all("[services.a.source]\ncommand = ['./a']\n[services.b]\nprot = 1", Format::Toml);
/// let outcomes: Vec<_> = readings.into_iter().map(|reading| reading.outcome).collect();
/// assert_eq!(outcomes[0].as_ref().map(|a| a.value.name().as_str()).ok(), Some("a"));
/// let faults = outcomes[1].as_ref().unwrap_err().to_string();
/// assert!(faults.contains("4:1: prot: is no field here; did you mean `port`?"), "{faults}");
/// ```
pub fn read_all(text: impl AsRef<[u8]>, format: Format) -> Vec<Reading> {
    let text = match decode(text.as_ref()) {
        Ok(text) => text,
        Err(findings) => return vec![Reading { raw: None, outcome: conclude(findings, None) }],
    };
    let tree = match format {
        Format::Json => json::parse(text),
        Format::Toml => toml::parse(text),
    };
    match tree {
        Ok(tree) => match tables_of(&tree, SERVICES) {
            Some(services) => read_tables(text, &tree, services),
            None => vec![read_tree(text, &tree)],
        },
        Err(findings) => vec![Reading { raw: None, outcome: conclude(findings, None) }],
    }
}

fn tables_of<'a>(tree: &'a Node, key: &str) -> Option<&'a [Entry]> {
    let Value::Table(entries) = &tree.value else { return None };
    match &entries.iter().find(|entry| entry.key == key)?.node.value {
        Value::Table(services) => Some(services),
        _ => None,
    }
}

fn read_tables(text: &str, tree: &Node, services: &[Entry]) -> Vec<Reading> {
    let lines = Lines::new(text);
    let Value::Table(entries) = &tree.value else { return Vec::new() };
    let strays = entries.iter().filter(|entry| entry.key != SERVICES).map(|entry| Finding {
        path: FieldPath::default().key(&entry.key),
        ..syntax(
            Some(lines.place(entry.key_at)),
            "stands beside the services",
            format!("write [services.NAME] before it, or remove it; here is only {SERVICES}"),
        )
    });
    let strays: Vec<_> = strays.collect();
    let mut readings = Vec::new();
    if !strays.is_empty() {
        readings.push(Reading { raw: None, outcome: conclude(strays, None) });
    }
    readings.extend(services.iter().map(|service| read_tree(text, &named(service))));
    readings
}

/// The service with its key as its name.
fn named(service: &Entry) -> Node {
    let mut node = service.node.clone();
    if let Value::Table(entries) = &mut node.value
        && entries.iter().all(|entry| entry.key != NAME)
    {
        let (key_at, at) = (service.key_at, service.key_at);
        let name = Node { value: Value::Text(service.key.clone()), at };
        entries.insert(0, Entry { key: NAME.to_owned(), key_at, node: name });
    }
    node
}

const SERVICES: &str = "services";
const NAME: &str = "name";

fn read_tree(text: &str, tree: &Node) -> Reading {
    let mut recorder = Recorder::default();
    let raw: Option<raw::Service> = recorder.read(tree);
    let mut check = Check::with_spoiled(recorder.spoiled());
    let spec = raw.clone().and_then(|raw| ServiceSpec::check_in(raw, &mut check));
    let lines = Lines::new(text);
    let mut findings = recorder.findings(&lines);
    findings.extend(check.into_findings().into_iter().map(|mut finding| {
        finding.path = recorder.original(&finding.path);
        finding.place = Some(lines.place(offset(tree, &finding.path)));
        finding
    }));
    // Stable: what stands at one place keeps the order of its fields.
    findings.sort_by_key(|finding| finding.place);
    Reading { raw, outcome: conclude(findings, spec) }
}

fn conclude(
    findings: Vec<Finding>,
    spec: Option<ServiceSpec>,
) -> Result<Checked<ServiceSpec>, Faults> {
    match (Faults::new(findings), spec) {
        (Ok(faults), _) => Err(faults),
        (Err(warnings), Some(value)) => Ok(Checked { value, warnings }),
        (Err(_), None) => unreachable!("nothing is withheld without a fault that says why"),
    }
}

/// The text of a file without a byte-order mark, or why it is none.
fn decode(bytes: &[u8]) -> Result<&str, Vec<Finding>> {
    if bytes.len() > LARGEST_TEXT {
        let right = "write a specification of at most 1 MB";
        return Err(vec![syntax(None, "the text is too large", right)]);
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            // Good up to there, so that this much is text.
            let good = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            let place = Lines::new(&good).place(good.len());
            let problem = "the text is not UTF-8 from here on";
            return Err(vec![syntax(Some(place), problem, "save it as UTF-8")]);
        }
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match text.trim().is_empty() {
        true => Err(vec![syntax(
            Some(Place { line: 1, column: 1 }),
            "the text is empty",
            "write at least a name and a source",
        )]),
        false => Ok(text),
    }
}

/// A fault of the text as a whole.
fn syntax(
    place: Option<Place>,
    problem: impl Into<std::borrow::Cow<'static, str>>,
    right: impl Into<std::borrow::Cow<'static, str>>,
) -> Finding {
    Finding {
        severity: Severity::Fault,
        path: FieldPath::default(),
        found: None,
        problem: problem.into(),
        right: right.into(),
        place,
    }
}

/// Where a field stands, in bytes; the nearest table that holds it where it is not there.
fn offset(tree: &Node, path: &FieldPath) -> usize {
    let (mut node, mut at) = (tree, 0);
    for segment in path.segments() {
        let next = match (segment, &node.value) {
            (Segment::Key(key), Value::Table(entries)) => {
                let entry = entries.iter().find(|entry| entry.key == *key);
                // A table is where its name is: its value may begin anywhere.
                entry.map(|entry| match entry.node.value {
                    Value::Table(_) => (&entry.node, entry.key_at),
                    _ => (&entry.node, entry.node.at),
                })
            }
            (Segment::Index(index), Value::List(elements)) => {
                elements.get(*index).map(|element| (element, element.at))
            }
            _ => None,
        };
        match next {
            Some(next) => (node, at) = next,
            None => break,
        }
    }
    at
}

/// Where each line of a text begins.
struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Self {
        let after_breaks = text.match_indices('\n').map(|(at, _)| at + 1);
        Self { text, starts: std::iter::once(0).chain(after_breaks).collect() }
    }

    fn place(&self, at: usize) -> Place {
        let line = self.starts.partition_point(|start| *start <= at);
        let start = self.starts[line - 1];
        // A parser may point into the middle of a character; its beginning is meant.
        let column =
            self.text[start..].char_indices().take_while(|(offset, _)| start + offset < at).count();
        Place { line, column: column + 1 }
    }
}

#[cfg(test)]
mod tests;
