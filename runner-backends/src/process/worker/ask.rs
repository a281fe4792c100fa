//! Questions, which change nothing.

use std::time::Duration;

use runner_core::{
    Error,
    backend::{Fence, HostCapacity, InstanceUsage, ListedInstance, Listing},
    id::InstanceId,
};

use super::{
    super::{
        cgroup::{Group as Cgroup, Hierarchy},
        output::Ring,
        proc,
        record::Key,
        sockets,
    },
    Worker,
    instance::Instance,
};

impl Worker {
    pub(super) fn list(&mut self, fence: Fence) -> Result<Listing, Error> {
        self.admit(fence)?;
        // Absence means death, so this is the truth and no memory of it.
        self.find_instances(fence.platform);
        let listed = |(key, instance): (&Key, &Instance)| ListedInstance {
            instance: key.instance,
            epoch: instance.record.epoch,
            address: instance.record.address(),
            condition: instance.condition(),
        };
        let own = self.living.iter().filter(|(key, _)| key.platform == fence.platform);
        let ended = self.past.of(fence.platform).map(|ended| ended.listed.clone());
        let instances = own.map(listed).chain(ended).collect();
        Ok(Listing::of(instances).with_foreign(self.foreign(fence.platform)))
    }

    pub(super) fn logs(&mut self, fence: Fence, instance: InstanceId) -> Result<Ring, Error> {
        self.admit_for(fence, instance)?;
        let now = self.clock.now();
        let key = Key { platform: fence.platform, instance };
        if let Some(instance) = self.living.get_mut(&key) {
            // What was written before the question is in its answer.
            instance.tail.look(now, self.settings.output_bound);
            return Ok(instance.tail.ring.clone());
        }
        let ended = self.past.get(key).map(|ended| ended.ring.clone());
        ended.ok_or_else(|| {
            Error::not_found(format!("there is no instance {instance}; list what is there"))
        })
    }

    pub(super) fn usage(
        &mut self,
        fence: Fence,
        instance: InstanceId,
    ) -> Result<InstanceUsage, Error> {
        let instance = self.living(fence, instance)?;
        let cgroup = instance.group.cgroup.as_ref();
        let (counted, held) = (
            cgroup.and_then(Cgroup::cpu),
            cgroup.and_then(Cgroup::memory).filter(|held| *held > 0),
        );
        let (cpu, memory) = match (counted, held) {
            (Some(cpu), Some(memory)) => (cpu, memory),
            (cpu, memory) => {
                let members = instance.group.members();
                let ticks: u64 = members.iter().map(|stat| stat.ticks).sum();
                let per_second = rustix::param::clock_ticks_per_second();
                let seen = Duration::from_millis(ticks * 1000 / per_second.max(1));
                let held = members.iter().map(|stat| proc::memory(stat.pid)).sum();
                (cpu.unwrap_or(seen), memory.unwrap_or(held))
            }
        };
        // A process that ends unwaited for takes its time with it: what was told stays true.
        instance.cpu = instance.cpu.max(cpu);
        Ok(InstanceUsage::new(instance.cpu, memory))
    }

    pub(super) fn listening_ports(
        &mut self,
        fence: Fence,
        instance: InstanceId,
    ) -> Result<Vec<u16>, Error> {
        let instance = self.living(fence, instance)?;
        Ok(sockets::ports(&instance.group.pids()).into_iter().collect())
    }

    pub(super) fn capacity(&mut self, fence: Fence) -> Result<HostCapacity, Error> {
        self.admit(fence)?;
        let living = u32::try_from(self.living.len()).unwrap_or(u32::MAX);
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as u64;
        let left = self.settings.max_instances.saturating_sub(living);
        let left = self.ports.left(self.clock.now(), left);
        let total = proc::total_memory();
        let held = self.settings.cgroup.as_ref().is_ok_and(Hierarchy::holds_memory);
        let left = match held {
            true => left.min(more_of(USUAL_MEMORY, self.given_memory(), total)),
            // What nothing holds is not counted, so it is not what is short.
            false => left,
        };
        Ok(HostCapacity::new(Some(left), cores * 1000, total))
    }
}

/// How many that may use so much a start would still let begin, one after another.
fn more_of(wanted: u64, given: u64, total: u64) -> u32 {
    let more = total.saturating_sub(given) / wanted;
    let more = u32::try_from(more).unwrap_or(u32::MAX);
    // The first always fits.
    if given == 0 { more.max(1) } else { more }
}

/// What an instance may use unless its service says otherwise.
const USUAL_MEMORY: u64 = 2 << 30;
