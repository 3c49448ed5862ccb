//! Progress out of the methods: they call an [`Observer`], they never print.
//!
//! Methods run their loops on several threads, so an observer is shared (`&dyn Observer`) and synchronised inside.

/// Receives progress and answers whether to stop. All methods have an empty default.
pub trait Observer: Sync {
    /// A phase of `total` units begins.
    fn start(&self, _what: &str, _total: usize) {}
    /// `n` units of the phase are done.
    fn advance(&self, _n: usize) {}
    /// The phase has ended.
    fn finish(&self) {}
    /// One line about how it goes.
    fn note(&self, _text: &str) {}
    /// Whether the user asked to stop; long loops check it once a unit.
    fn cancelled(&self) -> bool {
        false
    }
}

/// The observer that ignores everything.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {}
