//! Where the machine may take either of two instances, the world has its choice.
//!
//! Which of several instances goes, where some have to, the machine decides by how far they are,
//! by their load, and at last by their numbers. States that differ in nothing but numbers are one
//! to the search, so numbers must not decide anything there: where two are alike to the machine
//! and different in truth (one is dead, and nobody has noticed), each order of them is tried, by
//! telling the machine loads that say so. That is more than can happen, and leaves nothing out.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use runner_core::{
    deployment,
    id::InstanceId,
    service::{Event, Service},
};

use super::{
    durability,
    model::{Action, NOW},
    scope::Scope,
    world::{Disk, Part, World, parts},
};

/// Instances that are alike to the machine, newest first, with what each is in truth.
type Alike = Vec<(InstanceId, u64)>;

/// Adds to each action what becomes of it with other choices.
pub(crate) fn add(scope: &Scope, service: &Service, world: &World, actions: &mut Vec<Action>) {
    // There the order is part of the state.
    if scope.standby {
        return;
    }
    let now = match world.owes_commit() {
        true => Vec::new(),
        false => alike_now(service, world),
    };
    for at in 0..actions.len() {
        let after_crash;
        let alike = match &actions[at] {
            Action::Commit => continue,
            Action::Crash { kept } => {
                after_crash = alike_after(service, world, *kept);
                &after_crash
            }
            _ => &now,
        };
        if alike.is_empty() {
            continue;
        }
        let action = actions[at].clone();
        for first in other_orders(scope, service, world, &action, alike) {
            actions.push(Action::Choosing { first, action: Box::new(action.clone()) });
        }
    }
}

/// Lets the machine choose in this order while something happens.
pub(crate) fn choosing(
    first: &[InstanceId],
    action: &Action,
    service: &mut Service,
    world: &mut World,
    happens: impl FnOnce(&mut Service, &mut World),
) {
    let loads = || first.iter().copied().zip(0..).collect();
    let told = |service: &mut Service, loads: BTreeMap<InstanceId, u32>| {
        let effects = service.handle(Event::Fleet(deployment::Event::Load(loads)), NOW);
        assert!(effects.is_empty(), "a load moves nothing by itself: {effects:?}");
    };
    if let (Action::Crash { .. }, Some(disk)) = (action, &world.disk) {
        let mut committed = Service::clone(&disk.service);
        told(&mut committed, loads());
        world.disk = Some(Disk::new(committed));
    }
    told(service, loads());
    happens(service, world);
    told(service, BTreeMap::new());
}

/// What is alike to the machine and not all the same.
fn alike_now(service: &Service, world: &World) -> Vec<Alike> {
    let mut groups = BTreeMap::<_, Alike>::new();
    for (id, one) in service.instances().iter().rev().filter(|(_, one)| !one.phase.is_leaving()) {
        if let Some(thing) = world.things.get(id) {
            let truth = digest(&world.pair(*id, thing, Some(one)));
            groups.entry((one.revision, one.phase)).or_default().push((*id, truth));
        }
    }
    groups.into_values().filter(differ).collect()
}

/// What is alike to the machine when it comes back from a crash, and not all the same.
fn alike_after(service: &Service, world: &World, kept: bool) -> Vec<Alike> {
    let now;
    let on_record = match &world.disk {
        Some(disk) => &*disk.parts,
        None => {
            now = parts(service);
            &now
        }
    };
    let mut groups = BTreeMap::<_, Alike>::new();
    for (id, part) in on_record.iter().rev().filter(|(_, part)| **part != Part::Leaving) {
        if let Some(thing) = world.things.get(id) {
            let truth = digest(&durability::left_of(thing, kept));
            groups.entry((thing.revision, *part)).or_default().push((*id, truth));
        }
    }
    groups.into_values().filter(differ).collect()
}

fn differ(alike: &Alike) -> bool {
    alike.windows(2).any(|two| two[0].1 != two[1].1)
}

fn digest(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// The orders in which those may go that the machine chooses among, but the one it takes by itself.
fn other_orders(
    scope: &Scope,
    service: &Service,
    world: &World,
    action: &Action,
    alike: &[Alike],
) -> Vec<Vec<InstanceId>> {
    let (mut after, mut world) = (service.clone(), world.clone());
    scope.act(action, &mut after, &mut world, &mut Vec::new());
    let left = |id: &InstanceId| after.instances().get(id).is_none_or(|one| one.phase.is_leaving());
    let mut orders = vec![Vec::new()];
    for alike in alike {
        let leave = alike.iter().filter(|(id, _)| left(id)).count();
        // All of them or none: there was no choice.
        if leave == 0 || leave == alike.len() {
            continue;
        }
        let mut some = Vec::new();
        arrange(&mut Vec::new(), alike, &mut some);
        orders = orders
            .iter()
            .flat_map(|before| some.iter().map(move |then| [before.clone(), then.clone()].concat()))
            .collect();
    }
    // The first of all is the one that the machine takes by itself: the newest go first.
    orders.remove(0);
    orders
}

/// Every order of these that differs in more than names, the one they have first.
fn arrange(taken: &mut Vec<InstanceId>, left: &Alike, orders: &mut Vec<Vec<InstanceId>>) {
    if left.is_empty() {
        return orders.push(taken.clone());
    }
    for at in 0..left.len() {
        if left[..at].iter().any(|(_, truth)| *truth == left[at].1) {
            continue;
        }
        let mut rest = left.clone();
        let (id, _) = rest.remove(at);
        taken.push(id);
        arrange(taken, &rest, orders);
        taken.pop();
    }
}
