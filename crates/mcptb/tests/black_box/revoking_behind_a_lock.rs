//! Revocations while another process holds the database, so that nothing can be written.

use std::process::{Child, Stdio};
use std::time::Instant;

use crate::support::{Desk, Door, IssuedKey, PATIENCE, Request, Rig};

/// Begins to revoke a key on the command line.
fn revoke(desk: &Desk, key: &IssuedKey) -> Child {
    let mut command = desk.command(&["keys", "revoke", &key.id]);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn refused(rig: &Rig, key: &IssuedKey) -> bool {
    rig.fetch(&key.on(Request::get("/v1/models"))).status == 401
}

/// Tries until it is written: a store that has failed does not try again at once.
fn until_written(desk: &Desk, args: &[&str]) {
    let deadline = Instant::now() + PATIENCE;
    while !desk.run(args).status.success() {
        assert!(Instant::now() < deadline, "it is never written");
    }
}

/// Revokes both at once; whether both were refused while neither could be written.
fn both_are_refused_meanwhile(desk: &Desk, rig: &Rig, keys: &[IssuedKey; 2]) -> bool {
    let database = rusqlite::Connection::open(desk.folder().join("audit.db")).unwrap();
    database.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut revoking = keys.each_ref().map(|key| revoke(desk, key));
    let both = loop {
        let refused = keys.iter().all(|key| refused(rig, key));
        if revoking.iter_mut().any(|one| one.try_wait().unwrap().is_some()) {
            break false;
        }
        if refused {
            break true;
        }
    };
    for mut one in revoking {
        assert!(!one.wait().unwrap().success(), "nothing can be written");
    }
    database.execute_batch("ROLLBACK").unwrap();
    until_written(desk, &["keys", "edit", &keys[0].id, "--priority", "7"]);
    both
}

#[test]
fn neither_waits_for_the_other_to_be_written() {
    let desk = Desk::new();
    let rig = desk.launch().ready();
    let keys = [desk.key(&[]), desk.key(&[])];
    // On a busy machine the commands may begin so late that the first has failed before.
    let met = (0..5).any(|_| both_are_refused_meanwhile(&desk, &rig, &keys));
    assert!(met, "one waits until the other is written");
    // They could not be written, and were taken back.
    assert!(keys.iter().all(|key| !refused(&rig, key)));
    // Now they can be.
    for key in &keys {
        until_written(&desk, &["keys", "revoke", &key.id]);
        assert_eq!(rig.fetch(&key.on(Door::Chat.ask("hi"))).status, 401);
    }
}
