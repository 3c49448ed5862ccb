//! Against the definition, against the promised chain of fused multiply-adds bit for bit, and on the edges of every shape.

use proptest::prelude::*;

use super::micro::{self, Init, Job};
use super::*;
use crate::kernels::simd::{Real, available, dispatch, with_isa};

/// Numbers in [-1, 1) from a counter (splitmix64); no two runs differ.
fn numbers<T: Real>(seed: u64, len: usize) -> Vec<T> {
    (0..len as u64)
        .map(|i| {
            let mut z = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(i.wrapping_mul(0xBF58_476D_1CE4_E5B9));
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            T::from_f64(((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 52) as f64 - 1.0)
        })
        .collect()
}

/// How a matrix lies in memory.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Layout {
    Rows,
    Columns,
    /// Row-major with a gap after each row.
    Padded,
    /// Neither stride is 1.
    Spread,
}
const LAYOUTS: [Layout; 4] = [Layout::Rows, Layout::Columns, Layout::Padded, Layout::Spread];

fn strides(layout: Layout, rows: usize, cols: usize) -> (usize, usize) {
    match layout {
        Layout::Rows => (cols, 1),
        Layout::Columns => (1, rows),
        Layout::Padded => (cols + 5, 1),
        Layout::Spread => (2 * cols + 3, 2),
    }
}

/// A matrix that owns its numbers; what lies between the elements is NaN, to be neither read into a sum nor written.
struct Owned<T> {
    data: Vec<T>,
    rows: usize,
    cols: usize,
    strides: (usize, usize),
}

impl<T: Real> Owned<T> {
    fn new(seed: u64, rows: usize, cols: usize, layout: Layout) -> Self {
        let strides = strides(layout, rows, cols);
        let len = rows * strides.0 + cols * strides.1;
        let mut data = vec![T::from_f64(f64::NAN); len];
        let fill: Vec<T> = numbers(seed, rows * cols);
        for i in 0..rows {
            for j in 0..cols {
                data[i * strides.0 + j * strides.1] = fill[i * cols + j];
            }
        }
        Self { data, rows, cols, strides }
    }
    fn view(&self) -> MatRef<'_, T> {
        MatRef::with_strides(&self.data, self.rows, self.cols, self.strides.0, self.strides.1)
    }
    fn view_mut(&mut self) -> MatMut<'_, T> {
        MatMut::with_strides(&mut self.data, self.rows, self.cols, self.strides.0, self.strides.1)
    }
    fn values(&self) -> Vec<T> {
        let view = self.view();
        (0..self.rows).flat_map(|i| (0..self.cols).map(move |j| view.get(i, j))).collect()
    }
    /// Numbers that are not elements of the matrix.
    fn gaps_are_untouched(&self) -> bool {
        let numbers = self.data.iter().filter(|x| !x.to_f64().is_nan()).count();
        numbers == self.rows * self.cols
    }
}

fn bits<T: Real>(x: &[T]) -> Vec<u64> {
    x.iter().map(|x| x.to_f64().to_bits()).collect()
}

/// One of the four starts, over vectors that the caller keeps.
fn start<'a, T>(which: usize, row: &'a [T], column: &'a [T]) -> Start<'a, T> {
    match which % 4 {
        0 => Start::Zero,
        1 => Start::Current,
        2 => Start::Row(row),
        _ => Start::Column(column),
    }
}

/// The promised chain, by scalar arithmetic.
fn chain<T: Real>(start: Start<'_, T>, a: MatRef<'_, T>, b: MatRef<'_, T>, current: MatRef<'_, T>) -> Vec<T> {
    let mut c = Vec::new();
    for i in 0..a.rows() {
        for j in 0..b.cols() {
            let first = match start {
                Start::Zero => T::ZERO,
                Start::Current => current.get(i, j),
                Start::Row(bias) => bias[j],
                Start::Column(bias) => bias[i],
            };
            c.push((0..a.cols()).fold(first, |sum, k| a.get(i, k).fma(b.get(k, j), sum)));
        }
    }
    c
}

/// |error| of a chain of k roundings is below k·u·Σ|terms| (first order; doubled for the rest), u half an ulp of 1.
fn assert_close<T: Real>(got: &[T], want: &[(f64, f64)], k: usize, what: &str) {
    let u = if size_of::<T>() == 4 { f32::EPSILON as f64 / 2.0 } else { f64::EPSILON / 2.0 };
    assert_eq!(got.len(), want.len());
    for (i, (x, (y, size))) in got.iter().zip(want).enumerate() {
        // The reference is itself a chain in f64: its own roundings are allowed for too.
        let allowed = 2.0 * (k + 2) as f64 * (u + f64::EPSILON / 2.0) * size + f64::MIN_POSITIVE;
        assert!((x.to_f64() - y).abs() <= allowed, "{what}: element {i} is {x}, not {y} (allowed {allowed:e})");
    }
}

fn tile_case<T: Real>(m: usize, n: usize, k: usize, la: Layout, lb: Layout, which: usize, seed: u64) {
    let a = Owned::<T>::new(seed, m, k, la);
    let b = Owned::<T>::new(seed + 1, k, n, lb);
    let (row, column) = (numbers::<T>(seed + 3, n), numbers::<T>(seed + 4, m));
    let start = start(which, &row, &column);
    let lc = if seed.is_multiple_of(2) { Layout::Rows } else { Layout::Padded };
    let before = Owned::<T>::new(seed + 2, m, n, lc);
    let want = chain(start, a.view(), b.view(), before.view());
    let what = format!("{m}x{n}x{k} {la:?} {lb:?} {which}");
    assert_close(&want, &reference::product(start, a.view(), b.view(), before.view()), k, &what);
    for isa in available() {
        let packed = Packed::new(b.view());
        let mut c = Owned::<T>::new(seed + 2, m, n, lc);
        with_isa(isa, || tile(start, a.view(), &packed, c.view_mut()));
        assert_eq!(bits(&c.values()), bits(&want), "{what} packed {isa:?}");
        assert!(c.gaps_are_untouched(), "{what} packed {isa:?}");
        if b.strides.1 == 1 {
            let mut c = Owned::<T>::new(seed + 2, m, n, lc);
            with_isa(isa, || tile(start, a.view(), b.view(), c.view_mut()));
            assert_eq!(bits(&c.values()), bits(&want), "{what} plain {isa:?}");
            assert!(c.gaps_are_untouched(), "{what} plain {isa:?}");
        }
    }
}

#[test]
fn a_tile_is_the_chain_on_every_instruction_set() {
    let mut seed = 0;
    for m in [0, 1, 2, 3, 5, 6, 7, 11, 12, 13, 16, 25] {
        for n in [0, 1, 3, 4, 7, 8, 9, 12, 16, 17, 24, 31, 32, 33, 48] {
            for k in [0, 1, 2, 5, 16] {
                seed += 1;
                let (la, lb) = (LAYOUTS[seed % 4], LAYOUTS[seed / 4 % 4]);
                tile_case::<f32>(m, n, k, la, lb, seed / 3, seed as u64);
                tile_case::<f64>(m, n, k, la, lb, seed / 3, seed as u64);
            }
        }
    }
}

#[test]
fn blocks_over_rows_and_depth_leave_the_bits() {
    // Deeper than one block, and more rows than one block of A.
    for which in 0..4 {
        tile_case::<f32>(13, 19, 1000, Layout::Rows, Layout::Rows, which, 7);
        tile_case::<f64>(301, 9, 385, Layout::Columns, Layout::Columns, which, 8);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_tile_is_the_chain(
        m in 0usize..40, n in 0usize..70, k in 0usize..70, la in 0usize..4, lb in 0usize..4, which in 0usize..4, seed in 0u64..1000,
    ) {
        tile_case::<f32>(m, n, k, LAYOUTS[la], LAYOUTS[lb], which, seed);
        tile_case::<f64>(m, n, k, LAYOUTS[la], LAYOUTS[lb], which, seed);
    }
}

#[test]
fn an_element_does_not_depend_on_its_place() {
    // One column of B times one row of A, at every place of a C that spans several tiles: all elements must be the same bits.
    let (m, n, k) = (29, 53, 37);
    let (x, y) = (numbers::<f32>(1, k), numbers::<f32>(2, k));
    let a = MatRef::with_strides(&x, m, k, 0, 1);
    let b = Packed::new(MatRef::with_strides(&y, k, n, 1, 0));
    let mut c = vec![0f32; m * n];
    tile(Start::Zero, a, &b, MatMut::new(&mut c, m, n));
    assert!(c.iter().all(|v| v.to_bits() == c[0].to_bits()));
    assert_ne!(c[0], 0.0);
}

#[test]
fn the_wide_tile_of_a_large_register_file_gives_the_same_bits() {
    // The 12 x 2 tile runs only where there are 32 wide registers; here it is run on whatever vectors there are.
    use crate::kernels::simd::{Kernel, Lanes};
    struct Wide<T>(Job<T>);
    impl<T: Real> Kernel<T> for Wide<T> {
        type Output = ();
        #[inline(always)]
        fn run<V: Lanes<T>>(self) {
            // SAFETY: the job below describes live buffers.
            unsafe { micro::blocks::<T, V, 12, 2>(&self.0) }
        }
    }
    for m in 1..26 {
        for n in [1, 5, 8, 15, 16, 17, 31, 32, 33, 40, 48, 65] {
            let k = 9;
            let a = Owned::<f32>::new(m as u64, m, k, Layout::Rows);
            let b = Owned::<f32>::new(n as u64, k, n, Layout::Rows);
            let packed = Packed::new(b.view());
            let want = chain(Start::Zero, a.view(), b.view(), a.view());
            for padded in [false, true] {
                let mut c = vec![f32::NAN; m * n];
                let (ptr, b_row, b_panel) = if padded { (packed.ptr(), 16, 16 * k) } else { (b.data.as_ptr(), n, 16) };
                let job = Job {
                    rows: m,
                    cols: n,
                    depth: k,
                    a: a.data.as_ptr(),
                    a_row: k,
                    a_col: 1,
                    a_block: m,
                    a_step: 0,
                    b: ptr,
                    b_row,
                    b_panel,
                    b_padded: padded,
                    init: Init::Zero,
                    c: c.as_mut_ptr(),
                    ldc: n,
                };
                dispatch::<f32, _>(Wide(job));
                assert_eq!(bits(&c), bits(&want), "{m}x{n} padded {padded}");
            }
        }
    }
}

fn matmul_case<T: Real>(m: usize, n: usize, k: usize, layouts: [Layout; 3], which: usize, seed: u64) {
    let a = Owned::<T>::new(seed, m, k, layouts[0]);
    let b = Owned::<T>::new(seed + 1, k, n, layouts[1]);
    let (row, column) = (numbers::<T>(seed + 3, n), numbers::<T>(seed + 4, m));
    let start = start(which, &row, &column);
    let before = Owned::<T>::new(seed + 2, m, n, layouts[2]);
    let what = format!("{m}x{n}x{k} {layouts:?} {which}");
    let mut c = Owned::<T>::new(seed + 2, m, n, layouts[2]);
    matmul_from(start, a.view(), b.view(), c.view_mut());
    assert!(c.gaps_are_untouched(), "{what}");
    if m * n <= 128 * 128 && k >= 2048 {
        assert_close(&c.values(), &reference::product(start, a.view(), b.view(), before.view()), k, &what);
    } else {
        assert_eq!(bits(&c.values()), bits(&chain(start, a.view(), b.view(), before.view())), "{what}");
    }
}

#[test]
fn whole_products_of_every_orientation() {
    let shapes = [
        (0, 3, 4),
        (3, 0, 4),
        (3, 4, 0),
        (1, 1, 1),
        (1, 40, 7),
        (40, 1, 7),
        (33, 17, 9),
        (70, 24, 33),
        (13, 300, 290), // few rows, B beyond a small one
        (5, 300, 290),  // the same with B in place
        (90, 300, 290), // the large product
        (20, 9, 2500),  // parts of k
    ];
    let mut seed = 0;
    for (m, n, k) in shapes {
        for la in LAYOUTS {
            for lb in LAYOUTS {
                let lc = LAYOUTS[seed % 4];
                matmul_case::<f32>(m, n, k, [la, lb, lc], seed / 4, seed as u64);
                if m * n * k < 100_000 || la == lb {
                    matmul_case::<f64>(m, n, k, [la, lb, lc], seed / 4, seed as u64);
                }
                seed += 1;
            }
        }
    }
}

#[test]
fn accumulating_adds_to_what_is_there() {
    let a: Vec<f64> = (0..6).map(f64::from).collect();
    let mut c = [100.0; 4];
    // (0 1 2; 3 4 5) times its transpose is (5 14; 14 50).
    matmul(MatRef::new(&a, 2, 3), MatRef::new(&a, 2, 3).t(), MatMut::new(&mut c, 2, 2), true);
    assert_eq!(c, [105.0, 114.0, 114.0, 150.0]);
    matmul(MatRef::new(&a, 2, 3), MatRef::new(&a, 2, 3).t(), MatMut::new(&mut c, 2, 2), false);
    assert_eq!(c, [5.0, 14.0, 14.0, 50.0]);
}

/// Shapes that take every path at a size where threads are used.
const THREADED: [(usize, usize, usize); 5] =
    [(3000, 24, 48), (130, 700, 300), (24, 1100, 500), (32, 16, 20_000), (40, 24, 70_000)];

fn in_pool<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
}

#[test]
fn threads_do_not_change_the_bits() {
    for (m, n, k) in THREADED {
        for (la, lb) in [(Layout::Rows, Layout::Rows), (Layout::Columns, Layout::Rows), (Layout::Rows, Layout::Columns)] {
            let a = Owned::<f32>::new(1, m, k, la);
            let b = Owned::<f32>::new(2, k, n, lb);
            let run = |threads| {
                let mut c = Owned::<f32>::new(3, m, n, Layout::Rows);
                in_pool(threads, || matmul(a.view(), b.view(), c.view_mut(), true));
                bits(&c.values())
            };
            let one = run(1);
            assert!(one == run(2) && one == run(3), "{m}x{n}x{k} {la:?} {lb:?}");
        }
    }
}

#[test]
fn the_parts_of_a_long_depth_are_those_documented() {
    // The order of summation is part of the promise: count the parts and redo the sum by hand.
    let (m, n, k) = (16, 8, 200_000);
    let a = Owned::<f32>::new(1, m, k, Layout::Columns);
    let b = Owned::<f32>::new(2, k, n, Layout::Rows);
    let mut c = Owned::<f32>::new(3, m, n, Layout::Rows);
    let parts = matmul::parts_of_depth(m, n, k);
    assert!(parts > 1);
    let mut want = c.values();
    for t in 0..parts {
        let ks = micro::even(k, parts, t);
        let sum = chain(Start::Zero, a.view().col_range(ks.clone()), b.view().row_range(ks), c.view());
        want.iter_mut().zip(sum).for_each(|(w, s)| *w += s);
    }
    matmul(a.view(), b.view(), c.view_mut(), true);
    assert_eq!(bits(&c.values()), bits(&want));
}

#[test]
fn nan_and_infinity_reach_the_sums_they_belong_to() {
    for (m, n, k) in [(7, 5, 6), (100, 310, 300), (6, 20, 3000)] {
        let mut a = Owned::<f32>::new(1, m, k, Layout::Rows);
        let mut b = Owned::<f32>::new(2, k, n, Layout::Rows);
        // Row 2 of A is zero but for the NaN, and column 3 of B holds an infinity that a zero of A meets: 0 * inf is NaN.
        a.view_mut().row_range(2..3).set(0, 4, f32::NAN);
        a.view_mut().set(1, 5, 0.0);
        b.view_mut().set(5, 3, f32::INFINITY);
        let mut c = vec![0f32; m * n];
        matmul(a.view(), b.view(), MatMut::new(&mut c, m, n), false);
        for i in 0..m {
            for j in 0..n {
                let x = c[i * n + j];
                match (i, j) {
                    (2, _) | (1, 3) => assert!(x.is_nan(), "({i}, {j}) is {x}"),
                    (_, 3) => assert!(x.is_infinite(), "({i}, {j}) is {x}"),
                    _ => assert!(x.is_finite(), "({i}, {j}) is {x}"),
                }
            }
        }
    }
}

#[test]
fn a_batch_is_its_products() {
    // (batch, time, heads, width), as attention has it: scores q·kᵀ of every head, without moving anything.
    for (batch, time, heads, width) in [(2, 5, 3, 4), (3, 48, 4, 16), (1, 1, 1, 1), (0, 3, 2, 2), (2, 300, 1, 96)] {
        let q = numbers::<f32>(1, batch * time * heads * width);
        let k = numbers::<f32>(2, batch * time * heads * width);
        let view = |x| {
            let d = heads * width;
            BatchRef::with_strides(x, [batch, heads], [time * d, width], (time, width), (d, 1))
        };
        let run = |threads| {
            let mut scores = numbers::<f32>(3, batch * heads * time * time);
            let c =
                BatchMut::with_strides(&mut scores, [batch, heads], [heads * time * time, time * time], (time, time), (time, 1));
            in_pool(threads, || matmul_batched(view(&q), view(&k).t(), c, true));
            scores
        };
        let got = run(1);
        assert_eq!(bits(&got), bits(&run(2)));
        let mut want = numbers::<f32>(3, batch * heads * time * time);
        for (i, c) in want.chunks_exact_mut(time * time).enumerate() {
            let at = i / heads * time * heads * width + i % heads * width;
            let a = MatRef::with_strides(&q[at..], time, width, heads * width, 1);
            let b = MatRef::with_strides(&k[at..], time, width, heads * width, 1);
            let sums = chain(Start::Current, a, b.t(), MatRef::new(c, time, time));
            c.copy_from_slice(&sums);
        }
        assert_eq!(bits(&got), bits(&want), "{batch} {time} {heads} {width}");
    }
}

#[test]
fn a_packed_matrix_can_be_packed_again() {
    let (x, y) = (numbers::<f64>(1, 60), numbers::<f64>(2, 12));
    let mut packed = Packed::new(MatRef::new(&x, 6, 10));
    assert_eq!((packed.rows(), packed.cols()), (6, 10));
    packed.assign(MatRef::new(&y, 3, 4).t());
    assert_eq!((packed.rows(), packed.cols()), (4, 3));
    let eye: Vec<f64> = (0..16).map(|i| if i % 5 == 0 { 1.0 } else { 0.0 }).collect();
    let mut c = [0.0; 12];
    tile(Start::Zero, MatRef::new(&eye, 4, 4), &packed, MatMut::new(&mut c, 4, 3));
    for i in 0..4 {
        for j in 0..3 {
            assert_eq!(c[i * 3 + j], y[j * 4 + i]);
        }
    }
}

#[test]
fn views_that_leave_their_data_are_refused() {
    let refused = |work: fn()| std::panic::catch_unwind(work).is_err();
    assert!(refused(|| {
        let _ = MatRef::new(&[0f32; 5], 2, 3);
    }));
    assert!(refused(|| {
        let _ = MatRef::with_strides(&[0f32; 9], 2, 2, usize::MAX, 1);
    }));
    assert!(refused(|| {
        let _ = MatMut::with_strides(&mut [0f32; 9], 3, 3, 2, 1);
    }));
    assert!(refused(|| {
        let _ = MatMut::with_strides(&mut [0f32; 9], 3, 3, 0, 1);
    }));
    assert!(refused(|| {
        let _ = MatRef::new(&[0f32; 6], 2, 3).row_range(1..3);
    }));
    assert!(refused(|| _ = BatchMut::with_strides(&mut [0f32; 9], [1, 2], [0, 3], (2, 3), (3, 1))));
    assert!(refused(|| matmul(
        MatRef::new(&[0f32; 6], 2, 3),
        MatRef::new(&[0f32; 6], 2, 3),
        MatMut::new(&mut [0.0; 4], 2, 2),
        false
    )));
    assert!(refused(|| tile(
        Start::Row(&[0f32; 1]),
        MatRef::new(&[0f32; 4], 2, 2),
        MatRef::new(&[0f32; 4], 2, 2),
        MatMut::new(&mut [0.0; 4], 2, 2)
    )));
    // And those that are all right.
    let _ = MatRef::with_strides(&[0f32; 3], 100, 3, 0, 1);
    let _ = MatRef::<f32>::new(&[], 0, 7);
    let _ = MatMut::with_strides(&mut [0f32; 12], 3, 4, 1, 3);
}
