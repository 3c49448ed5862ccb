//! What a device is to do, as data: buffers and launches. The same plan is run by the emulator and by a GPU.

use std::fmt;

/// What a buffer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    F32,
    /// The upper half of an f32, rounded to nearest even.
    Bf16,
    U32,
}

impl Element {
    /// Bytes of an element.
    pub fn size(self) -> usize {
        match self {
            Self::Bf16 => 2,
            Self::F32 | Self::U32 => 4,
        }
    }
}

/// Where the numbers of a buffer come from and go to.
#[derive(Clone, Debug, PartialEq)]
pub enum Role {
    /// Given by the caller, only read.
    Input,
    /// Written, and given to the caller if it wants it.
    Output,
    /// Written and read by the launches alone.
    Scratch,
    /// Part of the plan.
    Table(Vec<u32>),
}

/// A buffer of the device.
#[derive(Clone, Debug, PartialEq)]
pub struct Buffer {
    pub name: &'static str,
    pub elements: usize,
    pub element: Element,
    pub role: Role,
}

/// One kernel launch: `grid` blocks of `block` threads. Parameter 0 is the structure of arguments, the others are buffers in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Launch {
    pub entry: String,
    pub grid: u32,
    pub block: u32,
    /// Bytes of dynamic shared memory.
    pub shared: u32,
    /// The bytes of the structure of arguments.
    pub args: Vec<u8>,
    /// Places in [`Plan::buffers`]; `None` is a null pointer, which the arguments say is not to be read.
    pub buffers: Vec<Option<usize>>,
}

/// Launches in order, each seeing what the earlier ones wrote.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    pub buffers: Vec<Buffer>,
    pub launches: Vec<Launch>,
}

/// Bytes of shared memory a block may ask for on every target: Metal's limit.
pub const MOST_SHARED: usize = 32 * 1024;

/// A structure of arguments as bytes.
pub(super) trait Args: Copy {
    fn bytes(&self) -> Vec<u8>;
}

impl Plan {
    fn add(&mut self, name: &'static str, elements: usize, element: Element, role: Role) -> Option<usize> {
        self.buffers.push(Buffer { name, elements, element, role });
        Some(self.buffers.len() - 1)
    }

    /// A buffer that the caller fills.
    pub(super) fn input(&mut self, name: &'static str, elements: usize, element: Element) -> Option<usize> {
        self.add(name, elements, element, Role::Input)
    }

    /// Same for one that may be missing.
    pub(super) fn input_if(&mut self, there: bool, name: &'static str, elements: usize, element: Element) -> Option<usize> {
        if there { self.input(name, elements, element) } else { None }
    }

    pub(super) fn output(&mut self, name: &'static str, elements: usize, element: Element) -> Option<usize> {
        self.add(name, elements, element, Role::Output)
    }

    pub(super) fn scratch(&mut self, name: &'static str, elements: usize) -> Option<usize> {
        self.add(name, elements, Element::F32, Role::Scratch)
    }

    pub(super) fn table(&mut self, name: &'static str, numbers: Vec<u32>) -> Option<usize> {
        self.add(name, numbers.len(), Element::U32, Role::Table(numbers))
    }

    /// Adds a launch; one of no blocks is left out.
    pub(super) fn launch(
        &mut self,
        entry: impl Into<String>,
        [grid, block, shared]: [usize; 3],
        args: &impl Args,
        buffers: &[Option<usize>],
    ) -> Result<(), DeviceError> {
        if grid == 0 {
            return Ok(());
        }
        let entry = entry.into();
        // Kernels say that their pointers do not overlap.
        let given: Vec<usize> = buffers.iter().flatten().copied().collect();
        let twice = (1..given.len()).any(|i| given[..i].contains(&given[i]));
        fits(!twice, || format!("{entry}: a buffer is given twice"))?;
        fits(i32::try_from(grid).is_ok(), || format!("{entry}: {grid} blocks"))?;
        let grid = narrow("blocks of a launch", grid)?;
        if shared > MOST_SHARED {
            return Err(DeviceError::Sizes(format!("{entry}: {shared} bytes of shared memory, at most {MOST_SHARED}")));
        }
        let (block, shared) = (narrow("threads of a block", block)?, narrow("shared memory", shared)?);
        self.launches.push(Launch { entry, grid, block, shared, args: args.bytes(), buffers: buffers.to_vec() });
        Ok(())
    }

    /// Whether all buffers can be indexed by 32 bits, as kernels do, with the threads of a last block beyond the end.
    pub(super) fn checked(self) -> Result<Self, DeviceError> {
        for b in &self.buffers {
            narrow(b.name, b.elements.saturating_add(1024))?;
        }
        Ok(self)
    }

    /// Bytes of all scratch buffers.
    pub fn scratch_bytes(&self) -> usize {
        self.buffers.iter().filter(|b| b.role == Role::Scratch).map(|b| b.elements * b.element.size()).sum()
    }
}

/// As the 32 bits that kernels count with.
pub(super) fn narrow(what: &str, x: usize) -> Result<u32, DeviceError> {
    u32::try_from(x).map_err(|_| DeviceError::Sizes(format!("{what}: {x} are more than a kernel can count")))
}

/// Numbers of the caller for a buffer of a plan.
#[derive(Debug)]
pub enum Host<'a> {
    Read(&'a [f32]),
    Write(&'a mut [f32]),
    /// bf16 as bits.
    ReadBf16(&'a [u16]),
    WriteBf16(&'a mut [u16]),
    ReadU32(&'a [u32]),
    WriteU32(&'a mut [u32]),
}

/// Runs plans on numbers of the host. Numbers are copied to the device before and back after.
pub trait Executor {
    /// `bindings`: places in [`Plan::buffers`] with their numbers. All inputs must be there; outputs that are not are thrown away.
    fn execute(&mut self, plan: &Plan, bindings: Vec<(usize, Host<'_>)>) -> Result<(), DeviceError>;

    /// Seconds on the device for all launches of the plan, without copies: one round that does not count, and then `rounds`. What they
    /// write is thrown away.
    ///
    /// # Errors
    /// Those of [`execute`](Self::execute), [`DeviceError::Unavailable`] where time says nothing.
    fn time(&mut self, plan: &Plan, bindings: &[(usize, Host<'_>)], rounds: usize) -> Result<Vec<f64>, DeviceError>;
}

/// Collects bindings; what is missing on either side is left out.
#[derive(Debug, Default)]
pub(super) struct Bindings<'a>(pub Vec<(usize, Host<'a>)>);

impl<'a> Bindings<'a> {
    pub(super) fn read(mut self, place: Option<usize>, data: impl Into<Option<&'a [f32]>>) -> Self {
        if let (Some(place), Some(data)) = (place, data.into()) {
            self.0.push((place, Host::Read(data)));
        }
        self
    }

    pub(super) fn read_u32(mut self, place: Option<usize>, data: &'a [u32]) -> Self {
        if let Some(place) = place {
            self.0.push((place, Host::ReadU32(data)));
        }
        self
    }

    pub(super) fn write(mut self, place: Option<usize>, data: Option<&'a mut [f32]>) -> Self {
        if let (Some(place), Some(data)) = (place, data) {
            self.0.push((place, Host::Write(data)));
        }
        self
    }
}

/// What a kernel did wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    UnknownEntry,
    /// Block size, shared memory, arguments or buffers do not fit the entry.
    BadLaunch,
    /// Some threads of the block end while others wait at a barrier.
    DivergentBarrier,
    /// Threads wait at different barriers or exchanges.
    DifferentLines,
    /// Not all lanes of a warp take part in an exchange.
    PartialWarp,
    /// An exchange with a lane that does not exist.
    BadLane,
    OutOfBounds,
    /// A read of what nobody wrote.
    UnwrittenRead,
    /// Two threads, one of them writing, without a barrier between.
    Race,
    Assertion,
    StackOverflow,
    /// Memory beside a buffer was written.
    GuardZone,
    /// The emulator has no memory for a block.
    NoMemory,
    Unknown,
}

/// Why a plan was not made or not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceError {
    /// Sizes do not fit each other or the device.
    Sizes(String),
    /// No memory on the device.
    Memory(&'static str),
    /// There is no such device: none in the machine, no driver, or the program was built without it.
    Unavailable(String),
    /// The driver refused or failed: at what (an entry, a buffer, a step), its number and its words.
    Driver { at: String, code: u32, text: String },
    /// A mistake in a kernel: where, and which other thread took part.
    Fault {
        fault: Fault,
        entry: String,
        block: u32,
        thread: u32,
        /// File and line of the kernel's source.
        file: String,
        line: i32,
        /// The other thread and its line.
        other: Option<(u32, i32)>,
        /// The place that was touched, and how many there are.
        index: i64,
        length: u64,
    },
}

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sizes(text) | Self::Unavailable(text) => write!(f, "{text}"),
            Self::Memory(what) => write!(f, "no device memory for {what}"),
            Self::Driver { at, code, text } => write!(f, "{at}: {text} (error {code} of the driver)"),
            Self::Fault { fault, entry, block, thread, file, line, other, index, length } => {
                write!(f, "{entry}: {fault:?} in block {block}, thread {thread} at {file}:{line}")?;
                if let Some((thread, line)) = other {
                    write!(f, ", with thread {thread} (line {line})")?;
                }
                match fault {
                    Fault::OutOfBounds => write!(f, ", place {index} of {length}"),
                    Fault::UnwrittenRead | Fault::Race => write!(f, ", place {index}"),
                    _ => Ok(()),
                }
            }
        }
    }
}

impl std::error::Error for DeviceError {}

impl DeviceError {
    /// The program was built without `what`, which `feature` brings.
    #[allow(dead_code, reason = "unused when every feature is on")]
    pub(super) fn absent(what: &str, feature: &str) -> Self {
        Self::Unavailable(format!("this build has no {what}: build with the feature \"{feature}\""))
    }
}

/// An error of sizes if the condition does not hold.
pub(super) fn fits(holds: bool, text: impl FnOnce() -> String) -> Result<(), DeviceError> {
    if holds { Ok(()) } else { Err(DeviceError::Sizes(text())) }
}
