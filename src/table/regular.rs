//! Are the stamps of a series in order and without holes, and how holes are filled.

use super::freq::Freq;
use super::series::Impute;
use super::time::MISSING;

/// What is wrong with the stamps or values of a series. Positions are those in the series, counted from 0, after sorting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    /// No time stamp here.
    NoTime(usize),
    /// The stamp here is before the one above it.
    Unsorted(usize),
    /// The stamp here equals the one above it.
    Duplicate(usize),
    /// Steps are missing above this position: how many here, in all, and in how many places.
    Gap { at: usize, here: i64, total: i64, places: usize },
    /// The stamp here is not a whole number of steps after the one above it.
    OffGrid(usize),
}

/// Whether every stamp is there, and later than the one before. Cost O(n).
pub(super) fn check_order(times: &[i64]) -> Result<(), Flaw> {
    if let Some(at) = times.iter().position(|t| *t == MISSING) {
        return Err(Flaw::NoTime(at));
    }
    match times.windows(2).position(|w| w[1] <= w[0]) {
        None => Ok(()),
        Some(i) if times[i] == times[i + 1] => Err(Flaw::Duplicate(i + 1)),
        Some(i) => Err(Flaw::Unsorted(i + 1)),
    }
}

/// Whether consecutive stamps, which are in order, are one step apart. Off-grid stamps come before gaps: they cannot be filled.
/// Cost O(n).
pub(super) fn check_steps(times: &[i64], freq: &Freq) -> Result<(), Flaw> {
    if let Freq::Step(step) | Freq::Integer(step) = freq
        && times.windows(2).all(|w| w[1].checked_sub(w[0]) == Some(*step))
    {
        return Ok(());
    }
    let mut gap: Option<(usize, i64)> = None;
    let (mut total, mut places) = (0i64, 0);
    for (i, w) in times.windows(2).enumerate() {
        match freq.steps_between(w[0], w[1]) {
            Some(1) => {}
            Some(k) if k > 1 => {
                gap.get_or_insert((i + 1, k - 1));
                total = total.saturating_add(k - 1);
                places += 1;
            }
            _ => return Err(Flaw::OffGrid(i + 1)),
        }
    }
    match gap {
        None => Ok(()),
        Some((at, here)) => Err(Flaw::Gap { at, here, total, places }),
    }
}

/// The stamps with every missing step put in (none beyond the ends), and for each the position in `times` it came from.
/// `None` if the grid would have more than `limit` stamps. Cost O(length of the grid).
pub(super) fn full_grid(times: &[i64], freq: &Freq, limit: usize) -> Option<(Vec<i64>, Vec<Option<usize>>)> {
    let (mut grid, mut from) = (Vec::new(), Vec::new());
    for (i, t) in times.iter().enumerate() {
        if i > 0 {
            let before = times[i - 1];
            for k in 1..freq.steps_between(before, *t)? {
                if grid.len() >= limit {
                    return None;
                }
                grid.push(freq.advance(before, k)?);
                from.push(None);
            }
        }
        grid.push(*t);
        from.push(Some(i));
    }
    Some((grid, from))
}

/// Fills the NaNs of `y`, whose first value is not NaN; returns how many there were. Linear: along the grid between the neighbours;
/// after the last value, that value. Cost O(n).
pub(super) fn impute(y: &mut [f64], how: Impute) -> usize {
    let mut filled = 0;
    let mut i = 0;
    while i < y.len() {
        if !y[i].is_nan() {
            i += 1;
            continue;
        }
        let end = y[i..].iter().position(|v| !v.is_nan()).map_or(y.len(), |n| i + n);
        let before = if i > 0 { y[i - 1] } else { 0.0 };
        let after = y.get(end).copied();
        for (k, v) in y[i..end].iter_mut().enumerate() {
            *v = match (how, after) {
                (Impute::Zero, _) => 0.0,
                (Impute::Linear, Some(after)) => {
                    let w = (k + 1) as f64 / (end - i + 1) as f64;
                    before * (1.0 - w) + after * w
                }
                _ => before,
            };
        }
        filled += end - i;
        i = end;
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn order() {
        assert_eq!(check_order(&[1, 2, 5]), Ok(()));
        assert_eq!(check_order(&[1, 2, 2]), Err(Flaw::Duplicate(2)));
        assert_eq!(check_order(&[1, 3, 2]), Err(Flaw::Unsorted(2)));
        assert_eq!(check_order(&[1, MISSING]), Err(Flaw::NoTime(1)));
    }

    #[test]
    fn steps() {
        let f = Freq::Integer(2);
        assert_eq!(check_steps(&[1, 3, 5], &f), Ok(()));
        assert_eq!(check_steps(&[1, 3, 9, 11, 15], &f), Err(Flaw::Gap { at: 2, here: 2, total: 3, places: 2 }));
        assert_eq!(check_steps(&[1, 7, 8], &f), Err(Flaw::OffGrid(2)));
        assert_eq!(full_grid(&[1, 3, 9], &f, 100).unwrap(), (vec![1, 3, 5, 7, 9], vec![Some(0), Some(1), None, None, Some(2)]));
        assert_eq!(full_grid(&[1, 1_000_001], &f, 1000), None);
    }

    #[test]
    fn three_ways_to_fill() {
        let y = [1.0, f64::NAN, f64::NAN, 4.0, f64::NAN];
        for (how, want) in [
            (Impute::Ffill, [1.0, 1.0, 1.0, 4.0, 4.0]),
            (Impute::Zero, [1.0, 0.0, 0.0, 4.0, 0.0]),
            (Impute::Linear, [1.0, 2.0, 3.0, 4.0, 4.0]),
        ] {
            let mut filled = y;
            assert_eq!(impute(&mut filled, how), 3);
            for (a, b) in filled.iter().zip(want) {
                // Interpolation rounds twice.
                assert!((a - b).abs() < 1e-12, "{filled:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn a_filled_grid_has_no_gap(steps in prop::collection::vec(1i64..5, 1..30), start in 0i64..1000) {
            let f = Freq::Business(1);
            let start = f.advance(start * super::super::time::DAY, 1).unwrap();
            let mut times = vec![start];
            for s in &steps {
                times.push(f.advance(*times.last().unwrap(), *s).unwrap());
            }
            let (grid, from) = full_grid(&times, &f, 1000).unwrap();
            prop_assert_eq!(check_steps(&grid, &f), Ok(()));
            prop_assert_eq!(grid.len() as i64, 1 + steps.iter().sum::<i64>());
            let kept: Vec<i64> = from.iter().flatten().map(|i| times[*i]).collect();
            prop_assert_eq!(kept, times);
        }
    }
}
