//! Tells the program which commit it is built from, where that can be known.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=SHOAL_COMMIT");
    let commit = std::env::var("SHOAL_COMMIT").ok().or_else(git_commit).unwrap_or_default();
    println!("cargo:rustc-env=SHOAL_COMMIT={commit}");
}

/// The short hash of HEAD; rebuilt when HEAD or its branch moves.
fn git_commit() -> Option<String> {
    let head = Path::new(".git/HEAD");
    let text = std::fs::read_to_string(head).ok()?;
    println!("cargo:rerun-if-changed=.git/HEAD");
    if let Some(branch) = text.trim().strip_prefix("ref: ") {
        println!("cargo:rerun-if-changed=.git/{branch}");
    }
    let out = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output().ok()?;
    let hash = String::from_utf8(out.stdout).ok()?.trim().to_string();
    (out.status.success() && !hash.is_empty()).then_some(hash)
}
