//! The service machine and the world around it, as the explorer sees them.
//!
//! The tests in `explore.rs` explore scopes of it; the example `deploy_machine` leaves out a guard
//! and shows the shortest way to disaster. A `scope` says how much of everything there may be,
//! `world` what is true whatever the machine believes, `model` what can happen to both: `offers`
//! lists it, `happens` does it, `choices` tries instances that are alike in each order,
//! `durability` holds back what waits for a commit. `properties` says what must hold, and `guards`
//! what has to happen for each guard to be missed.

mod choices;
mod durability;
mod guards;
mod happens;
mod model;
mod offers;
mod ordered;
mod properties;
mod scope;
mod world;

pub(crate) use guards::{disaster_without, explorer};
pub(crate) use scope::{A, B, Order, Scope, Way};
pub(crate) use world::Allowances;
