use proptest::prelude::*;

use super::*;
use crate::spec::Finding;

const FIVE_FAULTS: &str = r#"name = "hello"
port = "eighty"
[source]
command = ["./hello"]
[instance]
memory = "2 gigs"
[scaling]
cap = 0
mimimum = 2
[overflow]
max_wait = "3m"
[limits]
total = "3m"
"#;

/// Says something of nearly everything, so that mutations of it reach nearly everything.
const GOOD: &str = r#"# a comment
name = "hello"
[source]
image = "ghcr.io/acme/hello:1.2"
command = ["./hello", "-v"]
[environment]
A = "1"
"b.c" = 'two'
[secrets]
KEY = "key"
OTHER = { name = "other", version = "2" }
[instance]
cpu = 0.5
memory = "2 GB"
[health.readiness]
protocol = "http"
path = "/ready"
success = "200-299,304"
interval = "250ms"
timeout = "100ms"
[scaling]
cap = { minimum = 1, maximum = 0x20 }
[[scaling.schedules]]
days = ["monday"]
minimum = 2
[deployment]
strategy = "stepped"
steps = [10, "50%", 100]
approval = true
[[routing.routes]]
host = "a.example"
[[routing.routes]]
path = "/b"
"#;

fn lines(found: &Faults) -> Vec<String> {
    found.findings().iter().map(Finding::to_string).collect()
}

fn toml_faults(text: &str) -> Vec<String> {
    lines(&ServiceSpec::from_toml(text).expect_err(text))
}

fn json_faults(text: &str) -> Vec<String> {
    lines(&ServiceSpec::from_json(text).expect_err(text))
}

#[test]
fn five_faults_give_five_messages_with_line_and_column() {
    assert_eq!(
        toml_faults(FIVE_FAULTS),
        [
            "2:8: port: \"eighty\" is a text; write a whole number of 0 or more",
            "6:10: instance.memory: \"2 gigs\" has no unit of data; write a number and a unit, such as 512 MB or 2 GB, up to 1024 TB",
            "8:7: scaling.cap: 0 is out of range; write 1 to 100000, or \"auto\"",
            "9:1: scaling.mimimum: is no field here; did you mean `minimum`?",
            "11:12: overflow.max_wait: 3m leaves nothing of limits.total (3m) for the answer; write less than 3m, or raise the total",
        ]
    );
}

#[test]
fn json_has_the_same_faults_at_its_own_places() {
    let json = r#"{
  "name": "hello", "port": "eighty",
  "source": { "command": ["./hello"] },
  "instance": { "memory": "2 gigs" },
  "scaling": { "cap": 0, "mimimum": 2 },
  "overflow": { "max_wait": "3m" }, "limits": { "total": "3m" }
}"#;
    let strip = |lines: Vec<String>| -> Vec<String> {
        let message = |line: &String| line.splitn(3, ':').nth(2).unwrap_or_default().to_owned();
        lines.iter().map(message).collect()
    };
    let faults = json_faults(json);
    assert_eq!(strip(faults.clone()), strip(toml_faults(FIVE_FAULTS)));
    let places: Vec<_> = faults.iter().map(|line| line.split(": ").next().unwrap_or("")).collect();
    assert_eq!(places, ["2:28", "4:27", "5:23", "5:26", "6:29"]);
}

#[test]
fn good_text_reads_the_same_in_both_forms() {
    let spec = ServiceSpec::from_toml(GOOD).unwrap_or_else(|faults| panic!("{faults}")).value;
    let json = serde_json::to_string_pretty(&spec).expect("it serialises");
    assert_eq!(ServiceSpec::from_json(json).expect("and back").value, spec);
    assert_eq!(spec.settings().scaling().cap.upper().number(), 32);
}

#[test]
fn values_of_the_wrong_kind_say_what_they_are_and_what_they_should_be() {
    let base = "name = 'a'\nsource = { command = ['a'] }\n";
    for (text, expected) in [
        (
            "port = 80.5",
            "3:8: port: 80.5 is a number with decimals; write a whole number of 0 or more",
        ),
        ("port = -1", "3:8: port: -1 is out of range; write a whole number of 0 or more"),
        ("port = 2020-01-01", "3:8: port: 2020-01-01 is a date; write it in quotes"),
        ("port = []", "3:8: port: [] is a list; write a whole number of 0 or more"),
        ("scaling = 3", "3:11: scaling: 3 is a number; write a table"),
        ("scaling = [3]", "3:11: scaling: [3] is a list; write a table"),
        ("environment = { A = 1 }", "3:21: environment.A: 1 is a number; write a text in quotes"),
        (
            "deployment.approval = 'yes'",
            "3:23: deployment.approval: \"yes\" is a text; write true or false, without quotes",
        ),
        (
            "secrets = { A = 1 }",
            "3:17: secrets.A: 1 is a number; write a secret's name or a table with name, provider and version",
        ),
        (
            "secrets = { A = { nam = 'x', name = 'y' } }",
            "3:19: secrets.A.nam: is no field here; did you mean `name`?",
        ),
        (
            "scaling.cap = { minimun = 3 }",
            "3:17: scaling.cap.minimun: is no field here; did you mean `minimum`?",
        ),
        (
            "scaling.cap = true",
            "3:15: scaling.cap: true is true or false; write a number, \"auto\" or a table with minimum and maximum",
        ),
        (
            "limits.total = true",
            "3:16: limits.total: true is true or false; write a number or a text",
        ),
        ("pre_deploy.command = './x'", "3:22: pre_deploy.command: \"./x\" is a text; write a list"),
    ] {
        assert_eq!(toml_faults(&format!("{base}{text}")), [expected], "{text}");
    }
}

#[test]
fn elements_that_cannot_be_read_do_not_shift_the_others() {
    let faults = toml_faults(
        "name = 'a'
source = { command = ['a'] }
[routing]
allow = [1, 'x', 2, 'y']
[[routing.routes]]
host = 3
[[routing.routes]]
host = 'a b'",
    );
    let starts: Vec<_> =
        faults.iter().map(|line| line.split(": ").take(2).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(
        starts,
        [
            "4:10 routing.allow[0]",
            "4:13 routing.allow[1]",
            "4:18 routing.allow[2]",
            "4:21 routing.allow[3]",
            "6:8 routing.routes[0].host",
            "8:8 routing.routes[1].host",
        ]
    );
}

#[test]
fn rules_of_an_element_see_it_and_not_its_neighbour_that_could_not_be_read() {
    let faults = toml_faults(
        "name = 'a'
source = { command = ['a'] }
routing.routes = [1, {}, { host = 3 }, { path = 'b' }]",
    );
    let starts: Vec<_> =
        faults.iter().map(|line| line.split(';').next().unwrap_or_default()).collect();
    assert_eq!(
        starts,
        [
            "3:19: routing.routes[0]: 1 is a number",
            "3:22: routing.routes[1]: says nothing",
            "3:35: routing.routes[2].host: 3 is a number",
            "3:49: routing.routes[3].path: \"b\" is no path of a URL",
        ]
    );
}

#[test]
fn numbers_beyond_every_type_are_told_by_their_digits() {
    let json = r#"{"name": "a", "source": {"command": ["a"]},
"scaling": {"cap": 18446744073709551615, "maximum": 99999999999999999999},
"overflow": {"max_waiting": 18446744073709551615, "max_wait": 1e400}}"#;
    let faults = json_faults(&json.replace("1e400", "1e300"));
    assert!(faults[0].contains("18446744073709551615"), "{faults:?}");
    assert!(faults[1].contains("99999999999999999999 is out of range"), "{faults:?}");
    assert!(faults[2].contains("18446744073709551615"), "{faults:?}");
    assert!(faults[3].starts_with("3:63: overflow.max_wait: 1"), "{faults:?}");
    assert_eq!(faults.len(), 4);
    assert!(json_faults(json)[0].contains("number out of range"));
}

#[test]
fn quotes_inside_texts_do_not_end_them() {
    let json =
        r#"{"name": "a", "source": {"command": ["\"a\\", "{"]}, "tags": {"a\"": "]", "b": 1}}"#;
    assert_eq!(json_faults(json), ["1:80: tags.b: 1 is a number; write a text in quotes"]);
}

#[test]
fn what_is_missing_is_said_of_the_table_that_should_hold_it() {
    assert_eq!(
        toml_faults("# nothing yet\n\n[source.code]\npath = '.'\n"),
        [
            "1:1: name: is missing; write what the service is called",
            "3:9: source.code.start: is missing, and neither a dockerfile nor a file says how to start; write the shell line that starts the program",
        ]
    );
}

#[test]
fn a_slip_in_a_name_is_told_once_and_not_also_as_missing() {
    assert_eq!(
        toml_faults("nam = 'a'\n[source]\ncomand = ['a']"),
        [
            "1:1: nam: is no field here; did you mean `name`?",
            "3:1: source.comand: is no field here; did you mean `command`?",
        ]
    );
    let [fault] = &toml_faults("name = 'a'\nsource = { command = ['a'] }\ncolour = 1")[..] else {
        panic!("one fault");
    };
    assert!(fault.starts_with("3:1: colour: is no field here; write name, source, "), "{fault}");
}

#[test]
fn text_that_has_no_form_says_where_and_why() {
    for (text, expected) in [
        ("", "1:1: the text is empty; write at least a name and a source"),
        (" \r\n\t", "1:1: the text is empty"),
        ("name = ", "1:8: "),
        ("name = 'a'\nname = 'b'", "2:1: duplicate key"),
        ("[a\nb = 1", "1:3: "),
        ("name = \"a", "1:"),
        ("a = 1 b = 2", "1:5: "),
    ] {
        let faults = toml_faults(text);
        assert!(faults[0].starts_with(expected), "{text:?}: {faults:?}");
        assert!(faults.iter().all(|line| !line.contains('\n')), "{faults:?}");
    }
    for (text, expected) in [
        ("{", "1:1: EOF while parsing an object; mend the JSON here"),
        ("{\"name\": }", "1:10: expected value; mend the JSON here"),
        (
            "{\"name\": \"a\",\n \"name\": \"b\"}",
            "2:2: the name \"name\" stands here a second time; remove one of the two",
        ),
        ("[]", "1:1: [] is a list; write a table"),
        ("3", "1:1: 3 is a number; write a table"),
        ("null", "1:1: null is nothing; write a table"),
    ] {
        assert_eq!(json_faults(text), [expected], "{text:?}");
    }
    let depth = "[".repeat(100_000);
    assert!(json_faults(&depth)[0].contains("recursion limit"));
    assert!(!toml_faults(&format!("a = {depth}")).is_empty());
}

#[test]
fn byte_order_marks_and_line_ends_of_other_systems_change_nothing() {
    let other = format!("\u{feff}{}", FIVE_FAULTS.replace('\n', "\r\n"));
    assert_eq!(toml_faults(&other), toml_faults(FIVE_FAULTS));
    let json = "\u{feff}{\"name\": \"a\", \"source\": {\"command\": [\"a\"]}}";
    assert!(ServiceSpec::from_json(json).is_ok());
}

#[test]
fn columns_count_characters_and_bytes_that_are_no_text_are_pointed_at() {
    let faults = toml_faults("name = 'a'\nsource = { command = ['ä€😀'], x = 1 }");
    assert!(faults[0].starts_with("2:31: source.x"), "{faults:?}");
    let found = ServiceSpec::from_toml(b"name = 'a'\n# \xc3\xa4 \xff").expect_err("no text");
    assert_eq!(lines(&found), ["2:5: the text is not UTF-8 from here on; save it as UTF-8"]);
    let found = ServiceSpec::from_toml(vec![b' '; LARGEST_TEXT + 1]).expect_err("too large");
    assert_eq!(lines(&found), ["the text is too large; write a specification of at most 1 MB"]);
}

#[test]
fn warnings_have_places_and_pass() {
    let text = "name = 'a'\nsource = { command = ['a'] }\n[overflow]\nmax_waiting = 10";
    let warnings = ServiceSpec::from_toml(text).expect("it passes").warnings;
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].to_string().starts_with("4:15: overflow.max_waiting: 10 is below"));
}

#[test]
fn a_text_full_of_faults_is_read_in_bounded_time() {
    let name = "name = 'a'\nsource = { command = ['a'] }\n";
    let unknown = "[[routing.routes]]\nx = 1\n".repeat(20_000);
    let wrong = format!("routing.allow = [{}]\n", "1,".repeat(20_000));
    for text in [format!("{name}{unknown}"), format!("{name}{wrong}"), "x\n".repeat(100_000)] {
        let found = ServiceSpec::from_toml(text).expect_err("faults");
        assert!(found.findings().len() <= Faults::MOST);
    }
}

/// A mutation of a good text: some bytes at some place are replaced.
fn mutated(good: &[u8], at: usize, cut: usize, put: &[u8]) -> Vec<u8> {
    let at = at % (good.len() + 1);
    let end = (at + cut).min(good.len());
    [&good[..at], put, &good[end..]].concat()
}

/// Never a panic, and either an answer or a reason with a place inside the text.
fn answers(text: &[u8], format: Format) {
    if let Err(faults) = read(text, format).outcome {
        assert!(faults.faults().next().is_some());
        let last = text.iter().filter(|byte| **byte == b'\n').count() + 1;
        for place in faults.findings().iter().filter_map(|finding| finding.place) {
            assert!(place.line >= 1 && place.line <= last && place.column >= 1);
        }
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(text in proptest::collection::vec(any::<u8>(), 0..200)) {
        answers(&text, Format::Toml);
        answers(&text, Format::Json);
    }

    #[test]
    fn random_text_of_the_right_letters_never_panics(text in "[\\[\\]{}\"'=.,:a-c0-9\\\\ \n\r#\u{feff}ä-]{0,80}") {
        answers(text.as_bytes(), Format::Toml);
        answers(text.as_bytes(), Format::Json);
    }

    #[test]
    fn mutations_of_a_good_file_never_panic(
        at in any::<usize>(),
        cut in 0..12_usize,
        put in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..4),
            "[\\[\\]{}\"'=.,0-9a-z\n]{0,4}".prop_map(String::into_bytes),
            Just(b"99999999999999999999999999999999999999999999".to_vec()),
            Just(b"1e400".to_vec()),
            Just(b"nan".to_vec()),
        ],
    ) {
        answers(&mutated(GOOD.as_bytes(), at, cut, &put), Format::Toml);
        let spec = ServiceSpec::from_toml(GOOD).expect("it is good").value;
        let json = serde_json::to_string(&spec).expect("it serialises");
        answers(&mutated(json.as_bytes(), at, cut, &put), Format::Json);
    }
}

#[test]
fn several_services_are_read_each_with_its_places() {
    let text = "\
[services.shop]
port = 3000
source = { command = ['./shop'] }
[services.api.source]
command = ['./api']
[services.api.scaling]
cap = 0
[services.other]
name = 'third'
source = { command = ['./third'] }
";
    let outcomes: Vec<_> =
        read_all(text, Format::Toml).into_iter().map(|reading| reading.outcome).collect();
    assert_eq!(outcomes.len(), 3);
    let name = |at: usize| outcomes[at].as_ref().map(|one| one.value.name().to_string());
    assert_eq!((name(0), name(2)), (Ok("shop".to_owned()), Ok("third".to_owned())));
    let faults = outcomes[1].as_ref().expect_err("a cap of nothing").to_string();
    assert!(faults.starts_with("7:7: scaling.cap: "), "{faults}");
}

#[test]
fn what_stands_beside_the_services_is_a_fault_of_its_own() {
    let readings = read_all("port = 1\n[services.a.source]\ncommand = ['a']", Format::Toml);
    let faults = readings[0].outcome.as_ref().expect_err("a stray").to_string();
    assert!(faults.starts_with("1:1: port: stands beside the services"), "{faults}");
    assert!(readings[1].outcome.is_ok());
}

#[test]
fn a_text_without_services_is_one_service() {
    for text in [GOOD, FIVE_FAULTS, "services = 1", "", "["] {
        let (one, all) = (read(text, Format::Toml), read_all(text, Format::Toml));
        assert_eq!(all.len(), 1, "{text}");
        assert_eq!(format!("{:?}", one.outcome), format!("{:?}", all[0].outcome), "{text}");
    }
}
