//! The program; everything is in the library, which is empty where there is nothing to measure with.

use std::process::ExitCode;

fn main() -> ExitCode {
    #[cfg(unix)]
    {
        mcptb_bench::main()
    }
    #[cfg(not(unix))]
    {
        use std::io::Write;
        // Nothing is left to say when standard error is gone.
        let _gone =
            writeln!(std::io::stderr(), "mcptb-bench measures on Linux only: it reads /proc");
        ExitCode::from(2)
    }
}
