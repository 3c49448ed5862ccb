// The scan of Mamba-2 in chunks: products of matrices inside a chunk, states handed from chunk to chunk.
#ifndef SHOAL_SHARED_SSD_H
#define SHOAL_SHARED_SSD_H

#include "../args/ssd.h"
#include "tiles.h"

struct ShSsdChunk {
    uint32_t sequence, start, steps;
};

SH_DEVICE ShSsdChunk ssd_chunk(SH_GLOBAL(const uint32_t) chunks, uint32_t i) {
    ShSsdChunk k;
    k.sequence = chunks[3u * i];
    k.start = chunks[3u * i + 1u];
    k.steps = chunks[3u * i + 2u];
    return k;
}

// Inputs of a group or head in a chunk, as matrices of steps.
SH_DEVICE ShRows ssd_coupling(ShSsdArgs a, ShSsdChunk k, SH_GLOBAL(const float) x, uint32_t group, uint32_t column) {
    ShRows m = {x + ((k.start * a.groups + group) * a.states + column), a.groups * a.states, k.steps, a.states - column};
    return m;
}
SH_DEVICE ShRows ssd_lines(ShSsdArgs a, ShSsdChunk k, SH_GLOBAL(const float) x, uint32_t head, uint32_t column) {
    ShRows m = {x + ((k.start * a.heads + head) * a.width + column), a.heads * a.width, k.steps, a.width - column};
    return m;
}
// The state of a chunk and head, (width, states), from a row and column on.
SH_DEVICE ShRows ssd_state(ShSsdArgs a, SH_GLOBAL(const float) states, uint32_t chunk, uint32_t head, uint32_t row, uint32_t column) {
    ShRows m = {states + (((chunk * a.heads + head) * a.width + row) * a.states + column), a.states, a.width - row, a.states - column};
    return m;
}
// A square of a chunk, (chunk, chunk): `of` counts chunks and groups, or chunks and heads.
SH_DEVICE ShRows ssd_square(ShSsdArgs a, ShSsdChunk k, SH_GLOBAL(const float) squares, uint32_t of) {
    ShRows m = {squares + of * a.chunk * a.chunk, a.chunk, k.steps, k.steps};
    return m;
}

// Step sizes of a chunk into shared memory, and the decays.
SH_DEVICE void ssd_decays(ShCtx c, ShSsdArgs a, ShSsdChunk k, uint32_t head, SH_GLOBAL(const float) dt, SH_GLOBAL(const float) rates,
                          SH_TGROUP(float) steps, ShDecays d) {
    SH_ASSERT(k.steps <= 64u && a.chunk <= 64u);
    float step = 0.0f;
    if (c.tid < k.steps) step = dt[(k.start + c.tid) * a.heads + head];
    if (c.tid < 64u) steps[c.tid] = step;
    sh_fill_decays(c, d, step * rates[head]);
}

SH_DEVICE float ssd_skip(ShSsdArgs a, SH_GLOBAL(const float) skip, uint32_t head, uint32_t channel) {
    if (a.skip == 0u) return 0.0f;
    return skip[a.skip == 1u ? head : head * a.width + channel];
}

// C · B^T of a chunk and group.
SH_DEVICE void ssd_couplings(ShCtx c, ShSsdArgs a, SH_GLOBAL(const uint32_t) chunks, SH_GLOBAL(const float) b, SH_GLOBAL(const float) cc,
                             SH_GLOBAL(float) squares, SH_TGROUP(float) arena) {
    const ShSsdChunk k = ssd_chunk(chunks, c.bid / a.groups);
    const uint32_t group = c.bid % a.groups;
    float acc[16];
    tile_zero(acc);
    const ShRows left = ssd_coupling(a, k, cc, group, 0u), right = ssd_coupling(a, k, b, group, 0u);
    tile_product<true, true>(c, left, sh_turned(right), k.steps, k.steps, a.states, arena, acc);
    for (uint32_t e = 0u; e < 16u; ++e) {
        const uint32_t i = tile_row(c) + e / 4u, j = tile_column(c) + e % 4u;
        if (i < k.steps && j < k.steps) squares[(c.bid * a.chunk + i) * a.chunk + j] = acc[e];
    }
}

// What a chunk adds to the state, and its decay. FORWARD: Σ_j r_j·dt_j·x_j·B_j^T; else, for the gradient, Σ_i e_i·dy_i·C_i^T.
template <bool FORWARD>
SH_DEVICE void ssd_chunk_states(ShCtx c, ShSsdArgs a, SH_GLOBAL(const uint32_t) chunks, SH_GLOBAL(const float) x, SH_GLOBAL(const float) dt,
                                SH_GLOBAL(const float) b, SH_GLOBAL(const float) rates, SH_GLOBAL(float) states, SH_GLOBAL(float) decays,
                                SH_TGROUP(float) arena) {
    const uint32_t across = sh_ceil_div(a.states, TILE_SIDE), down = sh_ceil_div(a.width, TILE_SIDE);
    const uint32_t tile = c.bid % (across * down), of = c.bid / (across * down);
    const uint32_t head = of % a.heads, row = tile / across * TILE_SIDE, column = tile % across * TILE_SIDE;
    const ShSsdChunk k = ssd_chunk(chunks, of / a.heads);
    const ShDecays d = sh_decays(sh_part(arena, TILE_FLOATS, DECAY_FLOATS));
    SH_TGROUP(float) steps = sh_part(arena, TILE_FLOATS + DECAY_FLOATS, 64u);
    SH_TGROUP(float) scale = sh_part(arena, TILE_FLOATS + DECAY_FLOATS + 64u, 64u);
    ssd_decays(c, a, k, head, dt, rates, steps, d);
    if (c.tid < 64u) scale[c.tid] = FORWARD ? d.ends[c.tid] * steps[c.tid] : (float)d.starts[c.tid];
    if (c.tid == 0u && tile == 0u && FORWARD) decays[of] = sh_exp(d.all());
    float acc[16];
    tile_zero(acc);
    const ShScaledRows left = {ssd_lines(a, k, x, head, row), scale};
    const ShRows right = ssd_coupling(a, k, b, head / a.per_group, column);
    tile_product<false, false>(c, sh_turned(left), right, a.width - row, a.states - column, k.steps, arena, acc);
    for (uint32_t e = 0u; e < 16u; ++e) {
        const uint32_t i = row + tile_row(c) + e / 4u, j = column + tile_column(c) + e % 4u;
        if (i < a.width && j < a.states) states[(of * a.width + i) * a.states + j] = acc[e];
    }
}

// Hands states on, in place: what chunks add becomes the state before them. One thread has an element of a head of a sequence.
SH_DEVICE void ssd_pass(ShCtx c, ShSsdArgs a, SH_GLOBAL(const uint32_t) bounds, SH_GLOBAL(const float) decays, SH_GLOBAL(const float) initial,
                        SH_GLOBAL(float) states, SH_GLOBAL(float) last) {
    const uint32_t each = a.width * a.states, i = c.bid * c.bdim + c.tid;
    if (i >= a.sequences * a.heads * each) return;
    const uint32_t sequence = i / (a.heads * each), head = i / each % a.heads;
    float s = a.has_initial != 0u ? (float)initial[i] : 0.0f;
    for (uint32_t k = bounds[sequence]; k < bounds[sequence + 1u]; ++k) {
        const uint32_t of = k * a.heads + head, place = of * each + i % each;
        const float more = states[place];
        states[place] = s;
        s = sh_fma(decays[of], s, more);
    }
    last[i] = s;
}

// Same backward for gradients: what chunks add becomes the gradient of the state behind them.
SH_DEVICE void ssd_pass_back(ShCtx c, ShSsdArgs a, SH_GLOBAL(const uint32_t) bounds, SH_GLOBAL(const float) decays,
                             SH_GLOBAL(const float) dlast, SH_GLOBAL(float) states, SH_GLOBAL(float) dinitial) {
    const uint32_t each = a.width * a.states, i = c.bid * c.bdim + c.tid;
    if (i >= a.sequences * a.heads * each) return;
    const uint32_t sequence = i / (a.heads * each), head = i / each % a.heads;
    float s = a.has_dlast != 0u ? (float)dlast[i] : 0.0f;
    for (uint32_t k = bounds[sequence + 1u]; k-- > bounds[sequence];) {
        const uint32_t of = k * a.heads + head, place = of * each + i % each;
        const float more = states[place];
        states[place] = s;
        s = sh_fma(decays[of], s, more);
    }
    dinitial[i] = s;
}

// (C·B^T)∘L of a chunk and head.
struct ShSsdMasked {
    ShRows square;
    ShDecays decays;
    SH_DEVICE_MEMBER float at(uint32_t i, uint32_t j) const {
        return i >= j && i < square.rows ? square.at(i, j) * sh_exp(decays.between(i, j)) : 0.0f;
    }
};

// y of a chunk, head and 64 channels.
SH_DEVICE void ssd_chunk_scan(ShCtx c, ShSsdArgs a, SH_GLOBAL(const uint32_t) chunks, SH_GLOBAL(const float) x, SH_GLOBAL(const float) dt,
                              SH_GLOBAL(const float) cc, SH_GLOBAL(const float) rates, SH_GLOBAL(const float) skip,
                              SH_GLOBAL(const float) squares, SH_GLOBAL(const float) states, SH_GLOBAL(float) y, SH_TGROUP(float) arena) {
    const uint32_t across = sh_ceil_div(a.width, TILE_SIDE);
    const uint32_t column = c.bid % across * TILE_SIDE, of = c.bid / across, head = of % a.heads, chunk = of / a.heads;
    const uint32_t group = head / a.per_group;
    const ShSsdChunk k = ssd_chunk(chunks, chunk);
    const ShDecays d = sh_decays(sh_part(arena, TILE_FLOATS, DECAY_FLOATS));
    SH_TGROUP(float) steps = sh_part(arena, TILE_FLOATS + DECAY_FLOATS, 64u);
    ssd_decays(c, a, k, head, dt, rates, steps, d);
    float acc[16];
    tile_zero(acc);
    const ShRows left = ssd_coupling(a, k, cc, group, 0u), state = ssd_state(a, states, chunk, head, column, 0u);
    tile_product<true, true>(c, left, sh_turned(state), k.steps, a.width - column, a.states, arena, acc);
    for (uint32_t e = 0u; e < 16u; ++e) acc[e] *= d.starts[tile_row(c) + e / 4u];
    const ShSsdMasked masked = {ssd_square(a, k, squares, chunk * a.groups + group), d};
    const ShScaledRows right = {ssd_lines(a, k, x, head, column), steps};
    tile_product<true, false>(c, masked, right, k.steps, a.width - column, k.steps, arena, acc);
    for (uint32_t e = 0u; e < 16u; ++e) {
        const uint32_t i = tile_row(c) + e / 4u, channel = column + tile_column(c) + e % 4u;
        if (i >= k.steps || channel >= a.width) continue;
        const uint32_t place = ((k.start + i) * a.heads + head) * a.width + channel;
        y[place] = sh_fma(ssd_skip(a, skip, head, channel), x[place], acc[e]);
    }
}

#endif
