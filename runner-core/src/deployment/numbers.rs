//! What the numbers say of a new revision.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Cause, CauseCode, Evidence};

/// What was measured of one revision over a while.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Window {
    /// How many requests were answered.
    pub requests: u64,
    /// How many of them badly: by the service's fault.
    pub errors: u64,
    /// How long one in a hundred took at least.
    pub slow: Duration,
}

impl Window {
    /// A window from its parts.
    pub const fn new(requests: u64, errors: u64, slow: Duration) -> Self {
        Self { requests, errors, slow }
    }

    fn errors_per_mille(self) -> u64 {
        self.errors.saturating_mul(1000) / self.requests.max(1)
    }
}

/// Below so many green requests the numbers are silent: one error in twenty is luck as often as
/// not.
pub const LEAST_REQUESTS: u64 = 100;

/// So many more bad answers in a thousand are too many.
const MORE_ERRORS: u64 = 20;
/// Twice as slow is too slow, where that is more than what nobody notices.
const TIMES_SLOWER: u32 = 2;
const UNNOTICED: Duration = Duration::from_millis(50);

/// Why green is worse than blue, if it is.
///
/// Without a blue window only errors are judged, against none: a first revision has nothing to be
/// slower than.
pub fn worse(green: Window, blue: Option<Window>) -> Option<Cause> {
    if green.requests < LEAST_REQUESTS {
        return None;
    }
    let before = blue.filter(|blue| blue.requests >= LEAST_REQUESTS);
    let (errors, usual) = (green.errors_per_mille(), before.map_or(0, Window::errors_per_mille));
    if errors > usual + MORE_ERRORS {
        let compared = Evidence::Compared { green: errors, blue: usual };
        return Some(Cause::new(CauseCode::ErrorShare).with(compared));
    }
    let usual = before?.slow;
    if green.slow > (usual * TIMES_SLOWER).max(usual + UNNOTICED) {
        let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let compared = Evidence::Compared { green: millis(green.slow), blue: millis(usual) };
        return Some(Cause::new(CauseCode::Latency).with(compared));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAST: Duration = Duration::from_millis(100);

    #[test]
    fn below_a_hundred_requests_numbers_are_silent() {
        let awful = Window::new(99, 99, Duration::from_secs(60));
        assert_eq!(worse(awful, Some(Window::new(1000, 0, FAST))), None);
        assert!(worse(Window { requests: 100, ..awful }, None).is_some());
    }

    #[test]
    fn green_is_judged_by_what_blue_was_like() {
        let code = |green, blue| worse(green, blue).map(|cause| cause.code);
        let blue = Some(Window::new(1000, 30, FAST));
        assert_eq!(code(Window::new(1000, 50, FAST), blue), None);
        assert_eq!(code(Window::new(1000, 51, FAST), blue), Some(CauseCode::ErrorShare));
        assert_eq!(code(Window::new(1000, 0, FAST * 2), blue), None);
        let slower = FAST * 2 + Duration::from_millis(1);
        assert_eq!(code(Window::new(1000, 0, slower), blue), Some(CauseCode::Latency));
        assert_eq!(code(Window::new(1000, 0, slower), None), None, "nothing to be slower than");
    }

    #[test]
    fn nobody_notices_fifty_milliseconds() {
        let blue = Some(Window::new(1000, 0, Duration::from_millis(1)));
        assert_eq!(worse(Window::new(1000, 0, Duration::from_millis(51)), blue), None);
    }
}
