//! The text for Metal, and what entries must look like on every target.

use crate::kernels::device::emulator::entries;
use crate::kernels::device::metal::{Family, source};
use crate::kernels::device::metal_driver::{Limits, arena_bytes, family, places, room};
use crate::kernels::device::plan::{DeviceError, Launch};

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
        let made = ["_f32", "_bf16", "_w4_f32", "_w16_f32", "_w4_bf16", "_w16_bf16", "_c16", "_c32", "_c64"];
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

/// Words of Metal's language that C++ does not have, types among them, are no names in the kernels.
#[test]
fn names_are_free_in_metal() {
    let words = "device constant thread threadgroup threadgroup_imageblock ray_data object_data kernel vertex fragment mesh object visible \
                 stitchable half bfloat uchar ushort uint ulong half2 half3 half4 float2 float3 float4 int2 int3 int4 uint2 uint3 uint4 \
                 char2 char3 char4 short2 short3 short4 bool2 bool3 bool4";
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/kernels/device");
    for part in ["shared", "args"] {
        for file in std::fs::read_dir(format!("{folder}/{part}")).unwrap().flatten() {
            for (i, line) in std::fs::read_to_string(file.path()).unwrap().lines().enumerate() {
                let code = line.split("//").next().unwrap_or_default();
                let mut names = code.split(|c: char| !c.is_alphanumeric() && c != '_');
                let taken = names.find(|name| words.split_whitespace().any(|word| word == *name));
                assert_eq!(taken, None, "{:?}:{}", file.path(), i + 1);
            }
        }
    }
}

#[test]
fn an_entry_is_of_the_family_that_has_it() {
    for entry in entries().iter().filter(|e| !e.starts_with("shoal_fault")) {
        let stem = entry.strip_suffix("_f32").or_else(|| entry.strip_suffix("_bf16")).unwrap_or(entry);
        let stem = ["_w4", "_w16", "_c16", "_c32", "_c64"].iter().find_map(|s| stem.strip_suffix(s)).unwrap_or(stem);
        let text = Family::of(entry).map(source).unwrap_or_default();
        assert!(
            text.contains(&format!("SH_KERNEL({stem}_##suffix)")) || text.contains(&format!("SH_KERNEL({entry})")),
            "{entry}"
        );
    }
    for other in ["shoal_fault", "shoal_fault_neighbours", "conv_sums", "shoal_convolve_x", "shoal", ""] {
        assert_eq!(Family::of(other), None, "{other}");
    }
}

fn launch(block: u32, shared: u32, args: usize, buffers: &[Option<usize>]) -> Launch {
    Launch { entry: "shoal_conv_sums".to_string(), grid: 3, block, shared, args: vec![0; args], buffers: buffers.to_vec() }
}

#[test]
fn launches_are_bound_by_place() {
    let bound: Vec<_> = places(&launch(32, 0, 28, &[Some(4), None, Some(0)])).collect();
    assert_eq!(bound, [(1, Some(4)), (2, None), (3, Some(0))]);
    assert_eq!([0, 1, 16, 17, 1024, 32768].map(arena_bytes), [16, 16, 16, 32, 1024, 32768]);
    assert_eq!(family(&launch(32, 0, 28, &[Some(4), None]), 5), Ok(Family::Conv));
    let refused = |launch: Launch, buffers| matches!(family(&launch, buffers), Err(DeviceError::Sizes(_)));
    assert!(refused(launch(32, 0, 28, &[Some(5)]), 5) && refused(launch(32, 0, 28, &[None; 31]), 5));
    assert!(refused(launch(32, 0, 4097, &[]), 5) && refused(launch(32, 0, 0, &[]), 5));
    assert_eq!(family(&launch(32, 0, 4096, &[None; 30]), 0), Ok(Family::Conv));
    assert!(refused(Launch { grid: 0, ..launch(32, 0, 28, &[]) }, 5));
    assert!(refused(Launch { entry: "shoal_fault".to_string(), ..launch(32, 0, 28, &[]) }, 5));
}

#[test]
fn blocks_fit_the_device() {
    let limits = Limits { threads: 256, width: 32, declared: 512, memory: 32768 };
    let fits = |block, shared| limits.check(&launch(block, shared, 28, &[]));
    assert_eq!([(32, 0), (256, 32256), (64, 1)].map(|(block, shared)| fits(block, shared)), [Ok(()), Ok(()), Ok(())]);
    for (block, shared) in [(0, 0), (33, 0), (288, 0), (32, 32257), (32, 32768)] {
        assert!(matches!(fits(block, shared), Err(DeviceError::Sizes(_))), "{block} {shared}");
    }
    let narrow = Limits { width: 16, ..limits };
    assert!(matches!(narrow.check(&launch(32, 0, 28, &[])), Err(DeviceError::Unavailable(_))));
}

#[test]
fn rooms_are_few_and_not_much_larger() {
    for bytes in (0..5000).chain([1 << 20, (1 << 20) + 1, (1 << 30) - 1, 3_000_000_001]) {
        let room = room(bytes);
        assert!(room >= bytes.max(256) && room - room / 8 <= bytes.max(256) && room.is_multiple_of(16), "{bytes}: {room}");
        assert_eq!(crate::kernels::device::metal_driver::room(room), room);
    }
}

/// A kernel that is not there, and no launch at all, on every GPU of this machine.
#[cfg(any(feature = "cuda", all(feature = "metal", target_os = "macos")))]
#[test]
fn gpus_know_their_kernels() {
    use crate::kernels::device::plan::Plan;
    for gpu in &*super::executors::gpu::GPUS {
        let absent = Launch { entry: "shoal_conv_absent".to_string(), ..launch(32, 0, 28, &[]) };
        let plan = Plan { launches: vec![absent], ..Plan::default() };
        assert!(gpu.execute(&plan, vec![]).is_err(), "{}", gpu.name);
        assert_eq!(gpu.execute(&Plan::default(), vec![]), Ok(()), "{}", gpu.name);
    }
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
