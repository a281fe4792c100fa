use super::*;

const ACCEPTS: [(&str, Form); 9] = [
    ("", Form::Text),
    ("*/*", Form::Text),
    ("application/json", Form::Json),
    ("application/problem+json;q=0.9, text/html", Form::Json),
    ("text/html,application/xhtml+xml,application/json", Form::Html),
    ("image/png, application/xhtml+xml", Form::Html),
    ("text/plain, application/json", Form::Text),
    ("text/*, text/html", Form::Text),
    ("text/css, application/json", Form::Json),
];

fn told<'a>(retry: Option<Duration>, id: Option<&'a str>) -> Told<'a> {
    Told {
        status: StatusCode::TOO_MANY_REQUESTS,
        code: "some_code",
        sentence: format_args!("something happened"),
        grpc: Grpc::ResourceExhausted,
        retry,
        id,
    }
}

fn body(told: Told<'_>, form: Form) -> String {
    String::from_utf8(told.response(form).into_body().into()).expect("text")
}

#[test]
fn the_form_is_the_first_that_a_client_names() {
    for (accept, form) in ACCEPTS {
        let headers = HeaderMap::from_iter([(header::ACCEPT, accept.parse().expect("a value"))]);
        assert_eq!(Form::of(&Method::GET, &headers), form, "{accept}");
    }
    assert_eq!(Form::of(&Method::GET, &HeaderMap::new()), Form::Text);
}

#[test]
fn grpc_is_known_by_its_type_and_a_tunnel_is_never_opened_by_a_refusal() {
    for (kind, grpc) in [
        ("application/grpc", true),
        ("application/grpc+proto", true),
        ("application/grpc-web", false),
        ("application/json", false),
    ] {
        let kind = [(header::CONTENT_TYPE, kind.parse().expect("a value"))];
        let headers = HeaderMap::from_iter(kind);
        assert_eq!(Form::of(&Method::POST, &headers) == Form::Grpc, grpc);
        assert_ne!(Form::of(&Method::CONNECT, &headers), Form::Grpc);
    }
}

#[test]
fn each_form_says_the_reason_the_time_and_the_name() {
    let retry = Some(Duration::from_millis(1_500));
    assert_eq!(
        body(told(retry, Some("id-1")), Form::Text),
        "something happened. Try again in 2 seconds.\nreason: some_code\nrequest: id-1\n"
    );
    assert_eq!(
        body(told(retry, Some("id-1")), Form::Json),
        "{\"reason\":\"some_code\",\"message\":\"something happened\",\"retry_after_ms\":1500,\
         \"request_id\":\"id-1\"}\n"
    );
    let html = body(told(retry, Some("id-1")), Form::Html);
    assert!(html.contains("<h1>429 Too Many Requests</h1>"), "{html}");
    assert!(html.contains("<p>something happened. Try again in 2 seconds.</p>"), "{html}");
    assert!(html.contains("reason: some_code<br>request: id-1<"), "{html}");
    for form in [Form::Text, Form::Html, Form::Json] {
        let response = told(retry, Some("id-1")).response(form);
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()["retry-after"], "2");
        assert_eq!(response.headers()["retry-after-ms"], "1500");
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert_eq!(response.headers()["x-refusal-reason"], "some_code");
        assert_eq!(response.headers()["x-request-id"], "id-1");
    }
}

#[test]
fn grpc_reads_all_of_it_from_headers() {
    let response = told(Some(Duration::from_micros(1)), Some("id-1")).response(Form::Grpc);
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["grpc-status"], "8");
    assert_eq!(response.headers()["grpc-message"], "something happened");
    assert_eq!(response.headers()["grpc-retry-pushback-ms"], "1", "never too early");
    assert_eq!(response.headers()["x-refusal-reason"], "some_code");
    assert_eq!(response.headers()["x-request-id"], "id-1");
    assert!(response.body().is_empty());
}

#[test]
fn what_is_not_known_is_left_out() {
    assert_eq!(body(told(None, None), Form::Text), "something happened\nreason: some_code\n");
    let json = body(told(None, None), Form::Json);
    assert!(json.ends_with("\"retry_after_ms\":null,\"request_id\":null}\n"), "{json}");
    assert!(!body(told(None, None), Form::Html).contains("request:"));
    for form in [Form::Text, Form::Grpc] {
        let headers = told(None, None).response(form).into_parts().0.headers;
        for name in ["retry-after", "retry-after-ms", "grpc-retry-pushback-ms", "x-request-id"] {
            assert!(!headers.contains_key(name), "{name}");
        }
    }
}

#[test]
fn an_id_that_could_break_out_of_its_form_is_left_out() {
    let long = "x".repeat(129);
    for id in ["<script>\"", "", "a b", "\",\"admin\":\"", &*long] {
        for form in [Form::Text, Form::Html, Form::Json, Form::Grpc] {
            let response = told(None, Some(id)).response(form);
            assert!(!response.headers().contains_key("x-request-id"), "{id}");
            let body = std::str::from_utf8(response.body()).expect("text");
            assert!(id.is_empty() || !body.contains(id), "{body}");
        }
    }
}

#[test]
fn only_a_405_says_which_methods_there_are() {
    let refused = Told { status: StatusCode::METHOD_NOT_ALLOWED, ..told(None, None) };
    let allow = refused.response(Form::Text).into_parts().0.headers[header::ALLOW].clone();
    let methods: Vec<_> = allow.to_str().expect("text").split(", ").collect();
    assert!(methods.contains(&"PATCH") && methods.contains(&"OPTIONS"), "{methods:?}");
    assert!(!methods.contains(&"CONNECT"), "{methods:?}");
    assert!(!told(None, None).response(Form::Text).headers().contains_key(header::ALLOW));
}
