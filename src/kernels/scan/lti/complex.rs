//! Complex numbers.

use crate::kernels::simd::{Lanes, Real};
use std::ops::{Add, AddAssign, Div, Mul, Neg, Sub};

/// A complex number in f64.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Complex {
    pub re: f64,
    pub im: f64,
}

impl Complex {
    pub const ZERO: Self = Self::new(0.0, 0.0);
    pub const ONE: Self = Self::new(1.0, 0.0);

    pub const fn new(re: f64, im: f64) -> Self {
        Self { re, im }
    }

    pub const fn real(re: f64) -> Self {
        Self::new(re, 0.0)
    }

    pub const fn conj(self) -> Self {
        Self::new(self.re, -self.im)
    }

    /// The square of the absolute value.
    pub fn square(self) -> f64 {
        self.re * self.re + self.im * self.im
    }

    pub fn abs(self) -> f64 {
        self.re.hypot(self.im)
    }

    pub fn scale(self, by: f64) -> Self {
        Self::new(self.re * by, self.im * by)
    }

    pub fn exp(self) -> Self {
        let (sin, cos) = self.im.sin_cos();
        Self::new(cos, sin).scale(self.re.exp())
    }

    /// eᶻ − 1, exact also near 0.
    pub fn exp_m1(self) -> Self {
        let half = (0.5 * self.im).sin();
        let (sin, cos) = self.im.sin_cos();
        Self::new(self.re.exp_m1() * cos - 2.0 * half * half, self.re.exp() * sin)
    }

    /// Two arrays from an array of numbers.
    pub fn split(x: &[Self]) -> [Vec<f64>; 2] {
        [x.iter().map(|z| z.re).collect(), x.iter().map(|z| z.im).collect()]
    }
}

impl Add for Complex {
    type Output = Self;
    fn add(self, b: Self) -> Self {
        Self::new(self.re + b.re, self.im + b.im)
    }
}

impl AddAssign for Complex {
    fn add_assign(&mut self, b: Self) {
        *self = *self + b;
    }
}

impl Sub for Complex {
    type Output = Self;
    fn sub(self, b: Self) -> Self {
        Self::new(self.re - b.re, self.im - b.im)
    }
}

impl Neg for Complex {
    type Output = Self;
    fn neg(self) -> Self {
        Self::new(-self.re, -self.im)
    }
}

impl Mul for Complex {
    type Output = Self;
    fn mul(self, b: Self) -> Self {
        Self::new(self.re * b.re - self.im * b.im, self.re * b.im + self.im * b.re)
    }
}

impl Div for Complex {
    type Output = Self;
    fn div(self, b: Self) -> Self {
        (self * b.conj()).scale(1.0 / b.square())
    }
}

/// Complex numbers that are read, as two slices of one length.
#[derive(Clone, Copy, Debug)]
pub struct ComplexRef<'a, T> {
    pub re: &'a [T],
    pub im: &'a [T],
}

/// Complex numbers that are written, as two slices of one length.
#[derive(Debug)]
pub struct ComplexMut<'a, T> {
    pub re: &'a mut [T],
    pub im: &'a mut [T],
}

impl<T> ComplexRef<'_, T> {
    /// Whether both parts hold `len` numbers.
    pub(super) fn has(&self, len: usize) -> bool {
        self.re.len() == len && self.im.len() == len
    }
}

impl<T: Real> ComplexRef<'_, T> {
    /// Number `i`, in f64.
    pub(super) fn at(&self, i: usize) -> Complex {
        Complex::new(self.re[i].to_f64(), self.im[i].to_f64())
    }
}

impl<T> ComplexMut<'_, T> {
    /// Whether both parts hold `len` numbers.
    pub(super) fn has(&self, len: usize) -> bool {
        self.re.len() == len && self.im.len() == len
    }

    pub(super) fn as_ref(&self) -> ComplexRef<'_, T> {
        ComplexRef { re: self.re, im: self.im }
    }

    pub(super) fn reborrow(&mut self) -> ComplexMut<'_, T> {
        ComplexMut { re: self.re, im: self.im }
    }
}

impl<T: Real> ComplexMut<'_, T> {
    /// Writes number `i`.
    pub(super) fn set(&mut self, i: usize, z: Complex) {
        (self.re[i], self.im[i]) = (T::from_f64(z.re), T::from_f64(z.im));
    }
}

/// A complex number in every lane.
#[derive(Clone, Copy)]
pub(super) struct Pair<V> {
    pub(super) re: V,
    pub(super) im: V,
}

impl<V: Copy> Pair<V> {
    #[inline(always)]
    pub(super) fn new(re: V, im: V) -> Self {
        Self { re, im }
    }

    #[inline(always)]
    pub(super) fn zero<T: Real>() -> Self
    where
        V: Lanes<T>,
    {
        Self::new(V::splat(T::ZERO), V::splat(T::ZERO))
    }

    /// From two arrays at one place.
    #[inline(always)]
    pub(super) fn load<T: Real>(re: &[T], im: &[T], at: usize) -> Self
    where
        V: Lanes<T>,
    {
        Self::new(V::load(&re[at..]), V::load(&im[at..]))
    }

    /// From real and imaginary vectors one after the other.
    #[inline(always)]
    pub(super) fn load_pair<T: Real>(from: &[T]) -> Self
    where
        V: Lanes<T>,
    {
        let from = &from[..2 * V::N];
        Self::new(V::load(from), V::load(&from[V::N..]))
    }

    /// As [`load_pair`](Self::load_pair).
    #[inline(always)]
    pub(super) fn store_pair<T: Real>(self, to: &mut [T])
    where
        V: Lanes<T>,
    {
        let to = &mut to[..2 * V::N];
        self.re.store(to);
        self.im.store(&mut to[V::N..]);
    }

    #[inline(always)]
    pub(super) fn add<T: Real>(self, b: Self) -> Self
    where
        V: Lanes<T>,
    {
        Self::new(self.re.add(b.re), self.im.add(b.im))
    }

    #[inline(always)]
    pub(super) fn sub<T: Real>(self, b: Self) -> Self
    where
        V: Lanes<T>,
    {
        Self::new(self.re.sub(b.re), self.im.sub(b.im))
    }

    #[inline(always)]
    pub(super) fn mul<T: Real>(self, b: Self) -> Self
    where
        V: Lanes<T>,
    {
        Self::new(self.im.neg_fma(b.im, self.re.mul(b.re)), self.im.fma(b.re, self.re.mul(b.im)))
    }

    /// `self · b + c`.
    #[inline(always)]
    pub(super) fn fma<T: Real>(self, b: Self, c: Self) -> Self
    where
        V: Lanes<T>,
    {
        Self::new(self.im.neg_fma(b.im, self.re.fma(b.re, c.re)), self.im.fma(b.re, self.re.fma(b.im, c.im)))
    }

    /// `conj(self) · b + c`.
    #[inline(always)]
    pub(super) fn conj_fma<T: Real>(self, b: Self, c: Self) -> Self
    where
        V: Lanes<T>,
    {
        Self::new(self.im.fma(b.im, self.re.fma(b.re, c.re)), self.im.neg_fma(b.re, self.re.fma(b.im, c.im)))
    }

    /// `self · x + c` with x real.
    #[inline(always)]
    pub(super) fn real_fma<T: Real>(self, x: V, c: Self) -> Self
    where
        V: Lanes<T>,
    {
        Self::new(self.re.fma(x, c.re), self.im.fma(x, c.im))
    }

    #[inline(always)]
    pub(super) fn scale<T: Real>(self, x: V) -> Self
    where
        V: Lanes<T>,
    {
        Self::new(self.re.mul(x), self.im.mul(x))
    }

    #[inline(always)]
    pub(super) fn conj<T: Real>(self) -> Self
    where
        V: Lanes<T>,
    {
        Self::new(self.re, self.im.neg())
    }

    /// The square of the absolute value.
    #[inline(always)]
    pub(super) fn square<T: Real>(self) -> V
    where
        V: Lanes<T>,
    {
        self.re.fma(self.re, self.im.mul(self.im))
    }

    #[inline(always)]
    pub(super) fn reciprocal<T: Real>(self) -> Self
    where
        V: Lanes<T>,
    {
        self.conj().scale(V::splat(T::ONE).div(self.square()))
    }
}
