//! Where a request goes and where it says it came from: paths, hosts and forged fields.
//!
//! `shop.localhost/vault` leads to another service than the rest of that host, `back` is published
//! nowhere.

use crate::{
    app::Seen,
    requests::{Case, Expect, fine},
};

use Expect::{Once, Refused, RefusedOr};

/// All of them.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = paths();
    cases.extend(hosts());
    cases.extend(forged());
    cases.extend(names());
    cases
}

fn get(name: &'static str, target: &str, host: &str, expect: Expect) -> Case {
    asked(name, target, format!("host: {host}\r\n"), expect)
}

fn asked(name: &'static str, target: &str, fields: impl AsRef<[u8]>, expect: Expect) -> Case {
    let line = format!("GET {target} HTTP/1.1\r\n");
    let rest = b"connection: close\r\n\r\n";
    Case::new(name, [line.as_bytes(), fields.as_ref(), rest].concat(), expect)
}

fn paths() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, target) in [
        ("a way up", "/x/../vault/TOKEN"),
        ("the place itself", "/./vault/TOKEN"),
        ("a way up in code", "/x/%2e%2e/vault/TOKEN"),
        ("a way up half in code", "/x/.%2E/vault/TOKEN"),
        ("a slash in code", "/x/..%2fvault/TOKEN"),
        ("a way up and its slashes in code", "/x%2f%2e%2e%2fvault/TOKEN"),
        ("a backslash", "/x\\..\\vault/TOKEN"),
        ("a backslash in code", "/x/..%5cvault/TOKEN"),
        ("a way up with a parameter", "/x/..;/vault/TOKEN"),
        ("a way up with a parameter of a value", "/x/..;a=b/vault/TOKEN"),
        ("a way up with a null", "/x/..%00/vault/TOKEN"),
        ("a way up beyond the top", "/../../../../vault/TOKEN"),
        ("a way up out of the service", "/vault/../TOKEN"),
    ] {
        cases.push(get(name, target, "shop.localhost", Refused(&[400])));
    }
    for (name, target, service) in [
        ("the path of a service", "/vault/TOKEN", "vault"),
        ("a letter in code", "/%76ault/TOKEN", "vault"),
        ("two slashes", "//vault/TOKEN", "shop"),
        ("capitals", "/VAULT/TOKEN", "shop"),
        ("a name that begins so", "/vaults/TOKEN", "shop"),
        ("code in code", "/x/%252e%252e/vault/TOKEN", "shop"),
        ("code that is none", "/%zz/TOKEN", "shop"),
        ("a slash of the name in code", "/vault%2fTOKEN", "shop"),
        ("a way up in the query", "/TOKEN?a=/../vault", "shop"),
    ] {
        cases.push(get(name, target, "shop.localhost", Once(service, fine)));
    }
    for (name, target) in [
        ("no slash at the beginning", "vault/TOKEN"),
        ("a way up with more in it", "/x/%c0%ae%c0%ae/vault/TOKEN"),
        ("a fragment", "/TOKEN#/../vault"),
        ("an asterisk", "*?TOKEN"),
    ] {
        cases.push(get(name, target, "shop.localhost", RefusedOr(&[400], "shop", fine)));
    }
    for (name, target, host) in [
        ("a target of another host", "http://vault.localhost/TOKEN", "shop.localhost"),
        (
            "a target with a password",
            "http://shop.localhost@vault.localhost/TOKEN",
            "shop.localhost",
        ),
        (
            "a target with a password and its host",
            "http://a:b@shop.localhost/TOKEN",
            "shop.localhost",
        ),
        ("a target with an empty host", "http:///TOKEN", "shop.localhost"),
    ] {
        cases.push(get(name, target, host, Refused(&[400])));
    }
    cases.push(get(
        "a target with its host",
        "http://shop.localhost/TOKEN",
        "shop.localhost",
        Once("shop", origin_form),
    ));
    cases.push(get(
        "a target of another scheme",
        "ftp://shop.localhost/TOKEN",
        "shop.localhost",
        RefusedOr(&[400], "shop", origin_form),
    ));
    cases
}

fn hosts() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, fields) in [
        ("no host", ""),
        ("an empty host", "host:\r\n"),
        ("two hosts", "host: shop.localhost\r\nhost: vault.localhost\r\n"),
        ("one host twice", "host: shop.localhost\r\nhost: shop.localhost\r\n"),
        ("a list of hosts", "host: shop.localhost, vault.localhost\r\n"),
        ("a host and a word", "host: shop.localhost vault.localhost\r\n"),
        ("a host and a path", "host: shop.localhost/vault\r\n"),
        ("a host and a password", "host: vault.localhost@shop.localhost\r\n"),
        ("a host with an empty label", "host: shop..localhost\r\n"),
        ("a host in code", "host: shop%2elocalhost\r\n"),
        ("a host and two ports", "host: shop.localhost:80:80\r\n"),
        ("a host and a port of letters", "host: shop.localhost:8x\r\n"),
        ("a host that ends a quotation", "host: shop.localhost\";proto=https\r\n"),
        ("a host with a null", "host: shop.localhost\0\r\n"),
        ("a host with a tab", "host: shop.\tlocalhost\r\n"),
        ("a host of another alphabet", "host: \u{17f}hop.localhost\r\n"),
    ] {
        cases.push(asked(name, "/TOKEN", fields, Refused(&[400])));
    }
    let long = format!("host: {}localhost\r\n", "shop.".repeat(60));
    cases.push(asked("a host that is too long", "/TOKEN", long, Refused(&[400])));
    for (name, host) in [
        ("a service that is not published", "back.localhost"),
        ("the base of all services", "localhost"),
        ("the address", "127.0.0.1"),
        ("the other address", "[::1]"),
        ("a service that is not there", "nobody.localhost"),
        ("below a service", "a.shop.localhost"),
    ] {
        cases.push(get(name, "/TOKEN", host, Refused(&[404])));
    }
    for (name, host) in [
        ("a host in capitals", "SHOP.LocalHost"),
        ("a host with a point behind it", "shop.localhost."),
        ("a host with a port", "shop.localhost:1"),
    ] {
        cases.push(get(name, "/TOKEN", host, Once("shop", fine)));
    }
    cases
}

fn forged() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, fields) in [
        ("whom it is forwarded for", "x-forwarded-for: 6.6.6.6\r\n"),
        (
            "two of whom it is forwarded for",
            "x-forwarded-for: 6.6.6.6\r\nX-Forwarded-For: 7.7.7.7\r\n",
        ),
        (
            "where it is forwarded from",
            "forwarded: for=6.6.6.6;proto=https;host=vault.localhost\r\n",
        ),
        ("whose address it is", "x-real-ip: 6.6.6.6\r\n"),
        ("that it was encrypted", "x-forwarded-proto: https\r\nx-forwarded-ssl: on\r\n"),
        (
            "the host that it came to",
            "x-forwarded-host: vault.localhost\r\nx-forwarded-server: vault\r\n",
        ),
        (
            "the port and prefix that it came to",
            "x-forwarded-port: 443\r\nx-forwarded-prefix: /vault\r\n",
        ),
        ("whom it is forwarded for, with underlines", "x_forwarded_for: 6.6.6.6\r\n"),
        ("that it was encrypted, with underlines", "X_Forwarded-Proto: https\r\n"),
        ("whose address it is, with underlines", "X_REAL_IP: 6.6.6.6\r\n"),
        ("what it is called", "x-request-id: forged6.6.6.6\r\n"),
        ("what it is called, with underlines", "x_request_id: forged6.6.6.6\r\n"),
        (
            "a trace",
            "traceparent: 00-66666666666666666666666666666666-6666666666666666-01\r\ntracestate: a=6.6.6.6\r\n",
        ),
    ] {
        let fields = format!("host: shop.localhost\r\n{fields}");
        cases.push(asked(name, "/TOKEN", fields, Once("shop", only_what_is_known)));
    }
    for (name, field) in [
        ("another path for those who rewrite", "x-original-url: /vault/TOKEN"),
        ("another path for those who rewrite otherwise", "x-rewrite-url: /vault/TOKEN"),
        ("another method", "x-http-method-override: CONNECT"),
    ] {
        let fields = format!("host: shop.localhost\r\n{field}\r\n");
        cases.push(asked(name, "/TOKEN", fields, Once("shop", fine)));
    }
    cases
}

/// What a request is called, in a form that would do harm wherever it is written.
fn names() -> Vec<Case> {
    let long = "a".repeat(20_000);
    [
        ("a name of 20,000 letters", "shop.localhost", long.as_bytes()),
        ("a name that is a page", "shop.localhost", b"<script>forged</script>"),
        ("a name with a tab", "shop.localhost", b"forged\tforged"),
        ("a name with codes of a terminal", "shop.localhost", b"\xc2\x9b31mforged"),
        ("a name with an end of JSON", "shop.localhost", b"forged\",\"x\":\""),
        ("a name that is a page, to nobody", "nobody.localhost", b"<script>forged</script>"),
        ("a name with an end of JSON, to nobody", "nobody.localhost", b"forged\",\"x\":\""),
    ]
    .into_iter()
    .map(|(name, host, id)| {
        let accept = if name.contains("JSON") { "application/json" } else { "text/html" };
        let fields =
            [format!("host: {host}\r\naccept: {accept}\r\nx-request-id: ").as_bytes(), id, b"\r\n"]
                .concat();
        let expect = match host {
            "shop.localhost" => Once("shop", only_what_is_known as fn(&Seen) -> Option<String>),
            _ => Refused(&[404]),
        };
        asked(name, "/TOKEN", fields, expect).unsaid("forged")
    })
    .collect()
}

/// The target that every server takes.
fn origin_form(seen: &Seen) -> Option<String> {
    (!seen.head.target().starts_with('/')).then(|| "a target that is no path".into())
}

/// What the platform knows itself, and nothing that a client claims.
fn only_what_is_known(seen: &Seen) -> Option<String> {
    let known = [
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "shop.localhost"),
        ("forwarded", "for=127.0.0.1;host=shop.localhost;proto=http"),
    ];
    for (name, value) in known {
        if seen.head.only(name) != Some(value) {
            return Some(format!("{name} is not {value}"));
        }
    }
    if seen.head.only("x-request-id").is_none_or(|id| id.len() != 33) {
        return Some("it has no name of the platform's".into());
    }
    let claims = |name: &str| {
        let name = name.replace('_', "-");
        let is_forwarded =
            name.starts_with("x-forwarded-") && !known.iter().any(|(known, _)| *known == name);
        is_forwarded || ["x-real-ip", "traceparent", "tracestate"].contains(&&*name)
    };
    let claim = seen.head.fields.iter().find(|(name, value)| {
        claims(name) || value.contains("6.6.6.6") || value.contains("forged")
    });
    claim.map(|(name, value)| format!("it was told {name}: {value}"))
}
