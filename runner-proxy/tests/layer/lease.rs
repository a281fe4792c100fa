//! How long a slot is held.

use runner_proxy::LeaseHandle;
use tower::layer::Layer;
use tower_service::Service;

use crate::support::{Held, Script, Stage, Step, next_frame};
use crate::{built, call, queue, taken, with_headers};

#[tokio::test(start_paused = true)]
async fn a_lease_ends_with_the_body() {
    use Step::{Data, Fails, Pending, Trailers};
    struct Case {
        what: &'static str,
        body: fn() -> Script,
        /// After how many polls of the body the slot is free; at once for none.
        polls: usize,
    }
    let cases = [
        Case { what: "an empty body", body: || Script::of(&[]), polls: 0 },
        Case { what: "one frame", body: || Script::of(&[Data("a")]), polls: 1 },
        Case { what: "two frames", body: || Script::of(&[Data("a"), Data("b")]), polls: 2 },
        Case { what: "trailers", body: || Script::of(&[Data("a"), Trailers]), polls: 2 },
        Case { what: "an error", body: || Script::of(&[Data("a"), Fails, Data("b")]), polls: 2 },
        Case { what: "a pause", body: || Script::of(&[Data("a"), Pending, Data("b")]), polls: 3 },
        Case {
            what: "an error of a body that does not know its end",
            body: || Script::of(&[Data("a"), Fails, Data("b")]).silent_about_its_end(),
            polls: 2,
        },
        Case {
            what: "a body that does not know its end",
            body: || Script::of(&[Data("a")]).silent_about_its_end(),
            polls: 2,
        },
        Case {
            what: "an empty one that does not know it",
            body: || Script::of(&[]).silent_about_its_end(),
            polls: 1,
        },
    ];
    for case in cases {
        let stage = Stage::default();
        let layer = built(1);
        let mut one = call(&mut layer.layer(stage.worker()), "/");
        stage.answer(0, Ok((case.body)()));
        let mut response = one.done();
        for left in (1..=case.polls).rev() {
            assert_eq!(layer.counters().in_flight, 1, "{}: {left} polls too early", case.what);
            let _ = next_frame(response.body_mut());
        }
        assert_eq!(layer.counters().in_flight, 0, "{}: it should have ended", case.what);
        drop(response);
        assert_eq!(layer.counters().releases(), 1, "{}: released once", case.what);
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_nobody_reads_to_its_end_ends_with_its_drop() {
    for frames in 0..3 {
        let stage = Stage::default();
        let (layer, mut service, mut holder) = taken(queue(1), &stage);
        let mut next = call(&mut service, "/next");
        next.pends();
        stage.answer(0, Ok(Script::of(&[Step::Data("x"); 5])));
        let mut response = holder.done();
        (0..frames).for_each(|_| drop(next_frame(response.body_mut())));
        assert_eq!((next.woken(), layer.counters().in_flight), (0, 1));
        drop(response);
        assert_eq!(next.woken(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn an_upgraded_connection_keeps_the_slot_as_long_as_it_holds_the_handle() {
    let stage = Stage::prompt();
    stage.keep_handles();
    let layer = built(1);
    let mut service = layer.layer(stage.worker());
    let mut one = Held::new(service.call(with_headers(&[("upgrade", "websocket")])));
    drop(one.done());
    drop(one);
    let socket = stage.handles().pop().expect("a handle in the extensions");
    let twin: LeaseHandle = socket.clone();
    socket.mark_upgraded();
    let mut next = call(&mut service, "/next");
    next.pends();
    drop(socket);
    assert_eq!((layer.counters().in_flight, next.woken()), (1, 0));
    drop(twin);
    assert_eq!(next.woken(), 1);
    assert_eq!(next.done().status(), 200);
    assert!(stage.handles().is_empty(), "who asks for no upgrade gets no handle");
}
