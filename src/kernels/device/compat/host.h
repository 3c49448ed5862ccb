// The host: every thread a fibre of the emulator, every access checked. See emu/emu.h.
#ifndef SHOAL_COMPAT_H
#define SHOAL_COMPAT_H

#include "../emu/emu.h"

struct ShCtx {
    uint32_t tid, bid, bdim, gdim, lane, warp;
};

#define SH_DEVICE static inline
#define SH_DEVICE_MEMBER inline
#define SH_KERNEL(name) static void name
#define SH_PARAMS(...) (__VA_ARGS__)
#define SH_BUF(i, T, n) emu::Global<T> n
#define SH_ARGS(i, S, n) const S& n
#define SH_REGISTER(name) \
    static const emu::Entry emu_entry_##name(#name, emu::thunk<&name>, emu::sizes(&name), emu::parameters(&name));
#define SH_ENTER(c) const ShCtx c = sh_host_context()
#define SH_ARENA(T, n) const emu::Shared<T> n = emu::arena<T>()
#define SH_SHARED(T, n, k) const emu::Shared<T> n = emu::declared<T>(k)
#define SH_GLOBAL(T) emu::Global<T>
#define SH_NULL(T) emu::Global<T>()
#define SH_TGROUP(T) emu::Shared<T>
#define SH_THREAD(T) T*
#define SH_CONST_TABLE(T, n, k) static const T n[k]
#define SH_UNROLL
#define SH_ASSERT(cond) ((cond) ? (void)0 : emu::fail(emu::Fault::Assertion, emu::At::here()))
#define sh_part(p, from, count) ((p).part(from, count, emu::At::here()))

// The place of a call, handed through functions that wait: a fault is where the body is.
#define SH_HERE , emu::At::here()
#define SH_AT_PARAM , emu::At at
#define SH_AT_ARG , at

static inline ShCtx sh_host_context() {
    const emu::Machine& m = *emu::machine;
    return {m.tid, m.block, m.threads, m.grid, m.tid % emu::WARP, m.warp};
}

#define sh_barrier(c) ((void)(c), emu::meet(emu::State::AtBlock, emu::Meeting::Barrier, emu::At::here()))
#define sh_warp_barrier(c) ((void)(c), emu::meet(emu::State::AtWarp, emu::Meeting::Barrier, emu::At::here()))
#define sh_shfl(c, v, source) sh_shfl_at(c, v, source SH_HERE)
#define sh_shfl_xor(c, v, mask) sh_shfl_xor_at(c, v, mask SH_HERE)
#define sh_shfl_up_or(c, v, by, fill) sh_shfl_up_or_at(c, v, by, fill SH_HERE)
#define sh_shfl_down_or(c, v, by, fill) sh_shfl_down_or_at(c, v, by, fill SH_HERE)
#define sh_ballot(c, p) sh_ballot_at(c, p SH_HERE)

template <class T> static inline T sh_shfl_at(ShCtx, T v, uint32_t source, emu::At at) { return emu::exchange(v, source, at); }
template <class T> static inline T sh_shfl_xor_at(ShCtx c, T v, uint32_t mask, emu::At at) { return emu::exchange(v, c.lane ^ mask, at); }
template <class T> static inline T sh_shfl_up_or_at(ShCtx c, T v, uint32_t by, T fill, emu::At at) {
    const T other = emu::exchange(v, c.lane >= by ? c.lane - by : c.lane, at);
    return c.lane >= by ? other : fill;
}
template <class T> static inline T sh_shfl_down_or_at(ShCtx c, T v, uint32_t by, T fill, emu::At at) {
    const T other = emu::exchange(v, c.lane + by < emu::WARP ? c.lane + by : c.lane, at);
    return c.lane + by < emu::WARP ? other : fill;
}
static inline uint32_t sh_ballot_at(ShCtx c, bool p, emu::At at) {
    uint32_t bits = p ? 1u << c.lane : 0u;
    for (uint32_t mask = emu::WARP / 2; mask > 0; mask /= 2) bits |= sh_shfl_xor_at(c, bits, mask, at);
    return bits;
}

// Integers alone: the order of additions of floats would change their sum. Not a race with others of its kind, so unchecked but for bounds.
static inline uint32_t sh_atomic_add_u32(emu::Global<uint32_t> p, uint32_t i, uint32_t v) {
    const auto element = p[i];
    const uint32_t before = *element.place;
    *element.place = before + v;
    if (element.cell->written == 0) element.cell->written = 1;
    return before;
}

static inline float sh_exp(float x) { return std::exp(x); }
static inline float sh_exp2(float x) { return std::exp2(x); }
static inline float sh_log(float x) { return std::log(x); }
static inline float sh_log1p(float x) { return std::log1p(x); }
static inline float sh_tanh(float x) { return std::tanh(x); }
static inline float sh_sin(float x) { return std::sin(x); }
static inline float sh_cos(float x) { return std::cos(x); }
static inline float sh_sqrt(float x) { return std::sqrt(x); }
static inline float sh_fma(float a, float b, float c) { return std::fma(a, b, c); }
// To the nearest integer, ties to even.
static inline float sh_rte(float x) { return std::nearbyint(x); }

// Bits alone, so that no arithmetic creeps in.
struct sh_bf16 {
    uint16_t bits;
};
struct sh_f16 {
    uint16_t bits;
};

static inline uint32_t sh_host_bits(float x) {
    uint32_t u;
    std::memcpy(&u, &x, 4);
    return u;
}
static inline float sh_host_float(uint32_t u) {
    float x;
    std::memcpy(&x, &u, 4);
    return x;
}

static inline float sh_to_f32(float x) { return x; }
static inline float sh_to_f32(sh_bf16 x) { return sh_host_float(static_cast<uint32_t>(x.bits) << 16); }
static inline float sh_to_f32(sh_f16 x) {
    const uint32_t sign = static_cast<uint32_t>(x.bits & 0x8000u) << 16, exponent = (x.bits >> 10) & 31u, mantissa = x.bits & 1023u;
    if (exponent == 31) return sh_host_float(sign | 0x7F800000u | (mantissa << 13));
    if (exponent) return sh_host_float(sign | ((exponent + 112) << 23) | (mantissa << 13));
    const float small = static_cast<float>(mantissa) * 0x1p-24f;
    return sign ? -small : small;
}

template <class T> static inline T sh_from_f32(float x);
template <> inline float sh_from_f32<float>(float x) { return x; }
template <> inline sh_bf16 sh_from_f32<sh_bf16>(float x) {
    const uint32_t u = sh_host_bits(x);
    if ((u & 0x7FFFFFFFu) > 0x7F800000u) return {static_cast<uint16_t>((u >> 16) | 0x40u)};
    return {static_cast<uint16_t>((u + 0x7FFFu + ((u >> 16) & 1u)) >> 16)};
}
template <> inline sh_f16 sh_from_f32<sh_f16>(float x) {
    const uint32_t u = sh_host_bits(x);
    const uint16_t sign = static_cast<uint16_t>((u >> 16) & 0x8000u);
    const uint32_t size = u & 0x7FFFFFFFu;
    if (size > 0x7F800000u) return {static_cast<uint16_t>(sign | 0x7E00u)};
    if (size >= 0x477FF000u) return {static_cast<uint16_t>(sign | 0x7C00u)};
    // Below the normal numbers: multiples of 2^-24, and the addition of a float with that ulp rounds.
    if (size < 0x38800000u) return {static_cast<uint16_t>(sign | (sh_host_bits(sh_host_float(size) + 0.5f) - 0x3F000000u))};
    return {static_cast<uint16_t>(sign | ((size - 0x38000000u + 0xFFFu + ((size >> 13) & 1u)) >> 13))};
}

// acc + Σ of the products of four signed bytes.
static inline int32_t sh_dot4_i8(int32_t acc, uint32_t a, uint32_t b) {
    for (int i = 0; i < 4; ++i) acc += static_cast<int8_t>(a >> (8 * i)) * static_cast<int8_t>(b >> (8 * i));
    return acc;
}

#include "sh.h"

#endif
