//! Who says what: a flag before a variable, a variable before the file, the file before the
//! default.
//!
//! Flags and variables are kept as they were typed, so that a new version of the file can be laid
//! under them while the bridge runs.

use std::ffi::OsString;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, FromArgMatches};
use serde_json::{Value as Json, json};

use super::checks::Misfit;
use super::file::{self, FileSettings, Place, Stamp};
use super::{Config, Settings, StorePlace, variable};
use crate::cli::Problem;

/// Flags, variables, and where the file is.
#[derive(Clone, Debug)]
pub(crate) struct Layers {
    given: Vec<Given>,
    place: Place,
}

/// A setting that was typed or is in the environment.
#[derive(Clone, Debug)]
struct Given {
    name: String,
    source: Source,
    values: Vec<OsString>,
}

/// Who has set a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Flag,
    Variable,
    /// With the line.
    File(usize),
    Default,
}

/// A setting as it holds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Effective {
    pub(crate) name: String,
    pub(crate) source: Source,
    /// As the file would hold it; null where nothing is set.
    pub(crate) value: Json,
    pub(crate) default: Json,
}

/// What all layers come to.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) config: Config,
    pub(crate) settings: Vec<Effective>,
    /// Whether there is a file.
    pub(crate) has_file: bool,
    /// The file's stamp from before it was read.
    pub(crate) stamp: Option<Stamp>,
}

/// The settings as a command line of their own.
pub(super) fn command() -> clap::Command {
    Settings::augment_args(clap::Command::new("mcptb"))
}

impl Layers {
    /// Keeps what flags and variables say.
    pub(crate) fn of(matches: &ArgMatches) -> Self {
        Self::keep(&command(), matches)
    }

    /// The same for a command that says no more than where the store is. Others of its flags may
    /// have the names of settings and mean something else.
    pub(crate) fn of_store(matches: &ArgMatches) -> Self {
        Self::keep(&StorePlace::augment_args(clap::Command::new("mcptb")), matches)
    }

    fn keep(command: &clap::Command, matches: &ArgMatches) -> Self {
        let given = command.get_arguments().filter_map(|argument| {
            let name = argument.get_id().as_str();
            let source = match matches.value_source(name)? {
                ValueSource::CommandLine => Source::Flag,
                ValueSource::EnvVariable => Source::Variable,
                _ => return None,
            };
            let values = matches.get_raw(name)?.map(OsString::from).collect();
            Some(Given { name: name.to_owned(), source, values })
        });
        let given: Vec<Given> = given.collect();
        let named = given.iter().find(|given| given.name == "config");
        let place = Place::of(named.and_then(|given| given.values.first()).map(Into::into));
        Self { given, place }
    }

    /// Where the file is or would be.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// The folder of keys and records; `None` where this account has none. Reads the file for it,
    /// and checks nothing else: who looks after keys needs no bridge that could start.
    pub(crate) fn data_dir(&self) -> Result<Option<std::path::PathBuf>, Problem> {
        let file = file::read(&self.place)?.unwrap_or_default();
        let given = self.given.iter().find(|given| given.name == "data_dir");
        let stated = file.flags.iter().find(|flag| flag.name == "data_dir");
        let values = given.map(|given| &given.values).or(stated.map(|flag| &flag.values));
        let named = values.and_then(|values| values.first()).map(std::path::Path::new);
        Ok(super::checks::data_dir(named))
    }

    /// A problem with these settings, with the line of the first of them that the file has set.
    pub(crate) fn blame(
        &self,
        settings: &[Effective],
        names: &[&str],
        problem: Problem,
    ) -> Problem {
        let line = |name: &&str| {
            settings.iter().find(|one| one.name == **name).and_then(|one| match one.source {
                Source::File(line) => Some(line),
                _ => None,
            })
        };
        match (self.place.path(), names.iter().find_map(line)) {
            (Some(path), Some(line)) => {
                let what = format!("{}: line {line}: {}", path.display(), problem.what);
                Problem::new(what, problem.hint)
            }
            _ => problem,
        }
    }

    /// Reads the file and checks everything, or says what is wrong.
    pub(crate) fn load(&self) -> Result<Loaded, Problem> {
        // Before it is read: a change that comes in between is seen as one.
        let stamp = Stamp::of(&self.place);
        let read = file::read(&self.place)?;
        let has_file = read.is_some();
        let file = read.unwrap_or_default();
        let mut line = vec![OsString::from("mcptb")];
        let mut settings = Vec::new();
        for argument in command().get_arguments() {
            let (name, kind) = (argument.get_id().as_str(), file::kind(argument));
            let given = self.given.iter().find(|given| given.name == name);
            let stated = file.flags.iter().find(|flag| flag.name == name);
            let default: Vec<OsString> =
                argument.get_default_values().iter().map(OsString::from).collect();
            let (source, values) = match (given, stated) {
                (Some(given), _) => (given.source, &given.values),
                (None, Some(flag)) => (Source::File(flag.line), &flag.values),
                (None, None) => (Source::Default, &default),
            };
            if let Some(long) = argument.get_long().filter(|_| source != Source::Default) {
                line.extend(values.iter().map(|value| file::typed(long, value)));
            }
            if name != "config" {
                settings.push(Effective {
                    name: name.to_owned(),
                    source,
                    value: file::shown(kind, values),
                    default: file::shown(kind, &default),
                });
            }
        }
        let has_token_file =
            settings.iter().any(|one| one.name == "token_file" && !one.value.is_null());
        if !has_token_file && variable("MCPTB_TOKEN").is_some() {
            settings.push(Effective {
                name: "token".to_owned(),
                source: Source::Variable,
                value: json!("****"),
                default: Json::Null,
            });
        }
        settings.extend(section_rows(&file));
        // Each value has been parsed once already: alone, or with its layer.
        let merged = command()
            .try_get_matches_from(line)
            .and_then(|matches| Settings::from_arg_matches(&matches))
            .map_err(|error| {
                Problem::new(error.to_string().trim().to_owned(), "see: mcptb --help")
            })?;
        let config = merged
            .check(file.sections)
            .map_err(|Misfit { settings: names, problem }| self.blame(&settings, names, problem))?;
        Ok(Loaded { config, settings, has_file, stamp })
    }
}

fn section_rows(file: &FileSettings) -> Vec<Effective> {
    let defaults = file::Sections::default().rows();
    let rows = file.sections.rows().into_iter().map(|(name, value)| {
        let top = name.split('.').next().unwrap_or_default();
        let line = file.section_lines.iter().find(|(name, _)| name == top).map(|(_, line)| *line);
        let default = defaults.iter().find(|(known, _)| *known == name);
        let default = default.map_or(Json::Null, |(_, value)| value.clone());
        Effective { name, source: line.map_or(Source::Default, Source::File), value, default }
    });
    rows.collect()
}

impl Source {
    /// For people.
    pub(crate) fn text(self) -> String {
        match self {
            Self::Flag => "flag".to_owned(),
            Self::Variable => "variable".to_owned(),
            Self::File(line) => format!("file, line {line}"),
            Self::Default => "default".to_owned(),
        }
    }
}
