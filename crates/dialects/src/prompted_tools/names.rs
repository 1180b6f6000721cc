//! Which tool a model means by a name.

use crate::{ToolEntry, ToolTable};

/// The place of the callable tool that `name` means, if it means exactly one.
///
/// Tried from strict to loose: the name that the model was shown, the caller's own name, other
/// case and dashes, and all of that without the prefix that some models put before names.
pub(super) fn resolve(table: &ToolTable<'_>, name: &str) -> Option<usize> {
    let name = name.trim();
    if let Some(entry) = table.find(name) {
        // Exactly the name of a tool that may not be called now means no other.
        return if entry.callable { place(table, entry) } else { None };
    }
    let bare = name.rsplit(['.', ':', '/']).next().unwrap_or(name);
    let tests: [&dyn Fn(&ToolEntry<'_>) -> bool; 5] = [
        &|entry| entry.tool.name == name,
        &|entry| alike(&entry.name, name) || alike(&entry.tool.name, name),
        &|entry| spaced(entry, name),
        &|entry| *entry.name == *bare || entry.tool.name == bare,
        &|entry| alike(&entry.name, bare) || alike(&entry.tool.name, bare),
    ];
    for test in tests {
        let mut meant = table.callable().filter(|entry| test(entry));
        match (meant.next(), meant.next()) {
            (Some(entry), None) => return place(table, entry),
            (Some(_), Some(_)) => return None,
            (None, _) => {}
        }
    }
    None
}

fn place(table: &ToolTable<'_>, wanted: &ToolEntry<'_>) -> Option<usize> {
    table.entries().iter().position(|entry| std::ptr::eq(entry, wanted))
}

/// Whether two names differ only in case and in the choice of dash.
fn alike(left: &str, right: &str) -> bool {
    let folded = |byte: u8| if byte == b'-' { b'_' } else { byte.to_ascii_lowercase() };
    left.len() == right.len() && left.bytes().map(folded).eq(right.bytes().map(folded))
}

/// Whether a name is a tool's namespace and name with any mark between them.
fn spaced(entry: &ToolEntry<'_>, name: &str) -> bool {
    let Some(namespace) = entry.tool.namespace.as_deref() else { return false };
    let parts = name.split_at_checked(namespace.len());
    parts.is_some_and(|(start, rest)| {
        let tail = rest.trim_start_matches(['.', ':', '/', '_']);
        alike(start, namespace) && tail.len() < rest.len() && alike(tail, &entry.tool.name)
    })
}
