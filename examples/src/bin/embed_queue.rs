//! The overflow queue in an axum program, against bursts of its own.
//!
//! `cargo run --release -p runner-examples --bin embed_queue`
//!
//! The first burst is held as far as there is room, since nothing is known yet; by the second the
//! queue has learned how long a request takes and refuses at once what would wait too long.
#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a program, not a library")]

use std::{collections::BTreeMap, time::Duration};

use axum::{Router, body::Body, body::to_bytes, extract::Request, routing::get};
use futures_util::future::join_all;
use runner_proxy::{LeaseHandle, OverflowQueueLayer};
use tower::ServiceExt;

async fn page() -> &'static str {
    tokio::time::sleep(Duration::from_millis(100)).await; // the work
    "served"
}

async fn socket(request: Request) {
    // An upgraded connection outlives its response: these two lines keep its slot taken.
    let lease = request.extensions().get::<LeaseHandle>().cloned();
    tokio::spawn(async move { (tokio::time::sleep(Duration::from_millis(300)).await, lease) });
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    runner_examples::begin("embed_queue", "the overflow queue in an axum program");
    let queue = OverflowQueueLayer::builder().concurrency(5).max_waiting(400);
    let queue = queue.max_wait(Duration::from_secs(3)).build()?;
    let app = Router::new().route("/", get(page)).route("/ws", get(socket)).layer(queue.clone());
    let upgrade = Request::get("/ws").header("upgrade", "websocket").body(Body::empty())?;
    app.clone().oneshot(upgrade).await?;
    for burst in [20, 400] {
        let asked = (0..burst).map(|_| async {
            let response = app.clone().oneshot(Request::new(Body::empty())).await;
            let (head, body) = response.expect("it cannot fail").into_parts();
            // The slot is free again when the body was read.
            (head.status, to_bytes(body, 4096).await.expect("it is short"))
        });
        let mut answers = BTreeMap::<_, Vec<_>>::new();
        for (status, said) in join_all(asked).await {
            answers.entry(status.as_u16()).or_default().push(said);
        }
        println!("{burst} requests at once:");
        for (status, all) in answers {
            println!("{:4} x {status} {}", all.len(), String::from_utf8_lossy(&all[0]).trim());
        }
    }
    println!("{}", queue.counters());
    Ok(())
}
