//! Tells the program which commit it is built from, where that can be known, and compiles the emulator of GPU kernels (feature `emulator`).

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=SHOAL_COMMIT");
    let commit = std::env::var("SHOAL_COMMIT").ok().or_else(git_commit).unwrap_or_default();
    println!("cargo:rustc-env=SHOAL_COMMIT={commit}");
    if std::env::var_os("CARGO_FEATURE_EMULATOR").is_some() {
        emulator(Path::new("src/kernels/device"));
    }
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

/// The kernels of `device` as code of the host: all of `emu/*.cpp`. Nothing of the C++ library is used, so nothing of it is linked.
fn emulator(device: &Path) {
    for folder in ["emu", "compat", "shared", "args"] {
        println!("cargo:rerun-if-changed={}", device.join(folder).display());
    }
    let mut files: Vec<_> = std::fs::read_dir(device.join("emu")).into_iter().flatten().flatten().map(|f| f.path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "cpp"));
    files.sort();
    cc::Build::new()
        .cpp(true)
        .cpp_link_stdlib(None)
        .std("c++17")
        .opt_level(2)
        .flags(["-ffp-contract=off", "-fno-exceptions", "-fno-rtti", "-Wall", "-Wextra", "-Wshadow", "-Wno-unused-function"])
        .files(files)
        .compile("shoal_emu");
}
