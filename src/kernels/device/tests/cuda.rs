//! The GPU's side of plans: without a driver, and on a driver made up for tests, whose memory is the host's and whose kernels are those of
//! the emulator.

use super::*;
use crate::kernels::device::cuda::{Cuda, FUNCTIONS, family, image};
use crate::kernels::device::emulator;
use crate::kernels::device::plan::{Element, Host, Launch, Plan};
use cudarc::driver::sys::culib;
use std::ffi::{CStr, c_char, c_void};
use std::process::Command;

/// Set in the process that runs the tests again with the driver made up.
const MOCKED: &str = "SHOAL_TEST_MOCK_DRIVER";

fn mocked() -> bool {
    std::env::var_os(MOCKED).is_some()
}

/// A function or a number of the driver made up.
fn of_mock<T: Copy>(name: &CStr) -> T {
    // SAFETY: the library is the mock's when MOCKED is set, and the callers name the right types.
    unsafe { *culib().get::<T>(name.to_bytes()).unwrap() }
}

/// Gives the emulator of this program to the driver made up.
pub(super) fn connect() {
    if mocked() {
        let doors = emulator::doors();
        let connect: unsafe extern "C" fn(*const *const c_void) = of_mock(c"shoal_mock_connect");
        // SAFETY: the mock takes as many functions, in this order.
        unsafe { connect(doors.as_ptr()) };
    }
}

pub(super) fn is_mock(device: &Cuda) -> bool {
    device.properties().name == "mock"
}

/// How often a function of the driver was called in this thread.
fn calls(name: &str) -> u64 {
    let name = std::ffi::CString::new(name).unwrap();
    let count: unsafe extern "C" fn(*const c_char) -> u64 = of_mock(c"shoal_mock_calls");
    // SAFETY: a name that ends with a zero.
    unsafe { count(name.as_ptr()) }
}

/// The call of this name that comes `after` so many others of this thread gives the error.
fn fail(name: &str, after: u32, error: u32) {
    let name = std::ffi::CString::new(name).unwrap();
    let fail: unsafe extern "C" fn(*const c_char, u32, u32) = of_mock(c"shoal_mock_fail");
    // SAFETY: as above.
    unsafe { fail(name.as_ptr(), after, error) }
}

/// All tests of devices once more, in a process whose driver is made up.
#[test]
fn everything_holds_with_a_driver_made_up() {
    let Some(folder) = option_env!("SHOAL_MOCK_DRIVER").filter(|_| !mocked()) else { return };
    let out = Command::new(std::env::current_exe().unwrap())
        .args(["kernels::device::", "--nocapture"])
        .env(MOCKED, "1")
        .env("LD_LIBRARY_PATH", folder)
        .output()
        .unwrap();
    let text = [out.stdout, out.stderr].map(|t| String::from_utf8_lossy(&t).into_owned()).concat();
    assert!(out.status.success() && !text.contains("skipped on a GPU"), "{text}");
}

#[test]
fn without_a_driver_there_is_an_error() {
    if mocked() {
        return;
    }
    match Cuda::open(0) {
        Err(DeviceError::Unavailable(text)) => assert!(!text.is_empty()),
        Err(other) => panic!("{other}"),
        // There is a GPU here.
        Ok(device) => assert!(device.properties().capability.0 >= 8),
    }
    assert!(Cuda::open(1000).is_err());
}

/// x + x of a convolution with one tap.
fn plan() -> (Plan, usize, usize, usize) {
    let op = crate::kernels::scan::causal_conv::CausalConv {
        sequences: crate::kernels::scan::Sequences::Packed(&[0, 5]),
        channels: 3,
        taps: 1,
        weight: &[0.0f32; 3],
        bias: None,
        silu: false,
    };
    let p = crate::kernels::device::conv::plan_forward(&op, Element::F32, false).unwrap();
    (p.plan, p.x.unwrap(), p.weight.unwrap(), p.y.unwrap())
}

fn run(device: &mut Cuda) -> Result<Vec<f32>, DeviceError> {
    let (plan, x, w, y) = plan();
    let mut out = nan(15);
    let numbers: Vec<f32> = (0..15u8).map(f32::from).collect();
    device.execute(&plan, vec![(x, Host::Read(&numbers)), (w, Host::Read(&[2.0; 3])), (y, Host::Write(&mut out))])?;
    assert!(out.iter().zip(&numbers).all(|(a, b)| *a == 2.0 * b));
    Ok(out)
}

/// What is made and given back.
const PAIRS: [(&str, &str); 5] = [
    ("cuMemAlloc_v2", "cuMemFree_v2"),
    ("cuModuleLoadData", "cuModuleUnload"),
    ("cuStreamCreate", "cuStreamDestroy_v2"),
    ("cuEventCreate", "cuEventDestroy_v2"),
    ("cuDevicePrimaryCtxRetain", "cuDevicePrimaryCtxRelease_v2"),
];

#[test]
fn memory_modules_and_functions_are_used_again() {
    if !mocked() {
        return;
    }
    connect();
    let open = PAIRS.map(|(made, gone)| calls(made) - calls(gone));
    let mut device = Cuda::open(0).unwrap();
    let [memory, modules, functions] = ["cuMemAlloc_v2", "cuModuleLoadData", "cuModuleGetFunction"];
    let counts = || [memory, modules, functions].map(calls);
    let before = counts();
    run(&mut device).unwrap();
    let first = counts();
    // Pieces, x, weight, y; the rows carried on are of no bytes, and have an address even so.
    assert_eq!([first[0] - before[0], first[1] - before[1], first[2] - before[2]], [5, 1, 1]);
    for _ in 0..3 {
        run(&mut device).unwrap();
    }
    assert_eq!(counts(), first);
    let freed = calls("cuMemFree_v2");
    device.trim().unwrap();
    assert_eq!(calls("cuMemFree_v2") - freed, 5);
    run(&mut device).unwrap();
    let (plan, x, w, _) = plan();
    let numbers = [1.0; 15];
    let launches = calls("cuLaunchKernel");
    let times = device.time(&plan, &[(x, Host::Read(&numbers)), (w, Host::Read(&[2.0; 3]))], 4).unwrap();
    assert!(times.len() == 4 && times.iter().all(|t| *t >= 0.0));
    assert_eq!(calls("cuLaunchKernel"), launches + 5);
    drop(device);
    for ((made, gone), before) in PAIRS.into_iter().zip(open) {
        assert_eq!(calls(made) - calls(gone), before, "{made}");
    }
}

#[test]
fn errors_of_the_driver_say_at_what() {
    if !mocked() {
        return;
    }
    connect();
    let mut device = Cuda::open(0).unwrap();
    let at = |device: &mut Cuda, name: &str, after: u32| {
        fail(name, after, 700);
        match run(device) {
            Err(DeviceError::Driver { at, code: 700, text }) => {
                assert!(text.contains("700"), "{text}");
                at
            }
            other => panic!("{name}: {other:?}"),
        }
    };
    assert_eq!(at(&mut device, "cuModuleLoadData", 0), "kernels of conv");
    assert_eq!(at(&mut device, "cuModuleGetFunction", 0), "shoal_conv_forward_w4_f32");
    assert_eq!(at(&mut device, "cuLaunchKernel", 0), "shoal_conv_forward_w4_f32");
    // After the copies to the device, that of the launch.
    assert_eq!(at(&mut device, "cuStreamSynchronize", 1), "shoal_conv_forward_w4_f32");
    assert_eq!(at(&mut device, "cuMemcpyHtoDAsync_v2", 1), "x");
    assert_eq!(at(&mut device, "cuMemcpyDtoHAsync_v2", 0), "copies from the CUDA device");
    // No memory: what is free goes back and it is tried again, then it is an error of the buffer.
    device.trim().unwrap();
    fail("cuMemAlloc_v2", 0, 2);
    assert_eq!(run(&mut device), Err(DeviceError::Memory("pieces")));
    let frees = calls("cuMemFree_v2");
    run(&mut device).unwrap();
    fail("cuMemAlloc_v2", 0, 2);
    let (mut plan, x, w, _) = plan();
    plan.buffers[x].elements = 15000;
    let wrong = vec![0.0; 15000];
    device.execute(&plan, vec![(x, Host::Read(&wrong)), (w, Host::Read(&[2.0; 3]))]).unwrap();
    assert!(calls("cuMemFree_v2") > frees);
    fail("cuDeviceGetCount", 0, 100);
    assert!(matches!(Cuda::open(0), Err(DeviceError::Driver { code: 100, .. })));
    assert!(matches!(Cuda::open(1), Err(DeviceError::Unavailable(_))));
    assert!(run(&mut device).is_ok());
}

#[test]
fn launches_that_do_not_fit_do_not_reach_the_driver() {
    if !mocked() {
        return;
    }
    connect();
    let mut device = Cuda::open(0).unwrap();
    let (plan, x, w, _) = plan();
    let mut with = |change: &dyn Fn(&mut Launch)| {
        let mut plan = plan.clone();
        change(&mut plan.launches[0]);
        device.execute(&plan, vec![(x, Host::Read(&[1.0; 15])), (w, Host::Read(&[2.0; 3]))])
    };
    let before = calls("cuLaunchKernel");
    let sizes = |e: Result<(), DeviceError>| matches!(e, Err(DeviceError::Sizes(_)));
    assert!(sizes(with(&|l| l.args.truncate(24))));
    assert!(sizes(with(&|l| l.buffers.truncate(6))));
    assert!(sizes(with(&|l| l.buffers.push(None))));
    assert!(sizes(with(&|l| l.buffers[0] = Some(99))));
    assert!(sizes(with(&|l| l.shared = 40000)));
    assert!(matches!(with(&|l| l.entry = "shoal_wavelet".into()), Err(DeviceError::Unavailable(_))));
    assert_eq!(calls("cuLaunchKernel"), before);
    assert!(matches!(with(&|l| l.entry = "shoal_conv_backwards".into()), Err(DeviceError::Driver { code: 500, .. })));
    assert!(with(&|_| {}).is_ok());
}

#[test]
fn every_entry_is_of_a_family_and_every_function_is_there() {
    for entry in emulator::entries().iter().filter(|e| !e.starts_with("shoal_fault")) {
        let place = family(entry).unwrap_or_else(|| panic!("{entry} is of no family"));
        // Names of functions are in machine code as they are.
        let name = format!("{entry}\0").into_bytes();
        assert!(image(place).windows(name.len()).any(|w| w == name), "{entry} is not in the code");
    }
    assert_eq!(family("shoal_fault"), None);
    if mocked() {
        connect();
        drop(Cuda::open(0).unwrap());
        for name in FUNCTIONS {
            let _: unsafe extern "C" fn() = of_mock(&std::ffi::CString::new(name).unwrap());
        }
    }
}
