// One kernel for each group of macros, so that every target can show that it means the same by them.
#ifndef SHOAL_SHARED_PROBES_H
#define SHOAL_SHARED_PROBES_H

#include "../args/probes.h"

SH_CONST_TABLE(float, probe_table, 4) = {0.5f, 1.5f, 2.5f, 3.5f};

// (threads, 6).
SH_DEVICE void probe_context(ShCtx c, SH_GLOBAL(uint32_t) out) {
    const uint32_t at = (c.bid * c.bdim + c.tid) * 6u;
    out[at] = c.tid;
    out[at + 1u] = c.bid;
    out[at + 2u] = c.bdim;
    out[at + 3u] = c.gdim;
    out[at + 4u] = c.lane;
    out[at + 5u] = c.warp;
}

// (8, threads).
SH_DEVICE void probe_shuffles(ShCtx c, SH_GLOBAL(const float) x, SH_GLOBAL(float) out) {
    const uint32_t threads = c.gdim * c.bdim, at = c.bid * c.bdim + c.tid;
    const float v = x[at];
    out[at] = sh_shfl(c, v, (c.lane * 7u + 3u) % SH_WARP);
    out[threads + at] = sh_shfl_xor(c, v, 5u);
    out[2u * threads + at] = sh_shfl_up_or(c, v, 3u, -1.0f);
    out[3u * threads + at] = sh_shfl_down_or(c, v, 4u, -2.0f);
    out[4u * threads + at] = sh_warp_sum(c, v);
    out[5u * threads + at] = sh_warp_max(c, v);
    const uint32_t votes = sh_ballot(c, v > 0.0f);
    out[6u * threads + at] = (float)(votes & 0xFFFFu);
    out[7u * threads + at] = (float)(votes >> 16u);
}

// (3, threads): a block turned around through the arena, through a static array, and the halves of a warp exchanged.
SH_DEVICE void probe_memory(ShCtx c, SH_GLOBAL(const float) x, SH_GLOBAL(float) out, SH_TGROUP(float) arena, SH_TGROUP(float) fixed) {
    const uint32_t threads = c.gdim * c.bdim, at = c.bid * c.bdim + c.tid;
    SH_TGROUP(float) part = sh_part(arena, c.bdim, c.bdim);
    arena[c.tid] = x[at];
    fixed[c.tid] = x[at] + probe_table[c.tid % 4u];
    part[c.tid] = -x[at];
    sh_warp_barrier(c);
    out[2u * threads + at] = part[c.tid ^ 16u];
    sh_barrier(c);
    out[at] = arena[c.bdim - 1u - c.tid];
    out[threads + at] = fixed[c.bdim - 1u - c.tid];
}

// (19, count).
SH_DEVICE void probe_maths(ShCtx c, ShProbeArgs a, SH_GLOBAL(const float) from, SH_GLOBAL(float) out) {
    const uint32_t i = c.bid * c.bdim + c.tid;
    if (i >= a.count) return;
    const float x = from[i];
    const float size = x < 0.0f ? -x : x;
    float y[19];
    y[0] = sh_exp(x);
    y[1] = sh_log(size);
    y[2] = sh_log1p(size);
    y[3] = sh_log1p_by_log(size);
    y[4] = sh_tanh(x);
    y[5] = sh_sin(x);
    y[6] = sh_cos(x);
    y[7] = sh_sqrt(size);
    y[8] = sh_fma(x, x, -1.0f);
    y[9] = sh_rte(x);
    y[10] = sh_softplus(x);
    y[11] = sh_sigmoid(x);
    y[12] = sh_silu(x);
    y[13] = sh_silu_slope(x);
    const ShTwo s = sh_two_sum(x, 1e-4f);
    y[14] = s.low;
    const ShTwo p = sh_two_product(x, x);
    y[15] = p.low;
    const ShTwo t = sh_two_add(p, s);
    y[16] = t.high;
    y[17] = t.low;
    y[18] = sh_exp2(x);
    SH_UNROLL
    for (uint32_t k = 0u; k < 19u; ++k) out[k * a.count + i] = y[k];
}

// Rounded to bf16 and to f16, (count) each.
SH_DEVICE void probe_types(ShCtx c, ShProbeArgs a, SH_GLOBAL(const float) from, SH_GLOBAL(sh_bf16) brain, SH_GLOBAL(sh_f16) half_,
                           SH_GLOBAL(float) out) {
    const uint32_t i = c.bid * c.bdim + c.tid;
    SH_ASSERT(a.count > 0u);
    if (i >= a.count) return;
    brain[i] = sh_from_f32<sh_bf16>(from[i]);
    half_[i] = sh_from_f32<sh_f16>(from[i]);
    out[i] = sh_to_f32(brain[i]);
    out[a.count + i] = sh_to_f32(half_[i]);
    out[2u * a.count + i] = sh_from_f32<float>(sh_to_f32(from[i]));
}

// Four signed bytes times four; and how many numbers are odd, counted by a second launch (`kind` 1) from the zero that the first writes.
SH_DEVICE void probe_integers(ShCtx c, ShProbeArgs a, SH_GLOBAL(const uint32_t) from, SH_GLOBAL(int32_t) out, SH_GLOBAL(uint32_t) odd) {
    const uint32_t i = c.bid * c.bdim + c.tid;
    if (a.kind == 0u && i == 0u) odd[0] = 0u;
    if (i >= a.count) return;
    if (a.kind == 0u) out[i] = sh_dot4_i8(7, from[i], from[a.count + i]);
    else sh_atomic_add_u32(odd, 0u, from[i] & 1u);
}

#endif
