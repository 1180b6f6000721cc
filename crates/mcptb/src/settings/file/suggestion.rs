//! What somebody may have meant by an unknown name.

use super::Fault;
use super::document::{Entry, Value, printable};

/// How alike two names must be, of 1.
const ALIKE: f64 = 0.8;

/// The known name that is most like this one, if any is.
fn closest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Flags are written with dashes, variables in capitals: both are meant well.
    let name = name.to_ascii_lowercase().replace('-', "_");
    let name = name.strip_prefix("mcptb_").unwrap_or(&name);
    known
        .into_iter()
        .map(|known| (strsim::jaro_winkler(name, known), known))
        .filter(|(alike, _)| *alike >= ALIKE)
        .max_by(|(left, _), (right, _)| left.total_cmp(right))
        .map(|(_, known)| known)
}

/// The refusal of a name that is not known in `table` (empty for the top).
pub(super) fn unknown<'a>(
    entry: &Entry,
    table: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Fault {
    let name = printable(&entry.name);
    let place = if table.is_empty() { String::new() } else { format!(" in {table}") };
    let known: Vec<&str> = known.into_iter().collect();
    let meant = closest(&entry.name, known.iter().copied())
        .map(|known| format!("; did you mean `{known}`?"))
        .unwrap_or_default();
    let hint = if table.is_empty() && matches!(entry.value, Value::Table(_)) {
        "settings stand at the top of the file, without a table; see: mcptb config example"
            .to_owned()
    } else if table.is_empty() {
        "all settings are listed by: mcptb config example".to_owned()
    } else {
        format!("{table} knows {}", known.join(", "))
    };
    Fault::new(entry.line, format!("unknown setting `{name}`{place}{meant}"), hint)
}

#[cfg(test)]
mod tests {
    use super::closest;

    #[test]
    fn near_misses_are_found_and_others_are_not() {
        let known = ["concurrency", "host", "allow_host", "token_file", "max_tokens"];
        for (name, meant) in [
            ("concurency", Some("concurrency")),
            ("allow-host", Some("allow_host")),
            ("MCPTB_TOKEN_FILE", Some("token_file")),
            ("max_token", Some("max_tokens")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(closest(name, known), meant, "{name}");
        }
    }
}
