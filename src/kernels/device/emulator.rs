//! Kernels on the host: every GPU thread a fibre, every access checked. See the module's text.

use super::plan::{DeviceError, Element, Executor, Fault, Host, Launch, Plan};
use std::ffi::{CStr, CString, c_char, c_void};

/// In which order blocks, warps and lanes run. Results must not depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Forward,
    Reverse,
    /// By a seed.
    Shuffled(u16),
}

impl Order {
    /// Those that every kernel is run in.
    pub const ALL: [Self; 5] = [Self::Forward, Self::Reverse, Self::Shuffled(1), Self::Shuffled(2), Self::Shuffled(3)];

    fn kind(self) -> u32 {
        match self {
            Self::Forward => 0,
            Self::Reverse => 1,
            Self::Shuffled(seed) => u32::from(seed) + 2,
        }
    }
}

/// As in emu.h.
#[repr(C)]
struct Report {
    fault: i32,
    block: u32,
    thread: u32,
    line: i32,
    other: u32,
    other_line: i32,
    index: i64,
    length: u64,
    file: [u8; 96],
}
const _: () = assert!(size_of::<Report>() == 136);

unsafe extern "C" {
    fn shoal_emu_units() -> i32;
    fn shoal_emu_open() -> *mut c_void;
    fn shoal_emu_close(session: *mut c_void);
    fn shoal_emu_buffer(session: *mut c_void, elements: u32, size: u32, data: *const c_void) -> i32;
    fn shoal_emu_read(session: *mut c_void, buffer: i32, to: *mut c_void);
    fn shoal_emu_entry(i: u32) -> *const c_char;
    #[cfg(all(test, feature = "cuda"))]
    fn shoal_emu_sizes(entry: *const c_char, count: *mut u32) -> *const u32;
    fn shoal_emu_launch(
        session: *mut c_void,
        entry: *const c_char,
        grid: u32,
        threads: u32,
        shared_bytes: u32,
        args: *const c_void,
        args_bytes: u32,
        buffers: *const i32,
        count: u32,
        order: u32,
        check_races: u32,
        report: *mut Report,
    ) -> i32;
}

/// The functions above that a driver made up for tests needs: open, close, buffer, read, launch, sizes.
#[cfg(all(test, feature = "cuda"))]
pub(super) fn doors() -> [*const c_void; 6] {
    [
        shoal_emu_open as *const c_void,
        shoal_emu_close as *const c_void,
        shoal_emu_buffer as *const c_void,
        shoal_emu_read as *const c_void,
        shoal_emu_launch as *const c_void,
        shoal_emu_sizes as *const c_void,
    ]
}

/// Names of all entries.
pub fn entries() -> Vec<String> {
    // SAFETY: gives a name that ends with a zero and lives as long as the program, or null behind the last. The number of files keeps
    // all of them in the program.
    let name = |i: u32| unsafe {
        let name = if shoal_emu_units() > 0 { shoal_emu_entry(i) } else { std::ptr::null() };
        (!name.is_null()).then(|| CStr::from_ptr(name).to_string_lossy().into_owned())
    };
    let mut all: Vec<String> = (0..).map_while(name).collect();
    all.sort();
    all
}

/// A device on the host. See [`Order`].
#[derive(Clone, Copy, Debug)]
pub struct Emulator {
    pub order: Order,
    /// Off: races are not reported, and show in results that depend on the order.
    pub check_races: bool,
}

impl Emulator {
    pub fn new(order: Order) -> Self {
        Self { order, check_races: true }
    }
}

/// Memory and stacks of the emulated device, freed when dropped.
struct Session(*mut c_void);

impl Drop for Session {
    fn drop(&mut self) {
        // SAFETY: opened once, closed once.
        unsafe { shoal_emu_close(self.0) }
    }
}

impl Session {
    fn open() -> Result<Self, DeviceError> {
        // SAFETY: takes nothing; the result is checked.
        let session = unsafe { shoal_emu_open() };
        if session.is_null() { Err(DeviceError::Memory("the emulator")) } else { Ok(Self(session)) }
    }

    /// A buffer, copied from `data`, which has `elements` of `element`, or not written.
    fn buffer(&self, name: &'static str, elements: usize, element: Element, data: Option<&[u8]>) -> Result<i32, DeviceError> {
        let count = super::plan::narrow(name, elements)?;
        let data = data.map_or(std::ptr::null(), |d| d.as_ptr().cast());
        // SAFETY: data is null or points to as many elements, as `sources` checked.
        let id = unsafe { shoal_emu_buffer(self.0, count, element.size() as u32, data) };
        if id < 0 { Err(DeviceError::Memory(name)) } else { Ok(id) }
    }

    fn launch(&self, launch: &Launch, ids: &[i32], emulator: &Emulator) -> Result<(), DeviceError> {
        let buffers: Vec<i32> = launch.buffers.iter().map(|b| b.map_or(-1, |b| ids[b])).collect();
        let entry = CString::new(launch.entry.as_str()).map_err(|_| DeviceError::Sizes("an entry's name".to_string()))?;
        // The structure of arguments has the alignment of a word.
        let args: Vec<u32> = launch.args.chunks_exact(4).map(|w| u32::from_ne_bytes([w[0], w[1], w[2], w[3]])).collect();
        let mut report =
            Report { fault: 0, block: 0, thread: 0, line: 0, other: 0, other_line: 0, index: 0, length: 0, file: [0; 96] };
        // SAFETY: all pointers are to live values of the sizes given, buffer numbers are those of this session.
        let fault = unsafe {
            shoal_emu_launch(
                self.0,
                entry.as_ptr(),
                launch.grid,
                launch.block,
                launch.shared,
                args.as_ptr().cast(),
                (4 * args.len()) as u32,
                buffers.as_ptr(),
                buffers.len() as u32,
                emulator.order.kind(),
                u32::from(emulator.check_races),
                &raw mut report,
            )
        };
        if fault == 0 { Ok(()) } else { Err(report.error(&launch.entry)) }
    }
}

impl Report {
    fn error(&self, entry: &str) -> DeviceError {
        use Fault::*;
        let all = [
            UnknownEntry,
            BadLaunch,
            DivergentBarrier,
            DifferentLines,
            PartialWarp,
            BadLane,
            OutOfBounds,
            UnwrittenRead,
            Race,
            Assertion,
            StackOverflow,
            GuardZone,
            NoMemory,
        ];
        let fault = usize::try_from(self.fault - 1).ok().and_then(|i| all.get(i)).copied().unwrap_or(Unknown);
        let file = CStr::from_bytes_until_nul(&self.file).map_or(String::new(), |f| f.to_string_lossy().into_owned());
        DeviceError::Fault {
            fault,
            entry: entry.to_string(),
            block: self.block,
            thread: self.thread,
            file,
            line: self.line,
            other: (self.other < u32::MAX - 1).then_some((self.other, self.other_line)),
            index: self.index,
            length: self.length,
        }
    }
}

impl Executor for Emulator {
    fn execute(&mut self, plan: &Plan, mut bindings: Vec<(usize, Host<'_>)>) -> Result<(), DeviceError> {
        let session = Session::open()?;
        let sources = plan.sources(&bindings)?;
        let ids = plan.buffers.iter().zip(sources).map(|(b, source)| session.buffer(b.name, b.elements, b.element, source));
        let ids = ids.collect::<Result<Vec<i32>, _>>()?;
        for launch in &plan.launches {
            session.launch(launch, &ids, self)?;
        }
        for (place, host) in &mut bindings {
            if let Some(to) = host.target() {
                // SAFETY: the target has the size of the buffer, as `sources` checked.
                unsafe { shoal_emu_read(session.0, ids[*place], to.as_mut_ptr().cast()) };
            }
        }
        Ok(())
    }

    fn time(&mut self, _: &Plan, _: &[(usize, Host<'_>)], _: usize) -> Result<Vec<f64>, DeviceError> {
        Err(DeviceError::Unavailable("how long the emulator takes says nothing of a GPU".to_string()))
    }
}
