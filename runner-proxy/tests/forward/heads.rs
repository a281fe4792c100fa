//! What of a head stays behind, and what is added.

use bytes::Bytes;
use http::{Request, request::Builder};
use http_body_util::Full;
use runner_proxy::{
    exchange::{ClientConnection, FromInside, RequestId},
    forward::{Forward, Memory, Trust},
};

use crate::bed::{Bed, echo_heads, in_memory, text};

async fn seen_by_instance(trust: Trust, peer: Option<&str>, request: Builder) -> Vec<String> {
    let memory = Memory::new();
    echo_heads(&memory, "i1");
    let bed = in_memory(Forward::builder(memory).trust(trust), 1, 1);
    seen(&bed, peer, request).await
}

async fn seen(bed: &Bed<Memory>, peer: Option<&str>, request: Builder) -> Vec<String> {
    let mut request = request.body(Full::<Bytes>::default()).expect("a request");
    if let Some(peer) = peer {
        let peer = Some(peer.parse().expect("an address"));
        request.extensions_mut().insert(ClientConnection { peer, secure: true });
    }
    request.extensions_mut().insert(RequestId("r-1".parse().expect("a value")));
    let response = bed.ask(request).await;
    assert_eq!(response.status(), 200);
    let mut lines: Vec<_> = text(&response).lines().map(str::to_owned).collect();
    lines[1..].sort();
    lines
}

fn trusted() -> Trust {
    Trust::networks(["10.0.0.0/8".parse().expect("a range")])
}

#[tokio::test]
async fn what_belongs_to_a_connection_stays_behind() {
    let request = Request::get("/a?b=c")
        .header("host", "example.org")
        .header("connection", "close, X-Mine,host, authorization")
        .header("keep-alive", "timeout=5")
        .header("proxy-connection", "keep-alive")
        .header("proxy-authorization", "Basic x")
        .header("te", "gzip, trailers")
        .header("upgrade", "h2c")
        .header("http2-settings", "AAA")
        .header("x-mine", "1")
        .header("authorization", "kept")
        .header("x-yours", "2");
    let lines = seen_by_instance(Trust::nobody(), None, request).await;
    assert_eq!(
        lines,
        [
            "GET /a?b=c",
            "authorization: kept",
            "forwarded: for=unknown;host=example.org;proto=http",
            "host: example.org",
            "te: trailers",
            "x-forwarded-host: example.org",
            "x-forwarded-proto: http",
            "x-request-id: r-1",
            "x-yours: 2",
        ]
    );
}

fn with_claims() -> Builder {
    Request::get("/")
        .header("host", "example.org:8443")
        .header("forwarded", "for=1.1.1.1")
        .header("x-forwarded-for", "1.1.1.1")
        .header("x-forwarded-for", "2.2.2.2")
        .header("x-forwarded-proto", "http")
        .header("x-forwarded-host", "outside")
        .header("x-forwarded-prefix", "/p")
        .header("x-real-ip", "1.1.1.1")
        .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
}

#[tokio::test]
async fn nobodys_word_is_taken_for_where_a_request_came_from() {
    let lines = seen_by_instance(trusted(), Some("11.0.0.1:1000"), with_claims()).await;
    assert_eq!(
        lines,
        [
            "GET /",
            "forwarded: for=11.0.0.1;host=\"example.org:8443\";proto=https",
            "host: example.org:8443",
            "x-forwarded-for: 11.0.0.1",
            "x-forwarded-host: example.org:8443",
            "x-forwarded-proto: https",
            "x-request-id: r-1",
        ]
    );
}

#[tokio::test]
async fn a_claim_with_underlines_is_a_claim() {
    let request = Request::get("/")
        .header("host", "example.org")
        .header("x_forwarded_for", "1.1.1.1")
        .header("x-forwarded_proto", "https")
        .header("x_real-ip", "1.1.1.1")
        .header("x_request_id", "forged")
        .header("x_forwarded", "no claim")
        .header("x_other_id", "none either");
    let lines = seen_by_instance(Trust::nobody(), Some("11.0.0.1:1000"), request).await;
    assert_eq!(
        lines,
        [
            "GET /",
            "forwarded: for=11.0.0.1;host=example.org;proto=https",
            "host: example.org",
            "x-forwarded-for: 11.0.0.1",
            "x-forwarded-host: example.org",
            "x-forwarded-proto: https",
            "x-request-id: r-1",
            "x_forwarded: no claim",
            "x_other_id: none either",
        ]
    );
}

#[tokio::test]
async fn the_word_of_who_is_trusted_is_kept_and_added_to() {
    let lines = seen_by_instance(trusted(), Some("[::ffff:10.2.3.4]:1000"), with_claims()).await;
    assert_eq!(
        lines,
        [
            "GET /",
            "forwarded: for=1.1.1.1, for=10.2.3.4;host=\"example.org:8443\";proto=https",
            "host: example.org:8443",
            "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "x-forwarded-for: 1.1.1.1, 2.2.2.2, 10.2.3.4",
            "x-forwarded-host: outside",
            "x-forwarded-prefix: /p",
            "x-forwarded-proto: http",
            "x-real-ip: 1.1.1.1",
            "x-request-id: r-1",
        ]
    );
}

#[tokio::test]
async fn an_address_of_ipv6_is_quoted_where_it_has_to_be() {
    let request = Request::get("/").header("host", "[::1]:80");
    let lines = seen_by_instance(Trust::nobody(), Some("[2001:db8::1]:1000"), request).await;
    assert_eq!(lines[1], "forwarded: for=\"[2001:db8::1]\";host=\"[::1]:80\";proto=https");
    assert_eq!(lines[3], "x-forwarded-for: 2001:db8::1");
}

#[tokio::test]
async fn a_host_that_would_break_out_is_left_out() {
    let request = Request::get("/").header("host", "a\";for=evil");
    let lines = seen_by_instance(Trust::nobody(), Some("11.0.0.1:1"), request).await;
    assert_eq!(lines[1], "forwarded: for=11.0.0.1;proto=https");
}

#[tokio::test]
async fn an_absolute_address_becomes_a_path_and_its_host_wins() {
    let request = Request::get("http://user:secret@example.org:81/x?y").header("host", "other");
    let lines = seen_by_instance(Trust::nobody(), None, request).await;
    assert_eq!((lines[0].as_str(), lines[2].as_str()), ("GET /x?y", "host: example.org:81"));
    let request = Request::options("http://example.org");
    let lines = seen_by_instance(Trust::nobody(), None, request).await;
    assert_eq!(lines[0], "OPTIONS /", "what the parser makes of it");
}

#[tokio::test]
async fn an_absolute_address_without_a_path_gets_one() {
    for (address, line) in
        [("http://a?b=/c", "GET /?b=/c"), ("http://a", "GET /"), ("http://a/?b", "GET /?b")]
    {
        let lines = seen_by_instance(Trust::nobody(), None, Request::get(address)).await;
        assert_eq!(lines[0], line);
    }
}

#[tokio::test]
async fn a_request_has_a_name_of_its_own_unless_a_trusted_client_gave_it_one() {
    let memory = Memory::new();
    echo_heads(&memory, "i1");
    let bed = in_memory(Forward::builder(memory).trust(trusted()), 1, 1);
    let named = async |peer: &str, name: &str| {
        let mut request =
            Request::get("/").header("x-request-id", name).body(Full::default()).expect("one");
        let peer = Some(peer.parse().expect("an address"));
        request.extensions_mut().insert(ClientConnection { peer, secure: false });
        let response = bed.ask(request).await;
        let line = text(&response).lines().find(|line| line.starts_with("x-request-id"));
        line.expect("a name").to_owned()
    };
    assert_eq!(named("10.0.0.1:1", "theirs").await, "x-request-id: theirs");
    let [one, other] = [named("11.0.0.1:1", "theirs").await, named("10.0.0.1:1", "no good").await];
    assert_ne!(one, other);
    assert!(!one.contains("theirs") && !other.contains("good"), "{one} {other}");
}

#[tokio::test]
async fn an_instance_may_name_its_request_and_its_trace_and_not_its_origin() {
    let memory = Memory::new();
    echo_heads(&memory, "i1");
    let bed = in_memory(Forward::builder(memory).trust(trusted()), 1, 1);
    for peer in ["10.0.0.1:1", "11.0.0.1:1"] {
        let request = with_claims().header("x-request-id", "theirs").extension(FromInside);
        let mut request = request.body(Full::default()).expect("one");
        let peer = Some(peer.parse().expect("an address"));
        request.extensions_mut().insert(ClientConnection { peer, secure: false });
        let response = bed.ask(request).await;
        let lines = text(&response);
        for kept in ["x-request-id: theirs", "traceparent: 00-0af7651916cd43dd"] {
            assert!(lines.contains(kept), "{kept}: {lines}");
        }
        for claim in ["1.1.1.1", "2.2.2.2", "outside", "/p"] {
            assert!(!lines.contains(claim), "{claim}: {lines}");
        }
    }
}
