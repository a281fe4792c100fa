//! Commands: tried on a copy, stored, and only then true.

use runner_core::{
    id::OperationId,
    service::{Command, Effect},
    time::Timestamp,
};

use super::Actor;
use crate::{Error, Operation, operation};

impl Actor {
    /// Does what a user asks for; the operation to follow it by, where it takes time.
    pub(super) async fn command(&mut self, command: Command) -> Result<Option<Operation>, Error> {
        let now = self.shared.clock.now();
        // What happened before it counts before it.
        self.hear(now);
        if let Command::Update { settings: Some(settings), .. } = &command
            && let Some((route, by)) = self.shared.paths.taken(&self.name, settings)
        {
            return Err(Error::RouteTaken { route: route.to_string(), by });
        }
        let id = self.shared.operation_id();
        let mut copy = self.machine.clone();
        let effects = copy.command(id, command, now)?;
        self.store(&copy, &effects, now).await?;
        self.machine = copy;
        let now = self.shared.clock.now();
        let operation = self.accepted(&effects);
        self.apply_settings(now);
        self.do_all(effects, now);
        Ok(operation)
    }

    /// The same for a service that is being created.
    pub(super) async fn accept(
        &mut self,
        effects: Vec<Effect>,
        now: Timestamp,
    ) -> Result<Option<Operation>, Error> {
        let machine = self.machine.clone();
        self.store(&machine, &effects, now).await?;
        let operation = self.accepted(&effects);
        self.apply_settings(now);
        self.do_all(effects, now);
        Ok(operation)
    }

    /// In their order, since all of them are durable.
    fn do_all(&mut self, effects: Vec<Effect>, now: Timestamp) {
        for effect in effects {
            match effect.is_durable() {
                true => self.carry_out(effect, now),
                // It is in the history already.
                false if matches!(effect, Effect::Note(_)) => self.tell(&effect, now),
                false => self.act(effect, now),
            }
        }
    }

    /// One of the operations that are remembered. Here and nowhere else one under way gets somebody
    /// who follows it: who looks from outside may come when it has just ended, and would follow it
    /// for ever.
    pub(super) fn operation(&self, id: OperationId) -> Option<Operation> {
        let found = self.operations.iter().find(|one| one.id == id)?;
        Some(match &found.ended {
            Some((_, ending)) => operation::ended(id, found.kind, self.name.clone(), ending),
            None => {
                self.shared.with(|registry| registry.operations.begin(id, found.kind, &self.name))
            }
        })
    }

    /// What its caller follows: it may be over with the command itself.
    fn accepted(&self, effects: &[Effect]) -> Option<Operation> {
        let (id, kind) = effects.iter().find_map(|effect| match effect {
            Effect::Accepted(id, kind) => Some((*id, *kind)),
            _ => None,
        })?;
        let ending = effects.iter().find_map(|effect| match effect {
            Effect::Finished(finished) if finished.operation == id => Some(&finished.result),
            _ => None,
        });
        Some(match ending {
            Some(ending) => operation::ended(id, kind, self.name.clone(), ending),
            None => self.shared.with(|registry| registry.operations.begin(id, kind, &self.name)),
        })
    }
}
