//! Reading Rust sources as text: enough to see what their public parts name.

/// The source without comments, strings and the unit tests at its end.
pub(crate) fn bare(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text);
    let mut bare = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            ('/', Some('/')) => {
                for skipped in chars.by_ref() {
                    if skipped == '\n' {
                        break;
                    }
                }
                bare.push('\n');
            }
            ('"', _) => {
                let mut escaped = false;
                for skipped in chars.by_ref() {
                    match skipped {
                        '\\' => escaped = !escaped,
                        '"' if !escaped => break,
                        _ => escaped = false,
                    }
                }
                bare.push_str("\"\"");
            }
            _ => bare.push(c),
        }
    }
    bare
}

/// Names that `use` brings in, each with the crate it comes from.
pub(crate) fn imports(bare: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for statement in bare.split(';') {
        let Some(at) = statement.rfind("use ") else { continue };
        let is_start = statement[..at].trim_end().rsplit('\n').next().is_none_or(|before| {
            before.trim().is_empty() || before.trim_end().ends_with(['}', ']', ')'])
        });
        let tree = statement[at + 4..].trim();
        if is_start || statement[..at].ends_with("pub ") {
            let root = tree.split("::").next().unwrap_or("").trim_matches(['{', ' ']);
            flatten(tree, root, &mut found);
        }
    }
    found
}

/// The last names of a tree of paths.
fn flatten(tree: &str, root: &str, found: &mut Vec<(String, String)>) {
    let Some((head, rest)) = tree.split_once('{') else {
        let name = tree.rsplit("::").next().unwrap_or(tree).trim();
        let name = name.rsplit(" as ").next().unwrap_or(name).trim();
        if !name.is_empty() && name != "self" && name != "*" && name != "_" {
            found.push((name.to_owned(), root.to_owned()));
        }
        return;
    };
    // `use http_body::{self, Body}` brings the crate's own name, which is its root in any case.
    let root = if root.is_empty() { head.trim_end_matches("::") } else { root };
    let mut depth = 0;
    let mut part = String::new();
    for c in rest.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                flatten(part.trim(), root, found);
                part.clear();
                continue;
            }
            _ => {}
        }
        part.push(c);
    }
    flatten(part.trim(), root, found);
}

/// The texts in which a public name can stand: declarations that begin with `pub`, whole traits,
/// heads of `impl`s of traits and the types they name.
pub(crate) fn public_texts(bare: &str) -> Vec<String> {
    let mut texts = Vec::new();
    let mut rest = bare;
    while let Some(at) = next_word(rest, &["pub", "impl", "type"]) {
        let from = &rest[at..];
        let is_private = from.starts_with("pub(");
        let text = if from.starts_with("pub trait") { block(from) } else { declaration(from) };
        let of_trait = !from.starts_with("impl") || text.contains(" for ");
        if !is_private && of_trait && !text.starts_with("pub use") && !text.starts_with("pub mod") {
            texts.push(text.to_owned());
        }
        rest = &from[3..];
    }
    texts
}

fn next_word(text: &str, words: &[&str]) -> Option<usize> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let starts = words.iter().filter_map(|word| {
        text.match_indices(word).map(|(at, _)| at).find(|&at| {
            !text[..at].ends_with(is_part) && !text[at + word.len()..].starts_with(is_part)
        })
    });
    starts.min()
}

/// Up to where its body, its end or the next field begins.
fn declaration(text: &str) -> &str {
    let mut depth = 0_i32;
    for (at, c) in text.char_indices() {
        match c {
            // Fields of a tuple are public where they say so, which is looked at apart.
            '(' if text.starts_with("pub struct") => return &text[..at],
            '(' | '[' | '<' => depth += 1,
            ')' | ']' => depth -= 1,
            '>' if !text[..at].ends_with(['-', '=']) => depth -= 1,
            '{' | ';' => return &text[..at],
            ',' if depth == 0 => return &text[..at],
            _ => {}
        }
        if depth < 0 {
            return &text[..at];
        }
    }
    text
}

/// Up to the end of its block.
fn block(text: &str) -> &str {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return &text[..=at],
            '}' => depth -= 1,
            _ => {}
        }
    }
    text
}

/// The crates that a text names, by a path or by a name brought in.
pub(crate) fn crates_named(
    text: &str,
    imports: &[(String, String)],
    known: &[String],
) -> Vec<String> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let mut named = Vec::new();
    for (at, word) in text.split(|c: char| !is_part(c)).map(|word| (word.as_ptr() as usize, word)) {
        let at = at - text.as_ptr() as usize;
        let is_path = text[at + word.len()..].starts_with("::") && !text[..at].ends_with("::");
        let inside_path = text[..at].ends_with("::");
        if is_path && known.iter().any(|name| name == word) {
            named.push(word.to_owned());
        }
        if let Some((_, from)) = imports.iter().find(|(name, _)| name == word && !inside_path) {
            named.push(from.clone());
        }
    }
    named
}
