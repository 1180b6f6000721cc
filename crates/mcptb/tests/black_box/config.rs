//! The configuration file: who counts before whom, and what is refused.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Launch, Request};

/// A file in a folder of its own.
struct File {
    folder: TempDir,
    path: PathBuf,
}

impl File {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mcptb.toml");
        std::fs::write(&path, text).unwrap();
        Self { folder, path }
    }

    fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }

    fn named(&self) -> Launch {
        Launch::new().arg("--config", self.path())
    }
}

fn run(args: &[&str], env: &[(&str, &str)], folder: Option<&Path>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mcptb"));
    command.args(args).env_clear().envs(env.iter().copied()).stdin(Stdio::null());
    if let Some(folder) = folder {
        command.current_dir(folder);
    }
    command.output().unwrap()
}

fn said(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// A setting as `config show` tells it.
fn shown(args: &[&str], env: &[(&str, &str)], name: &str) -> Value {
    let args: Vec<&str> = ["config", "show", "--json"].iter().chain(args).copied().collect();
    let shown: Value = serde_json::from_str(&said(&run(&args, env, None))).unwrap();
    let settings = shown["settings"].as_array().unwrap();
    settings.iter().find(|one| one["name"] == name).unwrap_or(&Value::Null).clone()
}

/// The refusal of a file, from the bridge and from the check alike.
fn refused(args: &[&str], env: &[(&str, &str)]) -> String {
    let started = run(args, env, None);
    let check: Vec<&str> = ["config", "check"].iter().chain(args).copied().collect();
    let checked = run(&check, env, None);
    let stderr = String::from_utf8(started.stderr).unwrap();
    assert_eq!(started.status.code(), Some(2), "{stderr}");
    assert_eq!(checked.status.code(), Some(2));
    assert_eq!(String::from_utf8(checked.stderr).unwrap(), stderr);
    assert!(checked.stdout.is_empty() && started.stdout.is_empty());
    stderr
}

#[test]
fn a_flag_beats_a_variable_beats_the_file() {
    let file = File::new("port = 0\nhost = \"::1\"\nallow_host = [\"file.example\"]\n");
    let host = |args: &[&str], env: &[(&str, &str)]| {
        let args: Vec<&str> = args.iter().copied().chain(["--config", file.path()]).collect();
        let one = shown(&args, env, "host");
        (one["source"].clone(), one["value"].clone())
    };
    let variable = [("MCPTB_HOST", "127.0.0.2")];
    let flag = ["--host", "127.0.0.3"];
    assert_eq!(host(&flag, &variable), (json!("flag"), json!("127.0.0.3")));
    assert_eq!(host(&[], &variable), (json!("variable"), json!("127.0.0.2")));
    assert_eq!(host(&[], &[]), (json!("file"), json!("::1")));
    assert_eq!(shown(&[], &[], "host")["source"], "default");

    // And the same in a bridge at work, told by which names it lets in.
    let status = |launch: &Launch, name: &str| {
        let rig = launch.attach();
        rig.fetch(&Request::get("/healthz").header("host", name)).status
    };
    let in_file = file.named().arg("--host", "127.0.0.1");
    assert_eq!(status(&in_file, "file.example"), 200);
    let in_variable = in_file.clone().env("MCPTB_ALLOW_HOST", "variable.example");
    assert_eq!(status(&in_variable, "file.example"), 403);
    assert_eq!(status(&in_variable, "variable.example"), 200);
    let in_flag = in_variable.arg("--allow-host", "flag.example");
    assert_eq!(status(&in_flag, "variable.example"), 403);
    assert_eq!(status(&in_flag, "flag.example"), 200);
}

#[test]
fn the_file_is_named_or_in_its_usual_place_and_never_in_the_working_directory() {
    let file = File::new("concurency = 8\n");
    let here = file.folder.path();
    let ok = run(&["config", "check"], &[], Some(here));
    assert_eq!(
        said(&ok),
        "ok: there is no configuration file\nNothing differs from the defaults.\n"
    );

    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("mcptb");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("mcptb.toml"), "queue = 7\n").unwrap();
    let usual = [("XDG_CONFIG_HOME", home.path().to_str().unwrap())];
    assert_eq!(shown(&[], &usual, "queue")["value"], 7);
    // A named file takes its place; nothing is mixed.
    let other = File::new("port = 1\n");
    let named = [usual[0], ("MCPTB_CONFIG", other.path())];
    assert_eq!(shown(&[], &named, "queue")["value"], 1024);
    assert_eq!(shown(&[], &named, "port")["line"], 1);
    let relative = ["config", "check", "--config", "mcptb.toml"];
    assert!(
        said(&run(&relative, &[], Some(&folder))).contains("queue = 7 (file, line 1, not 1024)")
    );
}

#[test]
fn a_bad_file_is_refused_with_its_line() {
    let file = File::new("# my settings\n\nconcurency = 8\n");
    let by_flag = refused(&["--config", file.path()], &[]);
    let what = "line 3: unknown setting `concurency`; did you mean `concurrency`?";
    assert!(by_flag.contains(what) && by_flag.contains(file.path()), "{by_flag}");
    assert_eq!(refused(&[], &[("MCPTB_CONFIG", file.path())]), by_flag);
    for (text, part) in [
        ("port = 1\nport = 2", "line 2: `port` is set twice"),
        ("port = \"8000\"", "line 1: `port` cannot be \"8000\""),
        ("\ntoken = \"0123456789abcdefghijklmn\"", "line 2: a token does not belong in this file"),
        ("body_limit = 9\nbody_memory = 1", "line 2: --body-memory 1 does not hold one body"),
        ("\ntls_cert = \"cert.pem\"", "line 2: --tls-cert and --tls-key need each other"),
        ("tls_cert = \"cert.pem\"\ntls_key = \"key.pem\"", "mcptb.toml: line 1: "),
        ("token_file = \"nowhere\"", "nowhere cannot be read"),
        (
            "\ntime_zone = \"Europe/Berln\"",
            "line 2: `time_zone` cannot be \"Europe/Berln\"; did you mean \"Europe/Berlin\"?",
        ),
        ("[audit]\nmax_bytes = \"15MiB\"", "line 2: `max_bytes` cannot be \"15MiB\""),
        ("[audit]\nredact = ['\\w{150}']", "line 2: the pattern"),
        ("port = 1\nadmin_addr = \"127.0.0.1:1\"", "line 2: --admin-addr 127.0.0.1:1 is where"),
    ] {
        let stderr = refused(&["--config", File::new(text).path()], &[]);
        assert!(stderr.contains(part) && stderr.contains("\nhint: "), "{stderr}");
        assert!(!stderr.contains("0123456789abcdef"), "{stderr}");
    }
    // Where the whole machine is listened on, each of its addresses is taken.
    for (host, admin) in [("0.0.0.0", "127.0.0.1:8000"), ("::", "0.0.0.0:8000")] {
        let stderr = refused(&["--host", host, "--admin-addr", admin], &[]);
        assert!(stderr.starts_with(&format!("mcptb: --admin-addr {admin} is where")), "{stderr}");
    }
    for admin in ["127.0.0.2:8000", "[::1]:8000", "127.0.0.1:8001"] {
        said(&run(&["config", "check", "--admin-addr", admin], &[], None));
    }
    let both = ["config", "check", "--port", "0", "--admin-addr", "127.0.0.1:0"];
    said(&run(&both, &[], None));
    let stderr = refused(&["--config", "/no/such/file.toml"], &[]);
    assert!(stderr.contains("/no/such/file.toml cannot be read"), "{stderr}");
}

#[test]
fn the_check_names_what_differs() {
    let text = "auth = \"required\"\nport = 8000\n[prices.\"gpt-*\"]\ninput = 2.50\noutput = 10\n";
    let file = File::new(text);
    let args = ["config", "check", "--config", file.path(), "--queue", "5"];
    let human = said(&run(&args, &[("MCPTB_TOKEN", "a-token-of-more-than-twenty")], None));
    assert_eq!(
        human,
        format!(
            "ok: {}\nDifferent from the defaults:\n  \
             auth = \"required\" (file, line 1, not \"auto\")\n  \
             queue = 5 (flag, not 1024)\n  \
             token = \"****\" (variable)\n  \
             prices.\"gpt-*\".input = \"2.5\" (file, line 3)\n  \
             prices.\"gpt-*\".output = \"10\" (file, line 3)\n  \
             prices.\"gpt-*\".cached_input = \"2.5\" (file, line 3)\n  \
             prices.\"gpt-*\".per_request = \"0\" (file, line 3)\n  \
             prices.\"gpt-*\".multiplier = \"1\" (file, line 3)\n",
            file.path()
        )
    );
    let script = run(&["config", "check", "--json", "--config", file.path()], &[], None);
    let script: Value = serde_json::from_str(&said(&script)).unwrap();
    assert_eq!(script["ok"], true);
    assert_eq!(
        script["differs"][0],
        json!({"name": "auth", "value": "required", "default": "auto", "source": "file", "line": 1})
    );
}

#[test]
fn the_example_is_a_file_that_changes_nothing() {
    let example = said(&run(&["config", "example"], &[], None));
    let file = File::new(&example);
    let checked = said(&run(&["config", "check", "--config", file.path()], &[], None));
    assert!(checked.ends_with("Nothing differs from the defaults.\n"), "{checked}");
    for part in ["#port = 8000\n", "MCPTB_PORT", "#token_file = ", "#[audit]", "\"gpt-*\""] {
        assert!(example.contains(part), "{part} in {example}");
    }
}

#[test]
fn a_running_bridge_takes_a_new_file_and_refuses_a_bad_one() {
    let file = File::new("log = \"info\"\n");
    let rig = file.named().attach();
    let replace = |text: &str| {
        let new = file.folder.path().join("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, &file.path).unwrap();
    };
    let status = || rig.fetch(&Request::get("/healthz").header("host", "new.example")).status;
    assert_eq!(status(), 403);

    let bad = "log = \"info\"\nallow_host = [\"new.example\"]\nconcurency = 1\n";
    replace(bad);
    let warned = rig.process.stderr.wait("a refusal", |line| line.contains("is refused"));
    assert!(warned.contains(" WARN ") && warned.contains("line 3: unknown setting"), "{warned}");
    assert_eq!(status(), 403, "nothing of a bad file holds");

    replace("log = \"info\"\nallow_host = [\"new.example\"]\nqueue = 5\nport = 1\n");
    let read = rig.process.stderr.wait("a new version", |line| line.contains("was read again"));
    assert!(read.contains("changed=\"allow_host\""), "{read}");
    assert_eq!(status(), 200);
    let waits = rig.process.stderr.wait("what waits", |line| line.contains("need a restart"));
    assert!(waits.contains("settings=\"queue\""), "the port is a variable's: {waits}");
    let refusals = rig.process.stderr.so_far();
    assert_eq!(refusals.iter().filter(|line| line.contains("is refused")).count(), 1);
}
