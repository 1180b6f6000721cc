//! Following the record: each call once, as it ends, whatever becomes of the bridge.

use std::process::{Child, Stdio};

use crate::support::lines::Lines;
use crate::support::{Desk, Door, IssuedKey, Rig};

/// A command that follows. Killed on drop.
struct Tail {
    child: Child,
    lines: Lines,
    said: Lines,
}

impl Tail {
    fn start(desk: &Desk, args: &[&str]) -> Self {
        let mut command = desk.command(&[&["audit", "tail", "--json"], args].concat());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = Lines::collect(child.stdout.take().unwrap());
        let said = Lines::collect(child.stderr.take().unwrap());
        Self { child, lines, said }
    }

    /// Waits for a call by its id.
    fn shows(&self, id: &str) -> String {
        self.lines.wait("the call", |line| line.contains(id))
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The id of a call that is answered at once.
fn call(rig: &Rig, key: &IssuedKey) -> String {
    let reply = rig.fetch(&key.on(Door::Messages.ask("hi")));
    assert_eq!(reply.status, 200);
    reply.header("x-request-id").unwrap().to_owned()
}

#[test]
fn calls_are_shown_once_as_they_end() {
    let desk = Desk::new();
    let rig = desk.launch().ready();
    let key = desk.key(&["--sandbox"]);
    let of_model = desk.key(&[]);
    let before = call(&rig, &key);
    // It came long before whatever is followed, and ends meanwhile.
    let mut early = rig.send(&of_model.on(Door::Chat.ask("for long")));
    let sampling = rig.host.sampling();
    let (now, minute) = (Tail::start(&desk, &["--since", "0s"]), Tail::start(&desk, &[]));
    let mut made = vec![before];
    while now.lines.count() == 0 {
        // It shows nothing until it looks for the first time.
        made.push(call(&rig, &key));
    }
    sampling.answer("at last");
    made.push(early.finish().header("x-request-id").unwrap().to_owned());
    let early = made.last().unwrap().clone();
    made.push(call(&rig, &key));
    for (tail, whole) in [(&now, false), (&minute, true)] {
        tail.shows(made.last().unwrap());
        let lines = tail.lines.so_far();
        let from = if whole { 0 } else { made.len() - lines.len() };
        assert_eq!(lines.len(), made.len() - from, "each once: {lines:#?}");
        assert!(lines.len() > 2, "one before, the early one, and one after");
        for id in &made[from..] {
            let shown = lines.iter().filter(|line| line.contains(id.as_str())).count();
            assert_eq!(shown, 1, "{id} in {lines:#?}");
        }
        assert!(!lines.concat().contains("at last"), "bodies are not asked for");
    }
    let wanted = Tail::start(&desk, &["--key", &of_model.id]);
    wanted.shows(&early);
    assert_eq!(wanted.lines.count(), 1, "{:?}", wanted.lines.so_far());
}

#[test]
fn following_goes_on_with_the_next_bridge() {
    let desk = Desk::new();
    let key = desk.key(&["--sandbox"]);
    let of_model = desk.key(&[]);
    let mut rig = desk.launch().ready();
    let tail = Tail::start(&desk, &[]);
    let mut shown = vec![call(&rig, &key)];
    tail.shows(&shown[0]);

    // The one that is cut off ends when somebody opens the files.
    let cut_off = rig.send(&of_model.on(Door::Chat.ask("never")));
    let _sampling = rig.host.sampling();
    rig.process.signal("KILL");
    rig.process.wait();
    drop(cut_off);
    let interrupted = tail.shows("interrupted");
    let interrupted: serde_json::Value = serde_json::from_str(&interrupted).unwrap();
    shown.push(interrupted["id"].as_str().unwrap().to_owned());
    tail.said.wait("a word about it", |line| line.contains("going on"));

    let next = desk.launch().ready();
    shown.push(call(&next, &key));
    tail.shows(&shown[2]);
    // What ends with a bridge is shown although it is gone.
    shown.push(call(&next, &key));
    next.end();
    tail.shows(&shown[3]);
    tail.said.wait_many(2, |line| line.contains("going on"));
    let last = desk.launch().ready();
    shown.push(call(&last, &key));
    tail.shows(&shown[4]);

    let lines = tail.lines.so_far();
    assert_eq!(lines.len(), shown.len(), "each once: {lines:#?}");
    for (line, id) in lines.iter().zip(&shown) {
        assert!(line.contains(id.as_str()), "{id} in {lines:#?}");
    }
    assert_eq!(tail.said.count(), 2, "once for each: {:#?}", tail.said.so_far());
}
