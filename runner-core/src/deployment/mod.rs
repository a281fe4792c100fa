//! Deployments: how one revision takes the place of another.
//!
//! A [`Deployment`] is a plain value: events go in, effects come out, and it reads no clock and
//! calls nobody. Blue is what serves, green is what is to serve. Green is provisioned, proven,
//! given the requests, watched for a while, and only then promoted; until that moment the way back
//! is one [`Publish`](Effect::Publish).
//!
//! # The contract
//!
//! Whoever drives it
//!
//! 1. carries out every [`Effect`] in order, durable ones ([`Effect::is_durable`]) after the state
//!    that asked for them is committed;
//! 2. answers every call once, with success or failure, and bounds how long it takes;
//! 3. hands over each timer of [`timers`](Deployment::timers) as [`Event::Due`] when its time has
//!    come.
//!
//! It then holds, after any order of events, and across a crash at any step:
//!
//! - traffic points only at instances that are ready and of a revision that passed;
//! - while a revision that passed is serving and its instances live, its capacity is never given up
//!   for one that has not passed (in place, which is chosen by name, waives this);
//! - a deployment that does not succeed leaves blue as desired and nothing of green;
//! - nothing is stopped before its requests are finished or timed out;
//! - nothing is orphaned, started twice, or left waiting without a timer.
//!
//! # Why this way
//!
//! It is a reconciler around a small phase machine. Every instance has a phase; the stage of the
//! deployment says how many each side should have; after every event the difference is worked
//! off. Nothing asks which event led where, so scaling, failing, cancelling and crashing at the
//! same time are no cases of their own. That is what makes every state explorable, and it is
//! explored: `runner-core/tests/explore.rs`.
//!
//! # How far it is explored
//!
//! Every state of small scopes: up to three instances a side, a deployment under way and a second
//! command, two faults, a crash at any step, answers repeated and overtaking one another. Not all
//! of that at once: every two are together in at least one scope, and the table that the test
//! prints says which. Partial surge, steps, in place, approval, standby, creation, pause, resume,
//! and a backend without room for both sides have two instances a side and fewer of these together.
//! [`Event`] says which orders of events are relied on. Larger scopes are walked at random.
//!
//! # Limits
//!
//! - A first deployment has nothing to return to, so it is promoted as soon as it has passed,
//!   unless the settings ask for a bake ([`Spans::first_bake`]).
//! - What supersedes a deployment begins when blue can carry the load, beside what is left of the
//!   one before: for as long as its requests take there are three. In place it waits for all of it.
//! - On the way back green goes on serving for what blue cannot carry yet, and leaves as blue
//!   comes. Where the backend has room for neither, one of green makes it, never the last; so for
//!   that long there is one less than is wanted. When blue does not come within its start
//!   allowance (for as many tries as the settings allow, anew for each that came) the deployment
//!   ends all the same: green leaves, and blue comes when it can.
//! - A backend without room is asked again after one second, then after twice as long each time, up
//!   to five minutes. What is freed meanwhile is found at the next question.
//! - With a partial surge a step moves as many requests as green has instances for, so it may take
//!   longer than it was given. Blue is not whole then: a restart of the platform in the middle
//!   turns back, and green serves until blue is there again.
//!
//! # What it is not
//!
//! It resolves no secrets and knows no operations: that is the [service machine](crate::service),
//! which is this one with a lifecycle around it. It measures nothing: [`Event::Measured`] brings
//! the numbers, and [`worse`] judges them.

mod alone;
mod aside;
mod cause;
mod clock;
mod event;
mod guard;
mod instance;
mod keep;
mod life;
mod numbers;
mod plan;
mod restart;
mod rollout;
mod sides;
mod stages;
mod targets;
mod traffic;
mod wait;

pub use alone::{Deployment, Plan};
pub use aside::Aside;
pub use cause::{Cause, CauseCode, Evidence, ProbeSight};
pub use event::{Effect, Event, Found, Notice, Outcome, Timer};
pub use guard::Guard;
pub use instance::{Fleet, Instance, Phase};
pub use numbers::{LEAST_REQUESTS, Window, worse};
pub use plan::{Policy, Shift, Side, Spans};
pub(crate) use rollout::Course;
pub use rollout::{Stage, Timing};
pub(crate) use sides::{Gate, Sides};
pub use wait::{EndsWith, Wait};
