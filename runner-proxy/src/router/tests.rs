use http::HeaderMap;
use runner_core::id::ServiceId;

use super::{host, path, *};
use crate::answer::DoorFault;

#[test]
fn hosts_are_compared_without_case_port_and_trailing_dot() {
    for (given, normal) in [
        ("example.com", Some("example.com")),
        ("Example.COM", Some("example.com")),
        ("example.com.", Some("example.com")),
        ("EXAMPLE.com.:8080", Some("example.com")),
        ("example.com:", Some("example.com")),
        ("a_b.example", Some("a_b.example")),
        ("127.0.0.1:80", Some("127.0.0.1")),
        ("[::1]:80", Some("[::1]")),
        ("[0:0:0:0:0:0:0:1]", Some("[::1]")),
        ("[2001:DB8::A]:443", Some("[2001:db8::a]")),
        ("", None),
        (".", None),
        ("a..b", None),
        (".a", None),
        ("a b", None),
        ("a/b", None),
        ("user@example.com", None),
        ("example.com:80:80", None),
        ("example.com:http", None),
        ("example.com:123456", None),
        ("[::1", None),
        ("[::g]", None),
        ("[::1]x", None),
        ("::1", None),
        ("ex%61mple.com", None),
    ] {
        assert_eq!(host::normalised(given).as_deref(), normal, "{given}");
    }
    assert_eq!(host::normalised(&"a.".repeat(127)).as_deref(), Some(&"a.".repeat(127)[..253]));
    assert_eq!(host::normalised(&"a".repeat(64)), None, "no label is that long");
}

#[test]
fn paths_are_compared_as_a_service_reads_them() {
    for (given, normal) in [
        ("/", Some("/")),
        ("/api/v1", Some("/api/v1")),
        ("/%61pi", Some("/api")),
        ("/a%2fb", Some("/a%2Fb")),
        ("/a%2Fb%7e", Some("/a%2Fb~")),
        ("//api", Some("//api")),
        ("/.well-known/x", Some("/.well-known/x")),
        ("/...", Some("/...")),
        ("/a..b/..c", Some("/a..b/..c")),
        ("/%zz%", Some("/%zz%")),
        ("/%e4%c3", Some("/%E4%C3")),
        ("*", Some("*")),
        ("/.", None),
        ("/..", None),
        ("/a/../b", None),
        ("/a/./b", None),
        ("/a/%2e%2E/b", None),
        ("/a/.%2e", None),
        ("/a%2f..%2fb", None),
        ("/a%5c..%5cb", None),
        ("/a\\..\\b", None),
        ("/a/..;x=y/b", None),
        ("/a/..%3bx/b", None),
        ("/a/..%00/b", None),
    ] {
        assert_eq!(path::normalised(given).as_deref(), normal, "{given}");
    }
}

#[test]
fn the_most_exact_host_wins_and_then_the_longest_path() {
    let mut routes = Routes::new();
    for route in [
        "shop.example.com",
        "shop.example.com/api",
        "shop.example.com/api/v1",
        "*.example.com",
        "*.example.com/only",
        "*.deep.example.com",
        "*",
        "*/health",
        "[::1]/six",
    ] {
        routes.add(&route.parse().expect(route), route, route).expect("free");
    }
    type Table = Routes<&'static str>;
    let found = |routes: &Table, host: Option<&str>, path| routes.find(host, path).copied();
    for (host, path, route) in [
        ("shop.example.com", "/", "shop.example.com"),
        ("shop.example.com", "/api", "shop.example.com/api"),
        ("shop.example.com", "/api/", "shop.example.com/api"),
        ("shop.example.com", "/apiary", "shop.example.com"),
        ("shop.example.com", "/api/v1/x", "shop.example.com/api/v1"),
        ("shop.example.com", "/health", "shop.example.com"),
        ("other.example.com", "/", "*.example.com"),
        ("other.example.com", "/only/this", "*.example.com/only"),
        ("a.b.example.com", "/", "*.example.com"),
        ("a.deep.example.com", "/", "*.deep.example.com"),
        ("deep.example.com", "/", "*.example.com"),
        ("example.com", "/", "*"),
        ("notexample.com", "/", "*"),
        ("example.com", "/health", "*/health"),
        ("[::1]", "/six", "[::1]/six"),
        ("[::1]", "/seven", "*"),
    ] {
        assert_eq!(found(&routes, Some(host), path), Some(route), "{host}{path}");
    }
    assert_eq!(found(&routes, None, "/"), Some("*"));
    assert_eq!(routes.remove("*"), 1);
    assert_eq!(found(&routes, None, "/"), None);
    assert_eq!(found(&routes, Some("example.com"), "/"), None);
    assert_eq!(routes.len(), 8);
}

#[test]
fn a_host_that_lacks_the_path_leaves_it_to_the_next_less_exact() {
    let mut routes = Routes::new();
    routes.add(&"a.example/api".parse().unwrap(), "a", 1).unwrap();
    routes.add(&"*.example".parse().unwrap(), "all", 2).unwrap();
    assert_eq!(routes.find(Some("a.example"), "/api"), Some(&1));
    assert_eq!(routes.find(Some("a.example"), "/else"), Some(&2));
}

#[test]
fn a_taken_route_is_refused_naming_its_owner() {
    let mut routes = Routes::new();
    routes.add(&"Example.com/api/".parse().unwrap(), "billing", ()).unwrap();
    let again: Route = "example.COM./%61pi".parse().unwrap();
    let refused = routes.add(&again, "shop", ()).unwrap_err();
    assert_eq!(refused.to_string(), "the route example.com/api is taken by billing");
    assert_eq!(routes.owner_of(&again), Some("billing"));
    assert_eq!(routes.len(), 1);
    assert_eq!(format!("{routes:?}"), "{\"example.com/api\": \"billing\"}");
}

#[test]
fn a_text_that_is_no_route_says_what_is_wrong_with_it() {
    for (text, what) in [
        ("", "host"),
        ("example.com:80", "host"),
        ("[::1]:80/x", "host"),
        ("a..b", "host"),
        ("*example.com", "host"),
        ("*.[::1]", "host"),
        ("*.", "host"),
        ("a.example/../b", "path"),
        ("a.example//b", "path"),
        ("a.example/b c", "path"),
        ("a.example/b?c", "path"),
    ] {
        let error = text.parse::<Route>().expect_err(text).to_string();
        assert!(error.contains(&format!("for its {what}")), "{text}: {error}");
    }
    assert_eq!(Route::named("Hello", "apps.example").unwrap().to_string(), "hello.apps.example");
    assert!(Route::named("a.b", "apps.example").is_err());
    assert!(Route::named("", "apps.example").is_err());
}

#[test]
fn a_request_names_one_host_or_none() {
    let host = |target: &str, fields: &[&'static str]| {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append("host", http::HeaderValue::from_static(field));
        }
        host_of(&target.parse().unwrap(), &headers).map(|host| host.map(str::to_owned))
    };
    assert_eq!(host("/", &["a.example"]), Ok(Some("a.example".to_owned())));
    assert_eq!(host("/", &[]), Ok(None));
    assert_eq!(host("http://a.example/", &[]), Ok(Some("a.example".to_owned())));
    assert_eq!(host("http://a.example/", &["A.example"]), Ok(Some("a.example".to_owned())));
    for (target, fields) in [
        ("/", &["a.example", "b.example"][..]),
        ("/", &["a.example", "a.example"]),
        ("http://a.example/", &["b.example"]),
        ("http://me@a.example/", &[]),
    ] {
        assert_eq!(host(target, fields), Err(DoorFault::BadHost), "{target} {fields:?}");
    }
}

#[test]
fn a_cookie_names_an_instance_of_its_service_or_nothing() {
    let service = ServiceId::from_random(7);
    let sticky = Sticky::new(service, "at").unwrap();
    let instance = |fields: &[&'static str]| {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append("cookie", http::HeaderValue::from_static(field));
        }
        sticky.instance(&headers)
    };
    assert_eq!(instance(&["at=1f"]), Some(service.instance(31)));
    assert_eq!(instance(&["a=b; at=2;c=d"]), Some(service.instance(2)));
    assert_eq!(instance(&["a=b", "at=2"]), Some(service.instance(2)));
    for made_up in ["", "at=", "at=x", "at", "cat=2", "at=11111111111111111", "at=-1"] {
        assert_eq!(instance(&[made_up]), None, "{made_up}");
    }
    assert!(Sticky::new(service, "a=b").is_err());
}
