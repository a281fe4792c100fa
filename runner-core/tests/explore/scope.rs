//! The scopes: how many of everything there may be, and which way deployments go.

use std::sync::Arc;

use runner_core::{
    id::{OperationId, ServiceId},
    spec::{RevisionSpec, ServiceSpec},
    testing::machine::Guard,
};

use super::world::Allowances;

/// What is explored.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    pub(crate) name: &'static str,
    /// At most so many instances are wanted.
    pub(crate) most: u32,
    /// How many are wanted at first.
    pub(crate) first: u32,
    pub(crate) way: Way,
    /// What was ordered of a service that runs: all of it is done, but the last was just ordered,
    /// and is then the first of the commands. Without any it begins with the creation.
    pub(crate) begun: &'static [Order],
    /// For how many instances the backend has room, for good; none where there is always more.
    pub(crate) room: Option<usize>,
    pub(crate) allowed: Allowances,
    /// Which commands a user may give.
    pub(crate) commands: &'static [Order],
    pub(crate) standby: bool,
    /// Whether changes that nothing durable hangs on stay uncommitted for as long as they can.
    /// Otherwise they are committed at once.
    pub(crate) lag: bool,
    pub(crate) without: Option<Guard>,
}

/// Blue serves, and a deployment was just ordered.
pub(crate) const A: Scope = Scope {
    name: "A",
    most: if cfg!(debug_assertions) { 2 } else { 3 },
    first: 1,
    way: Way::AtOnce,
    begun: &[Order::Deploy],
    room: None,
    allowed: Allowances::NONE,
    commands: &[Order::Cancel],
    standby: false,
    lag: false,
    without: None,
};

/// The same with fewer instances, and a second deployment, a cancel or a roll-back on top.
pub(crate) const B: Scope =
    Scope { name: "B", most: 2, commands: &[Order::Deploy, Order::Cancel, Order::RollBack], ..A };

/// Which way deployments go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    AtOnce,
    /// Half of green beside blue.
    Partial,
    Stepped,
    /// In steps, with half of green beside blue.
    SteppedPartial,
    InPlace,
    /// With a command before, somebody's approval, and the old revision kept warm.
    Careful,
    /// In place, and with somebody's approval.
    InPlaceApproved,
}

/// What a user may order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Order {
    Deploy,
    Cancel,
    RollBack,
    Pause,
    Resume,
    Delete,
    Edit,
}

impl Way {
    /// Whether blue leaves before green comes.
    pub(crate) fn is_in_place(self) -> bool {
        matches!(self, Self::InPlace | Self::InPlaceApproved)
    }
}

impl Scope {
    pub(crate) const SERVICE: ServiceId = ServiceId::from_random(1);

    pub(crate) fn operation(number: u8) -> OperationId {
        OperationId::from_random(number.into())
    }

    pub(crate) fn spec(&self) -> ServiceSpec {
        let way = self.way;
        ServiceSpec::command(["./app"])
            .between(self.first.min(1), self.most)
            .secret("PASSWORD", "app/password")
            .with(|raw| {
                raw.scaling.minimum = Some(self.first.into());
                raw.scaling.minimum_active = Some(0_u32.into());
                // As few as show each way: one that is held back, and one that is given up.
                raw.deployment.failure_limit = Some(2);
                raw.deployment.concurrent_edits = Some("supersede".into());
                match way {
                    Way::AtOnce => {}
                    Way::Partial => raw.deployment.surge = Some("50%".into()),
                    Way::Stepped | Way::SteppedPartial => {
                        if way == Way::SteppedPartial {
                            raw.deployment.surge = Some("50%".into());
                        }
                        raw.deployment.strategy = Some("stepped".into());
                        raw.deployment.steps = vec![50_u32.into(), 100_u32.into()];
                    }
                    Way::InPlace => raw.deployment.strategy = Some("in_place".into()),
                    Way::InPlaceApproved => {
                        raw.deployment.strategy = Some("in_place".into());
                        raw.deployment.approval = Some(true);
                    }
                    Way::Careful => {
                        raw.deployment.approval = Some(true);
                        raw.deployment.keep_warm = Some(std::time::Duration::from_secs(60).into());
                        let mut command = runner_core::spec::raw::PreDeploy::default();
                        command.command = vec!["./migrate".to_owned()];
                        raw.pre_deploy = Some(command);
                    }
                }
            })
            .check("app")
            .expect("a sound specification")
            .value
    }

    /// What the n-th edit makes of it.
    pub(crate) fn edited(&self, number: u8) -> Arc<RevisionSpec> {
        let spec = self.spec();
        let edited = runner_core::spec::ServiceBuilder::from(&spec)
            .environment("EDIT", number.to_string())
            .check("app")
            .expect("a sound specification");
        Arc::new(edited.value.revision().clone())
    }
}
