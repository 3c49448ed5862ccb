// What all targets share: the thread's place, sums over a warp, functions that the targets lack. Included by the header of the target.
//
// A body in shared/ may use: ShCtx, the SH_ macros, the sh_ functions, arithmetic. No built-in variable, no bare pointer, no double.
#ifndef SHOAL_SH_H
#define SHOAL_SH_H

// Threads of a warp, on every target.
#define SH_WARP 32u

SH_DEVICE uint32_t sh_min(uint32_t a, uint32_t b) { return a < b ? a : b; }
SH_DEVICE uint32_t sh_max(uint32_t a, uint32_t b) { return a > b ? a : b; }
SH_DEVICE uint32_t sh_ceil_div(uint32_t a, uint32_t b) { return (a + b - 1u) / b; }

// Σ and maximum over the lanes of a warp, by the same tree on every target.
#define sh_warp_sum(c, v) sh_warp_sum_at(c, v SH_HERE)
#define sh_warp_max(c, v) sh_warp_max_at(c, v SH_HERE)
SH_DEVICE float sh_warp_sum_at(ShCtx c, float v SH_AT_PARAM) {
    for (uint32_t mask = SH_WARP / 2u; mask > 0u; mask /= 2u) v += sh_shfl_xor_at(c, v, mask SH_AT_ARG);
    return v;
}
SH_DEVICE float sh_warp_max_at(ShCtx c, float v SH_AT_PARAM) {
    for (uint32_t mask = SH_WARP / 2u; mask > 0u; mask /= 2u) {
        const float other = sh_shfl_xor_at(c, v, mask SH_AT_ARG);
        v = other > v ? other : v;
    }
    return v;
}

// log(1 + x) for finite x > -1, for targets that lack it: the error of 1 + x is known and taken back.
SH_DEVICE float sh_log1p_by_log(float x) {
    const float u = 1.0f + x;
    const float d = u - 1.0f;
    return d == 0.0f ? x : sh_log(u) * (x / d);
}

// log(1 + e^x) without overflow.
SH_DEVICE float sh_softplus(float x) {
    return (x > 0.0f ? x : 0.0f) + sh_log1p(sh_exp(x > 0.0f ? -x : x));
}

SH_DEVICE float sh_sigmoid(float x) {
    const float e = sh_exp(x > 0.0f ? -x : x);
    return (x > 0.0f ? 1.0f : e) / (1.0f + e);
}

SH_DEVICE float sh_silu(float x) { return x * sh_sigmoid(x); }

// d silu / dx.
SH_DEVICE float sh_silu_slope(float x) {
    const float s = sh_sigmoid(x);
    return s * sh_fma(x, 1.0f - s, 1.0f);
}

// A number in two floats, high + low, with |low| below half an ulp of high.
struct ShTwo {
    float high, low;
};

// a + b, what rounding loses kept (Knuth).
SH_DEVICE ShTwo sh_two_sum(float a, float b) {
    ShTwo r;
    r.high = a + b;
    const float t = r.high - a;
    r.low = (a - (r.high - t)) + (b - t);
    return r;
}

SH_DEVICE ShTwo sh_two_add(ShTwo a, ShTwo b) {
    const ShTwo s = sh_two_sum(a.high, b.high);
    return sh_two_sum(s.high, s.low + (a.low + b.low));
}

// a · b, exact but for underflow.
SH_DEVICE ShTwo sh_two_product(float a, float b) {
    ShTwo r;
    r.high = a * b;
    r.low = sh_fma(a, b, -r.high);
    return r;
}

#endif
