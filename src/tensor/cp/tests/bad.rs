//! What is refused, and how it is said.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::run::observer::Observer;
use crate::tensor::corcondia::corcondia;
use crate::tensor::rank_scan::{RankScan, rank_scan};

fn ones(shape: &[usize]) -> Dense<f64> {
    Dense::new(shape.to_vec(), vec![1.0; shape.iter().product()])
}

#[test]
fn bad_data() {
    let go = |input: Input<'_, f64>| als(input, &Options::new(1), &Run::default()).unwrap_err();
    assert_eq!(go(Input::Dense(&ones(&[3]))), CpError::Order(1));
    assert_eq!(go(Input::Dense(&ones(&[3, 0, 2]))), CpError::Empty { mode: 1, shape: vec![3, 0, 2] });
    let mut x = ones(&[2, 2]);
    x.values_mut()[3] = f64::INFINITY;
    assert_eq!(go(Input::Dense(&x)), CpError::NonFinite { cell: 3, value: f64::INFINITY });
    assert_eq!(go(Input::Masked { x: &x, observed: &[true; 3] }), CpError::MaskLength { mask: 3, cells: 4 });
    assert_eq!(go(Input::Masked { x: &x, observed: &[false; 4] }), CpError::NothingObserved);
    assert!(als(Input::Masked { x: &x, observed: &[true, true, true, false] }, &Options::new(1), &Run::default()).is_ok());
    let empty = Sparse::<f64>::new(vec![2, 2], vec![vec![], vec![]], vec![]);
    assert_eq!(go(Input::Known(&empty)), CpError::NothingObserved);
    // A sparse tensor without numbers is a tensor of zeros.
    assert_eq!(als(Input::Sparse(&empty), &Options::new(1), &Run::default()).unwrap().fit, 1.0);
    let twice = Sparse::new(vec![2, 2], vec![vec![0, 1, 0], vec![1, 1, 1]], vec![1.0, 2.0, 3.0]);
    assert_eq!(go(Input::Sparse(&twice)), CpError::Duplicate(vec![0, 1]));
    assert!(go(Input::Known(&twice)).to_string().contains("[0, 1]"));
}

#[test]
fn bad_options() {
    let x = ones(&[2, 3, 2]);
    let go = |options: Options| als(Input::Dense(&x), &options, &Run::default()).unwrap_err();
    assert_eq!(go(Options::new(0)), CpError::RankZero);
    for options in [
        Options { restarts: 0, ..Options::new(1) },
        Options { max_iter: 0, ..Options::new(1) },
        Options { stop_window: 0, ..Options::new(1) },
        Options { tol: f64::NAN, ..Options::new(1) },
        Options { l2: -1.0, ..Options::new(1) },
        Options { prox: f64::INFINITY, ..Options::new(1) },
    ] {
        assert!(matches!(go(options), CpError::Options(_)));
    }
    let start = |shape: &[usize], rank| Options { init: Init::Model(random_model(shape, rank, 1)), ..Options::new(2) };
    assert!(matches!(go(start(&[2, 3, 3], 2)), CpError::Start { .. }));
    assert!(matches!(go(start(&[2, 3, 2], 1)), CpError::Start { .. }));
    let no_signs = hals(Input::Dense(&x), &Options::new(1), &[false; 3], NonnegSolver::Hals, &Run::default()).unwrap_err();
    assert!(no_signs.to_string().contains("use als"));
    assert!(hals(Input::Dense(&x), &Options::new(1), &[true; 2], NonnegSolver::Hals, &Run::default()).is_err());
    let sparse = coordinates(&x, |_, _| true);
    for input in [Input::Sparse(&sparse), Input::Known(&sparse)] {
        assert!(cprand(input, &Rand::new(1), &Run::default()).unwrap_err().to_string().contains("use als"));
    }
    for options in [Rand { samples: Some(1), ..Rand::new(2) }, Rand { epoch: 0, ..Rand::new(2) }, Rand::new(0)] {
        assert!(cprand(Input::Dense(&x), &options, &Run::default()).is_err());
    }
    for options in [Bayes { max_rank: Some(0), ..Bayes::default() }, Bayes { hyper: 0.0, ..Bayes::default() }] {
        assert!(bayes(Input::Dense(&x), &options, &Run::default()).is_err());
    }
    assert!(rank_scan(Input::Dense(&x), &RankScan::new(0..=2), &Run::default()).is_err());
    #[allow(clippy::reversed_empty_ranges)]
    let backwards = RankScan::new(3..=2);
    assert!(rank_scan(Input::Dense(&x), &backwards, &Run::default()).is_err());
    assert!(rank_scan(Input::Dense(&x), &RankScan { split_mode: Some(3), ..RankScan::new(1..=1) }, &Run::default()).is_err());
}

#[test]
fn models_that_do_not_fit_the_data() {
    let x = ones(&[2, 3, 2]);
    let other = random_model(&[2, 3, 3], 1, 1);
    assert!(matches!(evaluate(Input::Dense(&x), &other), Err(CpError::Shape { .. })));
    assert!(matches!(corcondia(Input::Dense(&x), &other), Err(CpError::Shape { .. })));
    assert!(matches!(corcondia(Input::Dense(&x), &random_model(&[2, 3, 2], 500, 1)), Err(CpError::Memory { .. })));
    let mut broken = random_model(&[2, 3, 2], 1, 1);
    broken.weights[0] = f64::NAN;
    assert!(evaluate(Input::Dense(&x), &broken).is_err() && reconstruct::full(&broken).is_err());
    let cells = [vec![0, 0, 0], vec![0, 3, 0], vec![1]];
    let model = random_model(&[2, 3, 2], 2, 1);
    let got: Vec<_> = reconstruct::at(&model, &cells).collect();
    close(*got[0].as_ref().unwrap(), reconstruct::full(&model).unwrap().values()[0], 1e-14, "cell");
    assert_eq!(got[1], Err(CpError::Index { mode: 1, index: 3, size: 3 }));
    assert!(matches!(got[2], Err(CpError::Options(_))));
}

/// Asks to stop at the given question.
struct Stop(AtomicUsize, usize);
impl Observer for Stop {
    fn cancelled(&self) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed) >= self.1
    }
}

#[test]
fn stopping_keeps_what_was_reached() {
    let x = reconstruct::full(&random_model(&[5, 6, 7], 4, 3)).unwrap();
    for after in [0, 3] {
        let stop = || Stop(AtomicUsize::new(0), after);
        let options = Options { restarts: 3, ..Options::new(2) };
        let observer = stop();
        let cp = als(Input::Dense(&x), &options, &Run { observer: &observer, clock: None }).unwrap();
        assert_eq!((cp.stop, cp.trace.len(), cp.restarts.len()), (StopReason::Cancelled, after, 1));
        close(cp.fit, evaluate(Input::Dense(&x), &cp.model).unwrap().fit, 1e-12, "fit");
        let observer = stop();
        let found = cprand(Input::Dense(&x), &Rand::new(2), &Run { observer: &observer, clock: None }).unwrap();
        assert_eq!(found.stop, StopReason::Cancelled);
        let observer = stop();
        let found = bayes(Input::Dense(&x), &Bayes::default(), &Run { observer: &observer, clock: None }).unwrap();
        assert_eq!((found.stop, found.trace.len()), (StopReason::Cancelled, after));
    }
}
