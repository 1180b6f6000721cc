//! What changes at once, what waits, and what changes nothing.

use std::fs::{self, File};
use std::path::PathBuf;

use clap::Args;
use http_doors::access::AuthMode;
use model::ParamsMode;
use tempfile::TempDir;

use super::{
    Arc, Config, DoorRules, Duration, Layers, LiveRules, Loaded, Reloaded, Reloader, Running, Stamp,
};
use crate::records::Records;
use crate::settings::Settings;
use crate::telemetry;

/// A bridge's configuration, and the folder that holds its file.
struct House {
    folder: TempDir,
    reloader: Reloader,
    rules: LiveRules,
    records: Arc<Records>,
}

impl House {
    /// Starts with this file.
    fn new(text: &str, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mcptb.toml");
        fs::write(&path, text).unwrap();
        let named = ["mcptb", "--config", path.to_str().unwrap()];
        let matches = Settings::augment_args(clap::Command::new("mcptb"))
            .try_get_matches_from(named.iter().chain(flags))
            .unwrap();
        let layers = Layers::of(&matches);
        let Loaded { config, settings, has_file, stamp } = layers.load().unwrap();
        let running = Running::of(&config, settings, has_file, stamp);
        let (_, _, level) = telemetry::start(Config::local(0).log);
        let records = Records::new(&config).unwrap();
        let rules = LiveRules::new(DoorRules {
            deadline: config.deadline.within(config.host.max_wait),
            access: config.access,
            params: config.params,
        });
        let reloader = Reloader::new(layers, running, rules.clone(), level, Arc::clone(&records));
        Self { folder, reloader, rules, records }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("mcptb.toml")
    }

    /// Puts another file in the place of the first, and looks until it has been read.
    fn write(&self, text: &str) {
        let new = self.folder.path().join("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, self.path()).unwrap();
        self.look();
    }

    /// Two looks, between which nothing happens.
    fn look(&self) {
        self.reloader.look();
        assert!(self.reloader.look());
    }

    /// Writes a file and reads it, whether a look has seen it or not.
    fn reload(&self, text: &str) -> Reloaded {
        fs::write(self.path(), text).unwrap();
        self.reloader.reload().unwrap()
    }
}

fn names(reloaded: &Reloaded) -> (Vec<&str>, Vec<&str>) {
    (
        reloaded.changed.iter().map(String::as_str).collect(),
        reloaded.restart.iter().map(String::as_str).collect(),
    )
}

#[test]
fn what_is_live_holds_at_once_and_the_rest_waits() {
    let house = House::new("port = 1\nhttp_timeout = 5\n", &[]);
    let first = house.rules.now();
    let reloaded = house.reload(
        "port = 2\nqueue = 3\nauth = 'required'\nallow_host = ['a.example']\nparams = 'strict'\n\
         http_timeout = 7.5\naudit = 'off'\n",
    );
    assert_eq!(
        names(&reloaded),
        (vec!["allow_host", "auth", "http_timeout", "params"], vec!["audit", "port", "queue"])
    );
    let rules = house.rules.now();
    assert_eq!(rules.access.auth, AuthMode::Required);
    assert_eq!(rules.access.allow_hosts, ["a.example"]);
    assert_eq!(rules.params, ParamsMode::Strict);
    assert_eq!(rules.deadline, Duration::from_millis(7500));
    assert!(first.access.allow_hosts.is_empty(), "who has read the rules keeps them");
    // Taken back, it needs no restart any more.
    assert_eq!(names(&house.reload("port = 1\nhttp_timeout = 7.5\n")).1, Vec::<&str>::new());
}

#[test]
fn a_bad_file_changes_nothing() {
    let house = House::new("allow_host = ['a.example']\n[prices.a]\nper_request = 1\n", &[]);
    let before = (house.rules.now(), house.reloader.sections().borrow().clone());
    for bad in [
        "allow_host = ['b.example']\nconcurency = 1",
        "allow_host = ['b.example']\n[prices.a]\ninput = 'much'",
        "allow_host = ['b.example']\ntoken_file = 'nowhere'",
        "allow_host = ['b.example']\nbody_memory = 1",
        "allow_host =",
    ] {
        house.write(bad);
        assert!(house.reloader.reload().is_err(), "{bad}");
        assert!(Arc::ptr_eq(&before.0, &house.rules.now()), "{bad}");
        assert!(Arc::ptr_eq(&before.1, &house.reloader.sections().borrow()), "{bad}");
    }
    fs::remove_file(house.path()).unwrap();
    house.look();
    assert!(Arc::ptr_eq(&before.0, &house.rules.now()), "a file that has gone");
    house.write("allow_host = ['c.example']");
    assert_eq!(house.rules.now().access.allow_hosts, ["c.example"]);
}

#[test]
fn flags_still_count_before_the_file() {
    let house = House::new("", &["--allow-host", "flag.example", "--http-timeout", "none"]);
    house.write("allow_host = ['file.example']\nhttp_timeout = 1\nmax_wait = 10\n");
    let rules = house.rules.now();
    assert_eq!(rules.access.allow_hosts, ["flag.example"]);
    assert_eq!(rules.deadline, Duration::from_hours(1), "max_wait waits for a restart");
}

#[test]
fn a_look_reads_only_what_has_changed() {
    let house = House::new("allow_host = ['a.example']", &[]);
    let before = house.rules.now();
    house.look();
    assert!(Arc::ptr_eq(&before, &house.rules.now()));
    // As large and as old as before, but another file.
    let modified = fs::metadata(house.path()).unwrap().modified().unwrap();
    let other = house.folder.path().join("other");
    fs::write(&other, "allow_host = ['b.example']").unwrap();
    File::options().write(true).open(&other).unwrap().set_modified(modified).unwrap();
    let stamp = |path: PathBuf| Stamp::of(&crate::settings::Place::Named(path));
    assert_ne!(stamp(other.clone()), stamp(house.path()));
    fs::rename(&other, house.path()).unwrap();
    house.look();
    assert_eq!(house.rules.now().access.allow_hosts, ["b.example"]);
}

#[test]
fn a_file_that_is_still_being_written_is_not_read() {
    let house = House::new("auth = 'required'", &[]);
    for half in ["", "# my settings\n", "# my settings\nallow_host = []\n"] {
        fs::write(house.path(), half).unwrap();
        assert!(!house.reloader.look(), "{half}");
        assert_eq!(house.rules.now().access.auth, AuthMode::Required, "{half}");
    }
    fs::write(house.path(), "# my settings\nallow_host = []\nauth = 'open-loopback'\n").unwrap();
    house.look();
    assert_eq!(house.rules.now().access.auth, AuthMode::OpenLoopback);
}

#[test]
fn a_new_token_in_the_same_file_is_a_change() {
    let house = House::new("", &[]);
    let token = house.folder.path().join("token");
    fs::write(&token, "the-first-of-two-long-tokens").unwrap();
    assert_eq!(names(&house.reload("token_file = 'token'")).0, ["token", "token_file"]);
    fs::write(&token, "the-other-of-two-long-tokens").unwrap();
    let reloaded = house.reloader.reload().unwrap();
    assert_eq!(names(&reloaded), (vec!["token"], vec![]));
    let rules = house.rules.now();
    let token = rules.access.token.as_ref().map(|token| token.expose().as_str());
    assert_eq!(token, Some("the-other-of-two-long-tokens"));
    // Neither of them gets into the record.
    let text = "a the-first-of-two-long-tokens b the-other-of-two-long-tokens c";
    assert_eq!(house.records.audit.redactor().redact(text.as_bytes()).count, 2);
}

#[test]
fn limits_and_prices_are_told_to_whoever_waits_for_them() {
    let a = "[prices.'a*']\nper_request = 1\n";
    let b = "[prices.'*']\nper_request = 2\n";
    let house = House::new(&format!("{a}{b}"), &[]);
    let mut sections = house.reloader.sections();
    let price = |sections: &mut tokio::sync::watch::Receiver<Arc<super::Sections>>| {
        let sections = sections.borrow_and_update();
        sections.prices.first("a1").map(|price| price.per_request)
    };
    assert_eq!(price(&mut sections), Some(1_000_000_000_000));
    house.reload(&format!("{a}{b}# more words\n"));
    assert!(!sections.has_changed().unwrap(), "nothing has");
    // The same prices in another order.
    let reloaded = house.reload(&format!("{b}{a}"));
    assert_eq!(names(&reloaded).0, ["prices"]);
    assert!(sections.has_changed().unwrap());
    assert_eq!(price(&mut sections), Some(2_000_000_000_000));
}

#[test]
fn what_is_live_is_a_setting() {
    let house = House::new("", &[]);
    let known = house.reloader.state.lock().unwrap().last.clone();
    for name in super::LIVE.iter().filter(|name| !["token", "prices", "models"].contains(name)) {
        assert!(known.contains_key(*name), "{name}");
    }
}
