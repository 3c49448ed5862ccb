// Metal 3.1, compiled at run time from one flattened text with safe mathematics. Pipelines whose SIMD groups are not 32 wide are refused
// by the host, which also binds 16 bytes of threadgroup memory to kernels without an arena.
#ifndef SHOAL_COMPAT_H
#define SHOAL_COMPAT_H

#include <metal_stdlib>
using namespace metal;

struct ShCtx {
    uint32_t tid, bid, bdim, gdim, lane, warp;
};

#define SH_DEVICE static inline
#define SH_DEVICE_MEMBER inline
#define SH_KERNEL(name) kernel void name
#define SH_PARAMS(...)                                                                              \
    (__VA_ARGS__, threadgroup float* sh_metal_arena [[threadgroup(0)]],                             \
     uint sh_metal_tid [[thread_index_in_threadgroup]], uint sh_metal_bid [[threadgroup_position_in_grid]], \
     uint sh_metal_bdim [[threads_per_threadgroup]], uint sh_metal_gdim [[threadgroups_per_grid]],  \
     uint sh_metal_lane [[thread_index_in_simdgroup]], uint sh_metal_warp [[simdgroup_index_in_threadgroup]])
#define SH_BUF(i, T, n) device T* n [[buffer(i)]]
#define SH_ARGS(i, S, n) constant S& n [[buffer(i)]]
#define SH_REGISTER(name)
#define SH_ENTER(c) const ShCtx c = {sh_metal_tid, sh_metal_bid, sh_metal_bdim, sh_metal_gdim, sh_metal_lane, sh_metal_warp}
#define SH_ARENA(T, n) threadgroup T* n = (threadgroup T*)sh_metal_arena
#define SH_SHARED(T, n, k) threadgroup T n[k]
#define SH_GLOBAL(T) device T*
#define SH_NULL(T) ((device T*)nullptr)
#define SH_TGROUP(T) threadgroup T*
#define SH_THREAD(T) thread T*
#define SH_CONST_TABLE(T, n, k) constant T n[k]
#define SH_UNROLL _Pragma("unroll")
#define SH_ASSERT(cond) ((void)0)
#define sh_part(p, from, count) ((p) + (from))

#define SH_HERE
#define SH_AT_PARAM
#define SH_AT_ARG

#define sh_barrier(c) threadgroup_barrier(mem_flags::mem_threadgroup)
#define sh_warp_barrier(c) simdgroup_barrier(mem_flags::mem_threadgroup)
#define sh_shfl(c, v, source) simd_shuffle(v, (ushort)(source))
#define sh_shfl_xor(c, v, mask) simd_shuffle_xor(v, (ushort)(mask))
#define sh_shfl_xor_at(c, v, mask) simd_shuffle_xor(v, (ushort)(mask))
#define sh_ballot(c, p) ((uint32_t)(ulong)simd_ballot(p))
template <class T> static inline T sh_shfl_up_or(ShCtx c, T v, uint32_t by, T fill) {
    const T other = simd_shuffle_up(v, (ushort)by);
    return c.lane >= by ? other : fill;
}
template <class T> static inline T sh_shfl_down_or(ShCtx c, T v, uint32_t by, T fill) {
    const T other = simd_shuffle_down(v, (ushort)by);
    return c.lane + by < 32u ? other : fill;
}

// Integers alone: the order of additions of floats would change their sum.
static inline uint32_t sh_atomic_add_u32(device uint32_t* p, uint32_t i, uint32_t v) {
    return atomic_fetch_add_explicit((device atomic_uint*)(p + i), v, memory_order_relaxed);
}

static inline float sh_log1p_by_log(float x);
static inline float sh_exp(float x) { return precise::exp(x); }
static inline float sh_exp2(float x) { return precise::exp2(x); }
static inline float sh_log(float x) { return precise::log(x); }
static inline float sh_log1p(float x) { return sh_log1p_by_log(x); }
static inline float sh_tanh(float x) { return precise::tanh(x); }
static inline float sh_sin(float x) { return precise::sin(x); }
static inline float sh_cos(float x) { return precise::cos(x); }
static inline float sh_sqrt(float x) { return precise::sqrt(x); }
static inline float sh_fma(float a, float b, float c) { return fma(a, b, c); }
// To the nearest integer, ties to even.
static inline float sh_rte(float x) { return rint(x); }

typedef bfloat sh_bf16;
typedef half sh_f16;

static inline float sh_to_f32(float x) { return x; }
static inline float sh_to_f32(sh_bf16 x) { return (float)x; }
static inline float sh_to_f32(sh_f16 x) { return (float)x; }
template <class T> static inline T sh_from_f32(float x) { return (T)x; }

// acc + Σ of the products of four signed bytes.
static inline int32_t sh_dot4_i8(int32_t acc, uint32_t a, uint32_t b) {
    for (uint32_t i = 0u; i < 32u; i += 8u) acc += (int32_t)(char)(a >> i) * (int32_t)(char)(b >> i);
    return acc;
}

#include "sh.h"

#endif
