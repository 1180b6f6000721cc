//! The end of a bridge takes two seconds at most, whoever holds it up, and a second reason to end
//! gives no more time.

use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::support::{Books, Call, Door, PATIENCE, Rig};

/// Two seconds, and what a busy machine may take to start a shell and to notice the end.
const IN_TIME: Duration = Duration::from_millis(2250);

/// Bytes of a question that no pipe and no socket takes whole.
const LONG: usize = 1 << 20;

/// Why a bridge ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    Stdin,
    Signal,
    /// stdin ends when the signal is being served.
    SignalThenStdin,
}

/// Ends the bridge and waits until it has gone. `call` is one in flight.
fn end(rig: &mut Rig, call: &mut Call, reason: Reason) {
    let began = Instant::now();
    match reason {
        Reason::Stdin => rig.host.close_stdin(),
        Reason::Signal => rig.process.signal("TERM"),
        Reason::SignalThenStdin => {
            rig.process.signal("TERM");
            assert_eq!(call.finish().status, 503);
            rig.host.close_stdin();
        }
    }
    let left = IN_TIME.saturating_sub(began.elapsed());
    assert_eq!(rig.process.wait_within(left).code(), Some(0), "{reason:?}");
}

/// The host stops reading while a call is being written that fills stdout.
fn block_stdout(rig: &Rig) -> Call {
    let stopped = rig.host.stop_reading();
    let call = rig.send(&Door::Chat.ask(&"long ".repeat(LONG / 5)));
    stopped.recv_timeout(PATIENCE).expect("the beginning of a sampling");
    call
}

/// Somebody else holds the database: nothing can be committed.
fn lock(books: &Books) -> Connection {
    let locked = Connection::open(books.database()).unwrap();
    locked.execute_batch("BEGIN IMMEDIATE").unwrap();
    locked
}

#[test]
fn a_database_that_somebody_holds_does_not_hold_up_the_end() {
    for reason in [Reason::Stdin, Reason::Signal, Reason::SignalThenStdin] {
        let books = Books::new();
        let mut rig = books.launch().ready();
        let locked = lock(&books);
        let mut call = rig.send(&Door::Chat.ask("never answered"));
        let _sampling = rig.host.sampling();
        end(&mut rig, &mut call, reason);
        drop(locked);
    }
}

#[test]
fn all_that_holds_up_the_end_does_so_at_once_and_in_time() {
    for reason in [Reason::Stdin, Reason::Signal, Reason::SignalThenStdin] {
        let books = Books::new();
        let mut rig = books.launch().stderr_unread().ready();
        // More lines than the pipe of stderr takes.
        rig.host.write("garbage\n".repeat(2000).as_bytes());
        // A reply that nobody reads fills every buffer on its way.
        let unread = rig.send(&Door::Chat.ask_streamed("a lot"));
        rig.host.sampling().answer(&"much to read ".repeat(1_000_000));
        let mut call = rig.send(&Door::Chat.ask("never answered"));
        let _sampling = rig.host.sampling();
        let long = block_stdout(&rig);
        let locked = lock(&books);
        end(&mut rig, &mut call, reason);
        drop((unread, long, locked));
    }
}
