//! Hosts as routes compare them.

use std::{borrow::Cow, net::Ipv6Addr};

use http::{HeaderMap, HeaderValue, Uri, header};

use crate::answer::DoorFault;

/// The host that a request names, as it was sent; nothing where it names none.
///
/// # Errors
///
/// Two `Host` fields, two hosts that disagree, or one that cannot be read: whoever stands behind
/// might take another of them than we do.
pub(crate) fn host_of<'a>(
    uri: &'a Uri,
    headers: &'a HeaderMap,
) -> Result<Option<&'a str>, DoorFault> {
    let mut fields = headers.get_all(header::HOST).iter();
    let (field, second) = (fields.next(), fields.next());
    if second.is_some() {
        return Err(DoorFault::BadHost);
    }
    let field = field.map(HeaderValue::to_str).transpose().map_err(|_| DoorFault::BadHost)?;
    match (uri.authority(), field) {
        (None, field) => Ok(field),
        // Whose password it is, no proxy needs to know: RFC 9110 4.2.4.
        (Some(authority), _) if authority.as_str().contains('@') => Err(DoorFault::BadHost),
        (Some(authority), Some(field)) if !authority.as_str().eq_ignore_ascii_case(field) => {
            Err(DoorFault::BadHost)
        }
        (Some(authority), _) => Ok(Some(authority.as_str())),
    }
}

/// A host without case, port and trailing dot. Nothing where it is none.
pub(super) fn normalised(host: &str) -> Option<Cow<'_, str>> {
    if let Some(rest) = host.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let address: Ipv6Addr = address.parse().ok()?;
        is_port(port).then(|| Cow::Owned(format!("[{address}]")))
    } else {
        let (name, port) = host.split_at(host.find(':').unwrap_or(host.len()));
        let name = name.strip_suffix('.').unwrap_or(name);
        if !is_port(port) || !is_name(name) {
            return None;
        }
        match name.bytes().any(|b| b.is_ascii_uppercase()) {
            true => Some(Cow::Owned(name.to_ascii_lowercase())),
            false => Some(Cow::Borrowed(name)),
        }
    }
}

/// Nothing, or a colon and digits; RFC 3986 allows a colon alone.
fn is_port(text: &str) -> bool {
    match text.strip_prefix(':') {
        Some(digits) => digits.len() <= 5 && digits.bytes().all(|b| b.is_ascii_digit()),
        None => text.is_empty(),
    }
}

/// Labels of letters, digits, `-` and `_`, none of them empty. Longer than DNS has is none.
pub(super) fn is_name(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_label)
}

pub(super) fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}
