//! The text for Metal, and what entries must look like on every target.

use crate::kernels::device::emulator::entries;
use crate::kernels::device::metal::{Family, source};

#[test]
fn the_text_is_whole() {
    for family in Family::ALL {
        let text = source(family);
        let includes: Vec<&str> = text.lines().filter(|l| l.trim_start().starts_with("#include")).collect();
        assert_eq!(includes, ["#include <metal_stdlib>"], "{family:?}");
        for word in
            ["threadIdx", "blockIdx", "__syncthreads", "__shfl", "__global__", "__device__", "__shared__", "emu::", "double"]
        {
            // Comments may speak of doubles.
            let code = text.lines().map(|l| l.split("//").next().unwrap_or_default()).any(|l| l.contains(word));
            assert!(!code, "{family:?}: {word}");
        }
        for (open, close) in [('{', '}'), ('(', ')')] {
            assert_eq!(text.matches(open).count(), text.matches(close).count(), "{family:?}: {open}{close}");
        }
        assert_eq!(text.matches("#define SHOAL_COMPAT_H").count(), 1);
    }
}

#[test]
fn every_entry_is_in_one_text() {
    let all: Vec<String> = Family::ALL.map(source).to_vec();
    for entry in entries().iter().filter(|e| !e.starts_with("shoal_fault")) {
        // Entries made by a macro end with what the macro is given.
        let made = ["_f32", "_bf16", "_w4_f32", "_w16_f32", "_w4_bf16", "_w16_bf16"];
        let stems = made.iter().filter_map(|s| entry.strip_suffix(s)).map(|stem| format!("({stem}_##suffix)"));
        let names: Vec<String> = stems.chain([format!("SH_KERNEL({entry})")]).collect();
        let count = all.iter().filter(|text| names.iter().any(|name| text.contains(name.as_str()))).count();
        assert_eq!(count, 1, "{entry}");
    }
}

/// Parameter 0 is the arguments, buffers follow in order: Metal binds by these numbers, the others by place.
#[test]
fn parameters_are_numbered_in_order() {
    let mut found = 0;
    for family in Family::ALL {
        let text = source(family);
        let entries = text.lines().skip_while(|l| !l.starts_with("// Entries of")).collect::<Vec<_>>().join(" ");
        for parameters in entries.split("SH_PARAMS(").skip(1) {
            let parameters = parameters.split('{').next().unwrap_or_default();
            let numbers: Vec<usize> = (parameters.split("SH_").skip(1))
                .filter_map(|p| p.split(['(', ',']).nth(1).and_then(|n| n.trim().parse().ok()))
                .collect();
            assert!(parameters.starts_with("SH_ARGS(0,"), "{parameters}");
            assert!(
                numbers.len() > 1 && numbers.iter().enumerate().all(|(i, n)| i == *n),
                "{family:?}: {numbers:?} in {parameters}"
            );
            found += 1;
        }
    }
    assert!(found >= 30, "{found}");
}

/// Bodies and entries know no target: conditions on targets are in `compat/` alone.
#[test]
fn only_compat_knows_targets() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/kernels/device");
    for part in ["shared", "args", "cuda", "metal"] {
        for file in std::fs::read_dir(format!("{folder}/{part}")).unwrap().flatten().filter(|f| f.path().is_file()) {
            let text = std::fs::read_to_string(file.path()).unwrap();
            for line in text.lines().filter(|l| l.trim_start().starts_with("#if") || l.trim_start().starts_with("#elif")) {
                assert!(line.starts_with("#ifndef SHOAL_"), "{:?}: {line}", file.path());
            }
        }
    }
}
