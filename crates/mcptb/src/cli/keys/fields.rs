//! The fields of a key as flags.

use clap::{Args, ValueEnum};
use serde_json::{Map, Value as Json};

use crate::cli::bounds::{BoundsFlags, ClearFlags, put};

/// What can be said of a key.
#[derive(Debug, Args)]
pub(super) struct KeyFlags {
    /// What it is for.
    #[arg(long)]
    name: Option<String>,
    /// Whatever is worth knowing.
    #[arg(long)]
    notes: Option<String>,
    /// When it ends: after a time such as 7d, or at one such as 2027-01-15T08:00:00Z; or `never`.
    #[arg(long, value_name = "TIME")]
    expires: Option<String>,
    /// Calls until it ends.
    #[arg(long, value_name = "N")]
    uses: Option<u64>,
    /// Whether its holder may make child keys.
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "true|false",
        require_equals = true)]
    can_mint: Option<bool>,
    /// Its rank, 0 to 255; without it 100.
    #[arg(long, value_name = "N")]
    priority: Option<u8>,
    /// What is recorded of its calls.
    #[arg(long, value_enum)]
    audit: Option<Policy>,
    #[command(flatten)]
    bounds: BoundsFlags,
}

/// The same for a change.
#[derive(Debug, Args)]
pub(super) struct EditFlags {
    #[command(flatten)]
    fields: KeyFlags,
    #[command(flatten)]
    cleared: ClearFlags,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Policy {
    /// Requests and answers, too.
    Full,
    /// Who, when, how much.
    Metadata,
}

impl KeyFlags {
    /// Writes what was said into the body of a request.
    pub(super) fn write(&self, cleared: Option<&ClearFlags>, body: &mut Map<String, Json>) {
        self.bounds.write(cleared, body);
        put(body, "name", self.name.as_deref().map(Json::from));
        put(body, "notes", self.notes.as_deref().map(Json::from));
        if let Some(end) = &self.expires {
            let (name, value) = ends(end);
            put(body, name, Some(value));
        }
        put(body, "uses", self.uses.map(Json::from));
        put(body, "can_mint", self.can_mint.map(Json::from));
        put(body, "priority", self.priority.map(Json::from));
        let audit = self.audit.map(|policy| match policy {
            Policy::Full => "full",
            Policy::Metadata => "metadata",
        });
        put(body, "audit", audit.map(Json::from));
    }
}

impl EditFlags {
    pub(super) fn write(&self, body: &mut Map<String, Json>) {
        self.fields.write(Some(&self.cleared), body);
    }
}

/// The field of the API that says this end: dates have a dash behind their year.
fn ends(text: &str) -> (&'static str, Json) {
    match text {
        "never" => ("expires", Json::Null),
        date if date.as_bytes().get(4) == Some(&b'-') => ("expires", Json::from(date)),
        length => ("expires_in", Json::from(length)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::ends;

    #[test]
    fn an_end_is_a_time_or_a_length() {
        assert_eq!(ends("7d"), ("expires_in", json!("7d")));
        assert_eq!(ends("1h 30m"), ("expires_in", json!("1h 30m")));
        assert_eq!(ends("2027-01-15"), ("expires", json!("2027-01-15")));
        assert_eq!(ends("never"), ("expires", json!(null)));
    }
}
