//! The calls of NVIDIA's driver that are used, and what they own. All checks of their results are here.
//!
//! The driver's library is looked for when a device is opened: a program with this code starts without it.

use crate::kernels::device::plan::DeviceError;
use cudarc::driver::{DriverError, result, sys};
use std::ffi::{CStr, c_void};

/// All functions that are called: one that a driver lacks is found here, where it is an error, and not by the call, where it is a panic.
pub(crate) const FUNCTIONS: [&str; 27] = [
    "cuInit",
    "cuDriverGetVersion",
    "cuDeviceGetCount",
    "cuDeviceGet",
    "cuDeviceGetAttribute",
    "cuDeviceGetName",
    "cuDeviceTotalMem_v2",
    "cuDevicePrimaryCtxRetain",
    "cuDevicePrimaryCtxRelease_v2",
    "cuCtxSetCurrent",
    "cuStreamCreate",
    "cuStreamSynchronize",
    "cuStreamDestroy_v2",
    "cuMemAlloc_v2",
    "cuMemFree_v2",
    "cuMemcpyHtoDAsync_v2",
    "cuMemcpyDtoHAsync_v2",
    "cuMemsetD8Async",
    "cuModuleLoadData",
    "cuModuleUnload",
    "cuModuleGetFunction",
    "cuFuncGetParamInfo",
    "cuLaunchKernel",
    "cuEventCreate",
    "cuEventRecord",
    "cuEventElapsedTime",
    "cuEventDestroy_v2",
];
/// For texts of errors; without them the number must do.
const WORDS: &str = "cuGetErrorString";

/// What a device is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Properties {
    pub name: String,
    /// Compute capability.
    pub capability: (i32, i32),
    /// Bytes of global memory.
    pub memory: usize,
    /// Bytes of shared memory that a block may ask for without more ado.
    pub shared: usize,
    pub multiprocessors: i32,
    /// Of CUDA, that the driver can do: (13, 0).
    pub driver: (i32, i32),
}

/// A failed call as an error that says at what.
fn check<T>(result: Result<T, DriverError>, at: &str) -> Result<T, DeviceError> {
    result.map_err(|e| {
        // SAFETY: the library is loaded, as the call was made, and the name is of a function.
        let known = unsafe { sys::culib().get::<unsafe extern "C" fn()>(WORDS.as_bytes()) }.is_ok();
        let words = if known { e.error_string().ok() } else { None };
        let text = words.map_or("the driver failed".to_string(), |w| w.to_string_lossy().into_owned());
        DeviceError::Driver { at: at.to_string(), code: e.0 as u32, text }
    })
}

fn missing<T>(text: String) -> Result<T, DeviceError> {
    Err(DeviceError::Unavailable(text))
}

/// Version of a driver or toolkit from its number, 1000 · major + 10 · minor.
fn version(number: i32) -> (i32, i32) {
    (number / 1000, number % 1000 / 10)
}

/// A device with a stream: work is done in the order in which it was given.
pub(super) struct Context {
    device: sys::CUdevice,
    context: sys::CUcontext,
    stream: sys::CUstream,
}

// SAFETY: handles of the driver may be used by any thread in which the context is current; every door makes it so.
unsafe impl Send for Context {}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: both were made by `open` and are given back once. Errors leave nothing to do.
        unsafe {
            let _ = result::stream::destroy(self.stream);
            let _ = result::primary_ctx::release(self.device);
        }
    }
}

impl Context {
    /// `ordinal`: which device; `least`: the version of CUDA that the embedded code needs.
    pub(super) fn open(ordinal: usize, least: (i32, i32)) -> Result<(Self, Properties), DeviceError> {
        // SAFETY: loading the library runs its start code; it is the driver's.
        if !unsafe { sys::is_culib_present() } {
            return missing("no CUDA device: this machine has no driver of NVIDIA (libcuda)".into());
        }
        for name in FUNCTIONS {
            // SAFETY: the library is there, and the name is only looked for.
            if unsafe { sys::culib().get::<unsafe extern "C" fn()>(name.as_bytes()) }.is_err() {
                return missing(format!("the CUDA driver is too old: it has no {name}"));
            }
        }
        check(result::init(), "start of the CUDA driver")?;
        let mut number = 0;
        // SAFETY: writes one number.
        check(unsafe { sys::cuDriverGetVersion(&raw mut number) }.result(), "version of the CUDA driver")?;
        let driver = version(number);
        if driver < least {
            let ((a, b), (c, d)) = (driver, least);
            return missing(format!("the CUDA driver is too old: it is for CUDA {a}.{b}, the kernels are for {c}.{d}"));
        }
        let count = check(result::device::get_count(), "number of CUDA devices")?;
        let Some(ordinal) = i32::try_from(ordinal).ok().filter(|o| *o < count) else {
            return missing(format!("no CUDA device {ordinal}: there are {count}"));
        };
        let at = format!("CUDA device {ordinal}");
        let device = check(result::device::get(ordinal), &at)?;
        let name = check(result::device::get_name(device), &at)?;
        use sys::CUdevice_attribute_enum as Attribute;
        // SAFETY: the device was given by the driver.
        let attribute = |which| check(unsafe { result::device::get_attribute(device, which) }, &at);
        let properties = Properties {
            name,
            capability: (
                attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
                attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
            ),
            // SAFETY: as above.
            memory: check(unsafe { result::device::total_mem(device) }, &at)?,
            shared: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK)?.try_into().unwrap_or(0),
            multiprocessors: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
            driver,
        };
        let (major, minor) = properties.capability;
        if major < 8 {
            let name = &properties.name;
            return missing(format!("{name}: compute capability {major}.{minor}, at least 8.0 (Ampere) is needed"));
        }
        // SAFETY: the device was given by the driver; the context is given back below or by `drop`.
        let context = check(unsafe { result::primary_ctx::retain(device) }, &at)?;
        // SAFETY: the context was just given.
        let current = unsafe { result::ctx::set_current(context) };
        let stream = current.and_then(|()| result::stream::create(result::stream::StreamKind::NonBlocking));
        match check(stream, &at) {
            Ok(stream) => Ok((Self { device, context, stream }, properties)),
            Err(e) => {
                // SAFETY: retained above, released once.
                let _ = unsafe { result::primary_ctx::release(device) };
                Err(e)
            }
        }
    }

    /// Makes the device that of this thread.
    pub(super) fn enter(&self) -> Result<(), DeviceError> {
        // SAFETY: the context lives as long as self.
        check(unsafe { result::ctx::set_current(self.context) }, "CUDA context")
    }

    /// Waits for all work.
    pub(super) fn wait(&self, at: &str) -> Result<(), DeviceError> {
        // SAFETY: the stream lives as long as self.
        check(unsafe { result::stream::synchronize(self.stream) }, at)
    }

    /// Copies to the device, in order with other work.
    ///
    /// # Safety
    /// `from` must stay as it is until the next [`Self::wait`].
    pub(super) unsafe fn upload(&self, to: &Memory, from: &[u8], at: &str) -> Result<(), DeviceError> {
        assert!(from.len() <= to.bytes, "a copy beyond the end");
        // SAFETY: both sides have the bytes; the caller keeps the source.
        check(unsafe { result::memcpy_htod_async(to.address, from, self.stream) }, at)
    }

    /// Copies from the device.
    ///
    /// # Safety
    /// `to` must not be touched until the next [`Self::wait`].
    pub(super) unsafe fn download(&self, to: &mut [u8], from: &Memory, at: &str) -> Result<(), DeviceError> {
        assert!(to.len() <= from.bytes, "a copy beyond the end");
        // SAFETY: both sides have the bytes; the caller leaves the target alone.
        check(unsafe { result::memcpy_dtoh_async(to, from.address, self.stream) }, at)
    }

    /// Sets all bytes to ones: NaN in every kind of float.
    pub(super) fn poison(&self, memory: &Memory, at: &str) -> Result<(), DeviceError> {
        // SAFETY: the memory has the bytes.
        check(unsafe { result::memset_d8_async(memory.address, 0xFF, memory.bytes, self.stream) }, at)
    }

    /// Starts a kernel. `pointers`: null for none.
    pub(super) fn launch(
        &self,
        function: &Function,
        [grid, block, shared]: [u32; 3],
        args: &[u8],
        pointers: &[u64],
        at: &str,
    ) -> Result<(), DeviceError> {
        // The kernel takes the structure by value and then pointers, so many as the launch has: the driver reads as many as the kernel says.
        let given = std::iter::once(args.len()).chain(pointers.iter().map(|_| size_of::<u64>()));
        if !given.eq(function.parameters.iter().copied()) {
            let (bytes, count, takes) = (args.len(), pointers.len(), &function.parameters);
            return Err(DeviceError::Sizes(format!("{at}: {bytes} bytes and {count} buffers for parameters of {takes:?} bytes")));
        }
        let first = args.as_ptr().cast::<c_void>().cast_mut();
        let mut all: Vec<*mut c_void> =
            std::iter::once(first).chain(pointers.iter().map(|p| std::ptr::from_ref(p).cast::<c_void>().cast_mut())).collect();
        // SAFETY: the parameters have the number and sizes of the kernel's, and are copied by the call.
        let started =
            unsafe { result::launch_kernel(function.handle, (grid, 1, 1), (block, 1, 1), shared, self.stream, &mut all) };
        check(started, at)
    }

    /// Marks this place among the work.
    pub(super) fn mark(&self) -> Result<Event, DeviceError> {
        let event = Event(check(result::event::create(sys::CUevent_flags_enum::CU_EVENT_DEFAULT), "a CUDA event")?);
        // SAFETY: both were made by the driver and live.
        check(unsafe { result::event::record(event.0, self.stream) }, "a CUDA event")?;
        Ok(event)
    }
}

/// Memory of the device, given back when dropped; the context must be the thread's.
pub(super) struct Memory {
    pub address: u64,
    pub bytes: usize,
}

impl Memory {
    /// `None`: there is not so much.
    pub(super) fn new(bytes: usize) -> Result<Option<Self>, DeviceError> {
        // SAFETY: gives memory or an error; nothing else is touched.
        match unsafe { result::malloc_sync(bytes) } {
            Ok(address) => Ok(Some(Self { address, bytes })),
            Err(DriverError(sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY)) => Ok(None),
            Err(e) => check(Err(e), "memory of the CUDA device"),
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: given once, given back once; the driver waits for work that uses it.
        let _ = unsafe { result::free_sync(self.address) };
    }
}

/// Code on the device.
pub(super) struct Module(sys::CUmodule);

// SAFETY: as for the context.
unsafe impl Send for Module {}

impl Drop for Module {
    fn drop(&mut self) {
        // SAFETY: loaded once; its functions are dropped with it, by the owner of both.
        let _ = unsafe { result::module::unload(self.0) };
    }
}

/// A kernel, and bytes of each of its parameters. Lives as long as its module.
pub(super) struct Function {
    handle: sys::CUfunction,
    parameters: Vec<usize>,
}

// SAFETY: as for the context.
unsafe impl Send for Function {}

impl Module {
    /// `image`: a fatbin, aligned by eight bytes.
    pub(super) fn load(image: &[u8], at: &str) -> Result<Self, DeviceError> {
        // SAFETY: the image is what the compiler wrote, and says how long it is.
        Ok(Self(check(unsafe { result::module::load_data(image.as_ptr().cast()) }, at)?))
    }

    pub(super) fn function(&self, name: &CStr, at: &str) -> Result<Function, DeviceError> {
        let mut handle = std::ptr::null_mut();
        let mut parameters = Vec::new();
        // SAFETY: the module is loaded, the name ends with a zero, and the outputs are single values.
        unsafe {
            check(sys::cuModuleGetFunction(&raw mut handle, self.0, name.as_ptr()).result(), at)?;
            let (mut offset, mut size) = (0, 0);
            // An error of values says that there is no such parameter.
            while sys::cuFuncGetParamInfo(handle, parameters.len(), &raw mut offset, &raw mut size) == sys::CUresult::CUDA_SUCCESS
            {
                parameters.push(size);
            }
        }
        Ok(Function { handle, parameters })
    }
}

/// A place among the work of a stream.
pub(super) struct Event(sys::CUevent);

impl Event {
    /// Milliseconds from `self` to `end`; both must be past.
    pub(super) fn until(&self, end: &Self) -> Result<f32, DeviceError> {
        // SAFETY: both were recorded.
        check(unsafe { result::event::elapsed(self.0, end.0) }, "a CUDA event")
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: made once, given back once.
        let _ = unsafe { result::event::destroy(self.0) };
    }
}
