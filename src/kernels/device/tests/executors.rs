//! The emulator, and the GPU beside it where there is one.

use crate::kernels::device::emulator::{self, Order};
use crate::kernels::device::plan::{DeviceError, Executor, Host, Plan};

/// Runs plans on the emulator. With the feature of a GPU and a device, those that succeed run there too and must give the same but for
/// rounding; probes, whose tests measure rounding, then give what the device gave.
#[derive(Clone, Copy)]
pub(super) struct Emulator(emulator::Emulator);

impl Emulator {
    pub(super) fn new(order: Order) -> Self {
        Self(emulator::Emulator::new(order))
    }
}

impl Executor for Emulator {
    fn time(&mut self, plan: &Plan, bindings: &[(usize, Host<'_>)], rounds: usize) -> Result<Vec<f64>, DeviceError> {
        self.0.time(plan, bindings, rounds)
    }

    #[cfg(not(any(feature = "cuda", all(feature = "metal", target_os = "macos"))))]
    fn execute(&mut self, plan: &Plan, bindings: Vec<(usize, Host<'_>)>) -> Result<(), DeviceError> {
        self.0.execute(plan, bindings)
    }

    #[cfg(any(feature = "cuda", all(feature = "metal", target_os = "macos")))]
    fn execute(&mut self, plan: &Plan, mut bindings: Vec<(usize, Host<'_>)>) -> Result<(), DeviceError> {
        self.0.execute(plan, bindings.iter_mut().map(|(place, host)| (*place, gpu::again(host))).collect())?;
        let faulty = plan.launches.iter().any(|l| l.entry.starts_with("shoal_fault"));
        // Other orders are no other work to a GPU.
        let other = matches!(self.0.order, Order::Reverse | Order::Shuffled(..10));
        if !faulty && !other {
            gpu::compare(plan, &mut bindings);
        }
        Ok(())
    }
}

#[cfg(any(feature = "cuda", all(feature = "metal", target_os = "macos")))]
pub(super) mod gpu {
    use super::*;
    use crate::kernels::bf16::from_bf16;
    use std::sync::{LazyLock, Mutex, PoisonError};

    /// A GPU that all tests share, one at a time: kernels are loaded once.
    pub(in super::super) struct Gpu {
        pub name: &'static str,
        /// Nothing but the emulator behind a driver made up for tests: results have the same bits.
        exact: bool,
        device: Mutex<Box<dyn Executor + Send>>,
    }

    impl Gpu {
        pub fn execute(&self, plan: &Plan, bindings: Vec<(usize, Host<'_>)>) -> Result<(), DeviceError> {
            self.device.lock().unwrap_or_else(PoisonError::into_inner).execute(plan, bindings)
        }
    }

    /// The GPUs of this machine that the program was built for. What they are to write is filled with NaN first.
    pub(in super::super) static GPUS: LazyLock<Vec<Gpu>> = LazyLock::new(|| {
        type Opened = Result<(bool, Box<dyn Executor + Send>), DeviceError>;
        let opened: Vec<(&'static str, Opened)> = vec![
            #[cfg(feature = "cuda")]
            ("CUDA", {
                super::super::cuda::connect();
                crate::kernels::device::cuda::Cuda::open(0).map(|mut device| {
                    device.poison = true;
                    (super::super::cuda::is_mock(&device), Box::new(device) as Box<dyn Executor + Send>)
                })
            }),
            #[cfg(all(feature = "metal", target_os = "macos"))]
            (
                "Metal",
                crate::kernels::device::metal_driver::Metal::open().map(|device| (false, Box::new(device.poisoned()) as _)),
            ),
        ];
        let mut there = Vec::new();
        for (name, opened) in opened {
            match opened {
                Ok((exact, device)) => there.push(Gpu { name, exact, device: Mutex::new(device) }),
                Err(e) => eprintln!("skipped on a GPU ({name}): {e}"),
            }
        }
        there
    });

    /// The same numbers once more.
    pub(super) fn again<'a>(host: &'a mut Host<'_>) -> Host<'a> {
        match host {
            Host::Read(v) => Host::Read(v),
            Host::Write(v) => Host::Write(v),
            Host::ReadBf16(v) => Host::ReadBf16(v),
            Host::WriteBf16(v) => Host::WriteBf16(v),
            Host::ReadU32(v) => Host::ReadU32(v),
            Host::WriteU32(v) => Host::WriteU32(v),
        }
    }

    /// Room for what a GPU gives.
    #[derive(Default, PartialEq)]
    struct Room(Vec<f32>, Vec<u16>, Vec<u32>);

    impl Room {
        fn new(host: &Host<'_>) -> Self {
            match host {
                Host::Write(v) => Self(vec![f32::NAN; v.len()], vec![], vec![]),
                Host::WriteBf16(v) => Self(vec![], vec![0xFFFF; v.len()], vec![]),
                Host::WriteU32(v) => Self(vec![], vec![], vec![u32::MAX; v.len()]),
                _ => Self::default(),
            }
        }

        fn bits(&self) -> (Vec<u32>, &[u16], &[u32]) {
            (self.0.iter().map(|v| v.to_bits()).collect(), &self.1, &self.2)
        }
    }

    fn run(gpu: &Gpu, plan: &Plan, bindings: &mut [(usize, Host<'_>)]) -> Vec<Room> {
        let mut rooms: Vec<Room> = bindings.iter().map(|(_, host)| Room::new(host)).collect();
        let mut all = Vec::new();
        for ((place, host), room) in bindings.iter_mut().zip(&mut rooms) {
            let host = match again(host) {
                Host::Write(_) => Host::Write(&mut room.0),
                Host::WriteBf16(_) => Host::WriteBf16(&mut room.1),
                Host::WriteU32(_) => Host::WriteU32(&mut room.2),
                read => read,
            };
            all.push((*place, host));
        }
        gpu.execute(plan, all).unwrap_or_else(|e| panic!("on {}: {e}", gpu.name));
        rooms
    }

    /// Runs the plan twice, which must give the same bits, and compares.
    pub(super) fn compare(plan: &Plan, bindings: &mut [(usize, Host<'_>)]) {
        for gpu in &*GPUS {
            compare_on(gpu, plan, bindings);
        }
    }

    fn compare_on(gpu: &Gpu, plan: &Plan, bindings: &mut [(usize, Host<'_>)]) {
        let (rooms, twice) = (run(gpu, plan, bindings), run(gpu, plan, bindings));
        let same = rooms.iter().zip(&twice).all(|(a, b)| a.bits() == b.bits());
        assert!(same, "a GPU gives the same twice");
        let exact = gpu.exact;
        let probe = plan.launches.iter().any(|l| l.entry.starts_with("shoal_probe"));
        for ((place, host), room) in bindings.iter_mut().zip(rooms) {
            let name = plan.buffers[*place].name;
            match host {
                Host::Write(v) => {
                    let most = v.iter().fold(0.0f32, |m, x| m.max(x.abs()));
                    for (i, (e, g)) in v.iter().zip(&room.0).enumerate() {
                        let near = e.to_bits() == g.to_bits() || (!exact && (probe || (e - g).abs() <= 1e-5 * most));
                        assert!(near, "{name} {i}: {g} on the GPU, not {e}");
                    }
                    if probe {
                        v.copy_from_slice(&room.0);
                    }
                }
                Host::WriteBf16(v) => {
                    let most = v.iter().fold(0.0f32, |m, x| m.max(from_bf16(*x).abs()));
                    for (i, (e, g)) in v.iter().zip(&room.1).enumerate() {
                        // One step of rounding, or what is small beside the largest.
                        let steps = (from_bf16(*e) - from_bf16(*g)).abs() <= 1e-5 * most + from_bf16(*e).abs() / 128.0;
                        assert!(e == g || (!exact && (probe || steps)), "{name} {i}: {g:04x} on the GPU, not {e:04x}");
                    }
                    if probe {
                        v.copy_from_slice(&room.1);
                    }
                }
                Host::WriteU32(v) => assert_eq!(**v, room.2, "{name}"),
                _ => {}
            }
        }
    }
}
