//! The router as a service: swaps, layers of one service, and services that are not ready.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use runner_proxy::{
    OverflowQueueLayer,
    answer::{Answers, fault_response},
    exchange::RequestId,
    router::{Layered, Router, Routes, TakenRoute},
};
use tower::{Service, ServiceExt, service_fn};

/// Says its name, and becomes ready when it was asked so often.
#[derive(Clone, Debug)]
struct Named(&'static str, u32);

impl Service<Request<()>> for Named {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        if self.1 == 0 {
            return Poll::Ready(Ok(()));
        }
        self.1 -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        assert_eq!(self.1, 0, "it was not ready");
        ready(Ok(Response::new(Full::new(Bytes::from(self.0)))))
    }
}

fn get(host: &str, path: &str) -> Request<()> {
    Request::get(path).header("host", host).body(()).unwrap()
}

async fn said<S, B>(router: &S, request: Request<()>) -> String
where
    S: Service<Request<()>, Response = Response<B>> + Clone,
    S::Error: std::fmt::Debug,
    B: http_body::Body<Data = Bytes, Error: std::fmt::Debug>,
{
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    format!("{status} {}", String::from_utf8_lossy(&body))
}

#[tokio::test]
async fn routes_are_swapped_as_one_value_for_every_clone() {
    let mut routes = Routes::new();
    routes.add(&"a.example".parse().unwrap(), "one", Named("one", 0)).unwrap();
    let router = Router::new(routes);
    let (clone, handle) = (router.clone(), router.handle());
    assert_eq!(said(&clone, get("a.example", "/")).await, "200 one");
    let mut routes = Routes::new();
    routes.add(&"a.example".parse().unwrap(), "two", Named("two", 0)).unwrap();
    routes.add(&"b.example".parse().unwrap(), "two", Named("two", 0)).unwrap();
    handle.publish(routes);
    for router in [&router, &clone] {
        assert_eq!(said(router, get("a.example", "/")).await, "200 two");
        assert_eq!(said(router, get("b.example", "/")).await, "200 two");
    }
    assert_eq!(handle.routes().len(), 2);
}

#[tokio::test]
async fn an_edit_that_fails_changes_nothing() {
    let mut routes = Routes::new();
    routes.add(&"a.example".parse().unwrap(), "one", Named("one", 0)).unwrap();
    let router = Router::new(routes);
    let edited: Result<(), TakenRoute> = router.handle().edit(|routes| {
        routes.add(&"b.example".parse().unwrap(), "two", Named("two", 0))?;
        routes.add(&"a.example".parse().unwrap(), "two", Named("two", 0))
    });
    assert_eq!(edited.unwrap_err().owner, "one");
    assert!(said(&router, get("b.example", "/")).await.starts_with("404 "));
    let removed: Result<(), TakenRoute> = router.handle().edit(|routes| {
        assert_eq!(routes.remove("one"), 1);
        Ok(())
    });
    removed.unwrap();
    assert!(said(&router, get("a.example", "/")).await.starts_with("404 "));
}

#[tokio::test]
async fn a_service_that_is_not_ready_is_waited_for() {
    let mut routes = Routes::new();
    routes.add(&"*".parse().unwrap(), "slow", Named("slow", 3)).unwrap();
    assert_eq!(said(&Router::new(routes), get("any", "/")).await, "200 slow");
}

#[tokio::test]
async fn what_the_router_answers_itself_may_be_the_programs_own() {
    let routes = Routes::<Named>::new();
    let answers = Answers::with(|asked, fault| {
        let mut response = fault_response(asked, fault);
        response.headers_mut().insert("x-mine", http::HeaderValue::from_static("yes"));
        response
    });
    let router = Router::with_answers(routes, answers);
    let mut request = get("a.example", "/");
    request.extensions_mut().insert(RequestId(http::HeaderValue::from_static("id-9")));
    let response = router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), 404);
    assert_eq!(response.headers()["x-mine"], "yes");
    assert_eq!(response.headers()["x-request-id"], "id-9");
    for (host, path) in [("a..b", "/"), ("a.example", "/x/../y")] {
        assert!(said(&router, get(host, path)).await.starts_with("400 "), "{host}{path}");
    }
}

#[tokio::test]
async fn one_service_has_layers_that_others_have_not() {
    let queue = OverflowQueueLayer::builder().concurrency(1).max_waiting(0).build().unwrap();
    let mut routes = Routes::new();
    let hello = |_: Request<()>| async {
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("hello"))))
    };
    routes.add(&"plain".parse().unwrap(), "a", Layered::plain(service_fn(hello))).unwrap();
    routes.add(&"full".parse().unwrap(), "b", Layered::with(&queue, service_fn(hello))).unwrap();
    let router = Router::new(routes);
    let held = router.clone().oneshot(get("full", "/")).await.unwrap();
    assert!(said(&router, get("full", "/")).await.starts_with("429 "));
    assert_eq!(said(&router, get("plain", "/")).await, "200 hello");
    drop(held);
    assert_eq!(said(&router, get("full", "/")).await, "200 hello");
}
