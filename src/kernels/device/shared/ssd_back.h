// The way back of ssd.h. See `ssd_back_chunk` for the terms.
#ifndef SHOAL_SHARED_SSD_BACK_H
#define SHOAL_SHARED_SSD_BACK_H

#include "ssd.h"

// A square of a chunk in shared memory.
#define SSD_LINE 65u
struct ShSsdShared {
    SH_TGROUP(float) x;
    ShRows square;
    // Its element times that of a square in global memory.
    SH_DEVICE_MEMBER float at(uint32_t i, uint32_t j) const { return square.at(i, j) * x[i * SSD_LINE + j]; }
};

// Floats of shared memory: a product, the decays, steps, L, four numbers of each step, sums of the warps.
#define SSD_BACK_FLOATS (TILE_FLOATS + DECAY_FLOATS + 64u + 64u * SSD_LINE + 4u * 64u + 16u)

// Gradients in a chunk and head, with G = (C·B^T)∘L, X̄ = dt∘X, S the state before and dS the gradient of that behind it, e and r as in
// ShDecays:
//   dX̄ = G^T·dY + r∘(B·dS^T), dX = dt∘dX̄ + D·dY, dD = Σ dY∘X;
//   dG = dY·X̄^T, d(C·B^T) = dG∘L, left for ssd_sum_heads and ssd_back_couplings;
//   the gradient of the logarithm a_k of a decay is a sum over what it lies between: the pairs i >= k > j of W = dG∘G, the rows i >= k of
//   t = e∘rows((dY·S)∘C), the rows j < k of v = r∘rows((X̄·dS)∘B), and e_last·<dS, S>. No difference is formed;
//   d dt_k = <dX̄_k, X_k> + A·da_k, dA = Σ dt_k·da_k.
SH_DEVICE void ssd_back_chunk(ShCtx c, ShSsdArgs a, SH_GLOBAL(const uint32_t) chunks, SH_GLOBAL(const float) x, SH_GLOBAL(const float) dt,
                              SH_GLOBAL(const float) b, SH_GLOBAL(const float) cc, SH_GLOBAL(const float) rates,
                              SH_GLOBAL(const float) skip, SH_GLOBAL(const float) dy, SH_GLOBAL(const float) squares,
                              SH_GLOBAL(const float) states, SH_GLOBAL(const float) dstates, SH_GLOBAL(float) dx, SH_GLOBAL(float) ddt,
                              SH_GLOBAL(float) dsquares, SH_GLOBAL(float) drates, SH_GLOBAL(float) dskip, SH_TGROUP(float) arena) {
    const uint32_t of = c.bid, head = of % a.heads, chunk = of / a.heads, group = head / a.per_group;
    const ShSsdChunk k = ssd_chunk(chunks, chunk);
    uint32_t at = TILE_FLOATS;
    const ShDecays d = sh_decays(sh_part(arena, at, DECAY_FLOATS));
    at += DECAY_FLOATS;
    SH_TGROUP(float) steps = sh_part(arena, at, 64u);
    at += 64u;
    SH_TGROUP(float) l = sh_part(arena, at, 64u * SSD_LINE);
    at += 64u * SSD_LINE;
    SH_TGROUP(float) direct = sh_part(arena, at, 64u);
    SH_TGROUP(float) vs = sh_part(arena, at + 64u, 64u);
    SH_TGROUP(float) ts = sh_part(arena, at + 128u, 64u);
    SH_TGROUP(float) das = sh_part(arena, at + 192u, 64u);
    SH_TGROUP(float) warps = sh_part(arena, at + 256u, 16u);
    ssd_decays(c, a, k, head, dt, rates, steps, d);
    for (uint32_t e = c.tid; e < 64u * 64u; e += TILE_THREADS) {
        const uint32_t i = e / 64u, j = e % 64u;
        l[i * SSD_LINE + j] = i >= j ? sh_exp(d.between(i, j)) : 0.0f;
    }
    const uint32_t row = tile_row(c), column = tile_column(c);
    const ShRows square = ssd_square(a, k, squares, chunk * a.groups + group);
    const ShSsdShared g = {l, square};
    const ShRows bs = ssd_coupling(a, k, b, group, 0u), cs = ssd_coupling(a, k, cc, group, 0u);

    // dX and all that goes by its rows.
    float through[4] = {0.0f, 0.0f, 0.0f, 0.0f}, v[4] = {0.0f, 0.0f, 0.0f, 0.0f}, t[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    for (uint32_t p0 = 0u; p0 < a.width; p0 += TILE_SIDE) {
        const uint32_t wide = a.width - p0;
        float behind[16], inside[16], before[16];
        tile_zero(behind);
        tile_zero(inside);
        tile_zero(before);
        const ShRows dys = ssd_lines(a, k, dy, head, p0);
        tile_product<true, true>(c, bs, sh_turned(ssd_state(a, dstates, chunk, head, p0, 0u)), k.steps, wide, a.states, arena, behind);
        tile_product<false, false>(c, sh_turned(g), dys, k.steps, wide, k.steps, arena, inside);
        tile_product<true, true>(c, cs, sh_turned(ssd_state(a, states, chunk, head, p0, 0u)), k.steps, wide, a.states, arena, before);
        float skips[4] = {0.0f, 0.0f, 0.0f, 0.0f};
        SH_UNROLL
        for (uint32_t e = 0u; e < 16u; ++e) {
            const uint32_t i = row + e / 4u, channel = p0 + column + e % 4u;
            if (i >= k.steps || channel >= a.width) continue;
            const uint32_t place = ((k.start + i) * a.heads + head) * a.width + channel;
            const float late = d.ends[i] * behind[e], dxd = inside[e] + late, value = x[place], gradient = dy[place];
            through[e / 4u] = sh_fma(dxd, value, through[e / 4u]);
            v[e / 4u] = sh_fma(late, value, v[e / 4u]);
            t[e / 4u] = sh_fma(before[e], gradient, t[e / 4u]);
            skips[e % 4u] = sh_fma(gradient, value, skips[e % 4u]);
            dx[place] = sh_fma(steps[i], dxd, ssd_skip(a, skip, head, channel) * gradient);
        }
        sh_barrier(c);
        SH_UNROLL
        for (uint32_t j = 0u; j < 4u; ++j) arena[c.tid / 16u * 64u + column + j] = skips[j];
        sh_barrier(c);
        if (c.tid < 64u && p0 + c.tid < a.width) {
            float sum = 0.0f;
            for (uint32_t i = 0u; i < 16u; ++i) sum += arena[i * 64u + c.tid];
            dskip[of * a.width + p0 + c.tid] = sum;
        }
    }
    SH_UNROLL
    for (uint32_t i = 0u; i < 4u; ++i) {
        const float sums[3] = {tile_row_sum(c, through[i]), tile_row_sum(c, v[i]), tile_row_sum(c, t[i])};
        if (column != 0u) continue;
        direct[row + i] = sums[0];
        vs[row + i] = steps[row + i] * sums[1];
        ts[row + i] = d.starts[row + i] * sums[2];
    }

    // dG, and W in the place of L.
    float dg[16];
    tile_zero(dg);
    const ShScaledRows xs = {ssd_lines(a, k, x, head, 0u), steps};
    tile_product<true, true>(c, ssd_lines(a, k, dy, head, 0u), sh_turned(xs), k.steps, k.steps, a.width, arena, dg);
    SH_UNROLL
    for (uint32_t e = 0u; e < 16u; ++e) {
        const uint32_t i = row + e / 4u, j = column + e % 4u;
        const float through_l = dg[e] * l[i * SSD_LINE + j];
        if (i < k.steps && j < k.steps) dsquares[(of * a.chunk + i) * a.chunk + j] = through_l;
        l[i * SSD_LINE + j] = through_l * square.at(i, j);
    }
    // <dS, S>.
    float inner = 0.0f;
    const uint32_t each = a.width * a.states;
    for (uint32_t e = c.tid; e < each; e += TILE_THREADS) inner = sh_fma(states[of * each + e], dstates[of * each + e], inner);
    inner = sh_warp_sum(c, inner);
    if (c.lane == 0u) warps[c.warp] = inner;
    sh_barrier(c);
    // Sums of W along its rows, then down its columns.
    if (c.tid < 64u) {
        float sum = 0.0f;
        for (uint32_t j = 0u; j < 64u; ++j) {
            sum += l[c.tid * SSD_LINE + j];
            l[c.tid * SSD_LINE + j] = sum;
        }
    }
    sh_barrier(c);
    if (c.tid < k.steps) {
        float da = 0.0f;
        for (uint32_t w = 0u; w < TILE_THREADS / SH_WARP; ++w) da += warps[w];
        da *= sh_exp(d.all());
        for (uint32_t i = c.tid; i < k.steps; ++i) {
            if (c.tid > 0u) da += l[i * SSD_LINE + c.tid - 1u];
            da += ts[i];
        }
        for (uint32_t j = 0u; j < c.tid; ++j) da += vs[j];
        das[c.tid] = steps[c.tid] * da;
        ddt[(k.start + c.tid) * a.heads + head] = sh_fma(rates[head], da, direct[c.tid]);
    }
    sh_barrier(c);
    if (c.tid == 0u) {
        float sum = 0.0f;
        for (uint32_t i = 0u; i < k.steps; ++i) sum += das[i];
        drates[of] = sum;
    }
}

// Σ over the heads of a group of d(C·B^T), in order. One thread has an element of a square.
SH_DEVICE void ssd_sum_heads(ShCtx c, ShSsdArgs a, SH_GLOBAL(const uint32_t) chunks, SH_GLOBAL(const float) dsquares, SH_GLOBAL(float) sums) {
    const uint32_t each = a.chunk * a.chunk, i = c.bid * c.bdim + c.tid;
    if (i >= a.chunks * a.groups * each) return;
    const uint32_t steps = chunks[3u * (i / each / a.groups) + 2u];
    if (i % each / a.chunk >= steps || i % a.chunk >= steps) return;
    const uint32_t first = i / each * a.per_group;
    float sum = 0.0f;
    for (uint32_t h = 0u; h < a.per_group; ++h) sum += dsquares[(first + h) * each + i % each];
    sums[i] = sum;
}

// 64 states of dC = d(C·B^T)·B + Σ_heads e∘(dY·S), or of dB = d(C·B^T)^T·C + Σ_heads r∘dt∘(X·dS), of a chunk and group.
SH_DEVICE void ssd_back_couplings(ShCtx c, ShSsdArgs a, SH_GLOBAL(const uint32_t) chunks, SH_GLOBAL(const float) x, SH_GLOBAL(const float) dt,
                                  SH_GLOBAL(const float) b, SH_GLOBAL(const float) cc, SH_GLOBAL(const float) rates,
                                  SH_GLOBAL(const float) dy, SH_GLOBAL(const float) sums, SH_GLOBAL(const float) states,
                                  SH_GLOBAL(const float) dstates, SH_GLOBAL(float) db, SH_GLOBAL(float) dc, SH_TGROUP(float) arena) {
    const uint32_t across = sh_ceil_div(a.states, TILE_SIDE);
    const uint32_t of = c.bid / 2u / across, column = c.bid / 2u % across * TILE_SIDE, group = of % a.groups, chunk = of / a.groups;
    const bool is_c = c.bid % 2u == 0u;
    const ShSsdChunk k = ssd_chunk(chunks, chunk);
    const ShDecays d = sh_decays(sh_part(arena, TILE_FLOATS, DECAY_FLOATS));
    SH_TGROUP(float) steps = sh_part(arena, TILE_FLOATS + DECAY_FLOATS, 64u);
    SH_TGROUP(float) scale = sh_part(arena, TILE_FLOATS + DECAY_FLOATS + 64u, 64u);
    float acc[16];
    tile_zero(acc);
    const uint32_t wide = a.states - column;
    const ShRows square = ssd_square(a, k, sums, of);
    if (is_c) tile_product<true, false>(c, square, ssd_coupling(a, k, b, group, column), k.steps, wide, k.steps, arena, acc);
    else tile_product<false, false>(c, sh_turned(square), ssd_coupling(a, k, cc, group, column), k.steps, wide, k.steps, arena, acc);
    for (uint32_t h = 0u; h < a.per_group; ++h) {
        const uint32_t head = group * a.per_group + h;
        ssd_decays(c, a, k, head, dt, rates, steps, d);
        if (c.tid < 64u) scale[c.tid] = is_c ? (float)d.starts[c.tid] : d.ends[c.tid] * steps[c.tid];
        const ShScaledRows left = {ssd_lines(a, k, is_c ? dy : x, head, 0u), scale};
        const ShRows right = ssd_state(a, is_c ? states : dstates, chunk, head, 0u, column);
        tile_product<true, false>(c, left, right, k.steps, wide, a.width, arena, acc);
    }
    for (uint32_t e = 0u; e < 16u; ++e) {
        const uint32_t i = tile_row(c) + e / 4u, n = column + tile_column(c) + e % 4u;
        if (i >= k.steps || n >= a.states) continue;
        const uint32_t place = ((k.start + i) * a.groups + group) * a.states + n;
        if (is_c) dc[place] = acc[e];
        else db[place] = acc[e];
    }
}

// dA (heads) and dD (heads, or heads and channels): the chunks in order. One thread has a number.
SH_DEVICE void ssd_sum_chunks(ShCtx c, ShSsdArgs a, SH_GLOBAL(const float) drates, SH_GLOBAL(const float) dskip, SH_GLOBAL(float) da,
                              SH_GLOBAL(float) dd) {
    const uint32_t i = c.bid * c.bdim + c.tid;
    const uint32_t skips = a.skip == 0u ? 0u : a.skip == 1u ? a.heads : a.heads * a.width;
    if (i >= a.heads + skips) return;
    float sum = 0.0f;
    if (i < a.heads) {
        for (uint32_t k = 0u; k < a.chunks; ++k) sum += drates[k * a.heads + i];
        da[i] = sum;
        return;
    }
    const uint32_t at = i - a.heads, each = a.skip == 1u ? a.width : 1u;
    for (uint32_t k = 0u; k < a.chunks; ++k) {
        float part = 0.0f;
        for (uint32_t p = 0u; p < each; ++p) part += dskip[k * a.heads * a.width + at * each + p];
        sum += part;
    }
    dd[at] = sum;
}

#endif
