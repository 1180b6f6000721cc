//! `mcptb config`: checks, shows and begins a configuration file.
//!
//! Checking is loading, with the same code as at the start of the bridge: what passes here starts
//! there.

use std::io::Write;
use std::process::ExitCode;

use clap::{ArgMatches, Args, Subcommand};
use serde_json::{Value as Json, json};

use super::Problem;
use crate::bridge;
use crate::settings::{self, Effective, Layers, Settings, Source};

/// What can be done with the file.
#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Says whether the bridge would start, and what differs from the defaults.
    Check(ConfigArgs),
    /// Prints every setting, its value, and who has set it.
    Show(ConfigArgs),
    /// Prints an example file with every setting and its default.
    Example,
}

/// How it is printed, and the settings themselves.
#[derive(Debug, Args)]
pub(super) struct ConfigArgs {
    /// Prints JSON for scripts.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    _settings: Settings,
}

/// Runs a command; `matches` are those of the whole command line.
pub(super) fn run(command: &ConfigCommand, matches: &ArgMatches) -> Result<ExitCode, Problem> {
    let layers = || {
        let inner = matches.subcommand().and_then(|(_, config)| config.subcommand());
        Layers::of(inner.map_or(matches, |(_, inner)| inner))
    };
    let text = match command {
        ConfigCommand::Check(args) => check(&layers(), args.json)?,
        ConfigCommand::Show(args) => show(&layers(), args.json)?,
        ConfigCommand::Example => settings::example(),
    };
    // A reader that has gone wants no more.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(ExitCode::SUCCESS)
}

fn check(layers: &Layers, as_json: bool) -> Result<String, Problem> {
    let loaded = layers.load()?;
    bridge::tls(layers, &loaded)?;
    let file = layers.place().path().filter(|_| loaded.has_file);
    let differs: Vec<&Effective> =
        loaded.settings.iter().filter(|one| one.value != one.default).collect();
    if as_json {
        let file = file.map(|path| path.to_string_lossy());
        let differs: Vec<Json> = differs.into_iter().map(object).collect();
        return Ok(format!("{}\n", json!({"ok": true, "file": file, "differs": differs})));
    }
    let mut text = match file {
        Some(path) => format!("ok: {}\n", path.display()),
        None => "ok: there is no configuration file\n".to_owned(),
    };
    text.push_str(if differs.is_empty() {
        "Nothing differs from the defaults.\n"
    } else {
        "Different from the defaults:\n"
    });
    text.extend(differs.into_iter().map(|one| {
        let default =
            if one.default.is_null() { String::new() } else { format!(", not {}", one.default) };
        format!("  {} = {} ({}{default})\n", one.name, one.value, one.source.text())
    }));
    Ok(text)
}

fn show(layers: &Layers, as_json: bool) -> Result<String, Problem> {
    let loaded = layers.load()?;
    let file = layers.place().path();
    if as_json {
        let settings: Vec<Json> = loaded.settings.iter().map(object).collect();
        let file = file.filter(|_| loaded.has_file).map(|path| path.to_string_lossy());
        return Ok(format!("{}\n", json!({"file": file, "settings": settings})));
    }
    let mut text = match file {
        Some(path) if loaded.has_file => format!("# {}\n", path.display()),
        Some(path) => format!("# {} is not there\n", path.display()),
        None => "# There is no configuration file.\n".to_owned(),
    };
    let width = loaded.settings.iter().map(|one| one.name.len()).max().unwrap_or_default();
    text.extend(loaded.settings.iter().map(|one| {
        let value = if one.value.is_null() { "(none)".to_owned() } else { one.value.to_string() };
        format!("{:width$} = {value}  # {}\n", one.name, one.source.text())
    }));
    Ok(text)
}

fn object(one: &Effective) -> Json {
    let (source, line) = match one.source {
        Source::Flag => ("flag", None),
        Source::Variable => ("variable", None),
        Source::File(line) => ("file", Some(line)),
        Source::Default => ("default", None),
    };
    let mut object = serde_json::Map::new();
    object.insert("name".to_owned(), json!(one.name));
    object.insert("value".to_owned(), one.value.clone());
    object.insert("default".to_owned(), one.default.clone());
    object.insert("source".to_owned(), json!(source));
    if let Some(line) = line {
        object.insert("line".to_owned(), json!(line));
    }
    Json::Object(object)
}
