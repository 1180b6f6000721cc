//! What is said of a panic: where it was, and not what it says.
//!
//! The message of a panic may hold what a caller or a host has sent, and would reach stderr past all
//! that keeps credentials from it.

use std::io::Write;
use std::panic::{PanicHookInfo, set_hook};

/// Says of each panic from now on where it was: as a line of the log, where there is one.
pub(crate) fn install() {
    set_hook(Box::new(tell));
}

fn tell(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map_or_else(|| "somewhere".to_owned(), ToString::to_string);
    if tracing::dispatcher::has_been_set() {
        tracing::error!("a bug in mcptb: it panicked at {place}; please report that place");
    } else {
        // Nothing can be done where stderr is closed.
        let _ = writeln!(
            std::io::stderr(),
            "mcptb: a bug: it panicked at {place}\nhint: please report that place"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Output};
    use std::time::Duration;

    use super::install;
    use crate::telemetry::{self, Colour, LogFormat, LogLevel, LogSettings};

    const SECRET: &str = "sk-proj-PanicCanary4Hq2wLx9ZtR7";

    /// What cannot be read, and says what it was.
    #[derive(Debug)]
    struct Said;

    impl std::str::FromStr for Said {
        type Err = String;

        fn from_str(text: &str) -> Result<Self, String> {
            Err(text.to_owned())
        }
    }

    /// Panics in every way, with and without a log. For a process of its own.
    #[test]
    #[ignore = "the test below runs it, in a process of its own"]
    fn panics() {
        install();
        let panicking = || {
            let of_text = std::panic::catch_unwind(|| panic!("{SECRET}"));
            let of_error = std::panic::catch_unwind(|| SECRET.parse::<Said>().unwrap());
            let of_value = std::panic::catch_unwind(|| std::panic::panic_any(SECRET.to_owned()));
            assert!(of_text.is_err() && of_error.is_err() && of_value.is_err());
        };
        panicking();
        let (queue, _, _) = telemetry::start(LogSettings {
            format: LogFormat::Json,
            level: LogLevel::Error,
            bodies: true,
            colour: Colour::Never,
        });
        panicking();
        queue.flush(Duration::from_secs(30));
        // As after any other test.
        drop(std::panic::take_hook());
    }

    #[test]
    fn a_panic_says_where_and_not_what() {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "panics::tests::panics", "--ignored"]);
        let Output { status, stdout, stderr } = command.output().unwrap();
        let (stdout, said) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        assert!(status.success() && stdout.contains("1 passed"), "{stdout} {said}");
        assert!(!said.contains(SECRET) && !stdout.contains(SECRET), "{stdout} {said}");
        let places: Vec<&str> = said.lines().filter(|line| line.contains("panics.rs:")).collect();
        let [early @ .., _, _, _] = places.as_slice() else { panic!("{said}") };
        assert_eq!(early.len(), 3, "{said}");
        assert!(places.iter().skip(3).all(|line| line.starts_with('{')), "{said}");
    }
}
