// The scan of Mamba-3, forward. Angles are summed in turns, in two floats, and rotated keys and queries are kept; then it is the scan of
// Mamba-2 with the rows (step, rank) of a chunk below each other and a weight for each step (see shoal's scan/mamba3).
#ifndef SHOAL_SHARED_MAMBA3_H
#define SHOAL_SHARED_MAMBA3_H

#include "../args/mamba3.h"
#include "tiles.h"

struct ShM3Chunk {
    uint32_t sequence, start, steps;
};

SH_DEVICE ShM3Chunk m3_chunk(SH_GLOBAL(const uint32_t) chunks, uint32_t i) {
    ShM3Chunk k;
    k.sequence = chunks[3u * i];
    k.start = chunks[3u * i + 1u];
    k.steps = chunks[3u * i + 2u];
    return k;
}

// gamma = lambda·dt and nu = (1 - lambda)·dt of a step.
SH_DEVICE float m3_gamma(float dt, float trap) { return dt * sh_sigmoid(trap); }
SH_DEVICE float m3_nu(float dt, float trap) { return dt * sh_sigmoid(-trap); }

// Weights of steps, (2, rows, heads): that of a step in the state, gamma + nu of the step after it, and gamma. `ends`: first rows of the
// sequences and the last's end.
SH_DEVICE void m3_weights(ShCtx c, ShMamba3Args a, SH_GLOBAL(const uint32_t) chunks, SH_GLOBAL(const uint32_t) ends,
                          SH_GLOBAL(const float) dt, SH_GLOBAL(const float) trap, SH_GLOBAL(float) weights) {
    const ShM3Chunk k = m3_chunk(chunks, c.bid);
    const uint32_t end = ends[k.sequence + 1u];
    for (uint32_t i = c.tid; i < k.steps * a.heads; i += c.bdim) {
        const uint32_t at = k.start * a.heads + i, row = k.start + i / a.heads;
        const float gamma = m3_gamma(dt[at], trap[at]);
        const float nu = row + 1u < end ? m3_nu(dt[at + a.heads], trap[at + a.heads]) : 0.0f;
        weights[at] = gamma + nu;
        weights[a.rows * a.heads + at] = gamma;
    }
}

// Turns in [-1/2, 1/2].
SH_DEVICE ShTwo m3_wrap(ShTwo t) { return sh_two_sum(t.high - sh_rte(t.high), t.low); }

// What a step turns by: tanh(angle)·dt / 2.
SH_DEVICE ShTwo m3_turn(ShMamba3Args a, SH_GLOBAL(const float) angles, SH_GLOBAL(const float) dt, uint32_t row, uint32_t head, uint32_t i) {
    const uint32_t at = row * a.heads + head;
    const float raw = angles[(a.shared_angles != 0u ? row : at) * a.angles + i];
    return m3_wrap(sh_two_product(sh_tanh(raw), 0.5f * dt[at]));
}

// Turns of chunks, (chunks, heads, angles, 2).
SH_DEVICE void m3_chunk_turns(ShCtx c, ShMamba3Args a, SH_GLOBAL(const uint32_t) chunks, SH_GLOBAL(const float) angles,
                              SH_GLOBAL(const float) dt, SH_GLOBAL(float) turns) {
    const ShM3Chunk k = m3_chunk(chunks, c.bid);
    for (uint32_t i = c.tid; i < a.heads * a.angles; i += c.bdim) {
        ShTwo sum = {0.0f, 0.0f};
        for (uint32_t t = 0u; t < k.steps; ++t) sum = m3_wrap(sh_two_add(sum, m3_turn(a, angles, dt, k.start + t, i / a.angles, i % a.angles)));
        const uint32_t at = (c.bid * a.heads * a.angles + i) * 2u;
        turns[at] = sum.high;
        turns[at + 1u] = sum.low;
    }
}

// 2·pi: the nearest float, and what it lacks.
#define M3_TAU 6.2831855f
#define M3_TAU_LOW -1.7484556e-7f

// Hands turns on, in place: those of chunks become those before them. One thread has an angle of a head of a sequence.
SH_DEVICE void m3_pass_turns(ShCtx c, ShMamba3Args a, SH_GLOBAL(const uint32_t) bounds, SH_GLOBAL(const float) initial, SH_GLOBAL(float) turns,
                             SH_GLOBAL(float) last) {
    const uint32_t each = a.heads * a.angles, i = c.bid * c.bdim + c.tid;
    if (i >= a.sequences * each) return;
    const uint32_t sequence = i / each, first = bounds[sequence], end = bounds[sequence + 1u];
    const float before = a.has_initial != 0u ? (float)initial[i] : 0.0f;
    if (first == end) {
        last[i] = before;
        return;
    }
    // Divided by 2·pi, whose inverse is 0.15915494 in f32 and what it lacks.
    ShTwo turn = sh_two_product(before, 0.15915494f);
    turn.low = sh_fma(before, 6.4206383e-9f, turn.low);
    turn = m3_wrap(turn);
    for (uint32_t k = first; k < end; ++k) {
        const uint32_t at = (k * each + i % each) * 2u;
        const ShTwo more = {turns[at], turns[at + 1u]};
        turns[at] = turn.high;
        turns[at + 1u] = turn.low;
        turn = m3_wrap(sh_two_add(turn, more));
    }
    const ShTwo positive = turn.high < 0.0f ? sh_two_sum(1.0f + turn.high, turn.low + (turn.high - ((1.0f + turn.high) - 1.0f))) : turn;
    last[i] = sh_fma(positive.high, M3_TAU, sh_fma(positive.low, M3_TAU, positive.high * M3_TAU_LOW));
}

// The places of a pair.
SH_DEVICE uint32_t m3_first(ShMamba3Args a, uint32_t i) { return a.halves != 0u ? i : 2u * i; }
SH_DEVICE uint32_t m3_second(ShMamba3Args a, uint32_t i) { return a.halves != 0u ? i + a.states / 2u : 2u * i + 1u; }
// The place of state `j` of those that are in no pair.
SH_DEVICE uint32_t m3_plain(ShMamba3Args a, uint32_t j) {
    if (a.halves == 0u) return 2u * a.angles + j;
    const uint32_t middle = a.states / 2u - a.angles;
    return j < middle ? a.angles + j : a.states / 2u + a.angles + (j - middle);
}

// Queries and keys with their biases, rotated: (rows, heads, rank, states) each. A block has a chunk of a head, a thread a pair or a state.
SH_DEVICE void m3_rotate(ShCtx c, ShMamba3Args a, SH_GLOBAL(const uint32_t) chunks, SH_GLOBAL(const float) q, SH_GLOBAL(const float) k,
                         SH_GLOBAL(const float) dt, SH_GLOBAL(const float) angles, SH_GLOBAL(const float) q_bias,
                         SH_GLOBAL(const float) k_bias, SH_GLOBAL(const float) turns, SH_GLOBAL(float) queries, SH_GLOBAL(float) keys) {
    const uint32_t head = c.bid % a.heads, group = head / a.per_group;
    const ShM3Chunk chunk = m3_chunk(chunks, c.bid / a.heads);
    for (uint32_t unit = c.tid; unit < a.states - a.angles; unit += c.bdim) {
        const bool turned = unit < a.angles;
        const uint32_t i = turned ? m3_first(a, unit) : m3_plain(a, unit - a.angles), j = turned ? m3_second(a, unit) : i;
        ShTwo turn = {0.0f, 0.0f};
        if (turned) {
            const uint32_t at = (c.bid * a.angles + unit) * 2u;
            turn.high = turns[at];
            turn.low = turns[at + 1u];
        }
        for (uint32_t t = 0u; t < chunk.steps; ++t) {
            const uint32_t row = chunk.start + t;
            float sine = 0.0f, cosine = 1.0f;
            if (turned) {
                turn = m3_wrap(sh_two_add(turn, m3_turn(a, angles, dt, row, head, unit)));
                // The angle in two floats; the second turns a little further.
                const ShTwo angle = sh_two_product(turn.high, M3_TAU);
                const float rest = angle.low + sh_fma(turn.low, M3_TAU, turn.high * M3_TAU_LOW);
                const float s = sh_sin(angle.high), co = sh_cos(angle.high);
                sine = sh_fma(rest, co, s);
                cosine = sh_fma(-rest, s, co);
            }
            for (uint32_t r = 0u; r < a.rank; ++r) {
                const uint32_t from = ((row * a.rank + r) * a.groups + group) * a.states, bias = (head * a.rank + r) * a.states;
                const uint32_t to = ((row * a.heads + head) * a.rank + r) * a.states;
                const float qi = q[from + i] + q_bias[bias + i], ki = k[from + i] + k_bias[bias + i];
                if (!turned) {
                    queries[to + i] = qi;
                    keys[to + i] = ki;
                    continue;
                }
                const float qj = q[from + j] + q_bias[bias + j], kj = k[from + j] + k_bias[bias + j];
                queries[to + i] = sh_fma(qi, cosine, -(qj * sine));
                queries[to + j] = sh_fma(qi, sine, qj * cosine);
                keys[to + i] = sh_fma(ki, cosine, -(kj * sine));
                keys[to + j] = sh_fma(ki, sine, kj * cosine);
            }
        }
    }
}

// Rows (step, rank) of a chunk and head.
struct ShM3Rows {
    SH_GLOBAL(const float) x;
    // Of a step, and rows.
    uint32_t stride, rank, rows, width;
    SH_DEVICE_MEMBER float at(uint32_t row, uint32_t column) const {
        return row < rows && column < width ? (float)x[row / rank * stride + row % rank * width + column] : 0.0f;
    }
};
// v of those rows, from a channel on, times a number of the row if there is one.
struct ShM3Values {
    SH_GLOBAL(const float) x;
    SH_GLOBAL(const float) mix;
    SH_TGROUP(float) scale;
    uint32_t stride, rank, rows, width, line;
    bool mixed, scaled;
    SH_DEVICE_MEMBER float at(uint32_t row, uint32_t channel) const {
        if (row >= rows || channel >= width) return 0.0f;
        float v = x[row / rank * stride + channel];
        if (mixed) v *= mix[row % rank * line + channel];
        return scaled ? v * scale[row] : v;
    }
};

SH_DEVICE ShM3Rows m3_lines(ShMamba3Args a, ShM3Chunk k, SH_GLOBAL(const float) x, uint32_t head) {
    const ShM3Rows m = {x + (k.start * a.heads + head) * a.rank * a.states, a.heads * a.rank * a.states, a.rank, k.steps * a.rank, a.states};
    return m;
}
SH_DEVICE ShM3Values m3_values(ShMamba3Args a, ShM3Chunk k, SH_GLOBAL(const float) x, SH_GLOBAL(const float) mix, uint32_t head,
                               uint32_t channel, SH_TGROUP(float) scale, bool scaled) {
    const bool mixed = a.has_mix_x != 0u;
    const ShM3Values m = {x + ((k.start * a.heads + head) * a.width + channel),
                          mixed ? mix + (head * a.rank * a.width + channel) : mix,
                          scale,
                          a.heads * a.width,
                          a.rank,
                          k.steps * a.rank,
                          a.width - channel,
                          a.width,
                          mixed,
                          scaled};
    return m;
}
SH_DEVICE ShRows m3_state(ShMamba3Args a, SH_GLOBAL(const float) states, uint32_t of, uint32_t row, uint32_t column) {
    const ShRows m = {states + ((of * a.width + row) * a.states + column), a.states, a.width - row, a.states - column};
    return m;
}

// Decays of the rows of a chunk: a step's is its first row's.
SH_DEVICE void m3_decays(ShCtx c, ShMamba3Args a, ShM3Chunk k, uint32_t head, SH_GLOBAL(const float) log_decay, ShDecays d) {
    SH_ASSERT(k.steps * a.rank <= 64u);
    float logarithm = 0.0f;
    if (c.tid < k.steps * a.rank && c.tid % a.rank == 0u) logarithm = log_decay[(k.start + c.tid / a.rank) * a.heads + head];
    sh_fill_decays(c, d, logarithm);
}

// What a chunk adds to the state, Σ w·r·v·k^T, and its decay.
SH_DEVICE void m3_chunk_states(ShCtx c, ShMamba3Args a, SH_GLOBAL(const uint32_t) chunks, SH_GLOBAL(const float) x,
                               SH_GLOBAL(const float) mix, SH_GLOBAL(const float) log_decay, SH_GLOBAL(const float) weights,
                               SH_GLOBAL(const float) keys, SH_GLOBAL(float) states, SH_GLOBAL(float) decays, SH_TGROUP(float) arena) {
    const uint32_t across = sh_ceil_div(a.states, TILE_SIDE), down = sh_ceil_div(a.width, TILE_SIDE);
    const uint32_t tile = c.bid % (across * down), of = c.bid / (across * down);
    const uint32_t head = of % a.heads, row = tile / across * TILE_SIDE, column = tile % across * TILE_SIDE;
    const ShM3Chunk k = m3_chunk(chunks, of / a.heads);
    const ShDecays d = sh_decays(sh_part(arena, TILE_FLOATS, DECAY_FLOATS));
    SH_TGROUP(float) scale = sh_part(arena, TILE_FLOATS + DECAY_FLOATS, 64u);
    m3_decays(c, a, k, head, log_decay, d);
    const uint32_t rows = k.steps * a.rank;
    if (c.tid < 64u) scale[c.tid] = c.tid < rows ? d.ends[c.tid] * weights[(k.start + c.tid / a.rank) * a.heads + head] : 0.0f;
    if (c.tid == 0u && tile == 0u) decays[of] = sh_exp(d.all());
    float acc[16];
    tile_zero(acc);
    const ShM3Values left = m3_values(a, k, x, mix, head, row, scale, true);
    ShM3Rows right = m3_lines(a, k, keys, head);
    // From a column on: rows are still as long.
    const ShM3Rows lines = {right.x + column, right.stride, right.rank, right.rows, right.width};
    tile_product<false, false>(c, sh_turned(left), lines, a.width - row, a.states - column, rows, arena, acc);
    for (uint32_t e = 0u; e < 16u; ++e) {
        const uint32_t i = row + tile_row(c) + e / 4u, j = column + tile_column(c) + e % 4u;
        if (i < a.width && j < a.states) states[(of * a.width + i) * a.states + j] = acc[e];
    }
}

// Hands states on, in place; the first gets the trapezoid's share of the step before. One thread has an element.
SH_DEVICE void m3_pass(ShCtx c, ShMamba3Args a, SH_GLOBAL(const uint32_t) bounds, SH_GLOBAL(const uint32_t) ends, SH_GLOBAL(const float) decays,
                       SH_GLOBAL(const float) dt, SH_GLOBAL(const float) trap, SH_GLOBAL(const float) mix, SH_GLOBAL(const float) state,
                       SH_GLOBAL(const float) key, SH_GLOBAL(const float) value, SH_GLOBAL(float) states, SH_GLOBAL(float) last) {
    const uint32_t each = a.width * a.states, i = c.bid * c.bdim + c.tid;
    if (i >= a.sequences * a.heads * each) return;
    const uint32_t sequence = i / (a.heads * each), head = i / each % a.heads, channel = i / a.states % a.width, n = i % a.states;
    const uint32_t first = bounds[sequence], end = bounds[sequence + 1u];
    float s = 0.0f;
    if (a.has_initial != 0u) {
        s = state[i];
        if (first < end) {
            const uint32_t row = ends[sequence] * a.heads + head;
            const float v = value[(sequence * a.heads + head) * a.width + channel];
            float sum = 0.0f;
            for (uint32_t r = 0u; r < a.rank; ++r) {
                const float mixed = a.has_mix_x != 0u ? mix[(head * a.rank + r) * a.width + channel] * v : v;
                sum = sh_fma(mixed, key[((sequence * a.rank + r) * a.heads + head) * a.states + n], sum);
            }
            s = sh_fma(m3_nu(dt[row], trap[row]), sum, s);
        }
    }
    for (uint32_t k = first; k < end; ++k) {
        const uint32_t of = k * a.heads + head, place = of * each + i % each;
        const float more = states[place];
        states[place] = s;
        s = sh_fma(decays[of], s, more);
    }
    last[i] = s;
}

// Floats of shared memory: a product, the decays, a row's weight and gamma, a square.
#define M3_LINE 65u
#define M3_SCAN_FLOATS (TILE_FLOATS + DECAY_FLOATS + 128u + 64u * M3_LINE)

struct ShM3Square {
    SH_TGROUP(float) x;
    SH_DEVICE_MEMBER float at(uint32_t i, uint32_t j) const { return x[i * M3_LINE + j]; }
};

// o with the direct path, (rows, heads, rank, width), of a chunk, head and 64 channels.
SH_DEVICE void m3_chunk_scan(ShCtx c, ShMamba3Args a, SH_GLOBAL(const uint32_t) chunks, SH_GLOBAL(const float) x, SH_GLOBAL(const float) mix,
                             SH_GLOBAL(const float) log_decay, SH_GLOBAL(const float) weights, SH_GLOBAL(const float) queries,
                             SH_GLOBAL(const float) keys, SH_GLOBAL(const float) states, SH_GLOBAL(const float) skip, SH_GLOBAL(float) o,
                             SH_TGROUP(float) arena) {
    const uint32_t across = sh_ceil_div(a.width, TILE_SIDE);
    const uint32_t first = c.bid % across * TILE_SIDE, of = c.bid / across, head = of % a.heads;
    const ShM3Chunk k = m3_chunk(chunks, of / a.heads);
    const uint32_t rows = k.steps * a.rank;
    const ShDecays d = sh_decays(sh_part(arena, TILE_FLOATS, DECAY_FLOATS));
    SH_TGROUP(float) weight = sh_part(arena, TILE_FLOATS + DECAY_FLOATS, 64u);
    SH_TGROUP(float) gamma = sh_part(arena, TILE_FLOATS + DECAY_FLOATS + 64u, 64u);
    SH_TGROUP(float) square = sh_part(arena, TILE_FLOATS + DECAY_FLOATS + 128u, 64u * M3_LINE);
    m3_decays(c, a, k, head, log_decay, d);
    if (c.tid < 64u) {
        const uint32_t at = c.tid < rows ? (k.start + c.tid / a.rank) * a.heads + head : 0u;
        weight[c.tid] = c.tid < rows ? (float)weights[at] : 0.0f;
        gamma[c.tid] = c.tid < rows ? (float)weights[a.rows * a.heads + at] : 0.0f;
    }
    const uint32_t row = tile_row(c), column = tile_column(c);
    const ShM3Rows qs = m3_lines(a, k, queries, head), ks = m3_lines(a, k, keys, head);
    float acc[16];
    tile_zero(acc);
    tile_product<true, true>(c, qs, sh_turned(ks), rows, rows, a.states, arena, acc);
    SH_UNROLL
    for (uint32_t e = 0u; e < 16u; ++e) {
        const uint32_t i = row + e / 4u, j = column + e % 4u;
        const uint32_t si = i / a.rank, sj = j / a.rank;
        float factor = 0.0f;
        if (si == sj) factor = gamma[i];
        else if (sj < si) factor = sh_exp(d.between(i, j)) * weight[j];
        square[i * M3_LINE + j] = acc[e] * factor;
    }
    tile_zero(acc);
    tile_product<true, true>(c, qs, sh_turned(m3_state(a, states, of, first, 0u)), rows, a.width - first, a.states, arena, acc);
    SH_UNROLL
    for (uint32_t e = 0u; e < 16u; ++e) acc[e] *= d.starts[row + e / 4u];
    const ShM3Square left = {square};
    const ShM3Values values = m3_values(a, k, x, mix, head, first, weight, false);
    tile_product<true, false>(c, left, values, rows, a.width - first, rows, arena, acc);
    const float direct = a.has_skip != 0u ? (float)skip[head] : 0.0f;
    SH_UNROLL
    for (uint32_t e = 0u; e < 16u; ++e) {
        const uint32_t i = row + e / 4u, channel = column + e % 4u;
        if (i >= rows || first + channel >= a.width) continue;
        const uint32_t place = (((k.start + i / a.rank) * a.heads + head) * a.rank + i % a.rank) * a.width + first + channel;
        o[place] = sh_fma(direct, values.at(i, channel), acc[e]);
    }
}

// Norm, gate and sum over ranks. A warp has a row and head. `room`: 64 floats for each warp.
SH_DEVICE void m3_gate(ShCtx c, ShMamba3Args a, SH_GLOBAL(const float) o, SH_GLOBAL(const float) z, SH_GLOBAL(const float) mix_z,
                       SH_GLOBAL(const float) mix_out, SH_GLOBAL(const float) norm, SH_GLOBAL(float) out, SH_TGROUP(float) room) {
    const uint32_t at = c.bid * (c.bdim / SH_WARP) + c.warp, head = at % a.heads;
    if (at >= a.rows * a.heads) return;
    SH_TGROUP(float) inverse = sh_part(room, c.warp * 64u, 64u);
    if (a.has_norm != 0u) {
        for (uint32_t r = 0u; r < a.rank; ++r) {
            float squares = 0.0f;
            for (uint32_t p = c.lane; p < a.width; p += SH_WARP) {
                const float v = o[(at * a.rank + r) * a.width + p];
                squares = sh_fma(v, v, squares);
            }
            squares = sh_warp_sum(c, squares);
            if (c.lane == 0u) inverse[r] = 1.0f / sh_sqrt(squares / (float)a.width + a.eps);
        }
        sh_warp_barrier(c);
    }
    for (uint32_t p = c.lane; p < a.width; p += SH_WARP) {
        float sum = 0.0f;
        for (uint32_t r = 0u; r < a.rank; ++r) {
            const uint32_t place = (head * a.rank + r) * a.width + p;
            float y = o[(at * a.rank + r) * a.width + p];
            if (a.has_norm != 0u) y *= inverse[r] * norm[head * a.width + p];
            if (a.has_z != 0u) {
                const float gate = z[at * a.width + p];
                y *= sh_silu(a.has_mix_z != 0u ? gate * mix_z[place] : gate);
            }
            sum = a.has_mix_out != 0u ? sh_fma(y, mix_out[place], sum) : sum + y;
        }
        out[at * a.width + p] = sum;
    }
}

// Key and value that a sequence carries on. One thread has a number of a head of a sequence.
SH_DEVICE void m3_carry(ShCtx c, ShMamba3Args a, SH_GLOBAL(const uint32_t) ends, SH_GLOBAL(const float) keys, SH_GLOBAL(const float) x,
                        SH_GLOBAL(const float) key, SH_GLOBAL(const float) value, SH_GLOBAL(float) last_key, SH_GLOBAL(float) last_value) {
    const uint32_t each = a.rank * a.states + a.width, i = c.bid * c.bdim + c.tid;
    if (i >= a.sequences * a.heads * each) return;
    const uint32_t sequence = i / (a.heads * each), head = i / each % a.heads, j = i % each;
    const bool empty = ends[sequence] == ends[sequence + 1u];
    const uint32_t row = empty ? 0u : (ends[sequence + 1u] - 1u) * a.heads + head;
    if (j < a.rank * a.states) {
        const uint32_t to = ((sequence * a.rank + j / a.states) * a.heads + head) * a.states + j % a.states;
        float v = 0.0f;
        if (!empty) v = keys[row * a.rank * a.states + j];
        else if (a.has_initial != 0u) v = key[to];
        last_key[to] = v;
    } else {
        const uint32_t channel = j - a.rank * a.states, to = (sequence * a.heads + head) * a.width + channel;
        float v = 0.0f;
        if (!empty) v = x[row * a.width + channel];
        else if (a.has_initial != 0u) v = value[to];
        last_value[to] = v;
    }
}

#endif
