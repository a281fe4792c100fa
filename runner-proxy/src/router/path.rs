//! Paths as routes compare them.

use std::borrow::Cow;

/// The path as a service reads it: escapes of plain characters undone. Nothing for one with dot
/// segments, which the service might resolve after the route was chosen.
pub(super) fn normalised(path: &str) -> Option<Cow<'_, str>> {
    let bytes = path.as_bytes();
    // Nearly every path: no escape, and no segment that begins with a dot.
    let plain = !bytes.contains(&b'%') && !bytes.contains(&b'\\');
    let path = if plain { Cow::Borrowed(path) } else { Cow::Owned(unescaped(path)) };
    (!has_dot_segment(&path)).then_some(path)
}

/// Whether a prefix (without a slash at its end) has a path, by whole segments.
pub(super) fn has(prefix: &str, path: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Undoes escapes of unreserved characters (RFC 3986 6.2.2.2) and writes the others in capitals.
fn unescaped(path: &str) -> String {
    let mut plain = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        plain.push_str(&rest[..at]);
        let code = rest.get(at + 1..at + 3).and_then(|two| u8::from_str_radix(two, 16).ok());
        match code {
            Some(code) if code.is_ascii_alphanumeric() || b"-._~".contains(&code) => {
                plain.push(char::from(code));
            }
            Some(code) => plain.push_str(&format!("%{code:02X}")),
            // Not an escape: left as it is, for the service to make of it what it does.
            None => {
                plain.push('%');
                rest = &rest[at + 1..];
                continue;
            }
        }
        rest = &rest[at + 3..];
    }
    plain.push_str(rest);
    plain
}

/// Whether a segment is `.` or `..`, where everything that some server takes for a separator is
/// one. Parameters (`..;x`) are cut off, as Java servers do.
fn has_dot_segment(path: &str) -> bool {
    if !path.contains("/.") && !path.contains(['\\', '%']) {
        return false;
    }
    let separated = path.replace("%2F", "/").replace("%5C", "/").replace('\\', "/");
    let is_dots = |segment: &str| {
        let name = segment.split([';', '%']).next().unwrap_or("");
        name == "." || name == ".."
    };
    separated.split('/').any(is_dots)
}
