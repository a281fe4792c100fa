//! The two forms of the queue: alone before a service, or before a pool of instances.

use std::time::Duration;

use http::Request;
use http_body::Body;

use super::{
    LeaseHandle, LeasedBody, RequestHead,
    gate::{Gate, Lease},
    handle::Share,
    shared::{Admitted, Grant, Target},
};
use crate::pool::Assignment;

/// How an admitted request is handed to the inner service.
pub(crate) trait Form<B> {
    /// What the inner service is called with.
    type Request;

    /// What is to know about a slot to make one.
    type Target: Grant;

    /// A slot without asking the ledger, where that can be.
    fn take(gate: &Gate) -> Option<Admitted<Self::Target>>;

    /// Puts into a request what the inner service is to know, and says what the response is to
    /// hold.
    fn prepare(
        request: &mut Request<B>,
        lease: Lease,
        target: Self::Target,
        waited: Duration,
    ) -> Share;

    /// The prepared request as the inner service takes it.
    fn wrap(request: Request<B>, share: &Share) -> Self::Request;
}

/// One cap before one service, whose request passes through untouched.
pub(crate) enum Alone {}

/// Several instances behind one service, which learns from the request where it goes.
pub(crate) enum Pooled {}

impl<B> Form<B> for Alone {
    type Request = Request<B>;
    type Target = ();

    #[inline]
    fn take(gate: &Gate) -> Option<Admitted<()>> {
        gate.shared.take()
    }

    #[inline]
    fn prepare(request: &mut Request<B>, lease: Lease, (): (), _: Duration) -> Share {
        // Only who asks for an upgrade goes on after the response: the others save the allocation.
        if !RequestHead::of(request).wants_upgrade() {
            return Share::Own(lease);
        }
        let handle = LeaseHandle::new(lease);
        request.extensions_mut().insert(handle.clone());
        Share::Handle(handle)
    }

    #[inline]
    fn wrap(request: Request<B>, _: &Share) -> Request<B> {
        request
    }
}

impl<B: Body> Form<B> for Pooled {
    type Request = Request<LeasedBody<B>>;
    type Target = Target;

    /// Which slot it is to be, only the ledger can say.
    #[inline]
    fn take(_: &Gate) -> Option<Admitted<Target>> {
        None
    }

    #[inline]
    fn prepare(request: &mut Request<B>, lease: Lease, target: Target, waited: Duration) -> Share {
        let Target { instance, address, revision } = target;
        let lease = LeaseHandle::new(lease);
        let share = Share::Handle(lease.clone());
        request.extensions_mut().insert(Assignment { instance, address, revision, lease, waited });
        share
    }

    #[inline]
    fn wrap(request: Request<B>, share: &Share) -> Self::Request {
        request.map(|body| LeasedBody::new(body, || share.again()))
    }
}
