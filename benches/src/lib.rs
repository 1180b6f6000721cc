//! Measures `mcptb` beside the least that any bridge must do, in the same run on the same machine.
//!
//! It is not a test and not a gate: it prints figures. It knows `mcptb` only as a program that it
//! starts and cannot flatter it; of its crates it uses what makes a key beforehand (`house`). What reading costs inside of
//! the program is measured by a program of its own, `reading`.
//!
//! Start reading at `table`, which names the cells and the targets; `target` starts them,
//! `host` answers their samplings, `load` calls them, and `floor_http`, `floor_stdio` and
//! `whole_path` are the floors, which this same program runs as child processes.
//!
//! Invariants: every target is a child process, so that its CPU time and memory are its own; every
//! loop is bounded in count and time; nothing leaves the loopback interface.

#![cfg(unix)]

mod arguments;
mod call;
mod error;
mod figures;
mod first_byte;
mod floor_http;
mod floor_stdio;
mod host;
mod house;
mod load;
mod messages;
mod open_loop;
mod pin;
mod proc;
mod report;
mod response;
mod revoke;
mod start;
mod stdio;
mod table;
mod target;
mod waiting;
mod whole_path;

use std::process::ExitCode;

use clap::Parser;

use crate::arguments::{Arguments, Scenario};
use crate::error::Outcome;
use crate::report::Report;

/// Runs what the command line asks for: 0 when every call was answered with its own text, 1 when
/// one was not, 2 when the measurement could not be made.
pub fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            report::complain(&format!("mcptb-bench: {error}"));
            ExitCode::from(2)
        }
    }
}

/// Runs what was asked for; the answer is false when any call was lost or answered wrongly.
fn run(arguments: &Arguments) -> Outcome<bool> {
    let mut report = Report::new(arguments);
    arguments.pin.pin_self()?;
    match arguments.scenario() {
        Scenario::FloorHttp { port } => return floor_http::serve(port).map(|()| true),
        Scenario::FloorStdio => return floor_stdio::serve().map(|()| true),
        Scenario::WholePath { port } => return whole_path::serve(port).map(|()| true),
        Scenario::Table => table::run(arguments, &mut report)?,
        Scenario::SlowHost => table::run_slow_host(arguments, &mut report)?,
        Scenario::OpenLoop => open_loop::run(arguments, &mut report)?,
        Scenario::Waiting => waiting::run_waiting(arguments, &mut report)?,
        Scenario::Streams => waiting::run_streams(arguments, &mut report)?,
        Scenario::FirstByte => first_byte::run(arguments, &mut report)?,
        Scenario::Start => start::run(arguments, &mut report)?,
        Scenario::Revoke => revoke::run(arguments, &mut report)?,
        Scenario::All => {
            table::run(arguments, &mut report)?;
            table::run_slow_host(arguments, &mut report)?;
            open_loop::run(arguments, &mut report)?;
            first_byte::run(arguments, &mut report)?;
            waiting::run_streams(arguments, &mut report)?;
            waiting::run_waiting(arguments, &mut report)?;
            start::run(arguments, &mut report)?;
            revoke::run(arguments, &mut report)?;
        }
    }
    report.print(arguments.json)?;
    Ok(report.all_answered())
}
