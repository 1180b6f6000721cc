//! What happens when an append fails half way.

use std::fs::File;
use std::io::BufReader;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use gateway::store::{Spending, StoreError, Written};
use model::CallId;

use super::super::files::Files;
use super::super::journal::Sealer;
use super::super::queue::Waiting;
use super::super::retire::Bounds;
use super::super::write::{Settle, Write};
use super::frame::{self, Frame};
use super::{Redo, Scope, write_at};

fn sealer() -> Sealer {
    Sealer::new(&[3; 32])
}

/// Records that are all of one length, and who waits for them.
fn group(names: &[u8]) -> (Vec<Waiting>, Vec<Written>) {
    let one = |name: &u8| {
        let settle = Settle::new(CallId::from_bytes([*name; 16]), &Spending::default());
        let (reply, written) = Written::pending();
        (Waiting::new(Write::Settle(settle.into()), Some(reply)), written)
    };
    names.iter().map(one).unzip()
}

/// What a start would find in a file: the numbers, and the names of the calls.
fn found(file: File) -> Vec<(u64, u8)> {
    let (mut from, mut frame) = (BufReader::new(file), Frame::default());
    let (mut all, mut expected) = (Vec::new(), None);
    while frame.read(&mut from).unwrap() && expected.is_none_or(|next| next == frame.lsn) {
        let Some(super::super::write::Record::Settle(settle)) = frame.record(&sealer()) else {
            break;
        };
        all.push((frame.lsn, settle.id[0]));
        expected = Some(frame.lsn + 1);
    }
    all
}

fn is_answered(written: Written) -> bool {
    let answer = tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(written);
    assert!(answer.is_ok() || matches!(answer, Err(StoreError::Down(_))));
    answer.is_ok()
}

/// A disk that takes the bytes and reports a fault all the same.
#[test]
fn what_a_failed_append_left_is_not_found() {
    let directory = tempfile::tempdir().unwrap();
    let (files, _hold, _secrets) = Files::open(directory.path()).unwrap();
    let (mut redo, _applied) = Redo::new(&files, Bounds::default(), sealer(), 1).unwrap();
    let (mut first, answers) = group(&[1, 2]);
    redo.append(&mut first, Scope::All);
    assert!(answers.into_iter().all(is_answered));

    let path = directory.path().join("redo.0");
    let good = std::mem::replace(&mut redo.segments[0].named.file, File::open(&path).unwrap());
    let (mut failed, answers) = group(&[3, 4]);
    redo.append(&mut failed, Scope::All);
    assert!(failed.iter().all(|waiting| waiting.lsn.is_none() && waiting.reply.is_some()));
    let mut bytes = BytesMut::new();
    for (lsn, waiting) in (3..).zip(&failed) {
        frame::write(&mut bytes, lsn, &waiting.write.record().unwrap(), &sealer());
    }
    write_at(&good, &bytes, redo.segments[0].at).unwrap();
    assert_eq!(found(File::open(&path).unwrap()), [(1, 1), (2, 2), (3, 3), (4, 4)]);
    drop((failed, answers));

    // Nothing is appended until that is gone.
    redo.rest = None;
    let (mut early, _answers) = group(&[5]);
    redo.append(&mut early, Scope::Rescue);
    assert_eq!(early[0].lsn, None);
    redo.segments[0].named.file = good;
    redo.rest = None;
    let (mut after, answers) = group(&[6, 7]);
    redo.append(&mut after, Scope::All);
    assert!(answers.into_iter().all(is_answered));
    assert_eq!(found(File::open(&path).unwrap()), [(1, 1), (2, 2)]);
    let other = File::open(directory.path().join("redo.1")).unwrap();
    assert_eq!(found(other), [(5, 6), (6, 7)]);
}

/// A look at one file says nothing of the other.
#[cfg(unix)]
#[test]
fn a_look_holds_good_for_one_file_only() {
    for other_is_there in [true, false] {
        let directory = tempfile::tempdir().unwrap();
        let (files, _hold, _secrets) = Files::open(directory.path()).unwrap();
        let (mut redo, _applied) = Redo::new(&files, Bounds::default(), sealer(), 1).unwrap();
        let (mut first, _answers) = group(&[1]);
        redo.append(&mut first, Scope::All);
        assert_eq!(first[0].lsn, Some(1));
        // As if that had been just now, however slow this machine is, and the file were full.
        redo.looked = Some(Instant::now() + Duration::from_mins(1));
        redo.segments[0].at = redo.size;
        if !other_is_there {
            std::fs::remove_file(directory.path().join("redo.1")).unwrap();
        }
        let (mut second, _answers) = group(&[2]);
        redo.append(&mut second, Scope::All);
        assert_eq!(second[0].lsn.is_some(), other_is_there);
    }
}

/// Whoever waited too long was told that it failed.
#[test]
fn an_end_that_nobody_waits_for_is_not_appended_as_an_answer() {
    use gateway::store::Closed;
    let directory = tempfile::tempdir().unwrap();
    let (files, _hold, _secrets) = Files::open(directory.path()).unwrap();
    let (mut redo, _applied) = Redo::new(&files, Bounds::default(), sealer(), 1).unwrap();
    let closed = Closed {
        id: CallId::from_bytes([1; 16]),
        first_byte: None,
        ended: 1,
        model_served: None,
        upstream: None,
        replay_of: None,
        status: 200,
        stop_reason: None,
        input_tokens: 0,
        output_tokens: 0,
        cached_tokens: 0,
        estimated: true,
        overrun: false,
        losses: "".into(),
        bytes_out: 0,
        failure: None,
        message: None,
        body: None,
        spending: None,
    };
    let close = super::super::write::Close::new(closed.into());
    let (reply, written) = Written::pending();
    let mut group = [Waiting::new(Write::Close(close.into()), Some(reply))];
    drop(written);
    redo.append(&mut group, Scope::All);
    assert_eq!(group[0].lsn, None);
    group[0].withhold_unawaited();
    let Write::Close(close) = &group[0].write else { unreachable!() };
    assert!(!close.is_answered());
}
