//! Through how many services of the platform a request has come, which each instance is told and
//! says again when it calls another: so a circle of calls is seen, and ends.

use http::{HeaderMap, HeaderName, HeaderValue};

/// Through how many services a request has come, as it says itself. Of what is no number nothing
/// is believed; of several the most.
pub(super) fn hops_of(headers: &HeaderMap) -> u32 {
    let fields = headers.get_all(&HOPS).iter().filter_map(|field| field.to_str().ok());
    let numbers = fields.flat_map(|field| field.split(',')).map(|word| word.trim().parse::<u32>());
    numbers.filter_map(Result::ok).max().unwrap_or(0)
}

/// Tells an instance that its request has come through so many.
pub(super) fn write_hops(headers: &mut HeaderMap, hops: u32) {
    headers.insert(HOPS.clone(), HeaderValue::from(hops));
}

/// What a stranger writes there is worth nothing.
pub(super) fn remove_hops(headers: &mut HeaderMap) {
    headers.remove(&HOPS);
}

static HOPS: HeaderName = HeaderName::from_static("x-runner-hops");

/// See [`InnerDoor::max_hops`](crate::InnerDoor::max_hops).
pub(super) const MAX_HOPS: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hops_are_read_as_what_can_be_believed() {
        let read = |fields: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for field in fields {
                headers.append(HOPS.clone(), HeaderValue::from_static(field));
            }
            hops_of(&headers)
        };
        assert_eq!((read(&[]), read(&["3"]), read(&["3, 5", "4"])), (0, 3, 5));
        assert_eq!((read(&["many"]), read(&["-1"]), read(&["9999999999"])), (0, 0, 0));
    }
}
