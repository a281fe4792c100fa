//! Every rule, by an example that breaks it alone.

use super::{checked, faults};
use crate::spec::{ServiceSpec, Severity, raw};

/// Each breaks one rule and is told so in these words.
const BROKEN: &[(&str, &str)] = &[
    // names and sources
    ("[source]\ncommand = []", "source.command: [] names no program"),
    ("[source]\ncommand = ['']", "source.command: [\"\"] names no program"),
    (
        "[source]\nimage = 'Hello World'",
        "source.image: \"Hello World\" is not the name of an image",
    ),
    ("[source]\ncommand = ['a']\ncredentials = 'b'", "source.credentials: has no image"),
    (
        "[source]\nimage = 'a'\ncode = { path = '.', start = 'x' }",
        "source.image: stands beside source.code",
    ),
    ("[source.code]\nstart = 'x'", "source.code: says nothing of where the code is"),
    ("[source.code]\npath = '.'", "source.code.start: is missing"),
    (
        "[source.code]\npath = '.'\nrepository = 'r'\nstart = 'x'",
        "source.code.repository: r stands beside source.code.path",
    ),
    (
        "[source.code]\npath = '.'\nstart = 'x'\nbranch = 'b'",
        "source.code.branch: b needs a repository",
    ),
    (
        "[source.code]\nrepository = 'r'\nstart = 'x'\nbranch = 'b'\ntag = 't'",
        "source.code.tag: t is a second revision",
    ),
    (
        "[source.code]\npath = '.'\nstart = 'x'\ndirectory = '../y'",
        "source.code.directory: ../y leads out of the code",
    ),
    (
        "[source.code]\npath = '.'\nbuild = ['make']\ndockerfile = 'D'",
        "source.code.dockerfile: stands beside build lines",
    ),
    (
        "[source.code]\npath = '.'\nstart = \"a\\nb\"",
        "source.code.start: \"a\\nb\" holds a line break",
    ),
    (
        "[source.code]\npath = '.'\nstart = 'x'\nbuild_environment = { A = '1' }\nbuild_secrets = { A = 's' }",
        "source.code.build_secrets.A: is in source.code.build_environment too",
    ),
    ("[pre_deploy]\ntimeout = '1s'", "pre_deploy.command: is missing"),
    ("[pre_deploy]\ncommand = ['a']\ntimeout = '0s'", "pre_deploy.timeout: 0s is too short"),
    // the revision
    ("port = 0", "port: 0 is out of range; write 1 to 65535"),
    ("port = 65536", "port: 65536 is out of range"),
    ("protocol = 'http'", "protocol: \"http\" is not known here; did you mean \"http1\"?"),
    ("protocol = 'spdy'", "protocol: \"spdy\" is not known here; write http1 or h2c"),
    ("[environment]\nPORT = '1'", "environment.PORT: \"PORT\" is set by the platform"),
    (
        "[environment]\nAWSAPPRUNNER_X = '1'",
        "environment.AWSAPPRUNNER_X: \"AWSAPPRUNNER_X\" is reserved",
    ),
    ("[environment]\n'A B' = '1'", "environment.\"A B\": \"A B\" is no name of a variable"),
    ("[environment]\nA = \"\\u0000\"", "environment.A: holds a zero byte"),
    ("[secrets]\nPORT = 's'", "secrets.PORT: \"PORT\" is set by the platform"),
    ("[secrets]\nA = ''", "secrets.A.name: \"\" says nothing"),
    ("[secrets]\nA = { version = '1' }", "secrets.A.name: is missing"),
    (
        "[environment]\nA = '1'\n[secrets]\nA = 's'",
        "secrets.A: is in environment too; keep it in one of the two",
    ),
    ("[instance]\ncpu = 1000", "instance.cpu: 1000 could be processors or App Runner's units"),
    ("[instance]\nmemory = 1000", "instance.memory: 1000 has no unit"),
    ("[instance]\nmemory = '1 KB'", "instance.memory: \"1 KB\" is too little to run in"),
    ("[instance]\ndisk = '3 GBit'", "instance.disk: \"3 GBit\" has no unit of data"),
    (
        "[instance]\narchitecture = 'amd46'",
        "instance.architecture: \"amd46\" is not known here; did you mean \"amd64\"?",
    ),
    ("[instance]\nstop_grace = 30", "instance.stop_grace: 30 has no unit; write 30s or 30ms"),
    (
        "[networks]\nattach = ['a', 'b', 'a']",
        "networks.attach[2]: a is the same as networks.attach[0]",
    ),
    (
        "[networks]\negress = ['10.0.0.0/33']",
        "networks.egress[0]: \"10.0.0.0/33\" is no range of addresses",
    ),
    // health
    (
        "[health.readiness]\nprotocol = 'htpp'",
        "health.readiness.protocol: \"htpp\" is not known here; did you mean \"http\"?",
    ),
    (
        "[health.readiness]\npath = '/'",
        "health.readiness.path: means nothing to a probe over tcp; set protocol = \"http\"",
    ),
    (
        "[health.liveness]\nprotocol = 'http'\nservice = 'a'",
        "health.liveness.service: means nothing to a probe over http",
    ),
    (
        "[health.liveness]\nprotocol = 'http'\npath = 'a'",
        "health.liveness.path: \"a\" is no path of a URL",
    ),
    (
        "[health.liveness]\nprotocol = 'http'\nsuccess = '2xx'",
        "health.liveness.success: \"2xx\" names no statuses",
    ),
    (
        "[health.liveness]\nprotocol = 'http'\nmethod = 'HEAD'\ncontains = 'up'",
        "health.liveness.contains: cannot be found: an answer to HEAD has no body",
    ),
    (
        "[health.liveness]\ncontains = 'up'",
        "health.liveness.contains: means nothing to a probe over tcp",
    ),
    (
        "[health.liveness]\nprotocol = 'http'\nmethod = 'get'",
        "health.liveness.method: get is no method",
    ),
    (
        "[health.liveness]\nprotocol = 'http'\nheaders = { 'a b' = 'c' }",
        "health.liveness.headers.\"a b\": is no header",
    ),
    ("[health.startup]\nprotocol = 'command'", "health.startup.command: is missing"),
    (
        "[health.startup]\ninterval = '1ms'",
        "health.startup.interval: 1ms is too short; write at least 10ms",
    ),
    ("[health.startup]\nhealthy = 0", "health.startup.healthy: 0 is out of range; write 1 to 1000"),
    (
        "[health.startup]\ndelay = '5m'",
        "health.startup.delay: 5m leaves nothing of health.start_allowance (5m)",
    ),
    (
        "[health]\nstart_allowance = '2s'",
        "health.readiness.timeout: 2s leaves nothing of health.start_allowance (2s)",
    ),
    // scaling
    ("[scaling]\ncap = 0", "scaling.cap: 0 is out of range; write 1 to 100000, or \"auto\""),
    ("[scaling]\ncap = 'lots'", "scaling.cap: \"lots\" is neither a whole number nor \"auto\""),
    (
        "[scaling]\ncap = { minimum = 9, maximum = 3 }",
        "scaling.cap.minimum: 9 is above scaling.cap.maximum (3)",
    ),
    (
        "[scaling]\nminimum = 30",
        "scaling.minimum: 30 is above scaling.maximum (25); write at most 25",
    ),
    ("[scaling]\nminimum = 0\nmaximum = 0", "scaling.maximum: 0 would serve nobody"),
    (
        "[scaling]\nminimum = 2\nminimum_active = 3",
        "scaling.minimum_active: 3 is above scaling.minimum (2)",
    ),
    (
        "[scaling]\ntarget_utilisation = 0.7",
        "scaling.target_utilisation: 0.7 is no percentage; write a whole number from 1 to 100",
    ),
    (
        "[scaling]\ntarget_utilisation = '101%'",
        "scaling.target_utilisation: \"101%\" is no percentage",
    ),
    (
        "[scaling]\nscale_in_delay = '5 parsecs'",
        "scaling.scale_in_delay: \"5 parsecs\" is no span of time",
    ),
    (
        "[[scaling.schedules]]\nfrom = '8:00'\nminimum = 2",
        "scaling.schedules[0].from: \"8:00\" is no time of day",
    ),
    (
        "[[scaling.schedules]]\ndays = ['funday']\nminimum = 2",
        "scaling.schedules[0].days[0]: \"funday\" is not known here",
    ),
    (
        "[[scaling.schedules]]\nfrom = '08:00'\nuntil = '08:00'\nminimum = 2",
        "scaling.schedules[0].until: 08:00 is when it begins",
    ),
    ("[[scaling.schedules]]\nfrom = '08:00'", "scaling.schedules[0]: changes nothing"),
    (
        "[[scaling.schedules]]\nminimum = 26",
        "scaling.schedules[0].minimum: 26 leaves a minimum of 26 above a maximum of 25",
    ),
    (
        "[scaling]\nminimum = 3\n[[scaling.schedules]]\nmaximum = 2",
        "scaling.schedules[0].maximum: 2 leaves a minimum of 3 above a maximum of 2",
    ),
    (
        "[scaling]\nminimum = 0\n[[scaling.schedules]]\nmaximum = 0",
        "scaling.schedules[0].maximum: 0 would serve nobody",
    ),
    // overflow
    (
        "[overflow]\nmax_waiting = 'many'",
        "overflow.max_waiting: \"many\" is neither a whole number nor \"derived\"",
    ),
    (
        "[overflow]\nmax_waiting = 0",
        "overflow.max_waiting: 0 refuses requests before scaling out has its chance: of up to 25 instances 1 are always active",
    ),
    (
        "[scaling]\nminimum = 2\nmaximum = 2\n[overflow]\nmax_waiting = 0",
        "overflow.max_waiting: 0 refuses",
    ),
    (
        "[overflow]\nmax_wait = '0s'\nhold_while_starting = '0s'",
        "overflow.hold_while_starting: 0s refuses",
    ),
    (
        "[overflow]\nmax_wait = '20s'\nhold_while_starting = '10s'",
        "overflow.hold_while_starting: 10s is shorter than overflow.max_wait (20s)",
    ),
    (
        "[overflow]\nmax_wait = '2m'",
        "overflow.max_wait: 2m leaves nothing of limits.total (2m) for the answer",
    ),
    (
        "[overflow]\nhold_while_starting = '3m'",
        "overflow.hold_while_starting: 3m leaves nothing of limits.total (2m)",
    ),
    ("[overflow.status]\nfull = 200", "overflow.status.full: 200 is no status of a refusal"),
    ("[[overflow.priority]]\nclass = 1", "overflow.priority[0]: fits every request"),
    ("[[overflow.priority]]\npath = '/a'", "overflow.priority[0].class: is missing"),
    (
        "[[overflow.priority]]\npath = '/a'\nclass = 10",
        "overflow.priority[0].class: 10 is no class",
    ),
    (
        "[[overflow.priority]]\npath = '/a'\nvalue = 'v'\nclass = 1",
        "overflow.priority[0].header: is missing",
    ),
    ("[overflow.fairness]\nby = 'header'", "overflow.fairness.header: is missing"),
    ("[overflow.fairness]\nby = 'host'\nheader = 'a'", "overflow.fairness.header: means nothing"),
    ("[overflow.fairness]\nweights = { a = 1 }", "overflow.fairness.weights: weigh nobody"),
    (
        "[overflow.fairness]\nby = 'host'\nweights = { a = 0 }",
        "overflow.fairness.weights.a: 0 is no weight",
    ),
    // deployment
    (
        "[deployment]\nstrategy = 'canary'",
        "deployment.strategy: \"canary\" is not known here; write all_at_once, stepped or in_place",
    ),
    (
        "[deployment]\nsteps = [50, 100]",
        "deployment.steps: means nothing to the strategy \"all_at_once\"",
    ),
    (
        "[deployment]\nstrategy = 'stepped'\nsteps = [50, 20, 100]",
        "deployment.steps[1]: 20 does not rise from the step before it (50)",
    ),
    (
        "[deployment]\nstrategy = 'stepped'\nsteps = [20, 50]",
        "deployment.steps[1]: 50 is the last step",
    ),
    (
        "[deployment]\nstrategy = 'stepped'\nsteps = [0, 100]",
        "deployment.steps[0]: 0 is no percentage",
    ),
    (
        "[deployment]\nstrategy = 'in_place'\nkeep_warm = '1m'",
        "deployment.keep_warm: 1m keeps what",
    ),
    (
        "[deployment]\nfailure_limit = 0",
        "deployment.failure_limit: 0 is out of range; write 1 to 100",
    ),
    (
        "[deployment]\nconcurrent_edits = 'queu'",
        "deployment.concurrent_edits: \"queu\" is not known here; did you mean \"queue\"?",
    ),
    (
        "[deployment]\nstrategy = 'stepped'\nsteps = [50, 50, 100]",
        "deployment.steps[1]: 50 does not rise",
    ),
    // limits
    ("[limits]\nheader = '3m'", "limits.header: 3m is longer than limits.total (2m)"),
    ("[limits]\ntotal = '0s'", "limits.total: 0s is too short; write at least 1ms"),
    ("[limits]\nidle = 'never'", "limits.idle: \"never\" is no span of time"),
    ("[limits]\nheader_size = '0 B'", "limits.header_size: 0 B lets no request in"),
    ("[limits]\nheader_count = 0", "limits.header_count: 0 is out of range"),
    ("[limits]\nbody_size = 1000", "limits.body_size: 1000 has no unit"),
    // routing
    (
        "[[routing.routes]]\nhost = 'a.example'\n[[routing.routes]]\nhost = 'A.example'\npath = '/'",
        "routing.routes[1]: a.example/ is the same as routing.routes[0]",
    ),
    ("[[routing.routes]]", "routing.routes[0]: says nothing"),
    (
        "[[routing.routes]]\nhost = 'http://a'",
        "routing.routes[0].host: \"http://a\" is no name of a host",
    ),
    ("[[routing.domains]]", "routing.domains[0].name: is missing"),
    (
        "[[routing.domains]]\nname = '*.a.example'\nwww = true",
        "routing.domains[0].www: true has no meaning before a wildcard",
    ),
    (
        "[[routing.domains]]\nname = 'a.example'\n[[routing.domains]]\nname = 'www.a.example'\nwww = false",
        "routing.domains[1].name: www.a.example brings www.a.example a second time",
    ),
    ("[routing]\nallow = ['all']", "routing.allow[0]: \"all\" is no range of addresses"),
    ("[sticky]\nname = 'a'", "sticky.name: means nothing to stickiness by \"none\""),
    ("[sticky]\nby = 'header'", "sticky.name: is missing"),
    (
        "[sticky]\nby = 'cookie'\nname = 'a;b'",
        "sticky.name: \"a;b\" is no name that HTTP can carry",
    ),
    // the rest
    ("[observability]\nencryption_key = ''", "observability.encryption_key: \"\" names no key"),
    ("[observability]\ntracing = 'on'", "observability.tracing: \"on\" is not known here"),
    ("[tags]\n'aws:a' = 'b'", "tags.\"aws:a\": has a name that is reserved"),
    ("[tags]\n'' = 'b'", "tags.\"\": has a name that is empty or too long"),
];

#[test]
fn each_rule_is_told_alone_and_in_words() {
    for (lines, expected) in BROKEN {
        let found = faults(lines);
        assert!(
            found.len() == 1 && found[0].starts_with(expected),
            "{lines}\n  expected {expected}\n  found    {found:#?}"
        );
        assert!(!found[0].contains('\n'), "one line: {found:?}");
    }
}

#[test]
fn names_and_sources_are_needed() {
    let found = ServiceSpec::check(raw::Service::default()).expect_err("nothing was said");
    let lines: Vec<_> = found.findings().iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "name: is missing; write what the service is called",
            "source: says nothing of where the code comes from; name one of source.command, source.image and source.code",
        ]
    );
    let found = ServiceSpec::command(["a"]).check("a b").expect_err("no name");
    assert!(found.to_string().starts_with("name: \"a b\" is no name of a service; write 1 to 40"));
}

#[test]
fn all_faults_come_at_once_and_none_is_drawn_from_another() {
    let found = faults(
        "port = 0
        [environment]
        PORT = '1'
        [scaling]
        minimum = 99999999
        maximum = 3
        [overflow]
        max_wait = 'soon'
        [limits]
        total = '1s'",
    );
    let paths: Vec<_> = found.iter().filter_map(|line| line.split(':').next()).collect();
    assert_eq!(paths, ["port", "environment.PORT", "scaling.minimum", "overflow.max_wait"]);
}

#[test]
fn both_waits_are_told_where_both_were_written() {
    let found = faults("[overflow]\nmax_wait = '3m'\nhold_while_starting = '4m'");
    assert_eq!(found.len(), 2, "{found:?}");
}

#[test]
fn no_queue_is_fine_where_nothing_more_can_come() {
    let fixed = "[scaling]\nminimum = 2\nmaximum = 2\nminimum_active = 2\n";
    assert_eq!(checked(&format!("{fixed}[overflow]\nmax_waiting = 0")).warnings, []);
    let waits = "[overflow]\nmax_wait = '0s'\nhold_while_starting = '0s'";
    assert_eq!(checked(&format!("{fixed}{waits}")).warnings, []);
    assert_eq!(checked("[overflow]\nmax_wait = '0s'").warnings, [], "it still holds for starts");
}

#[test]
fn what_is_allowed_but_hardly_meant_is_a_warning() {
    for (lines, expected) in [
        (
            "[scaling]\ncap = 10\nmaximum = 4\n[overflow]\nmax_waiting = 29",
            "overflow.max_waiting: 29 is below (maximum - 1) x cap = 30, so a burst that the service could take is refused; write at least 30, or \"derived\"",
        ),
        (
            "[scaling]\ncap = 'auto'\nmaximum = 4\n[overflow]\nmax_waiting = 599",
            "overflow.max_waiting: 599 is below (maximum - 1) x cap = 600",
        ),
        (
            "[health.readiness]\ntimeout = '6s'",
            "health.readiness.timeout: 6s is longer than the interval (5s)",
        ),
        (
            "[scaling]\ntarget_utilisation = 100",
            "scaling.target_utilisation: 100 starts another instance only when all are full",
        ),
        ("[deployment]\ndrain = '1m'", "deployment.drain: 1m is shorter than a request may take"),
        (
            "[routing]\npublished = false\ndomains = [{ name = 'a.example' }]",
            "routing.published: false keeps its domains from being reached",
        ),
    ] {
        let warnings = checked(lines).warnings;
        let [warning] = warnings.as_slice() else {
            panic!("{lines}: {warnings:?}");
        };
        assert_eq!(warning.severity, Severity::Warning);
        assert!(warning.to_string().starts_with(expected), "{warning}");
    }
    let enough = "[scaling]\ncap = 10\nmaximum = 4\n[overflow]\nmax_waiting = 30";
    assert_eq!(checked(enough).warnings, []);
}

#[test]
fn what_lies_on_a_bound_is_inside() {
    for lines in [
        "[scaling]\ncap = { minimum = 5, maximum = 5 }",
        "[scaling]\nminimum = 3\nmaximum = 3",
        "[scaling]\nmaximum = 3\n[[scaling.schedules]]\nminimum = 3",
        "[health.readiness]\ninterval = '2s'",
        "[limits]\nheader = '2m'\nbody = '2m'\nidle = '2m'",
        "[scaling]\nzero_after = '3660d'",
        "[deployment]\ndrain = '2m'",
    ] {
        assert_eq!(checked(lines).warnings, [], "{lines}");
    }
}

#[test]
fn texts_are_as_long_as_app_runner_lets_them_be() {
    let variable = |len: usize| format!("[environment]\nA = '{}'", "x".repeat(len));
    let secret = |len: usize| format!("[secrets]\nA = '{}'", "x".repeat(len));
    let key = |len: usize| format!("[tags]\n'{}' = ''", "ä".repeat(len));
    let value = |len: usize| format!("[tags]\na = '{}'", "ä".repeat(len));
    let texts: [(&dyn Fn(usize) -> String, usize); 4] =
        [(&variable, 51_200), (&secret, 2_048), (&key, 128), (&value, 256)];
    for (lines, most) in texts {
        assert_eq!(checked(&lines(most)).warnings, []);
        let found = faults(&lines(most + 1));
        assert!(found.len() == 1 && found[0].contains("too long"), "{found:?}");
        assert!(found[0].len() < 1_000, "a message is no place for the whole text");
    }
    let tags = |count| {
        let tags = (0..count).map(|number| format!("t{number} = ''\n"));
        format!("[tags]\n{}", tags.collect::<String>())
    };
    assert_eq!(checked(&tags(200)).warnings, []);
    assert_eq!(faults(&tags(201)), ["tags: 201 are too many; keep at most 200"]);
}

#[test]
fn a_file_with_more_faults_than_anybody_reads_ends_at_a_bound() {
    let mut raw = raw::Service::default();
    for number in 0..50_000 {
        raw.environment.insert(format!("{number}"), String::new());
    }
    let found = ServiceSpec::check(raw).expect_err("names that begin with digits");
    assert_eq!(found.findings().len(), crate::spec::Faults::MOST);
}
