//! Which change takes what.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{checked, samples::samples};
use crate::spec::{Effect, Plan, ServiceSpec, plan, raw};

#[test]
fn no_change_says_so() {
    for sample in samples() {
        let plan = plan(&sample, &sample);
        assert!(plan.is_empty() && !plan.deploys());
        assert_eq!(plan.to_string(), "no change\n");
    }
}

#[test]
fn a_file_has_the_fields_of_revision_and_settings_and_a_name() {
    fn keys(part: &impl serde::Serialize) -> BTreeSet<String> {
        match serde_json::to_value(part) {
            Ok(Value::Object(fields)) => fields.keys().cloned().collect(),
            other => panic!("{other:?}"),
        }
    }
    let revision = keys(&raw::Revision::default());
    let settings = keys(&raw::Settings::default());
    assert!(revision.is_disjoint(&settings));
    let mut parts: BTreeSet<String> = revision.union(&settings).cloned().collect();
    parts.insert("name".to_owned());
    assert_eq!(keys(&raw::Service::default()), parts);
}

/// Every leaf of every sample is changed to every other value that passes, and has to land on its
/// side. Driven by the written form, so that a new field is in it from its first day.
#[test]
fn every_single_field_lands_in_its_class() {
    let (mut tried, mut failed) = (BTreeSet::new(), BTreeSet::new());
    for sample in samples() {
        let json = serde_json::to_value(&sample).expect("it serialises");
        let mut leaves = Vec::new();
        collect("", &json, &mut leaves);
        for pointer in leaves {
            let mut landed = false;
            for candidate in candidates(json.pointer(&pointer).expect("a leaf")) {
                let mut changed = json.clone();
                *changed.pointer_mut(&pointer).expect("a leaf") = candidate;
                let Ok(new) = serde_json::from_value::<ServiceSpec>(changed) else {
                    continue;
                };
                landed |= check_class(&sample, &new, &pointer);
            }
            let name = anonymous(&pointer);
            match landed {
                true => tried.insert(name),
                false => failed.insert(name),
            };
        }
    }
    let never: Vec<_> = failed.difference(&tried).collect();
    assert_eq!(never, Vec::<&String>::new(), "no other value of these passed: add a candidate");
    assert!(tried.len() > 100, "{} fields were tried", tried.len());
}

/// Whether the change was noticed; panics where it landed on the wrong side.
fn check_class(old: &ServiceSpec, new: &ServiceSpec, pointer: &str) -> bool {
    let plan = plan(old, new);
    let top = pointer.split('/').nth(1).expect("a top-level field");
    let expected = match top {
        "name" => Effect::AnotherService,
        _ if old.revision() != new.revision() => {
            assert_eq!(old.settings(), new.settings(), "{pointer} changed both");
            Effect::Deploys
        }
        _ => Effect::AtOnce,
    };
    let revision = serde_json::to_value(old.revision()).expect("it serialises");
    assert_eq!(expected == Effect::Deploys, revision.get(top).is_some() && old != new, "{pointer}");
    for change in plan.changes() {
        assert_eq!(change.effect, expected, "{pointer}: {change:?}");
        assert_ne!(change.old, change.new, "{pointer}");
    }
    assert_eq!(plan.is_empty(), old == new, "{pointer}: what differs is planned for");
    let named = anonymous(pointer);
    let listed =
        plan.changes().iter().any(|change| anonymous_path(&change.path.to_string()) == named);
    old != new && listed
}

fn collect(pointer: &str, json: &Value, leaves: &mut Vec<String>) {
    let escaped = |name: &str| name.replace('~', "~0").replace('/', "~1");
    match json {
        Value::Object(fields) => {
            for (name, value) in fields {
                collect(&format!("{pointer}/{}", escaped(name)), value, leaves);
            }
        }
        Value::Array(elements) if elements.iter().all(Value::is_object) => {
            for (index, value) in elements.iter().enumerate() {
                collect(&format!("{pointer}/{index}"), value, leaves);
            }
        }
        Value::Null => {}
        _ => leaves.push(pointer.to_owned()),
    }
}

/// The path without indices: of lists, one element stands for all.
fn anonymous(pointer: &str) -> String {
    let names = pointer.split('/').skip(1).filter(|name| name.parse::<usize>().is_err());
    names.collect::<Vec<_>>().join(".")
}

fn anonymous_path(path: &str) -> String {
    path.split('.').map(|name| name.split('[').next().unwrap_or(name)).collect::<Vec<_>>().join(".")
}

/// Values of the same kind, of which at least one should pass.
fn candidates(value: &Value) -> Vec<Value> {
    let texts = [
        "7s",
        "31s",
        "40m",
        "11h",
        "none",
        "derived",
        "7 MB",
        "0.75 vCPU",
        "http1",
        "native",
        "amd64",
        "all_at_once",
        "in_place",
        "refuse",
        "queue",
        "ipv4",
        "off",
        "propagate",
        "client_ip",
        "header",
        "cookie",
        "host",
        "tcp",
        "grpc",
        "other",
        "/other",
        "OTHER",
        "http://other",
        "other.example",
        "07:00",
        "19:00",
        "-02:00",
        "201",
        "nodejs18",
    ];
    match value {
        Value::Bool(value) => vec![json!(!value)],
        Value::Number(number) => {
            let number = number.as_u64().expect("counts only");
            [number + 1, number.saturating_sub(1), 7].map(|number| json!(number)).to_vec()
        }
        Value::String(_) => texts.map(|text| json!(text)).to_vec(),
        Value::Array(_) => {
            vec![json!(["other"]), json!(["tuesday"]), json!([25, 100]), json!(["198.51.100.0/24"])]
        }
        Value::Null | Value::Object(_) => Vec::new(),
    }
}

#[test]
fn a_plan_names_secrets_by_reference_and_says_both_sides() {
    let old = checked("[secrets]\nKEY = 'key'\n[scaling]\ncap = 10").value;
    let new = checked("[secrets]\nKEY = { name = 'key', version = '2' }\n[tags]\na = 'b'").value;
    assert_eq!(
        plan(&old, &new).to_string(),
        "at once, without new instances:
  scaling.cap  10 -> 100
  tags.a       (none) -> b
by a deployment:
  secrets.KEY.version  (none) -> 2
"
    );
}

#[test]
fn what_is_gone_is_listed_and_an_empty_list_is_not_no_list() {
    let old = checked("[networks]\nattach = ['back']\n[tags]\na = 'b'").value;
    let new = checked("[networks]\negress = []").value;
    let forth = "at once, without new instances:
  tags.a  b -> (none)
by a deployment:
  networks.egress  (none) -> []
  networks.attach  [\"back\"] -> (none)
";
    assert_eq!(plan(&old, &new).to_string(), forth);
    let back = plan(&new, &old).to_string();
    assert!(back.contains("networks.egress  [] -> (none)"), "{back}");
}

#[test]
fn another_name_is_another_service() {
    let old = ServiceSpec::command(["a"]).check("old").expect("passes").value;
    let new = ServiceSpec::command(["a"]).check("new").expect("passes").value;
    let plan = plan(&old, &new);
    assert_eq!(plan.changes().len(), 1);
    assert_eq!(plan.changes()[0].effect, Effect::AnotherService);
    assert!(plan.to_string().contains("name  old -> new"));
}

#[test]
fn creating_lists_every_field_from_nothing() {
    for sample in samples() {
        let plan = Plan::creating(&sample);
        // The name is what is created, and no change of it.
        assert_eq!(plan.changes().len(), sample.fields().len() - 1);
        assert!(plan.deploys() && plan.changes().iter().all(|change| change.old.is_none()));
    }
}
