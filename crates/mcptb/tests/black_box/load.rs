//! Many at once, through few slots.

use std::collections::HashSet;

use serde_json::json;

use crate::support::{Call, Door, Launch, Profile};

/// 256 calls through 8 slots: each gets its own answer, none is lost, and never more are out.
#[test]
fn a_crowd_before_few_slots() {
    for profile in [Profile::Plain, Profile::VsCode] {
        let rig = Launch::new().profile(profile).ready();
        let mut calls: Vec<(Door, bool, String, Call)> = (0..256)
            .map(|number| {
                let (door, streamed) = (Door::BOTH[number % 2], number % 3 == 0);
                let nonce = format!("nonce-{number}-{}", number * 104_729);
                let call = rig.send(&door.ask_with(&nonce, &json!({"stream": streamed})));
                (door, streamed, nonce, call)
            })
            .collect();
        let mut out = Vec::new();
        let mut seen = HashSet::new();
        for number in 0..256 {
            out.push(rig.host.sampling());
            assert!(out.len() <= 8, "more samplings at once than allowed");
            assert!(seen.insert(out.last().unwrap().asked()), "asked twice");
            if out.len() == 8 || number >= 248 {
                // The one in the middle is the first to be answered.
                let sampling = out.remove(out.len() / 2);
                sampling.answer(&format!("re: {}", sampling.asked()));
            }
        }
        for sampling in out {
            sampling.answer(&format!("re: {}", sampling.asked()));
        }
        for (door, streamed, nonce, call) in &mut calls {
            let text = if *streamed { door.streamed_text(call) } else { door.text(&call.finish()) };
            assert_eq!(text, format!("re: {nonce}"));
        }
        assert_eq!(rig.host.faults(), [""; 0]);
    }
}

/// Callers come and go while others are served.
#[test]
fn a_crowd_in_which_every_third_hangs_up() {
    let rig = Launch::new().env("MCPTB_CONCURRENCY", "64").ready();
    let mut calls: Vec<Option<(Door, Call)>> = (0..192)
        .map(|number| {
            let door = Door::BOTH[number % 2];
            Some((door, rig.send(&door.ask(&format!("call {number}")))))
        })
        .collect();
    for gone in calls.iter_mut().step_by(3) {
        *gone = None;
    }
    rig.host.respond(|sampling| sampling.answer(&format!("re: {}", sampling.asked())));
    // What was asked before the responder stood here is answered by hand.
    let mut early = Vec::new();
    while let Some(sampling) = rig.host.sampling_so_far() {
        early.push(sampling);
    }
    for sampling in &early {
        sampling.answer(&format!("re: {}", sampling.asked()));
    }
    for (number, call) in calls.iter_mut().enumerate() {
        if let Some((door, call)) = call {
            assert_eq!(door.text(&call.finish()), format!("re: call {number}"));
        }
    }
    rig.host.wait_status("nobody left", |status| {
        let host = &status["hosts"][0];
        host["in_flight"] == 0 && host["waiting"] == 0
    });
}
