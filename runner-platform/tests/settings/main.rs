//! Each setting has an effect: set, seen, and changed while requests run, on the in-memory backend
//! in paused time. The table below names for every field of the settings the test that sees what it
//! does; a field that is not in it is one that somebody forgot.

mod access_log;
mod clients;
mod deploying;
mod scaling;
mod support;
mod waiting;

use std::collections::{BTreeMap, BTreeSet};

use runner_core::{
    error::ErrorKind,
    spec::{ServiceBuilder, raw},
};
use runner_platform::Error;
use serde_json::Value;

use support::{Bed, hello};

/// Where the effect of a field is seen.
enum Seen {
    /// By this test.
    By(fn()),
    /// By one that needs processes or sockets.
    In(&'static str),
    /// It has none, and whoever asks for it is told: so.
    Refused(Change),
}

/// How a field is asked for.
type Change = fn(&mut raw::Service);

use Seen::{By, In, Refused};

const FIELDS: &[(&str, Seen)] = &[
    ("scaling.cap", By(scaling::a_cap_applies_to_those_who_wait)),
    ("scaling.cap.minimum", By(scaling::a_cap_is_found_between_its_bounds)),
    ("scaling.cap.maximum", By(scaling::a_cap_is_found_between_its_bounds)),
    ("scaling.minimum", By(scaling::there_are_as_many_as_the_bounds_say)),
    ("scaling.maximum", By(scaling::there_are_as_many_as_the_bounds_say)),
    ("scaling.minimum_active", By(scaling::some_stay_awake)),
    ("scaling.target_utilisation", By(scaling::instances_are_as_full_as_they_are_meant_to_be)),
    ("scaling.scale_in_delay", By(scaling::instances_leave_after_their_time)),
    ("scaling.standby_after", By(scaling::an_instance_sleeps_after_its_time)),
    ("scaling.zero_after", By(scaling::the_last_one_leaves_after_its_time)),
    ("scaling.schedules[].days", By(scaling::other_bounds_hold_at_other_times)),
    ("scaling.schedules[].from", By(scaling::other_bounds_hold_at_other_times)),
    ("scaling.schedules[].until", By(scaling::other_bounds_hold_at_other_times)),
    ("scaling.schedules[].utc_offset", By(scaling::other_bounds_hold_at_other_times)),
    ("scaling.schedules[].minimum", By(scaling::other_bounds_hold_at_other_times)),
    ("scaling.schedules[].maximum", By(scaling::other_bounds_hold_at_other_times)),
    ("overflow.max_waiting", By(waiting::so_many_wait_as_may)),
    ("overflow.max_wait", By(waiting::so_long_is_waited_as_settings_say)),
    (
        "overflow.hold_while_starting",
        By(waiting::requests_are_held_while_the_first_instance_starts),
    ),
    ("overflow.status.full", By(waiting::refusals_have_the_statuses_of_the_settings)),
    ("overflow.status.unavailable", By(waiting::refusals_have_the_statuses_of_the_settings)),
    ("overflow.status.too_slow", By(waiting::refusals_have_the_statuses_of_the_settings)),
    ("overflow.priority[].path", By(waiting::classes_go_before_each_other)),
    ("overflow.priority[].header", By(waiting::classes_go_before_each_other)),
    ("overflow.priority[].value", By(waiting::classes_go_before_each_other)),
    ("overflow.priority[].class", By(waiting::classes_go_before_each_other)),
    ("overflow.fairness.by", By(waiting::slots_are_shared_out_among_clients)),
    ("overflow.fairness.header", By(waiting::slots_are_shared_out_among_clients)),
    ("overflow.fairness.weights", By(waiting::slots_are_shared_out_among_clients)),
    ("deployment.strategy", By(deploying::in_place_is_another_strategy)),
    ("deployment.steps", By(deploying::requests_move_in_steps)),
    ("deployment.step_interval", By(deploying::requests_move_in_steps)),
    ("deployment.surge", By(deploying::so_many_stand_beside_the_old_ones)),
    ("deployment.bake", By(deploying::the_new_one_bakes_for_its_time)),
    ("deployment.first_bake", By(deploying::a_first_one_bakes_for_a_time_of_its_own)),
    ("deployment.drain", By(deploying::those_that_leave_finish_within_their_time)),
    ("deployment.keep_warm", By(deploying::the_old_one_stays_warm_for_its_time)),
    ("deployment.approval", By(deploying::requests_move_when_somebody_says_so)),
    ("deployment.automatic", Refused(|raw| raw.deployment.automatic = Some(true))),
    ("deployment.concurrent_edits", By(deploying::a_change_meets_another_as_settings_say)),
    ("deployment.failure_limit", By(deploying::so_many_failures_are_too_many)),
    ("limits.header", Refused(|raw| raw.limits.header = Some("10s".into()))),
    ("limits.body", By(clients::a_body_may_take_so_long)),
    ("limits.idle", By(clients::both_sides_may_be_silent_for_so_long)),
    ("limits.total", By(clients::a_request_may_take_so_long_in_all)),
    ("limits.upgraded_idle", In("the examples' test of settings, by a WebSocket")),
    ("limits.header_size", By(clients::a_head_may_be_so_large)),
    ("limits.header_count", By(clients::a_head_may_be_so_large)),
    ("limits.body_size", By(clients::a_body_may_be_so_large)),
    ("routing.published", By(clients::it_is_found_by_its_routes_and_domains)),
    ("routing.address_family", By(clients::a_family_of_addresses_is_served_or_not)),
    ("routing.allow", By(clients::only_networks_that_are_named_come_in)),
    ("routing.routes[].host", By(clients::it_is_found_by_its_routes_and_domains)),
    ("routing.routes[].path", By(clients::it_is_found_by_its_routes_and_domains)),
    ("routing.domains[].name", By(clients::it_is_found_by_its_routes_and_domains)),
    ("routing.domains[].www", By(clients::it_is_found_by_its_routes_and_domains)),
    ("sticky.by", By(clients::clients_find_their_instance_again)),
    ("sticky.name", By(clients::clients_find_their_instance_again)),
    ("sticky.lifetime", By(clients::clients_find_their_instance_again)),
    ("sticky.strict", By(clients::a_strict_session_waits_for_its_instance)),
    (
        "observability.log_retention",
        Refused(|raw| raw.observability.log_retention = Some("30d".into())),
    ),
    ("observability.access_log", By(clients::requests_are_written_down_where_settings_want_it)),
    ("observability.tracing", By(clients::traces_are_passed_on_or_cut_off)),
    (
        "observability.trace_sample",
        Refused(|raw| raw.observability.trace_sample = Some(50_u32.into())),
    ),
    (
        "observability.encryption_key",
        Refused(|raw| raw.observability.encryption_key = Some("keys/a".into())),
    ),
    ("tags", By(clients::tags_are_shown)),
];

/// Fields of which some values have an effect and others are refused, and of revisions those that
/// no backend is told.
const ALSO_REFUSED: &[(&str, Change)] = &[
    ("limits.header_size", |raw| raw.limits.header_size = Some("1 MB".into())),
    ("limits.header_count", |raw| raw.limits.header_count = Some(500)),
    ("observability.tracing", |raw| raw.observability.tracing = Some("record".into())),
    ("instance.architecture", |raw| raw.instance.architecture = Some("arm64".into())),
    ("instance.user", |raw| raw.instance.user = Some("app".into())),
    ("instance.role", |raw| raw.instance.role = Some("reader".into())),
    ("networks.attach", |raw| raw.networks.attach.push("back".into())),
    ("networks.egress", |raw| raw.networks.egress = Some(vec!["10.0.0.0/8".into()])),
];

/// Every field there is, by its path; of a list of tables those of one.
fn all_fields() -> BTreeSet<String> {
    let mut settings = raw::Settings::default();
    let (minimum, maximum) = (Some(1), Some(2));
    settings.scaling.cap = Some(raw::Cap::Auto { minimum, maximum });
    settings.scaling.schedules.push(raw::Schedule::default());
    settings.overflow.priority.push(raw::PriorityRule::default());
    settings.routing.routes.push(raw::Route::default());
    settings.routing.domains.push(raw::Domain::default());
    let mut found = BTreeSet::from(["scaling.cap".to_owned()]);
    collect("", &serde_json::to_value(settings).expect("plain data"), &mut found);
    found
}

fn collect(path: &str, value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                let dot = if path.is_empty() { "" } else { "." };
                collect(&format!("{path}{dot}{name}"), value, found);
            }
        }
        Value::Array(elements) if elements.first().is_some_and(Value::is_object) => {
            collect(&format!("{path}[]"), &elements[0], found);
        }
        _ => _ = found.insert(path.to_owned()),
    }
}

#[test]
fn no_field_of_the_settings_is_forgotten() {
    let mut table = BTreeMap::new();
    for (field, seen) in FIELDS {
        // Named, so that it is compiled, and by its harness run.
        let by = match seen {
            By(test) => *test as usize,
            In(where_else) => where_else.len(),
            Refused(ask) => *ask as usize,
        };
        assert!(by > 0 && table.insert((*field).to_owned(), by).is_none(), "{field} twice");
    }
    let named: BTreeSet<String> = table.into_keys().collect();
    let all = all_fields();
    let forgotten: Vec<_> = all.difference(&named).collect();
    let gone: Vec<_> = named.difference(&all).collect();
    assert!(forgotten.is_empty() && gone.is_empty(), "forgotten {forgotten:?}, gone {gone:?}");
}

#[tokio::test(start_paused = true)]
async fn what_would_have_no_effect_is_refused_by_name() {
    let bed = Bed::new(hello()).await;
    let of_table = FIELDS.iter().filter_map(|(field, seen)| match seen {
        Refused(ask) => Some((*field, *ask)),
        By(_) | In(_) => None,
    });
    let all: Vec<_> = of_table.chain(ALSO_REFUSED.iter().copied()).collect();
    let refused = |field: &str, result: Result<_, Error>| {
        let Err(error) = result else { panic!("{field} was taken") };
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains(field), "{error}");
        let Error::NotOffered(fields) = error else { panic!("{error}") };
        fields.len()
    };
    for (field, ask) in &all {
        let asked = |spec: ServiceBuilder| spec.with(*ask);
        assert_eq!(refused(field, bed.platform.change("hello", asked).await.map(drop)), 1);
        let created = bed.platform.create("other", hello().with(*ask)).await;
        assert_eq!(refused(field, created.map(drop)), 1);
    }
    // All of it at once.
    let two = |spec: ServiceBuilder| spec.with(all[0].1).with(all[1].1);
    assert_eq!(refused(all[0].0, bed.platform.change("hello", two).await.map(drop)), 2);
}
