//! SoftSort: rows of P are rounded as they are written.

use super::*;
use crate::kernels::scan::softsort::{SoftSort, reference};
use proptest::prelude::*;

/// Scores with some equal ones.
fn scores(of: &SoftSort) -> Vec<u16> {
    let mut scores = made_up(1, of.batch * of.len, 3.0);
    (7..scores.len()).step_by(11).for_each(|i| scores[i] = scores[i - 3]);
    scores
}

/// P and the gradient of the scores.
fn run(of: &SoftSort, scores: &[u16], dp: &[u16]) -> Found {
    let (mut p, mut dscores) = (vec![NAN; dp.len()], vec![NAN; scores.len()]);
    of.forward_bf16(scores, &mut p);
    of.backward_bf16(scores, dp, &mut dscores);
    Found { halves: vec![p, dscores], singles: vec![] }
}

fn is_the_plain_one(of: &SoftSort, scores: &[u16], dp: &[u16]) {
    let found = run(of, scores, dp);
    let (mut p, mut dscores) = (vec![f32::NAN; dp.len()], vec![f32::NAN; scores.len()]);
    of.forward(&singles(scores), &mut p);
    of.backward(&singles(scores), &singles(dp), &mut dscores);
    same(&found.halves[0], &p, &format!("P of {of:?}"));
    same(&found.halves[1], &dscores, &format!("the gradient of {of:?}"));
}

fn cases() -> Vec<SoftSort> {
    let sizes = [(1, 1), (2, 5), (3, 16), (1, 33), (2, 130), (1, 300), (20, 12), (0, 4), (3, 0)];
    sizes.into_iter().zip([1.0, 0.5, 2.0].into_iter().cycle()).map(|((batch, len), tau)| SoftSort { batch, len, tau }).collect()
}

#[test]
fn it_is_the_plain_one_rounded() {
    for of in cases() {
        let (scores, len) = (scores(&of), of.batch * of.len * of.len);
        is_the_plain_one(&of, &scores, &made_up(3, len, 1.0));
        is_the_plain_one(&of, &wild(2, scores.len()), &wild(3, len));
        changes_no_bit(|| run(&of, &scores, &made_up(3, len, 1.0)));
    }
}

#[test]
fn it_is_the_definition() {
    let of = SoftSort { batch: 2, len: 37, tau: 0.5 };
    let (scores, dp) = (scores(&of), made_up(3, 2 * 37 * 37, 1.0));
    let (wide, dwide) = (doubles(&scores), doubles(&dp));
    let exact = [reference::forward(&of, &wide), reference::backward(&of, &wide, &dwide)];
    // As for the plain form in f32.
    run(&of, &scores, &dp).check(&exact, &["P", "dscores"], &[1e-5, 1e-4], "SoftSort");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_size_is_the_plain_one(batch in 1usize..4, len in 1usize..90, tau in 0.1f64..4.0) {
        let of = SoftSort { batch, len, tau };
        is_the_plain_one(&of, &scores(&of), &made_up(3, batch * len * len, 1.0));
    }
}

#[test]
fn misfits_are_refused() {
    let refused = |scores: usize, p: usize| {
        std::panic::catch_unwind(|| SoftSort { batch: 1, len: 3, tau: 1.0 }.forward_bf16(&vec![0; scores], &mut vec![0; p]))
            .is_err()
    };
    assert!(!refused(3, 9) && refused(2, 9) && refused(3, 8));
}
