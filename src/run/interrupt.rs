//! Ctrl-C. While a long loop watches, the first one asks it to stop at the next unit and the second ends the program; while none
//! does (reading stdin, drawing), the first one ends it. Unfinished files are removed either way.

use std::sync::atomic::{AtomicBool, Ordering};

static STOP: AtomicBool = AtomicBool::new(false);
static WATCHED: AtomicBool = AtomicBool::new(false);

/// Installs the handler; `clean_up` runs before the program is ended at once. Call once at start-up; without it [`requested`]
/// stays false.
pub fn install(clean_up: fn()) -> Result<(), ctrlc::Error> {
    ctrlc::set_handler(move || {
        if STOP.swap(true, Ordering::SeqCst) || !WATCHED.load(Ordering::SeqCst) {
            clean_up();
            std::process::exit(130);
        }
    })
}

/// Says whether a loop watches [`requested`] from now on.
pub fn observe(watched: bool) {
    WATCHED.store(watched, Ordering::SeqCst);
}

/// Whether the user asked to stop.
pub fn requested() -> bool {
    STOP.load(Ordering::Relaxed)
}
