//! Times operations on a device: what runs a plan elsewhere has it timed here.

use super::plan::{DeviceError, Executor, Host, Plan};

/// An executor that times every plan and gives no results: what the caller would have had written stays as it was.
pub struct Stopwatch<'a> {
    device: &'a mut dyn Executor,
    rounds: usize,
    seconds: f64,
}

impl<'a> Stopwatch<'a> {
    /// Times `rounds` rounds of every plan.
    pub fn new(device: &'a mut dyn Executor, rounds: usize) -> Self {
        Self { device, rounds: rounds.max(1), seconds: 0.0 }
    }

    /// The medians of all plans since the last call, added.
    pub fn take(&mut self) -> f64 {
        std::mem::take(&mut self.seconds)
    }
}

impl Executor for Stopwatch<'_> {
    fn execute(&mut self, plan: &Plan, bindings: Vec<(usize, Host<'_>)>) -> Result<(), DeviceError> {
        let mut times = self.device.time(plan, &bindings, self.rounds)?;
        times.sort_by(f64::total_cmp);
        self.seconds += times.get(times.len() / 2).copied().unwrap_or(0.0);
        Ok(())
    }

    fn time(&mut self, plan: &Plan, bindings: &[(usize, Host<'_>)], rounds: usize) -> Result<Vec<f64>, DeviceError> {
        self.device.time(plan, bindings, rounds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A device whose rounds take 3, 1, 2, 3, 1, 2, ... seconds for every launch.
    struct Clock;

    impl Executor for Clock {
        fn execute(&mut self, _: &Plan, _: Vec<(usize, Host<'_>)>) -> Result<(), DeviceError> {
            Err(DeviceError::Unavailable("only timed".to_string()))
        }

        fn time(&mut self, _: &Plan, _: &[(usize, Host<'_>)], rounds: usize) -> Result<Vec<f64>, DeviceError> {
            Ok([3.0, 1.0, 2.0].into_iter().cycle().take(rounds).collect())
        }
    }

    #[test]
    fn plans_are_timed_and_their_medians_added() {
        let mut clock = Clock;
        let mut watch = Stopwatch::new(&mut clock, 3);
        watch.execute(&Plan::default(), Vec::new()).unwrap();
        watch.execute(&Plan::default(), Vec::new()).unwrap();
        assert_eq!((watch.take(), watch.take()), (4.0, 0.0));
    }
}
