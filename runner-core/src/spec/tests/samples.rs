//! Specifications that between them say everything that can be said.

use serde_json::{Value, json};

use crate::spec::{ServiceSpec, raw};

/// Every field of every table has a value in one of these, and every enum each of its variants.
pub(super) fn samples() -> Vec<ServiceSpec> {
    [everything(), image(), repository(), bare()]
        .into_iter()
        .map(|json| {
            let raw: raw::Service = serde_json::from_value(json).expect("a sample reads");
            match ServiceSpec::check(raw) {
                Ok(checked) => checked.value,
                Err(faults) => panic!("{faults}"),
            }
        })
        .collect()
}

fn probe(more: Value) -> Value {
    let mut probe = json!({
        "port": 9000, "delay": "1s", "interval": "3s", "timeout": "250ms",
        "healthy": 2, "unhealthy": 4,
    });
    if let (Value::Object(probe), Value::Object(more)) = (&mut probe, more) {
        probe.extend(more);
    }
    probe
}

fn everything() -> Value {
    json!({
        "name": "everything",
        "source": { "code": {
            "path": "/src", "directory": "app", "runtime": "nodejs22",
            "file": "apprunner.yaml", "build": ["npm ci", "npm run build"], "start": "npm start",
            "build_environment": { "CI": "1" },
            "build_secrets": { "NPM_TOKEN": { "name": "npm", "version": "1", "provider": "vault" } },
        }},
        "pre_deploy": { "command": ["./migrate"], "timeout": "1m" },
        "port": 3000,
        "protocol": "h2c",
        "environment": { "A": "1" },
        "secrets": { "B": { "name": "b", "version": "2", "provider": "file" } },
        "instance": {
            "cpu": "0.5 vCPU", "memory": "512 MB", "disk": "10 GB", "architecture": "arm64",
            "user": "app", "working_directory": "/app", "role": "reader", "stop_grace": "10s",
        },
        "health": {
            "start_allowance": "1m",
            "startup": probe(json!({ "protocol": "command", "command": ["./well"] })),
            "readiness": probe(json!({
                "protocol": "http", "path": "/ready", "method": "POST", "host": "a.example",
                "headers": { "x-probe": "1" }, "success": "200-299,304", "contains": "up",
            })),
            "liveness": probe(json!({ "protocol": "grpc", "service": "hello" })),
        },
        "networks": { "attach": ["back"], "egress": ["10.0.0.0/8"] },
        "scaling": {
            "cap": { "minimum": 5, "maximum": 50 }, "minimum": 2, "maximum": 9,
            "minimum_active": 2, "target_utilisation": 60, "scale_in_delay": "3m",
            "standby_after": "1m", "zero_after": "1h",
            "schedules": [{
                "days": ["monday", "friday"], "from": "08:00", "until": "18:00",
                "utc_offset": "+01:00", "minimum": 4, "maximum": 12,
            }],
        },
        "overflow": {
            "max_waiting": 1000, "max_wait": "5s", "hold_while_starting": "20s",
            "status": { "full": 503, "unavailable": 500, "too_slow": 502 },
            "priority": [{ "path": "/pay", "header": "x-plan", "value": "gold", "class": 1 }],
            "fairness": { "by": "header", "header": "x-tenant", "weights": { "big": 4 } },
        },
        "deployment": {
            "strategy": "stepped", "steps": [5, 50, 100], "step_interval": "2m", "surge": 50,
            "bake": "1m", "first_bake": "2s", "drain": "3m", "keep_warm": "10m", "approval": true, "automatic": true,
            "concurrent_edits": "supersede", "failure_limit": 5,
        },
        "limits": {
            "header": "10s", "body": "30s", "idle": "20s", "total": "90s",
            "upgraded_idle": "10m", "header_size": "32 KB", "header_count": 50,
            "body_size": "10 MB",
        },
        "routing": {
            "published": true, "address_family": "dual_stack", "allow": ["192.0.2.0/24"],
            "routes": [{ "host": "a.example", "path": "/a" }],
            "domains": [{ "name": "example.com", "www": true }],
        },
        "sticky": { "by": "cookie", "name": "who", "lifetime": "1h", "strict": true },
        "observability": {
            "log_retention": "30d", "access_log": true, "tracing": "record", "trace_sample": 10,
            "encryption_key": "keys/hello",
        },
        "tags": { "team": "greetings" },
    })
}

fn image() -> Value {
    json!({
        "name": "image",
        "source": {
            "image": "ghcr.io/acme/hello:1.2", "command": ["./hello", "--fast"],
            "credentials": { "name": "registry", "version": "1", "provider": "vault" },
        },
        "scaling": { "cap": 10, "minimum": 0 },
        "overflow": { "fairness": { "by": "client_ip" } },
        "deployment": { "strategy": "in_place", "concurrent_edits": "queue" },
        "limits": { "total": "none", "upgraded_idle": "none" },
        "sticky": { "by": "header", "name": "x-session" },
        "observability": { "log_retention": "none", "tracing": "off" },
        "routing": { "domains": [{ "name": "*.example.com" }] },
    })
}

fn repository() -> Value {
    json!({
        "name": "repository",
        "source": { "code": {
            "repository": "https://example.com/hello.git", "branch": "next",
            "credentials": { "name": "deploy-key", "version": "1", "provider": "vault" },
            "dockerfile": "Dockerfile",
        }},
        "scaling": { "cap": "auto" },
        "overflow": { "fairness": { "by": "host" } },
        "sticky": { "by": "client_ip" },
        "instance": { "architecture": "amd64" },
        "health": { "startup": { "protocol": "tcp" }, "liveness": { "protocol": "grpc" } },
    })
}

fn bare() -> Value {
    json!({ "name": "bare", "source": { "code": {
        "repository": "r", "tag": "v1", "file": "apprunner.yaml",
    }}})
}

#[test]
fn the_samples_leave_no_field_out() {
    let mut missing = std::collections::BTreeMap::new();
    for sample in samples() {
        let json = serde_json::to_value(&sample).expect("it serialises");
        visit("", &json, &mut missing);
    }
    // A commit is a third way of naming what `branch` and `tag` name.
    missing.remove("source.code.commit");
    let never: Vec<_> = missing.into_iter().filter(|(_, never)| *never).collect();
    assert_eq!(never, [], "give these a value in one of the samples");
}

/// Whether each field was null in all samples so far. Probes are of one kind, wherever they are.
fn visit(path: &str, json: &Value, never: &mut std::collections::BTreeMap<String, bool>) {
    match json {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                visit(&path, value, never);
            }
        }
        Value::Array(elements) => {
            for element in elements {
                visit(&format!("{path}[]"), element, never);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    let empty = match json {
        Value::Null => true,
        Value::Array(elements) => elements.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    };
    let path = ["startup", "readiness", "liveness"]
        .iter()
        .fold(path.to_owned(), |path, probe| path.replace(&format!("health.{probe}."), "probe."));
    *never.entry(path).or_insert(true) &= empty;
}
