//! Every state of a machine and its world, nearest first; and what breaks there.
//!
//! A test tries what its author thought of. The explorer tries everything that a [`Model`] says
//! can happen, in every order: answers that come late, twice or not at all, a crash at any step.
//! It checks each state and each effect, and shows the shortest way to what broke. Then it asks
//! of every state whether rest can still be reached from it, using nothing but what was promised.
//!
//! # Writing a model
//!
//! 1. The **machine** is the value under test, as it is. Its `handle(event, now) -> effects` is
//!    called from [`step`](Model::step); nothing about it is written anew.
//! 2. The **world** is what is true whatever the machine believes: calls under way, what is on
//!    disk, the state of each peer. It also holds what may still go wrong, as numbers that run
//!    out: that is what makes the number of states finite.
//! 3. An **action** is one thing that can happen. Time is no number but a set of armed timers, each
//!    with an action that fires it; where the order of two is forced, only one is offered.
//! 4. An **effect** is checked, then [performed](Model::perform): the only way from the machine
//!    into the world. Effects that wait for a commit go to a list in the world, and the commit is
//!    an action. A crash is an action too: it replaces the machine by what recovery makes of the
//!    disk.
//! 5. The model is the **scope**: how many peers, how many faults. Keep it small and complete;
//!    most bugs need two of everything and three steps.
//!
//! ```
//! use runner_core::testing::explorer::{
//!     Cause, Explorer, Failure, Model, Progress, Reliance, Rest, Violation,
//! };
//!
//! /// Orders a payment, again and again until it has the receipt: what it believes.
//! #[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
//! struct Payer {
//!     paid: bool,
//! }
//!
//! /// What is true: what is on its way, what the bank did, what may still get lost.
//! #[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
//! struct Bank {
//!     order: bool,
//!     receipt: bool,
//!     payments: u8,
//!     losses: u8,
//! }
//!
//! #[derive(Clone, Debug, PartialEq)]
//! enum Action { Timer, Order, Receipt, LoseOrder, LoseReceipt }
//!
//! #[derive(Debug)]
//! struct SendOrder;
//!
//! /// The scope: whether the bank knows an order that it has seen.
//! struct Payments { bank_remembers: bool }
//!
//! impl Model for Payments {
//!     type Machine = Payer;
//!     type World = Bank;
//!     type Action = Action;
//!     type Effect = SendOrder;
//!
//!     fn initial(&self) -> (Payer, Bank) {
//!         (Payer::default(), Bank { losses: 2, ..Bank::default() })
//!     }
//!
//!     fn actions(&self, payer: &Payer, bank: &Bank, actions: &mut Vec<Action>) {
//!         if !payer.paid && !bank.order && !bank.receipt {
//!             actions.push(Action::Timer);
//!         }
//!         if bank.order {
//!             actions.push(Action::Order);
//!         }
//!         if bank.receipt {
//!             actions.push(Action::Receipt);
//!         }
//!         if bank.order && bank.losses > 0 {
//!             actions.push(Action::LoseOrder);
//!         }
//!         if bank.receipt && bank.losses > 0 {
//!             actions.push(Action::LoseReceipt);
//!         }
//!     }
//!
//!     fn step(&self, payer: &mut Payer, bank: &mut Bank, action: &Action, effects: &mut Vec<SendOrder>) {
//!         match action {
//!             Action::Timer => effects.push(SendOrder),
//!             Action::Order => {
//!                 bank.order = false;
//!                 if bank.payments == 0 || !self.bank_remembers {
//!                     bank.payments += 1;
//!                 }
//!                 bank.receipt = true;
//!             }
//!             Action::Receipt => {
//!                 bank.receipt = false;
//!                 payer.paid = true;
//!             }
//!             Action::LoseOrder => { bank.order = false; bank.losses -= 1; }
//!             Action::LoseReceipt => { bank.receipt = false; bank.losses -= 1; }
//!         }
//!     }
//!
//!     fn perform(&self, bank: &mut Bank, SendOrder: SendOrder) {
//!         bank.order = true;
//!     }
//!
//!     fn check(&self, payer: &Payer, bank: &Bank) -> Result<(), Violation> {
//!         Violation::unless(bank.payments <= 1, "it is paid once")?;
//!         Violation::unless(!payer.paid || bank.payments == 1, "who has a receipt has paid")
//!     }
//! }
//!
//! impl Progress for Payments {
//!     fn is_rest(&self, payer: &Payer, bank: &Bank) -> bool {
//!         payer.paid && !bank.order && !bank.receipt
//!     }
//!
//!     fn reliance(&self, action: &Action) -> Reliance {
//!         match action {
//!             Action::LoseOrder | Action::LoseReceipt => Reliance::Chance,
//!             Action::Timer | Action::Order | Action::Receipt => Reliance::Good,
//!         }
//!     }
//! }
//!
//! let report = Explorer::new(&Payments { bank_remembers: true })
//!     .named("payments")
//!     .must_occur(["LoseOrder", "LoseReceipt"])
//!     .liveness(Rest::Within(3))
//!     .explore()?;
//! assert_eq!(
//!     report.to_string(),
//!     "payments: 16 distinct states, 18 computed, depth 7, rest at most 3 steps away"
//! );
//!
//! let failure = Explorer::new(&Payments { bank_remembers: false })
//!     .explore()
//!     .expect_err("a lost receipt is followed by a second payment");
//! assert_eq!(failure.cause(), &Cause::State("it is paid once".into()));
//! let path = failure.path().expect("there is a state to blame");
//! use Action::{LoseReceipt, Order, Timer};
//! assert!(path.actions().eq(&[Timer, Order, LoseReceipt, Timer, Order]));
//! assert!(failure.to_string().contains("world.payments: 1 -> 2"));
//! # Ok::<(), Failure<Payments>>(())
//! ```
//!
//! # What is proven, and what is not
//!
//! When [`Explorer::explore`] succeeds, every state that the model can reach was checked, and
//! every effect on the way. Four things are taken on trust:
//!
//! - **The model.** What it does not offer does not happen. [`Report::actions`] and
//!   [`Report::effects`] say what occurred how often, and [`Explorer::must_occur`] fails where
//!   something that should have never did.
//! - **The essence.** Where a model leaves something out of it ([`Model::essence`]), or calls
//!   things interchangeable, one state speaks for all that look like it. Where it tells its
//!   [`allowance`](Model::allowance), one speaks also for those from which less can go wrong.
//! - **Fingerprints.** A state is known again by 128 bits. Two states that share them would be
//!   one, and what lies behind the second unseen. Over `n` states the chance is about
//!   `n * n / 2^129`: for thirty million, one in 10^24.
//! - **The bounds.** A search that exceeds one has failed, unless the caller asked for
//!   [what fits](Explorer::what_fits); the report of that says so and claims nothing of liveness.
//!
//! Liveness here means that rest stays *possible* by promised actions alone, from every state, at
//! best [within so many steps](Rest::Within). It says nothing about a scheduler that never lets
//! some timer fire; [`Rest::AlwaysWithin`] does, where there are no steady timers.
//!
//! # Time and memory
//!
//! Each state costs at most 42 bytes in the visited set. Liveness adds five to it and four to each
//! transition that may be relied on, and at the end nine and four again. Whole states are kept for
//! two depths at a time ([`Report::frontier_peak`]), and paths are rebuilt by replay. A transition
//! costs a copy of the state, the model's own work, and beside it some 100 to 200 ns: nothing is
//! allocated for it, and the two or three lines of memory that a look-up misses are most of it.
//!
//! Threads explore shares of a level that only read what was seen before, and what they found is
//! merged in order. So there are no locks, and neither counts nor paths depend on the number of
//! threads; the price is that the merge is done by one, which pays while the model's own work
//! outweighs the look-up. The explorer reads no clock: [`Report::in_time`] takes what its caller
//! measured.
//!
//! Where a scope is too large, a [`Walker`] goes through it at random, and repeats by seed.

mod changes;
mod coverage;
mod expand;
mod fingerprint;
mod liveness;
mod model;
mod path;
mod report;
mod search;
mod visited;
mod walk;

pub use fingerprint::Fingerprinter;
pub use liveness::Rest;
pub use model::{Allowance, Model, Progress, Reliance, Violation};
pub use path::{Path, Step};
pub use report::{Bound, Cause, Failure, Report};
pub use search::Explorer;
pub use walk::{Walked, Walker};

#[cfg(test)]
mod tests;
