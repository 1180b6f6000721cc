//! An example of the file, with every setting and its default.
//!
//! The flags' part is written from the definitions of the command line, and so cannot fall behind
//! them. Settings are commented out by `#` alone, words by `#` and a space.

use std::ffi::OsString;
use std::fmt::Write;

use clap::Arg;
use serde_json::{Value as Json, json};

use super::flags::{kind, shown};

const HEAD: &str = "\
# Settings of mcptb. Take the # away from a line to change its setting.
#
# A flag counts before a variable, a variable before this file, this file before the default.
# Check it with: mcptb config check
# A running bridge reads the file again when it has changed, and says what needs a restart.
# Paths that are not absolute start at the folder of this file.
# A token is never in this file: name its own file with token_file, or set MCPTB_TOKEN.
";

/// What has no flag. It stands behind everything else, since tables end the top of a file.
const SECTIONS: &str = "
# Time zone of calendar budgets, by its name in the IANA database.
#time_zone = \"UTC\"

# Tokens of output that are reserved for a call, at most.
#expected_output = 4096

# What is reserved: \"expected\" (as above) or \"hard\" (all that a call may need).
#budget = \"expected\"

# What is recorded of calls. In short: audit = \"on\" or audit = \"off\".
#[audit]
#enabled = true
# Whether requests and answers are kept in full.
#bodies = true
# \"commit\" survives the end of the process, \"fsync\" also a loss of power.
#durability = \"commit\"
# How long calls are kept (s, m, h, d, w), and the largest size of all files together, at
# least 16MiB.
#max_age = \"90d\"
#max_bytes = \"10GiB\"
# Regular expressions of what is struck out before anything is written, in 'single quotes'.
#redact = []

# What models cost: US dollars for a million tokens, exact to six decimals. In the patterns * is
# any text and ? one character; the first pattern of the file that fits decides.
#[prices.\"gpt-*\"]
#input = \"2.50\"
#output = \"10\"
# As input, where it is not set.
#cached_input = \"1.25\"
# US dollars for each request.
#per_request = \"0\"
# What a seat pays of all this.
#multiplier = 1

# How much of models may be used, by all callers together. Patterns as above.
#[models.\"claude-*\"]
#requests_per_minute = 60
#tokens_per_minute = 200000
#concurrency = 4
";

/// The whole example.
pub(in crate::settings) fn write() -> String {
    let mut text = HEAD.to_owned();
    for argument in crate::settings::command().get_arguments() {
        if argument.get_id() != "config" && argument.get_id() != "audit" {
            setting(&mut text, argument);
        }
    }
    text.push_str(SECTIONS);
    text
}

/// One setting. Writing to a String cannot fail.
fn setting(text: &mut String, argument: &Arg) {
    let name = argument.get_id().as_str();
    let kind = kind(argument);
    text.push('\n');
    let help = argument.get_long_help().or(argument.get_help());
    for line in help.map(ToString::to_string).unwrap_or_default().lines() {
        let _ = writeln!(text, "# {line}");
    }
    if kind == super::Kind::Text {
        for word in argument.get_possible_values().iter().filter(|word| !word.is_hide_set()) {
            let help = word.get_help().map(|help| format!(": {help}")).unwrap_or_default();
            let _ = writeln!(text, "#   \"{}\"{help}", word.get_name());
        }
    }
    let _ = write!(text, "# Also --{}", argument.get_long().unwrap_or(name));
    let _ = match argument.get_env() {
        Some(variable) => writeln!(text, " and {}.", variable.to_string_lossy()),
        None => writeln!(text, "."),
    };
    let default: Vec<OsString> = argument.get_default_values().iter().map(OsString::from).collect();
    let value = match shown(kind, &default) {
        Json::Null => {
            let _ = writeln!(text, "# Not set by default.");
            stand_in(name)
        }
        value => value,
    };
    let _ = writeln!(text, "#{name} = {value}");
}

/// What stands for a setting that has no default.
fn stand_in(name: &str) -> Json {
    match name {
        "token_file" => json!("token"),
        "tls_cert" => json!("cert.pem"),
        "data_dir" => json!("data"),
        "tls_key" => json!("key.pem"),
        "max_tokens_cap" => json!(16_384),
        "pref_intelligence" | "pref_speed" | "pref_cost" => json!(0.5),
        "admin_addr" => json!("127.0.0.1:8001"),
        _ => json!(""),
    }
}
