//! Who may come in while the records are not there, or not wanted.

use std::fs;
use std::path::Path;

use super::{Config, DATABASE, Records};

/// A bridge without a record, and a folder for keys.
fn without_record(folder: &Path) -> std::sync::Arc<Records> {
    let config = Config { audit: false, data_dir: Some(folder.to_owned()), ..Config::local(0) };
    Records::new(&config).unwrap()
}

#[tokio::test]
async fn without_a_record_and_without_keys_nothing_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let records = without_record(folder.path());
    assert_eq!(records.attempt().await, Ok(false));
    assert!(records.keyring.snapshot().install().is_ok());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn keys_that_appear_and_cannot_be_read_shut_the_door() {
    let folder = tempfile::tempdir().unwrap();
    let records = without_record(folder.path());
    assert_eq!(records.attempt().await, Ok(false));
    let database = folder.path().join(DATABASE);
    fs::create_dir(&database).unwrap();
    assert!(records.attempt().await.is_err());
    assert!(records.keyring.snapshot().install().is_err());
    fs::remove_dir(&database).unwrap();
    assert_eq!(records.attempt().await, Ok(false));
    assert!(records.keyring.snapshot().install().is_ok());
}

#[cfg(unix)]
#[tokio::test]
async fn a_folder_that_cannot_be_looked_into_may_hold_keys() {
    let folder = tempfile::tempdir().unwrap();
    let circle = folder.path().join("circle");
    std::os::unix::fs::symlink(&circle, &circle).unwrap();
    let records = without_record(&circle);
    assert!(records.attempt().await.is_err());
    assert!(records.keyring.snapshot().install().is_err());
}
