//! The machine with a guard left out, to show what it is for.
//!
//! The ordinary constructors hold every [`Guard`]. What is made here lacks one, and the exploration
//! has to find a way to disaster.

pub use crate::deployment::Guard;

use crate::{
    id::{OperationId, ServiceId},
    service::{Effect, Service},
    spec::ServiceSpec,
    time::Timestamp,
};

/// [`Service::create`], perhaps without a guard.
pub fn create(
    without: Option<Guard>,
    id: ServiceId,
    operation: OperationId,
    spec: &ServiceSpec,
    standby: bool,
    now: Timestamp,
) -> (Service, Vec<Effect>) {
    let mut service = Service::blank(id, spec, standby, now);
    if let Some(guard) = without {
        service.leave_out(guard);
    }
    let effects = service.first(operation, now);
    (service, effects)
}
