//! Parse, dispatch, exit code.

use std::io::Write;
use std::process::ExitCode;

// Training allocates and frees the same large blocks over and over; the system's allocator gives them back and faults them in again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(|l| format!(" at {}:{}", l.file(), l.line())).unwrap_or_default();
        // stderr may be closed, and a panic in this place would abort.
        let text = format!("error: shoal met a case it does not know{place}; please report it with the command and the input");
        let _ = writeln!(std::io::stderr().lock(), "{text}");
    }));
    let run = || shoal::cli::run(std::env::args_os().collect());
    ExitCode::from(std::panic::catch_unwind(run).unwrap_or(1))
}
