// CUDA C++, compute capability 8.0 on. Never -use_fast_math: scans meet infinities.
#ifndef SHOAL_COMPAT_H
#define SHOAL_COMPAT_H

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <stdint.h>

struct ShCtx {
    uint32_t tid, bid, bdim, gdim, lane, warp;
};

#define SH_DEVICE static __device__ __forceinline__
#define SH_DEVICE_MEMBER __device__ __forceinline__
#define SH_KERNEL(name) extern "C" __global__ void name
#define SH_PARAMS(...) (__VA_ARGS__)
#define SH_BUF(i, T, n) T* __restrict__ n
#define SH_ARGS(i, S, n) const S n
#define SH_REGISTER(name)
#define SH_ENTER(c) const ShCtx c = {threadIdx.x, blockIdx.x, blockDim.x, gridDim.x, threadIdx.x % 32u, threadIdx.x / 32u}
extern __shared__ float4 sh_cuda_arena[];
#define SH_ARENA(T, n) T* n = reinterpret_cast<T*>(sh_cuda_arena)
#define SH_SHARED(T, n, k) __shared__ T n[k]
#define SH_GLOBAL(T) T*
#define SH_NULL(T) ((T*)nullptr)
#define SH_TGROUP(T) T*
#define SH_THREAD(T) T*
#define SH_CONST_TABLE(T, n, k) static __device__ const T n[k]
#define SH_UNROLL _Pragma("unroll")
#ifdef SHOAL_DEVICE_ASSERT
#define SH_ASSERT(cond) ((cond) ? (void)0 : __trap())
#else
#define SH_ASSERT(cond) ((void)0)
#endif
#define sh_part(p, from, count) ((p) + (from))

#define SH_HERE
#define SH_AT_PARAM
#define SH_AT_ARG

#define SH_CUDA_ALL 0xFFFFFFFFu
#define sh_barrier(c) __syncthreads()
#define sh_warp_barrier(c) __syncwarp()
#define sh_shfl(c, v, source) __shfl_sync(SH_CUDA_ALL, v, source)
#define sh_shfl_xor(c, v, mask) __shfl_xor_sync(SH_CUDA_ALL, v, mask)
#define sh_shfl_xor_at(c, v, mask) __shfl_xor_sync(SH_CUDA_ALL, v, mask)
#define sh_ballot(c, p) __ballot_sync(SH_CUDA_ALL, p)
template <class T> static __device__ __forceinline__ T sh_shfl_up_or(ShCtx c, T v, uint32_t by, T fill) {
    const T other = __shfl_up_sync(SH_CUDA_ALL, v, by);
    return c.lane >= by ? other : fill;
}
template <class T> static __device__ __forceinline__ T sh_shfl_down_or(ShCtx c, T v, uint32_t by, T fill) {
    const T other = __shfl_down_sync(SH_CUDA_ALL, v, by);
    return c.lane + by < 32u ? other : fill;
}

// Integers alone: the order of additions of floats would change their sum.
static __device__ __forceinline__ uint32_t sh_atomic_add_u32(uint32_t* p, uint32_t i, uint32_t v) { return atomicAdd(p + i, v); }

static __device__ __forceinline__ float sh_exp(float x) { return expf(x); }
static __device__ __forceinline__ float sh_exp2(float x) { return exp2f(x); }
static __device__ __forceinline__ float sh_log(float x) { return logf(x); }
static __device__ __forceinline__ float sh_log1p(float x) { return log1pf(x); }
static __device__ __forceinline__ float sh_tanh(float x) { return tanhf(x); }
static __device__ __forceinline__ float sh_sin(float x) { return sinf(x); }
static __device__ __forceinline__ float sh_cos(float x) { return cosf(x); }
static __device__ __forceinline__ float sh_sqrt(float x) { return __fsqrt_rn(x); }
static __device__ __forceinline__ float sh_fma(float a, float b, float c) { return fmaf(a, b, c); }
// To the nearest integer, ties to even.
static __device__ __forceinline__ float sh_rte(float x) { return rintf(x); }

typedef __nv_bfloat16 sh_bf16;
typedef __half sh_f16;

static __device__ __forceinline__ float sh_to_f32(float x) { return x; }
static __device__ __forceinline__ float sh_to_f32(sh_bf16 x) { return __bfloat162float(x); }
static __device__ __forceinline__ float sh_to_f32(sh_f16 x) { return __half2float(x); }
template <class T> static __device__ __forceinline__ T sh_from_f32(float x);
template <> __device__ __forceinline__ float sh_from_f32<float>(float x) { return x; }
template <> __device__ __forceinline__ sh_bf16 sh_from_f32<sh_bf16>(float x) { return __float2bfloat16_rn(x); }
template <> __device__ __forceinline__ sh_f16 sh_from_f32<sh_f16>(float x) { return __float2half_rn(x); }

// acc + Σ of the products of four signed bytes.
static __device__ __forceinline__ int32_t sh_dot4_i8(int32_t acc, uint32_t a, uint32_t b) {
    return __dp4a(static_cast<int32_t>(a), static_cast<int32_t>(b), acc);
}

#include "sh.h"

#endif
