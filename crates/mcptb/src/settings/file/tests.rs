//! The file, read and refused.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;

use super::audit::{Audit, Durability};
use super::prices::{ModelLimits, Price};
use super::sections::BudgetMode;
use super::{Fault, FileSettings, MAX_BYTES, Place, Sections, parse, read};

fn good(text: &str) -> FileSettings {
    parse(text.as_bytes(), Path::new("/folder")).unwrap_or_else(|fault| panic!("{text}: {fault:?}"))
}

fn fault(text: &str) -> Fault {
    parse(text.as_bytes(), Path::new("/folder")).expect_err(text)
}

/// Asserts the line of a refusal and that its words hold these.
fn refused(text: &str, line: usize, parts: &[&str]) {
    let fault = fault(text);
    assert_eq!(fault.line, line, "{text}: {fault:?}");
    let said = format!("{} | {}", fault.what, fault.hint);
    for part in parts {
        assert!(said.contains(part), "{part:?} in {said:?} for {text}");
    }
}

fn values(settings: &FileSettings, name: &str) -> Vec<OsString> {
    settings.flags.iter().find(|flag| flag.name == name).unwrap().values.clone()
}

#[test]
fn native_values_become_what_flags_take() {
    let settings = good(
        "port = 0x1F90\nauth = 'required'\nallow_host = [\"a.example\", \"b.example\"]\n\
         trusted_proxy = []\npref_cost = 0.25\nlog_bodies = true\nhttp_timeout = 1.5\n\
         warmup = 2\nwarmup_wait = 1_000\ntoken_file = \"token\"\ntls_cert = \"/abs/cert\"\n",
    );
    for (name, value) in [
        ("port", "8080"),
        ("auth", "required"),
        ("pref_cost", "0.25"),
        ("log_bodies", "true"),
        ("http_timeout", "1.5"),
        ("warmup", "2"),
        ("warmup_wait", "1000"),
        ("token_file", "/folder/token"),
        ("tls_cert", "/abs/cert"),
    ] {
        assert_eq!(values(&settings, name), [value], "{name}");
    }
    assert_eq!(values(&settings, "allow_host"), ["a.example", "b.example"]);
    assert!(values(&settings, "trusted_proxy").is_empty());
    assert_eq!(settings.flags.iter().find(|flag| flag.name == "auth").unwrap().line, 2);
    assert_eq!(values(&good("http_timeout = 'none'"), "http_timeout"), ["none"]);
    assert_eq!(good(""), FileSettings::default());
    assert_eq!(good("\r\n# only words\r\n"), FileSettings::default());
    // As some editors of Windows begin a file.
    assert_eq!(values(&good("\u{feff}port = 1\r\n"), "port"), ["1"]);
}

#[test]
fn unknown_names_are_refused_with_line_and_suggestion() {
    refused("\n\nconcurency = 8", 3, &["`concurency`; did you mean `concurrency`?"]);
    refused("port = 1\nallow-host = []", 2, &["did you mean `allow_host`?"]);
    refused("[log]\nlevel = 'info'", 1, &["`log` cannot be {…}", "\"warn\""]);
    refused("[http]\nport = 1", 1, &["unknown setting `http` |", "at the top of the file"]);
    refused("[price.a]\ninput = 1", 1, &["`price`; did you mean `prices`?"]);
    refused("xyzzy = 1", 1, &["unknown setting `xyzzy` |", "mcptb config example"]);
    refused("\"a\\u001bb\" = 1", 1, &["`a\\u{1b}b`"]);
    refused("[audit]\n\nbodys = true", 3, &["`bodys` in [audit]; did you mean `bodies`?"]);
    refused(
        "[prices.'a*']\ninput = 1\noutputs = 1",
        3,
        &["[prices.\"a*\"]; did you mean `output`"],
    );
    refused("[models.'a']\nconcurency = 1", 2, &["did you mean `concurrency`"]);
    refused("time_zome = 'UTC'", 1, &["`time_zone`"]);
}

#[test]
fn a_token_is_refused_by_name_and_not_repeated() {
    let fault = fault("port = 1\ntoken = 'sk-a-secret-that-nobody-sees'");
    assert_eq!(fault.line, 2);
    assert!(fault.hint.contains("token_file ="), "{fault:?}");
    assert!(!format!("{fault:?}").contains("sk-a-secret"), "{fault:?}");
    refused("config = 'other'", 1, &["cannot name another"]);
}

#[test]
fn wrong_types_and_values_say_what_is_allowed() {
    for (text, parts) in [
        ("port = '8000'", ["`port` cannot be \"8000\"", "a whole number without quotes"]),
        ("port = 70000", ["`port` cannot be 70000", "0..=65535"]),
        ("concurrency = 0", ["`concurrency` cannot be 0", "1..=65536"]),
        ("body_limit = -1", ["`body_limit` cannot be -1", "a whole number from 0"]),
        ("body_limit = 1.5", ["cannot be 1.5", "a whole number"]),
        ("auth = 'sometimes'", ["cannot be \"sometimes\"", "\"open-loopback\""]),
        ("auth = true", ["cannot be true", "\"auto\" or"]),
        ("log_bodies = 1", ["cannot be 1", "true or false"]),
        ("replay_guard = false", ["cannot be false", "\"on\" or \"off\""]),
        ("allow_host = 'a.example'", ["cannot be \"a.example\"", "a list of text"]),
        ("allow_host = ['a,b']", ["`allow_host`", "a list of text"]),
        ("allow_host = [1]", ["`allow_host`", "a list of text"]),
        ("allow_origin = ['HTTP://x']", ["`allow_origin` cannot be \"HTTP://x\"", "a browser"]),
        ("trusted_proxy = ['10.0.0.0/99']", ["`trusted_proxy` cannot be \"10.0.0.0/99\"", "takes"]),
        ("host = 'example.com'", ["cannot be \"example.com\"", "an IP address"]),
        ("pref_speed = 1.1", ["cannot be 1.1", "from 0 to 1"]),
        ("pref_speed = nan", ["cannot be nan", "from 0 to 1"]),
        ("http_timeout = true", ["cannot be true", "seconds up to a week, or none"]),
        ("http_timeout = 2026-01-01", ["cannot be 2026-01-01", "a date or time"]),
        ("warmup = 31", ["cannot be 31", "up to 30"]),
        ("token_file = ''", ["`token_file` cannot be \"\"", "a path"]),
        ("token_file = \"a\\u0000\"", ["`token_file`", "a path"]),
        ("expected_output = 0", ["cannot be 0", "from 1 to"]),
        ("budget = 'soft'", ["cannot be \"soft\"", "\"hard\""]),
        ("time_zone = 'Mars; rm'", ["`time_zone`", "Europe/Berlin"]),
        ("time_zone = 'Europe/Berln'", ["\"Europe/Berln\"", "mean \"Europe/Berlin\"?"]),
        ("time_zone = 'Atlantis'", ["cannot be \"Atlantis\"", "the IANA database"]),
        ("audit = true", ["`audit` cannot be true", "[audit]"]),
        ("prices = 1", ["`prices` cannot be 1", "[prices.\"gpt-*\"]"]),
    ] {
        refused(&format!("# first\n{text}"), 2, &parts);
    }
}

#[test]
fn broken_files_are_refused_with_their_line() {
    refused("port = 1\nport = 2", 2, &["`port` is set twice"]);
    refused("[audit]\nbodies = true\nbodies = true", 3, &["set twice"]);
    refused("[audit]\n[audit]", 2, &["set twice"]);
    refused("port = 1\nauth = required", 2, &["not TOML", "quotes"]);
    refused("port = 1\n\n[audit", 3, &["not TOML"]);
    let not_utf8 = parse(b"port = 1\n# caf\xe9\n", Path::new("")).unwrap_err();
    assert_eq!((not_utf8.line, not_utf8.what.as_str()), (2, "this is not UTF-8"));
    let deep = format!("allow_host = {}", "[".repeat(100_000));
    assert_eq!(fault(&deep).line, 1);
}

#[test]
fn the_audit_in_both_forms() {
    assert_eq!(good("audit = 'on'").sections.audit, Audit::default());
    assert!(!good("audit = 'off'").sections.audit.enabled);
    let table = good(
        "[audit]\nbodies = false\ndurability = 'fsync'\nmax_age = '2w'\nmax_bytes = '1GiB'\n\
         redact = ['sk-\\w+', \"4111\"]",
    );
    assert_eq!(
        table.sections.audit,
        Audit {
            enabled: true,
            bodies: false,
            durability: Durability::Fsync,
            max_age: Duration::from_hours(14 * 24),
            max_bytes: 1 << 30,
            redact: vec!["sk-\\w+".to_owned(), "4111".to_owned()],
        }
    );
    refused("[audit]\nmax_age = 90", 2, &["`max_age` cannot be 90", "\"90d\""]);
    refused("[audit]\nmax_age = '0d'", 2, &["`max_age`"]);
    refused("[audit]\nmax_bytes = '10'", 2, &["`max_bytes`", "at least 16MiB"]);
    refused("[audit]\nmax_bytes = 16777215", 2, &["`max_bytes`", "at least 16MiB"]);
    assert_eq!(good("[audit]\nmax_bytes = '16MiB'").sections.audit.max_bytes, 16 << 20);
    refused("[audit]\nredact = ['(']", 2, &["not a regular expression"]);
    refused("[audit]\nredact = ['a*']", 2, &["fits the empty text"]);
    refused("[audit]\nredact = 'a'", 2, &["a list"]);
    refused("[audit]\nredact = ['b', '\\w{150}']", 2, &["{150}\" of `redact` cannot", "shorter"]);
    refused("[audit]\ndurability = 'never'", 2, &["\"fsync\""]);
}

#[test]
fn prices_are_exact_and_in_the_order_of_the_file() {
    let prices = good(
        "[prices.\"z-*\"]\ninput = \"2.50\"\noutput = 10\n\n[models.x]\nconcurrency = 1\n\n\
         [prices.\"*\"]\nper_request = 0.04\nmultiplier = 0.33\n\n\
         [prices.'a']\ninput = 0.000001\noutput = '0'\ncached_input = \"0.25\"\n",
    )
    .sections
    .prices;
    let z = Price {
        input: 2_500_000,
        output: 10_000_000,
        cached_input: 2_500_000,
        per_request: 0,
        multiplier: 1_000_000,
    };
    assert_eq!(prices.first("z-1"), Some(&z));
    let seat = Price {
        input: 0,
        output: 0,
        cached_input: 0,
        per_request: 40_000_000_000,
        multiplier: 330_000,
    };
    assert_eq!(prices.first("a"), Some(&seat), "the star stands before it");
    let written: Vec<String> = prices.iter().map(|(pattern, _)| pattern.to_string()).collect();
    assert_eq!(written, ["z-*", "*", "a"]);
    let last = prices.iter().last().map(|(_, price)| (price.input, price.cached_input));
    assert_eq!(last, Some((1, 250_000)));

    for (text, line, part) in [
        ("[prices.a]\ninput = 1", 1, "what a token costs"),
        ("[prices.a]", 1, "what a token costs"),
        ("[prices.a]\nper_request = 1\ncached_input = 1", 1, "what a token costs"),
        ("[prices.a]\ninput = -1", 2, "US dollars"),
        ("[prices.a]\ninput = 1e3", 2, "US dollars"),
        ("[prices.a]\ninput = 0.0000001", 2, "6 decimals"),
        ("[prices.a]\ninput = 1000001", 2, "US dollars"),
        ("[prices.a]\nmultiplier = 1001", 2, "up to 1000"),
        ("[prices.a]\nper_request = inf", 2, "one request"),
        ("[prices]\ninput = 1", 2, "name the models first"),
        ("[prices.gpt-4.1]\ninput = 1", 1, "a name with a dot needs quotes"),
        ("[prices.'']\ninput = 1", 1, "names no models"),
    ] {
        refused(text, line, &[part]);
    }
}

#[test]
fn limits_by_model() {
    let models =
        good("[models.\"claude-*\"]\nrequests_per_minute = 60\ntokens_per_minute = 1_000").sections;
    assert_eq!(
        models.models.first("claude-x"),
        Some(&ModelLimits {
            requests_per_minute: Some(60),
            tokens_per_minute: Some(1000),
            concurrency: None
        })
    );
    assert_eq!(models.models.first("gpt"), None);
    refused("[models.a]", 1, &["sets no limit"]);
    refused("[models.a]\nconcurrency = 0", 2, &["a whole number from 1"]);
    refused("[models.a]\nconcurrency = '1'", 2, &["a whole number"]);
}

#[test]
fn the_rest_of_what_only_the_file_can_say() {
    let sections =
        good("time_zone = 'Europe/Berlin'\nexpected_output = 9\nbudget = 'hard'").sections;
    assert_eq!(sections.time_zone, "Europe/Berlin");
    assert_eq!((sections.expected_output, sections.budget), (9, BudgetMode::Hard));
}

#[test]
fn the_example_holds_every_setting_and_reads_back() {
    let example = super::write_example();
    assert_eq!(good(&example), FileSettings::default(), "it changes nothing as it stands");
    let words: String = example
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(setting) if !setting.is_empty() && !setting.starts_with(' ') => setting,
            _ => "",
        })
        .flat_map(|line| [line, "\n"])
        .collect();
    let settings = good(&words);
    let command = crate::settings::command();
    for argument in command
        .get_arguments()
        .filter(|argument| !["config", "audit"].contains(&argument.get_id().as_str()))
    {
        let name = argument.get_id().as_str();
        assert_eq!(argument.get_long().unwrap().replace('-', "_"), name);
        let flag = settings.flags.iter().find(|flag| flag.name == name);
        let flag = flag.unwrap_or_else(|| panic!("the example lacks {name}"));
        let defaults: Vec<_> = argument.get_default_values().iter().collect();
        if let [default] = defaults.as_slice() {
            let read = super::shown(super::kind(argument), &flag.values);
            let meant = super::shown(super::kind(argument), &[(*default).into()]);
            assert_eq!(read, meant, "{name}");
        }
    }
    // The sections' defaults are written by hand.
    let stated = Sections {
        prices: Sections::default().prices,
        models: Sections::default().models,
        ..settings.sections.clone()
    };
    assert_eq!(stated, Sections::default());
    let names: Vec<&str> = settings.section_lines.iter().map(|(name, _)| name.as_str()).collect();
    for name in super::sections::NAMES {
        assert!(names.contains(&name), "the example lacks {name}");
    }
}

#[test]
fn files_that_cannot_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mcptb.toml");
    let named = Place::Named(path.clone());
    assert!(read(&Place::Usual(path.clone())).unwrap().is_none());
    assert!(read(&Place::Nowhere).unwrap().is_none());
    let missing = read(&named).unwrap_err();
    assert!(missing.what.contains("cannot be read"), "{missing:?}");
    assert!(missing.hint.contains("config example"), "{missing:?}");
    let directory = read(&Place::Named(folder.path().to_owned())).unwrap_err();
    assert!(directory.what.contains("cannot be read"), "{directory:?}");

    let mut large = vec![b'#'; usize::try_from(MAX_BYTES).unwrap()];
    std::fs::write(&path, &large).unwrap();
    assert!(read(&named).unwrap().is_some(), "exactly as large as it may be");
    large.push(b'#');
    std::fs::write(&path, &large).unwrap();
    assert!(read(&named).unwrap_err().what.contains("larger than 1 MiB"));

    std::fs::write(&path, "\nprot = 1").unwrap();
    let problem = read(&Place::Usual(path.clone())).unwrap_err();
    assert_eq!(
        problem.what,
        format!("{}: line 2: unknown setting `prot`; did you mean `port`?", path.display())
    );
}

proptest! {
    #[test]
    fn no_file_is_too_strange(bytes: Vec<u8>, text in "([a-z_.\\[\\]\"'{}=,# 0-9\n]|port|audit|prices){0,40}") {
        let _ = parse(&bytes, Path::new("/"));
        let _ = parse(text.as_bytes(), Path::new("/"));
    }
}
