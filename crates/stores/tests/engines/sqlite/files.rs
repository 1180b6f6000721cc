//! The files beside the database, and who may open them.

use std::error::Error as _;
use std::fs;

use gateway::store::{Progress, StoreError};
use rusqlite::Connection;
use stores::{OpenError, Sqlite};

use super::Directory;
use crate::contract::texts::{record, searchable};
use crate::contract::{Place, all};
use crate::samples::{closed, opened};

/// Databases of earlier versions, and the key of their journals.
const EARLIER: [&str; 2] = [include_str!("version-1.sql"), include_str!("version-2.sql")];
const EARLIER_KEY: [u8; 32] = [7; 32];

async fn used() -> Directory {
    let place = Directory::new();
    let store = place.open();
    store.open(opened(1).into()).await.unwrap();
    store.shut_down().await;
    place
}

#[tokio::test]
async fn one_process_at_a_time() {
    let place = Directory::new();
    let store = place.open();
    let error = Sqlite::open(place.options()).unwrap_err();
    let pid = format!("pid {}", std::process::id());
    assert!(matches!(&error, OpenError::Locked { holder, .. } if *holder == pid), "{error}");
    store.shut_down().await;
    let again = place.open();
    drop(again);
    drop(store);
    place.open();
}

#[cfg(unix)]
#[tokio::test]
async fn nobody_else_may_read_them() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Directory::new();
    fs::create_dir(place.file("")).unwrap();
    fs::set_permissions(place.file(""), fs::Permissions::from_mode(0o755)).unwrap();
    let store = place.open();
    record(&store, 1, "said", "heard").await;
    searchable(&store).await;
    let mode = |name: &str| fs::metadata(place.file(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(""), 0o700);
    let names = [
        "redo.0",
        "redo.1",
        "audit.db",
        "audit.db-wal",
        "audit.db-shm",
        "lock",
        "install.secret",
        "journal.key",
    ];
    for name in names.into_iter().chain(["text.db", "text.db-wal", "text.db-shm"]) {
        assert_eq!(mode(name), 0o600, "{name}");
    }
    store.shut_down().await;
    assert_eq!(mode("journal.checkpoint"), 0o600);
}

#[tokio::test]
async fn secrets_stay_and_are_never_made_anew_beside_a_database() {
    let place = used().await;
    let secret = Sqlite::open(place.options()).unwrap().install_secret().derive("test");
    assert_eq!(Sqlite::open(place.options()).unwrap().install_secret().derive("test"), secret);
    for name in ["install.secret", "journal.key"] {
        let bytes = fs::read(place.file(name)).unwrap();
        assert_eq!(bytes.len(), 32);
        fs::remove_file(place.file(name)).unwrap();
        let error = Sqlite::open(place.options()).unwrap_err();
        assert!(matches!(error, OpenError::SecretMissing { .. }), "{error}");
        assert!(!place.file(name).exists());
        fs::write(place.file(name), [1; 31]).unwrap();
        let error = Sqlite::open(place.options()).unwrap_err();
        assert!(matches!(error, OpenError::Unfit { .. }), "{error}");
        fs::write(place.file(name), bytes).unwrap();
    }
    assert_eq!(all(&place.open()).await.len(), 1);
}

#[tokio::test]
async fn a_database_that_is_gone_is_not_made_anew() {
    let place = used().await;
    fs::remove_file(place.file("audit.db")).unwrap();
    let error = Sqlite::open(place.options()).unwrap_err();
    assert!(matches!(error, OpenError::DatabaseMissing { .. }), "{error}");
    assert!(!place.file("audit.db").exists());
}

#[cfg(unix)]
#[tokio::test]
async fn a_link_is_refused() {
    let names = ["audit.db", "audit.db-wal", "install.secret", "journal.key", "lock", "text.db"];
    for name in names {
        let place = used().await;
        let elsewhere = place.0.path().join("elsewhere");
        fs::write(&elsewhere, "something dear").unwrap();
        let _ = fs::remove_file(place.file(name));
        std::os::unix::fs::symlink(&elsewhere, place.file(name)).unwrap();
        let error = Sqlite::open(place.options()).unwrap_err();
        assert!(matches!(error, OpenError::Unfit { .. }), "{name}: {error}");
        assert_eq!(fs::read_to_string(elsewhere).unwrap(), "something dear");
    }
}

#[tokio::test]
async fn a_place_that_is_no_directory_is_an_error() {
    let place = Directory::new();
    fs::write(place.options().dir, "a file").unwrap();
    let error = Sqlite::open(place.options()).unwrap_err();
    assert!(matches!(error, OpenError::Io { .. }), "{error}");
    assert!(error.source().is_some());
}

#[tokio::test]
async fn a_newer_database_is_left_alone() {
    let place = used().await;
    let foreign = Connection::open(place.file("audit.db")).unwrap();
    foreign.pragma_update(None, "user_version", 999).unwrap();
    drop(foreign);
    let error = Sqlite::open(place.options()).unwrap_err();
    assert!(matches!(&error, OpenError::Store(StoreError::TooNew(_))), "{error}");
}

#[tokio::test]
async fn garbage_is_said_to_be_damaged() {
    let place = used().await;
    fs::write(place.file("audit.db"), "garbage ".repeat(4000)).unwrap();
    let error = Sqlite::open(place.options()).unwrap_err();
    assert!(error.to_string().contains("damaged"), "{error}");
}

/// A database of an earlier version is taken over as it is: its calls, keys, spending and chain.
#[tokio::test]
async fn earlier_versions_are_taken_over() {
    for earlier in EARLIER {
        let place = Directory::new();
        fs::create_dir(place.file("")).unwrap();
        fs::write(place.file("journal.key"), EARLIER_KEY).unwrap();
        fs::write(place.file("install.secret"), [8; 32]).unwrap();
        Connection::open(place.file("audit.db")).unwrap().execute_batch(earlier).unwrap();
        let store = place.open();
        let verdict = store.verify(Progress::default()).await.unwrap();
        assert_eq!((verdict.finding, verdict.checked), (None, 8));
        let loaded = store.load().await.unwrap();
        assert_eq!(loaded.keys, [crate::samples::key(1)]);
        assert_eq!(loaded.tenants, [crate::samples::tenant("team")]);
        assert_eq!(loaded.interrupted, 1);
        store.open(opened(4).into()).await.unwrap();
        store.close(closed(4).into()).await.unwrap();
        let calls = all(&store).await;
        assert_eq!(calls.len(), 4);
        for number in [1, 4] {
            let whole = store.call(opened(number).id).await.unwrap().unwrap();
            assert_eq!((whole.request, whole.reply), (opened(number).body, closed(number).body));
        }
        assert_eq!(store.verify(Progress::default()).await.unwrap().finding, None);
    }
}

/// Writes what [`earlier_versions_are_taken_over`] reads. To be run once for each version, by hand, and
/// its database dumped with `.dump` before the tables change.
#[tokio::test]
#[ignore = "writes a fixture"]
async fn write_fixture() {
    use gateway::store::{Actor, Change};
    let place = Directory::new();
    fs::create_dir(place.file("")).unwrap();
    fs::write(place.file("journal.key"), EARLIER_KEY).unwrap();
    let store = place.open();
    let team = crate::samples::tenant("team");
    store.change(Change::TenantCreated(team.into()), Actor::Machine).await.unwrap();
    store.change(Change::KeyCreated(crate::samples::key(1).into()), Actor::Machine).await.unwrap();
    for number in 1..=3 {
        store.open(opened(number).into()).await.unwrap();
    }
    store.close(closed(1).into()).await.unwrap();
    let mut end = closed(2);
    end.spending = None;
    store.close(end.into()).await.unwrap();
    store.settle(opened(2).id, closed(2).spending.unwrap()).await.unwrap();
    store.shut_down().await;
    eprintln!("{}", place.0.keep().display());
}
