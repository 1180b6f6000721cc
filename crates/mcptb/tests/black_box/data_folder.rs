//! Where keys and records lie: as named, or in the usual place of the account.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use gateway::keys::Endpoint;

use crate::audit::wait_readiness;
use crate::support::endpoints::ask_with_key;
use crate::support::{Books, Desk, Launch};

/// Makes a key with this environment and nothing named beside `args`. Where that works, says which
/// of some folders has the records then.
fn made_in(
    args: &[&str],
    env: &[(&str, &Path)],
    folders: &[PathBuf],
) -> Result<Vec<PathBuf>, String> {
    let desk = Desk::new();
    let token = desk.room.path().join("token");
    let mut command = desk.command(&["keys", "create", "--out", token.to_str().unwrap()]);
    command.args(args).env_remove("MCPTB_DATA_DIR").envs(env.iter().copied());
    // What is relative would be within this.
    let output = command.current_dir(desk.room.path()).stdin(Stdio::null()).output().unwrap();
    if !output.status.success() {
        return Err(String::from_utf8(output.stderr).unwrap());
    }
    assert!(!desk.room.path().join("relative").exists());
    let has = |folder: &&PathBuf| folder.join("audit.db").exists();
    Ok(folders.iter().filter(has).cloned().collect())
}

#[test]
fn the_records_lie_where_they_are_said_to_or_in_the_usual_place() {
    let room = tempfile::tempdir().unwrap();
    let [named, other, xdg, home] =
        ["named", "other", "xdg", "home"].map(|name| room.path().join(name));
    let share = home.join(if cfg!(target_os = "macos") {
        "Library/Application Support/mcptb"
    } else {
        ".local/share/mcptb"
    });
    let folders = [named.clone(), other.clone(), xdg.join("mcptb"), share];
    let [_, by_variable, by_xdg, by_home] = &folders;
    let (data, relative) = (("MCPTB_DATA_DIR", other.as_path()), Path::new("relative"));
    let (xdg, at_home) = (("XDG_DATA_HOME", xdg.as_path()), ("HOME", home.as_path()));
    let flag = ["--data-dir", named.to_str().unwrap()];

    // From the one that counts least to the one that counts most: each makes one more.
    let mut there = Vec::new();
    for (args, env, made) in [
        (&[][..], &[("XDG_DATA_HOME", relative), at_home][..], by_home),
        (&[], &[xdg, at_home], by_xdg),
        (&[], &[data, xdg, at_home], by_variable),
        (&flag, &[data, xdg, at_home], &named),
    ] {
        there.insert(0, made.clone());
        let mut found = made_in(args, env, &folders).unwrap();
        found.sort_by_key(|folder| there.iter().position(|known| known == folder));
        assert_eq!(found, there, "{args:?} {env:?}");
    }
    let said = made_in(&[], &[("XDG_DATA_HOME", relative)], &folders).unwrap_err();
    assert!(said.contains("no folder for keys and records"), "{said}");
}

#[test]
fn a_bridge_keeps_its_record_where_it_is_told() {
    let books = Books::new();
    let key = books.key(<_>::default());
    // The variable names another folder.
    let folder = books.path().to_str().unwrap();
    let rig = Launch::new().arg("--data-dir", folder).without_records().ready();
    rig.host.respond(|sampling| sampling.answer("yes"));
    wait_readiness(&rig, 200, &key);
    let reply = rig.fetch(&ask_with_key(Endpoint::Chat, "?", false, &key.token));
    assert_eq!(reply.status, 200);
    rig.end();
    assert_eq!(books.record().rows().count(), 1);
}
