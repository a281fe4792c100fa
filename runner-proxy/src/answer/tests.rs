use super::*;

fn asked(accept: Option<&'static str>) -> Asked {
    Asked {
        id: Some(RequestId(HeaderValue::from_static("id-1"))),
        accept: accept.map(HeaderValue::from_static),
        grpc: false,
    }
}

#[test]
fn an_answer_has_the_form_that_was_asked_for_and_says_all_there_is() {
    for (accept, kind) in [
        (None, "text/plain; charset=utf-8"),
        (Some("application/json"), "application/json"),
        (Some("text/html"), "text/html; charset=utf-8"),
    ] {
        let response = fault_response(&asked(accept), DoorFault::NoRoute);
        assert_eq!(response.status(), 404);
        assert_eq!(response.headers()["content-type"], kind, "{accept:?}");
        let body = std::str::from_utf8(response.body()).unwrap();
        assert!(body.contains("no_route") && body.contains("id-1"), "{body}");
    }
}

#[test]
fn every_fault_has_a_code_a_status_and_a_sentence_of_its_own() {
    for (place, fault) in DoorFault::ALL.into_iter().enumerate() {
        assert_eq!(fault.index(), place);
        assert!(fault.status().as_u16() >= 400);
        let sentence = fault.to_string();
        assert!(sentence.bytes().all(|b| (b' '..=b'~').contains(&b) && !b"%\"\\<&".contains(&b)));
        let twins = DoorFault::ALL.iter().filter(|f| f.code() == fault.code()).count();
        assert_eq!(twins, 1, "{}", fault.code());
    }
}

#[test]
fn grpc_reads_the_fault_from_a_status_of_its_own() {
    let response = fault_response(&Asked { grpc: true, ..asked(None) }, DoorFault::TookTooLong);
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["grpc-status"], "4");
    assert_eq!(response.headers()["grpc-message"], "the request took longer than it may");
    assert!(response.body().is_empty());
}

#[cfg(feature = "forward")]
#[test]
fn a_code_means_one_thing_whoever_says_it_and_its_sentence_needs_no_escapes() {
    use runner_core::admission::Reason;

    use crate::forward::Fault;

    assert!(Fault::ALL.into_iter().enumerate().all(|(place, fault)| fault.index() == place));
    let said = |code, status: StatusCode, sentence| (code, (status, sentence));
    let mut all: Vec<_> = DoorFault::ALL
        .map(|fault| said(fault.code(), fault.status(), fault.to_string()))
        .into_iter()
        .chain(Fault::ALL.map(|fault| said(fault.code(), fault.status(), fault.to_string())))
        .collect();
    for (code, (_, sentence)) in &all {
        let is_plain = |b: u8| (b' '..=b'~').contains(&b) && !b"%\"\\<&".contains(&b);
        assert!(sentence.bytes().all(is_plain), "{code}: {sentence}");
        assert!(Reason::ALL.iter().all(|reason| reason.code() != *code), "{code}");
    }
    all.sort();
    all.dedup();
    let codes = all.len();
    all.dedup_by_key(|(code, _)| *code);
    assert_eq!(all.len(), codes, "a code means two things in {all:?}");
}
