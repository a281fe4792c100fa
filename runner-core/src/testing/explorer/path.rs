//! The way to a failure, step by step, in a form that people read.

use std::fmt;

use super::{
    Cause, Model, Reliance,
    changes::changes,
    expand,
    model::{State, advance},
    visited::Key,
};

/// From the beginning to where something broke; in a search the shortest such way.
///
/// Displayed, it shows the beginning whole, then for each step its effects and what changed, then
/// the end whole.
pub struct Path<M: Model> {
    /// Machine and world at the beginning.
    pub start: (M::Machine, M::World),
    /// What happened, in order.
    pub steps: Vec<Step<M>>,
    /// What could happen next, where that explains the failure.
    pub open: Vec<String>,
}

/// One step of a [`Path`].
pub struct Step<M: Model> {
    /// What happened.
    pub action: M::Action,
    /// What the machine asked for, in order, as far as it got.
    pub effects: Vec<String>,
    /// The machine after the step; before it, when it panicked.
    pub machine: M::Machine,
    /// The world after the step; when an effect broke a property, as that effect found it.
    pub world: M::World,
}

impl<M: Model> Path<M> {
    /// What happened, in order.
    pub fn actions(&self) -> impl Iterator<Item = &M::Action> {
        self.steps.iter().map(|step| &step.action)
    }

    pub(super) fn begin(model: &M) -> Self {
        Self { start: model.initial(), steps: Vec::new(), open: Vec::new() }
    }

    /// Takes the action at this position once more.
    pub(super) fn follow(&mut self, model: &M, position: u16) {
        let action = self.offered(model, position);
        self.take(model, action);
    }

    /// Takes the step at which something broke.
    pub(super) fn end_with(&mut self, model: &M, position: u16, cause: &Cause) {
        let action = self.offered(model, position);
        self.take_last(model, action, cause);
    }

    /// As [`end_with`](Self::end_with); what panicked once is not run again.
    pub(super) fn take_last(&mut self, model: &M, action: M::Action, cause: &Cause) {
        if matches!(cause, Cause::Panic(_)) {
            let (machine, world) = self.end();
            self.steps.push(Step { action, effects: Vec::new(), machine, world });
        } else {
            self.take(model, action);
        }
    }

    /// Adds what could happen next and how far it may be relied on.
    pub(super) fn show_open(&mut self, model: &M, reliance: fn(&M, &M::Action) -> Reliance) {
        let (machine, world) = self.end();
        let mut actions = Vec::new();
        model.actions(&machine, &world, &mut actions);
        self.open = actions
            .iter()
            .map(|action| format!("{action:?} ({:?})", reliance(model, action)))
            .collect();
    }

    pub(super) fn key(&self, model: &M) -> Key {
        expand::key(model, &self.end())
    }

    pub(super) fn take(&mut self, model: &M, action: M::Action) {
        let mut state = self.end();
        let mut effects = Vec::new();
        // Whether it breaks is known already, and where it does the rest is not performed.
        let _ = advance(model, &mut state, &action, &mut Vec::new(), |effect| {
            effects.push(format!("{effect:?}"));
        });
        let (machine, world) = state;
        self.steps.push(Step { action, effects, machine, world });
    }

    fn offered(&self, model: &M, position: u16) -> M::Action {
        let (machine, world) = self.end();
        let mut actions = Vec::new();
        model.actions(&machine, &world, &mut actions);
        assert!(
            usize::from(position) < actions.len(),
            "the model must offer the same actions each time; replayed, it offers {actions:?}, \
             of which number {position} was taken: {self}"
        );
        actions.swap_remove(position.into())
    }

    pub(super) fn end(&self) -> State<M> {
        match self.steps.last() {
            Some(step) => (step.machine.clone(), step.world.clone()),
            None => self.start.clone(),
        }
    }
}

impl<M: Model> fmt::Display for Path<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut machine, mut world) = (&self.start.0, &self.start.1);
        writeln!(f, "  at first\n        machine {machine:?}\n        world   {world:?}")?;
        for (number, step) in (1..).zip(&self.steps) {
            writeln!(f, "  {number:>2}. {:?}", step.action)?;
            for effect in &step.effects {
                writeln!(f, "        effect {effect}")?;
            }
            let mut lines = Vec::new();
            // Two values that are equal may still print differently, and that is no change.
            if *machine != step.machine {
                changes("machine", machine, &step.machine, &mut lines);
            }
            if *world != step.world {
                changes("world", world, &step.world, &mut lines);
            }
            for line in lines {
                writeln!(f, "        {line}")?;
            }
            (machine, world) = (&step.machine, &step.world);
        }
        write!(f, "  in the end\n        machine {machine:?}\n        world   {world:?}")?;
        for action in &self.open {
            write!(f, "\n        next    {action}")?;
        }
        Ok(())
    }
}

impl<M: Model> fmt::Debug for Path<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Path")
            .field("start", &self.start)
            .field("steps", &self.steps)
            .field("open", &self.open)
            .finish()
    }
}

impl<M: Model> fmt::Debug for Step<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Step")
            .field("action", &self.action)
            .field("effects", &self.effects)
            .field("machine", &self.machine)
            .field("world", &self.world)
            .finish()
    }
}
