//! Tells the program which commit it is built from, where that can be known, and compiles GPU kernels: for the emulator
//! (feature `emulator`), and for NVIDIA's devices (feature `cuda`).

use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=SHOAL_COMMIT");
    let commit = std::env::var("SHOAL_COMMIT").ok().or_else(git_commit).unwrap_or_default();
    println!("cargo:rustc-env=SHOAL_COMMIT={commit}");
    #[cfg(feature = "emulator")]
    emulator(Path::new("src/kernels/device"));
    if std::env::var_os("CARGO_FEATURE_CUDA").is_some() {
        let out = std::env::var_os("OUT_DIR").map(PathBuf::from).unwrap_or_default();
        let device = Path::new("src/kernels/device");
        if let Err(text) = cuda(device, &out) {
            println!("cargo::error={text}");
        }
        #[cfg(feature = "emulator")]
        if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux")
            && let Err(text) = mock_driver(device, &out)
        {
            println!("cargo::error={text}");
        }
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
#[cfg(feature = "emulator")]
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

/// Every `cuda/*.cu` of `device` as machine code for Ampere and Hopper, and PTX for what comes after; and `images.rs`, which holds all of
/// them by the file's name, with the version of the toolkit.
fn cuda(device: &Path, out: &Path) -> Result<(), String> {
    for folder in ["cuda", "compat", "shared", "args"] {
        println!("cargo:rerun-if-changed={}", device.join(folder).display());
    }
    let (nvcc, home) = nvcc()?;
    let (major, minor) = toolkit(&nvcc)?;
    let mut sources: Vec<_> = std::fs::read_dir(device.join("cuda")).into_iter().flatten().flatten().map(|f| f.path()).collect();
    sources.retain(|f| f.extension().is_some_and(|e| e == "cu"));
    sources.sort();
    let compile = |source: &Path| -> Result<String, String> {
        let name = source.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let image = out.join(format!("{name}.fatbin"));
        let mut command = Command::new(&nvcc);
        // Never fast maths: scans meet infinities.
        command.args(["-O3", "-std=c++17", "-fatbin", "-gencode", "arch=compute_80,code=sm_80"]);
        command.args(["-gencode", "arch=compute_90,code=[sm_90,compute_90]"]);
        if let Some(home) = &home {
            command.arg("-I").arg(home.join("include"));
        }
        let done = command.arg("-o").arg(&image).arg(source).output().map_err(|e| format!("{}: {e}", nvcc.display()))?;
        if !done.status.success() {
            let text = String::from_utf8_lossy(&done.stderr).trim().replace('\n', " | ");
            return Err(format!("nvcc does not compile {}: {text}", source.display()));
        }
        Ok(format!("    ({name:?}, &Aligned(*include_bytes!({:?}))),\n", image.display().to_string()))
    };
    // One process for each file: the longest takes as long as the others together.
    let rows = std::thread::scope(|scope| {
        let all: Vec<_> = sources.iter().map(|source| scope.spawn(|| compile(source))).collect();
        all.into_iter()
            .map(|one| one.join().map_err(|_| "a thread of the build ended".to_string())?)
            .collect::<Result<Vec<_>, _>>()
    })?;
    let text = format!(
        "const TOOLKIT: (i32, i32) = ({major}, {minor});\nstatic IMAGES: &[(&str, &Aligned<[u8]>)] = &[\n{}];\n",
        rows.concat()
    );
    std::fs::write(out.join("images.rs"), text).map_err(|e| format!("images.rs: {e}"))
}

const REMEDY: &str =
    "`make cuda-check` puts a toolkit into .venv-cuda: set CUDA_HOME to .venv-cuda/lib/python3*/site-packages/nvidia/cu13";

/// The compiler, and the toolkit it is of where that is known: NVCC, then CUDA_HOME, CUDA_PATH, then PATH.
fn nvcc() -> Result<(PathBuf, Option<PathBuf>), String> {
    for name in ["NVCC", "CUDA_HOME", "CUDA_PATH"] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    let home_of =
        |nvcc: &Path| nvcc.parent().and_then(Path::parent).filter(|h| h.join("include").is_dir()).map(Path::to_path_buf);
    if let Some(nvcc) = std::env::var_os("NVCC").map(PathBuf::from) {
        let home = home_of(&nvcc);
        return Ok((nvcc, home));
    }
    let homes = ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(std::env::var_os).map(|home| PathBuf::from(home).join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = homes
        .chain(std::env::split_paths(&path))
        .map(|folder| folder.join(format!("nvcc{}", std::env::consts::EXE_SUFFIX)))
        .find(|nvcc| nvcc.is_file());
    let nvcc =
        found.ok_or(format!("the feature \"cuda\" needs nvcc, which is not in NVCC, CUDA_HOME, CUDA_PATH or PATH. {REMEDY}"))?;
    let home = home_of(&nvcc);
    Ok((nvcc, home))
}

/// "release 13.0" of the compiler's text.
fn toolkit(nvcc: &Path) -> Result<(u32, u32), String> {
    let out = Command::new(nvcc).arg("--version").output().map_err(|e| format!("{}: {e}. {REMEDY}", nvcc.display()))?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let version = text.split("release ").nth(1).and_then(|t| t.split(',').next()).and_then(|t| t.trim().split_once('.'));
    let numbers = version.and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    numbers.ok_or_else(|| format!("{} does not say its version", nvcc.display()))
}

/// The driver made up for tests, `mock/libcuda.so`.
#[cfg(feature = "emulator")]
fn mock_driver(device: &Path, out: &Path) -> Result<(), String> {
    let folder = out.join("mock");
    std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut command = cc::Build::new().cpp(true).std("c++17").get_compiler().to_command();
    command.args(["-O1", "-Wall", "-Wextra", "-shared", "-fPIC", "-o"]).arg(folder.join("libcuda.so"));
    let done =
        command.arg(device.join("emu/mock/driver.cpp")).output().map_err(|e| format!("the driver made up for tests: {e}"))?;
    println!("cargo:rustc-env=SHOAL_MOCK_DRIVER={}", folder.display());
    let text = String::from_utf8_lossy(&done.stderr).trim().replace('\n', " | ");
    if done.status.success() { Ok(()) } else { Err(format!("the driver made up for tests does not compile: {text}")) }
}
