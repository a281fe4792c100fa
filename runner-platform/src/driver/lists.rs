//! Lists of the backend: one call for all who asked before it began.
//!
//! Absence from a list means death only in one whose call began after the start was acknowledged.
//! So nobody is given the answer of a call that was under way when something of its own changed
//! last. A service at rest, which only looks from time to time whether all is well, is given the
//! newest list there is: however many there are, the backend is asked now and then.

use std::{collections::BTreeSet, convert::Infallible, sync::Arc, time::Duration};

use runner_core::{
    backend::{Condition, ListedInstance, Listing},
    deployment::Found,
    id::InstanceId,
    time::Timestamp,
};
use tokio::{sync::mpsc, task::JoinSet};

use crate::{
    shared::{ListAsk, Shared, Sighted},
    within::answer_within,
};

pub(super) async fn answer(
    shared: Arc<Shared>,
    mut asked: mpsc::UnboundedReceiver<ListAsk>,
) -> Infallible {
    let mut stops = JoinSet::new();
    let mut newest: Option<(Timestamp, Arc<Sighted>)> = None;
    loop {
        let first = tokio::select! {
            biased;
            Some(_) = stops.join_next() => continue,
            first = asked.recv() => first,
        };
        // Those who ask hold what asks with them: the driver ends before there is nobody.
        let Some(first) = first else { std::future::pending().await };
        let mut all = Vec::new();
        for ask in std::iter::once(first).chain(std::iter::from_fn(|| asked.try_recv().ok())) {
            match &newest {
                // Not of the very moment: what came first in it, nobody knows.
                Some((began, sighted)) if *began > ask.since => {
                    let _ = ask.answer.send(Ok(Arc::clone(sighted)));
                }
                _ => all.push(ask),
            }
        }
        if all.is_empty() {
            continue;
        }
        let began = shared.clock.now();
        let listed = answer_within(LIMIT, || shared.backend.list(shared.fence)).await;
        if let Err(error) = &listed {
            // Once for each call, of which there are two a minute while nothing happens.
            tracing::warn!(%error, "the backend cannot say what is there; it is asked again");
        }
        let answer = listed.map(|listing| Arc::new(sort(&shared, listing, &mut stops)));
        newest = answer.as_ref().ok().map(|sighted| (began, Arc::clone(sighted)));
        for ask in all {
            let _ = ask.answer.send(answer.clone());
        }
    }
}

/// What is there of all services. What belongs to none that is known is stopped: its service
/// is gone.
fn sort(shared: &Arc<Shared>, listing: Listing, stops: &mut JoinSet<()>) -> Sighted {
    let known: BTreeSet<_> = shared.with(|registry| {
        registry.foreign = listing.foreign;
        registry.services.values().map(|entry| entry.id).collect()
    });
    let mut sighted = Vec::new();
    for ListedInstance { instance, address, condition, .. } in listing.instances {
        if known.contains(&instance.service) {
            sighted.push((instance, Found { condition, address }));
        } else if !matches!(condition, Condition::Ended(_)) {
            stops.spawn(stop(Arc::clone(shared), instance));
        }
    }
    Sighted::new(sighted)
}

async fn stop(shared: Arc<Shared>, instance: InstanceId) {
    let grace = runner_core::spec::DEFAULT_STOP_GRACE;
    tracing::warn!(%instance, "an instance of a service that is gone is stopped");
    // What fails is found again by the next list.
    let stop = || shared.backend.stop(shared.fence, instance, grace);
    let _ = answer_within(grace + LIMIT, stop).await;
}

/// An engine that takes longer is held to be down, and asked again.
const LIMIT: Duration = Duration::from_secs(30);
