//! The device itself.

use super::{Limits, arena_bytes, family, places, room};
use crate::kernels::device::metal::{Family, source};
use crate::kernels::device::plan::{DeviceError, Executor, Host, Launch, Plan};
use objc2::available;
use objc2::rc::{Retained, autoreleasepool};
use objc2::runtime::ProtocolObject;
use objc2_foundation::{NSError, NSString};
use objc2_metal::{
    MTLBuffer, MTLCommandBuffer, MTLCommandBufferStatus, MTLCommandEncoder, MTLCommandQueue, MTLCompileOptions,
    MTLComputeCommandEncoder, MTLComputePipelineState, MTLCreateSystemDefaultDevice, MTLDevice, MTLLanguageVersion, MTLLibrary,
    MTLMathFloatingPointFunctions, MTLMathMode, MTLResourceOptions, MTLSize,
};
use std::collections::HashMap;
use std::ffi::c_void;
use std::ptr::NonNull;

// Metal finds the default device of a command-line program only where this is linked.
#[link(name = "CoreGraphics", kind = "framework")]
unsafe extern "C" {}

type Object<T> = Retained<ProtocolObject<T>>;
type Memory = Object<dyn MTLBuffer>;
type Pipeline = Object<dyn MTLComputePipelineState>;
type Command = Object<dyn MTLCommandBuffer>;

/// Plans after which memory that none of them used is given back.
const PLANS_KEPT: u64 = 8;

/// The system's default GPU.
#[derive(Debug)]
pub struct Metal {
    device: Object<dyn MTLDevice>,
    queue: Object<dyn MTLCommandQueue>,
    libraries: Vec<(Family, Object<dyn MTLLibrary>)>,
    pipelines: HashMap<String, Pipeline>,
    /// Memory that no plan has now, with the number of the plan that had it last.
    free: Vec<(u64, Memory)>,
    /// Bound for absent buffers.
    nothing: Memory,
    plans: u64,
    seconds: Vec<(String, f64)>,
    /// Fill what launches are to write with NaN first, so that a read of what nobody wrote shows.
    poison: bool,
}

// SAFETY: devices, queues, libraries, pipelines and buffers may be used by any thread, and here by one at a time: methods that touch them
// need the whole. Commands and encoders, which may not, end with the call that made them.
unsafe impl Send for Metal {}

impl Metal {
    /// Opens the device; kernels are compiled when they are first needed.
    ///
    /// # Errors
    /// [`DeviceError::Unavailable`] when there is none or the system is too old.
    pub fn open() -> Result<Self, DeviceError> {
        if !available!(macos = 14.0) {
            return Err(DeviceError::Unavailable("Metal 3.1 needs macOS 14 or later".to_string()));
        }
        let device = MTLCreateSystemDefaultDevice()
            .ok_or_else(|| DeviceError::Unavailable("there is no Metal device in this machine".to_string()))?;
        let queue = device.newCommandQueue().ok_or(DeviceError::Memory("the queue of commands"))?;
        let nothing = memory(&device, "an absent buffer", 256)?;
        let (libraries, pipelines, free, seconds) = Default::default();
        Ok(Self { device, queue, libraries, pipelines, free, nothing, plans: 0, seconds, poison: false })
    }

    /// The same, filling what launches are to write with NaN first, so that a read of what nobody wrote shows. For tests.
    pub fn poisoned(self) -> Self {
        Self { poison: true, ..self }
    }

    /// The device's name.
    pub fn name(&self) -> String {
        self.device.name().to_string()
    }

    /// Seconds that the GPU took for each launch of the latest plan, by entry, in order.
    pub fn seconds(&self) -> &[(String, f64)] {
        &self.seconds
    }

    /// The compiled entry of a launch, which fits the device.
    fn pipeline(&mut self, launch: &Launch, buffers: usize) -> Result<Pipeline, DeviceError> {
        let family = family(launch, buffers)?;
        let pipeline = match self.pipelines.get(&launch.entry) {
            Some(pipeline) => pipeline.clone(),
            None => {
                let pipeline = self.compile(family, &launch.entry)?;
                self.pipelines.insert(launch.entry.clone(), pipeline.clone());
                pipeline
            }
        };
        let limits = Limits {
            threads: pipeline.maxTotalThreadsPerThreadgroup(),
            width: pipeline.threadExecutionWidth(),
            declared: pipeline.staticThreadgroupMemoryLength(),
            memory: self.device.maxThreadgroupMemoryLength(),
        };
        limits.check(launch)?;
        Ok(pipeline)
    }

    fn compile(&mut self, family: Family, entry: &str) -> Result<Pipeline, DeviceError> {
        let library = match self.libraries.iter().find(|(f, _)| *f == family) {
            Some((_, library)) => library.clone(),
            None => {
                let text = NSString::from_str(&source(family));
                let library = (self.device.newLibraryWithSource_options_error(&text, Some(&options())))
                    .map_err(|e| failed(&format!("kernels of {family:?}"), &e))?;
                self.libraries.push((family, library.clone()));
                library
            }
        };
        let function = library
            .newFunctionWithName(&NSString::from_str(entry))
            .ok_or_else(|| DeviceError::Sizes(format!("there is no kernel {entry}")))?;
        self.device.newComputePipelineStateWithFunction_error(&function).map_err(|e| failed(entry, &e))
    }

    /// Memory of at least `bytes`, used before or new.
    fn take(&mut self, what: &'static str, bytes: usize) -> Result<Memory, DeviceError> {
        let bytes = room(bytes);
        match self.free.iter().position(|(_, memory)| memory.length() == bytes) {
            Some(i) => Ok(self.free.swap_remove(i).1),
            None => memory(&self.device, what, bytes),
        }
    }

    /// Takes back the memory of a plan, and drops what has not been used for long.
    fn give_back(&mut self, memory: Vec<Memory>) {
        let now = self.plans;
        self.free.extend(memory.into_iter().map(|m| (now, m)));
        self.free.retain(|(last, _)| last + PLANS_KEPT > now);
    }

    /// The buffers of a plan with what they start with.
    fn fill(&mut self, plan: &Plan, bindings: &[(usize, Host<'_>)], all: &mut Vec<Memory>) -> Result<(), DeviceError> {
        let sources = plan.sources(bindings)?;
        for (b, from) in plan.buffers.iter().zip(sources) {
            let bytes = b.elements.saturating_mul(b.element.size());
            let memory = self.take(b.name, bytes)?;
            let to = memory.contents().cast::<u8>().as_ptr();
            // SAFETY: the memory is at least as long as the buffer, which a source is as long as (`sources` checks it), and no command
            // uses it. A source is memory of the host, so the two do not overlap.
            unsafe {
                match from {
                    Some(from) => to.copy_from_nonoverlapping(from.as_ptr(), from.len()),
                    None if self.poison => to.write_bytes(0xFF, memory.length()),
                    None => {}
                }
            }
            all.push(memory);
        }
        Ok(())
    }

    /// Hands a launch to the device.
    fn commit(&self, launch: &Launch, pipeline: &Pipeline, buffers: &[Memory]) -> Result<Command, DeviceError> {
        let command = self.queue.commandBuffer().ok_or(DeviceError::Memory("a command"))?;
        let encoder = command.computeCommandEncoder().ok_or(DeviceError::Memory("a command"))?;
        encoder.setLabel(Some(&NSString::from_str(&launch.entry)));
        encoder.setComputePipelineState(pipeline);
        let args = NonNull::from(launch.args.as_slice()).cast::<c_void>();
        // SAFETY: the arguments are copied now, with their length. Places are below the limit, and the memory has the sizes and types
        // that the plan gives to the entry's parameters; commands keep it alive, and the host leaves it alone until they have ended.
        unsafe {
            encoder.setBytes_length_atIndex(args, launch.args.len(), 0);
            for (place, buffer) in places(launch) {
                let memory = buffer.and_then(|b| buffers.get(b)).unwrap_or(&self.nothing);
                encoder.setBuffer_offset_atIndex(Some(memory), 0, place);
            }
            encoder.setThreadgroupMemoryLength_atIndex(arena_bytes(launch.shared), 0);
        }
        let line = |width: u32| MTLSize { width: width as usize, height: 1, depth: 1 };
        encoder.dispatchThreadgroups_threadsPerThreadgroup(line(launch.grid), line(launch.block));
        encoder.endEncoding();
        command.commit();
        Ok(command)
    }

    /// Runs the launches and waits for all of them, also when one cannot be handed over.
    fn launch(&mut self, plan: &Plan, pipelines: &[Pipeline], buffers: &[Memory]) -> Result<(), DeviceError> {
        let mut commands = Vec::with_capacity(plan.launches.len());
        let mut handed = Ok(());
        for (launch, pipeline) in plan.launches.iter().zip(pipelines) {
            match self.commit(launch, pipeline, buffers) {
                Ok(command) => commands.push(command),
                Err(e) => {
                    handed = Err(e);
                    break;
                }
            }
        }
        for command in &commands {
            command.waitUntilCompleted();
        }
        for (launch, command) in plan.launches.iter().zip(&commands) {
            if command.status() != MTLCommandBufferStatus::Completed {
                let missing = DeviceError::Driver { at: launch.entry.clone(), code: 0, text: "not completed".to_string() };
                return Err(command.error().map_or(missing, |e| failed(&launch.entry, &e)));
            }
            self.seconds.push((launch.entry.clone(), command.GPUEndTime() - command.GPUStartTime()));
        }
        handed
    }

    /// Seconds of `rounds` rounds, after one that does not count.
    fn rounds(
        &mut self,
        plan: &Plan,
        bindings: &[(usize, Host<'_>)],
        rounds: usize,
        buffers: &mut Vec<Memory>,
    ) -> Result<Vec<f64>, DeviceError> {
        let count = plan.buffers.len();
        let pipelines = plan.launches.iter().map(|l| self.pipeline(l, count)).collect::<Result<Vec<_>, _>>()?;
        self.fill(plan, bindings, buffers)?;
        let mut times = Vec::with_capacity(rounds);
        for round in 0..=rounds {
            self.seconds.clear();
            self.launch(plan, &pipelines, buffers)?;
            if round > 0 {
                times.push(self.seconds.iter().map(|(_, s)| s).sum());
            }
        }
        Ok(times)
    }

    fn run(&mut self, plan: &Plan, bindings: &mut [(usize, Host<'_>)], buffers: &mut Vec<Memory>) -> Result<(), DeviceError> {
        let count = plan.buffers.len();
        let pipelines = plan.launches.iter().map(|l| self.pipeline(l, count)).collect::<Result<Vec<_>, _>>()?;
        self.fill(plan, bindings, buffers)?;
        self.launch(plan, &pipelines, buffers)?;
        for (place, host) in bindings {
            if let (Some(to), Some(memory), Some(b)) = (host.target(), buffers.get(*place), plan.buffers.get(*place)) {
                let from = memory.contents().cast::<u8>().as_ptr();
                // SAFETY: both are of the buffer's size, as `sources` checked, all commands have ended, and one is the host's.
                unsafe { to.as_mut_ptr().copy_from_nonoverlapping(from, b.elements * b.element.size()) };
            }
        }
        Ok(())
    }
}

impl Executor for Metal {
    fn execute(&mut self, plan: &Plan, mut bindings: Vec<(usize, Host<'_>)>) -> Result<(), DeviceError> {
        self.plans += 1;
        self.seconds.clear();
        let mut buffers = Vec::with_capacity(plan.buffers.len());
        let done = autoreleasepool(|_| self.run(plan, &mut bindings, &mut buffers));
        self.give_back(buffers);
        done
    }

    fn time(&mut self, plan: &Plan, bindings: &[(usize, Host<'_>)], rounds: usize) -> Result<Vec<f64>, DeviceError> {
        self.plans += 1;
        let mut buffers = Vec::with_capacity(plan.buffers.len());
        let times = autoreleasepool(|_| self.rounds(plan, bindings, rounds, &mut buffers));
        self.give_back(buffers);
        times
    }
}

/// New memory that host and device share.
fn memory(device: &ProtocolObject<dyn MTLDevice>, what: &'static str, bytes: usize) -> Result<Memory, DeviceError> {
    if bytes > device.maxBufferLength() {
        return Err(DeviceError::Memory(what));
    }
    device.newBufferWithLength_options(bytes, MTLResourceOptions::StorageModeShared).ok_or(DeviceError::Memory(what))
}

/// Metal 3.1 with safe and precise mathematics.
fn options() -> Retained<MTLCompileOptions> {
    let options = MTLCompileOptions::new();
    options.setLanguageVersion(MTLLanguageVersion::Version3_1);
    if available!(macos = 15.0) {
        options.setMathMode(MTLMathMode::Safe);
        options.setMathFloatingPointFunctions(MTLMathFloatingPointFunctions::Precise);
    } else {
        #[expect(deprecated, reason = "the only way before macOS 15")]
        options.setFastMathEnabled(false);
    }
    options
}

fn failed(what: &str, error: &NSError) -> DeviceError {
    DeviceError::Driver { at: what.to_string(), code: error.code() as u32, text: error.localizedDescription().to_string() }
}
