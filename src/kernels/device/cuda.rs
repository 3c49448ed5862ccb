//! Kernels on a GPU of NVIDIA (feature `cuda`): Ampere (compute capability 8.0) or newer.
//!
//! The machine code is part of the program; the driver's library is loaded when a device is opened, and not having one is an error then.
//! A plan's buffers come from memory that is kept for the next plan. [`Executor::execute`] copies, launches and copies back, and waits for
//! every launch, so that an error is that of an entry. [`Cuda::upload`], [`Cuda::launch`] and [`Cuda::download`] are its parts, for data
//! that stays on the device.
//!
//! After an error of a kernel (an address that is not there) the driver refuses everything until the program ends.

mod driver;
mod pool;

use super::plan::{DeviceError, Executor, Host, Launch, MOST_SHARED, Plan, fits};
use driver::{Context, Function, Memory, Module};
use pool::Pool;
use std::collections::HashMap;
use std::ffi::CString;

#[cfg(all(test, feature = "emulator"))]
pub(super) use driver::FUNCTIONS;
pub use driver::Properties;

/// What the driver reads as machine code.
#[repr(C, align(64))]
struct Aligned<B: ?Sized>(B);

// IMAGES: the code of each family by its name; TOOLKIT: the version of CUDA that compiled them.
include!(concat!(env!("OUT_DIR"), "/images.rs"));

/// Version of CUDA that a driver must be for: of the toolkit's major version, as code does not run on drivers of an older one, and one that
/// says what parameters a kernel has.
fn least_driver() -> (i32, i32) {
    (12, 4).max((TOOLKIT.0, 0))
}

/// The family of an entry: `shoal_<family>_...`; the file of the probes has an s.
pub(super) fn family(entry: &str) -> Option<usize> {
    let word = entry.strip_prefix("shoal_")?.split('_').next()?;
    IMAGES.iter().position(|(name, _)| *name == word || name.strip_suffix('s') == Some(word))
}

#[cfg(all(test, feature = "emulator"))]
pub(super) fn image(family: usize) -> &'static [u8] {
    &IMAGES[family].1.0
}

/// A device.
pub struct Cuda {
    /// Buffers without numbers start with NaN, so that places that no kernel writes show. For tests.
    pub poison: bool,
    properties: Properties,
    functions: HashMap<String, Function>,
    modules: Vec<Option<Module>>,
    pool: Pool<Memory>,
    context: Context,
}

/// The buffers of a plan on a device. Hand them back with [`Cuda::recycle`].
pub struct Resident(Vec<Memory>);

impl Drop for Cuda {
    fn drop(&mut self) {
        // What the fields give back when they are dropped needs it.
        let _ = self.context.enter();
    }
}

impl Cuda {
    /// The device of this number, as the driver counts.
    pub fn open(ordinal: usize) -> Result<Self, DeviceError> {
        let (context, properties) = Context::open(ordinal, least_driver())?;
        let enough = properties.shared >= MOST_SHARED;
        let refuse = || DeviceError::Unavailable(format!("{}: {} bytes of shared memory", properties.name, properties.shared));
        if !enough {
            return Err(refuse());
        }
        let modules = IMAGES.iter().map(|_| None).collect();
        Ok(Self { poison: false, properties, functions: HashMap::new(), modules, pool: Pool::default(), context })
    }

    pub fn properties(&self) -> &Properties {
        &self.properties
    }

    /// Memory for the plan's buffers, with its inputs and tables.
    pub fn upload(&mut self, plan: &Plan, bindings: &[(usize, Host<'_>)]) -> Result<Resident, DeviceError> {
        let sources = plan.sources(bindings)?;
        self.context.enter()?;
        let mut resident = Resident(Vec::with_capacity(plan.buffers.len()));
        let filled = self.fill(plan, &sources, &mut resident);
        // The copies read the caller's numbers until here, also when one of them failed.
        let done = self.context.wait("copies to the CUDA device");
        match filled.and(done) {
            Ok(()) => Ok(resident),
            Err(e) => {
                self.recycle(resident);
                Err(e)
            }
        }
    }

    fn fill(&mut self, plan: &Plan, sources: &[Option<&[u8]>], to: &mut Resident) -> Result<(), DeviceError> {
        for (b, source) in plan.buffers.iter().zip(sources) {
            let memory = self.pool.take(b.elements * b.element.size(), Memory::new)?.ok_or(DeviceError::Memory(b.name))?;
            to.0.push(memory);
            let memory = &to.0[to.0.len() - 1];
            match source {
                // SAFETY: `upload` waits before the numbers go back to the caller.
                Some(from) if !from.is_empty() => unsafe { self.context.upload(memory, from, b.name)? },
                _ if self.poison => self.context.poison(memory, b.name)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Starts one launch of the plan that `resident` was made for.
    pub fn launch(&mut self, launch: &Launch, resident: &Resident) -> Result<(), DeviceError> {
        let entry = launch.entry.as_str();
        fits(launch.shared as usize <= MOST_SHARED, || format!("{entry}: {} bytes of shared memory", launch.shared))?;
        let address = |b: &Option<usize>| match b {
            Some(b) => resident.0.get(*b).map(|m| m.address),
            None => Some(0),
        };
        let pointers: Option<Vec<u64>> = launch.buffers.iter().map(address).collect();
        let pointers = pointers.ok_or_else(|| DeviceError::Sizes(format!("{entry}: a buffer that is not there")))?;
        self.context.enter()?;
        if !self.functions.contains_key(entry) {
            let function = self.find(entry)?;
            self.functions.insert(entry.to_string(), function);
        }
        let shape = [launch.grid, launch.block, launch.shared];
        match self.functions.get(entry) {
            Some(function) => self.context.launch(function, shape, &launch.args, &pointers, entry),
            None => Err(DeviceError::Unavailable(format!("{entry} is no kernel"))),
        }
    }

    /// The function of an entry; loads its family when it is the first of it.
    fn find(&mut self, entry: &str) -> Result<Function, DeviceError> {
        let unknown = || DeviceError::Unavailable(format!("{entry} is no kernel of the CUDA device"));
        let place = family(entry).ok_or_else(unknown)?;
        let name = CString::new(entry).map_err(|_| unknown())?;
        let (module, (family, image)) = (&mut self.modules[place], IMAGES[place]);
        let module = match module {
            Some(module) => module,
            None => module.insert(Module::load(&image.0, &format!("kernels of {family}"))?),
        };
        module.function(&name, entry)
    }

    /// Waits for all work, and copies what is bound to outputs (or other buffers).
    pub fn download(&mut self, resident: &Resident, bindings: &mut [(usize, Host<'_>)]) -> Result<(), DeviceError> {
        self.context.enter()?;
        let mut copied = Ok(());
        for (place, host) in bindings {
            let (Some(to), Some(from)) = (host.target(), resident.0.get(*place)) else { continue };
            if copied.is_ok() && !to.is_empty() && to.len() <= from.bytes {
                // SAFETY: waited for below.
                copied = unsafe { self.context.download(to, from, "copies from the CUDA device") };
            }
        }
        let done = self.context.wait("work of the CUDA device");
        copied.and(done)
    }

    /// Keeps the memory for other plans.
    pub fn recycle(&mut self, resident: Resident) {
        for memory in resident.0 {
            let bytes = memory.bytes;
            self.pool.give(memory, bytes);
        }
    }

    /// Gives all memory that no plan uses back to the device.
    pub fn trim(&mut self) -> Result<(), DeviceError> {
        self.context.enter()?;
        self.pool.clear();
        Ok(())
    }

    fn rounds(&mut self, plan: &Plan, resident: &Resident, rounds: usize) -> Result<Vec<f64>, DeviceError> {
        for launch in &plan.launches {
            self.launch(launch, resident)?;
            self.context.wait(&launch.entry)?;
        }
        let mut marks = vec![self.context.mark()?];
        for _ in 0..rounds {
            for launch in &plan.launches {
                self.launch(launch, resident)?;
            }
            marks.push(self.context.mark()?);
        }
        self.context.wait("work of the CUDA device")?;
        marks.windows(2).map(|m| Ok(f64::from(m[0].until(&m[1])?) / 1e3)).collect()
    }

    fn run(&mut self, plan: &Plan, resident: &Resident, bindings: &mut [(usize, Host<'_>)]) -> Result<(), DeviceError> {
        for launch in &plan.launches {
            self.launch(launch, resident)?;
            self.context.wait(&launch.entry)?;
        }
        self.download(resident, bindings)
    }
}

impl Executor for Cuda {
    fn execute(&mut self, plan: &Plan, mut bindings: Vec<(usize, Host<'_>)>) -> Result<(), DeviceError> {
        let resident = self.upload(plan, &bindings)?;
        let done = self.run(plan, &resident, &mut bindings);
        self.recycle(resident);
        done
    }

    fn time(&mut self, plan: &Plan, bindings: &[(usize, Host<'_>)], rounds: usize) -> Result<Vec<f64>, DeviceError> {
        let resident = self.upload(plan, bindings)?;
        let times = self.rounds(plan, &resident, rounds);
        let done = self.context.wait("work of the CUDA device");
        self.recycle(resident);
        done.and(times)
    }
}
