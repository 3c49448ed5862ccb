// The way back of selective.h. Every tile of 64 steps is run forward from its kept state, the states before each 8 steps go to shared
// memory, and 8 steps at a time are walked back with their states and decays in registers.
#ifndef SHOAL_SHARED_SELECTIVE_BACK_H
#define SHOAL_SHARED_SELECTIVE_BACK_H

#include "selective.h"

// The gradient that a span hands to the state before it when none comes in behind it: `ends` (spans, channels, states), and Σ delta.
template <class T>
SH_DEVICE void selective_back_local(ShCtx c, ShSelectiveArgs a, SH_GLOBAL(const uint32_t) spans, SH_GLOBAL(const T) delta,
                                    SH_GLOBAL(const T) cc, SH_GLOBAL(const T) z, SH_GLOBAL(const float) rates, SH_GLOBAL(const float) bias,
                                    SH_GLOBAL(const T) dout, SH_GLOBAL(float) ends, SH_GLOBAL(float) sums, SH_TGROUP(float) arena) {
    const ShSelPlace p = selective_place(c, a);
    const ShSpan span = selective_span(spans, p.span);
    SH_TGROUP(float) steps = sh_part(arena, 0u, SEL_STEPS * 32u);
    SH_TGROUP(float) dys = sh_part(arena, SEL_STEPS * 32u, SEL_STEPS * 32u);
    SH_TGROUP(float) cs = sh_part(arena, 2u * SEL_STEPS * 32u, SEL_STEPS * SEL_ROUND);
    SH_TGROUP(float) states = sh_part(arena, 2u * SEL_STEPS * 32u + SEL_STEPS * SEL_ROUND, p.rounds * SEL_ROUND * 32u);
    for (uint32_t i = 0u; i < p.rounds * SEL_EACH; ++i)
        states[(i / SEL_EACH * SEL_ROUND + c.warp * SEL_EACH + i % SEL_EACH) * 32u + c.lane] = 0.0f;
    float total = 0.0f;
    const uint32_t tiles = sh_ceil_div(span.end - span.start, SEL_STEPS);
    for (uint32_t tile = tiles; tile-- > 0u;) {
        const uint32_t first = span.start + tile * SEL_STEPS;
        sh_barrier(c);
        for (uint32_t t = c.warp; t < SEL_STEPS; t += SEL_WARPS) {
            const uint32_t row = first + t;
            float d = 0.0f, dy = 0.0f;
            if (p.valid && row < span.end) {
                const uint32_t place = row * a.channels + p.channel;
                d = selective_step<T>(a, delta, bias, row, p.channel);
                dy = sh_to_f32(dout[place]);
                if (a.has_z != 0u) dy *= sh_silu(sh_to_f32(z[place]));
            }
            steps[t * 32u + c.lane] = d;
            dys[t * 32u + c.lane] = dy;
            total += d;
        }
        for (uint32_t round = 0u; round < p.rounds; ++round) {
            if (round > 0u) sh_barrier(c);
            selective_couplings<T>(c, a, cc, p.group, round, first, span.end, SEL_STEPS, cs);
            sh_barrier(c);
            float rate[SEL_EACH], g[SEL_EACH];
            selective_rates(c, a, p, rates, round, rate);
            const uint32_t mine = (round * SEL_ROUND + c.warp * SEL_EACH) * 32u + c.lane;
            SH_UNROLL
            for (uint32_t s = 0u; s < SEL_EACH; ++s) g[s] = states[mine + 32u * s];
            SH_UNROLL
            for (uint32_t back = 0u; back < SEL_STEPS; ++back) {
                const uint32_t t = SEL_STEPS - 1u - back;
                const float d = steps[t * 32u + c.lane], dy = dys[t * 32u + c.lane];
                SH_UNROLL
                for (uint32_t s = 0u; s < SEL_EACH; ++s)
                    g[s] = sh_exp2(d * rate[s]) * sh_fma(dy, cs[t * SEL_ROUND + c.warp * SEL_EACH + s], g[s]);
            }
            SH_UNROLL
            for (uint32_t s = 0u; s < SEL_EACH; ++s) states[mine + 32u * s] = g[s];
        }
    }
    if (p.valid) {
        for (uint32_t i = 0u; i < p.rounds * SEL_EACH; ++i) {
            const uint32_t k = i / SEL_EACH * SEL_ROUND + c.warp * SEL_EACH + i % SEL_EACH;
            if (k < a.states) ends[(p.span * a.channels + p.channel) * a.states + k] = states[k * 32u + c.lane];
        }
    }
    sh_barrier(c);
    steps[c.tid] = total;
    sh_barrier(c);
    if (c.warp == 0u && p.valid) {
        float sum = 0.0f;
        SH_UNROLL
        for (uint32_t w = 0u; w < SEL_WARPS; ++w) sum += steps[w * 32u + c.lane];
        sums[p.span * a.channels + p.channel] = sum;
    }
}

// Joins spans backward: the gradients of the states behind them.
SH_DEVICE void selective_back_join(ShCtx c, ShSelectiveArgs a, SH_GLOBAL(const uint32_t) bounds, SH_GLOBAL(const float) rates,
                                   SH_GLOBAL(const float) dlast, SH_GLOBAL(const float) ends, SH_GLOBAL(const float) sums,
                                   SH_GLOBAL(float) running) {
    const uint32_t all = a.channels * a.states;
    const uint32_t i = c.bid * c.bdim + c.tid;
    if (i >= a.sequences * all) return;
    const uint32_t sequence = i / all, place = i % all;
    float g = a.has_dlast != 0u ? (float)dlast[i] : 0.0f;
    for (uint32_t s = bounds[sequence + 1u]; s-- > bounds[sequence];) {
        running[s * all + place] = g;
        g = sh_fma(sh_exp(rates[place] * sums[s * a.channels + place / a.states]), g, ends[s * all + place]);
    }
}

// Adds eight numbers over the lanes of a warp; lane l has the sum of number l / 4. Nine exchanges instead of forty.
SH_DEVICE float selective_lane_sums(ShCtx c, SH_THREAD(float) v) {
    SH_UNROLL
    for (uint32_t apart = 4u; apart > 0u; apart /= 2u) {
        const bool upper = (c.lane & (4u * apart)) != 0u;
        SH_UNROLL
        for (uint32_t i = 0u; i < apart; ++i) {
            const float send = upper ? v[i] : v[i + apart];
            const float keep = upper ? v[i + apart] : v[i];
            v[i] = keep + sh_shfl_xor(c, send, 4u * apart);
        }
    }
    float sum = v[0];
    sum += sh_shfl_xor(c, sum, 2u);
    sum += sh_shfl_xor(c, sum, 1u);
    return sum;
}

// Floats of shared memory on the way back: states each 8 steps of a tile, three shares of each warp, steps, inputs, dy, B, C. 32 KiB.
#define SEL_BACK_FLOATS (SEL_TILE / SEL_BACK * SEL_ROUND * 32u + 3u * SEL_WARPS * SEL_BACK * 32u + 3u * SEL_BACK * 32u + 2u * SEL_BACK * SEL_ROUND)

// What the way back reads and writes.
template <class T> struct ShSelBack {
    SH_GLOBAL(const T) u;
    SH_GLOBAL(const T) delta;
    SH_GLOBAL(const T) b;
    SH_GLOBAL(const T) c;
    SH_GLOBAL(const T) z;
    SH_GLOBAL(const float) rates;
    SH_GLOBAL(const float) skip;
    SH_GLOBAL(const float) bias;
    SH_GLOBAL(const float) starts;
    SH_GLOBAL(const T) dout;
    SH_GLOBAL(const float) dlast;
    SH_GLOBAL(T) du;
    SH_GLOBAL(T) ddelta;
    SH_GLOBAL(T) dz;
    // (spans, channels, states): the running gradient of the state.
    SH_GLOBAL(float) running;
    // (spans, channels, states): shares of dA.
    SH_GLOBAL(float) drates;
    // (spans, channels, 2): shares of dD and of the bias.
    SH_GLOBAL(float) sums;
    // (blocks of channels, rows, 2, states): shares of dB and dC.
    SH_GLOBAL(float) couplings;
    // (3, rows, channels): sums over rounds, where there are several.
    SH_GLOBAL(float) rounds;
    SH_GLOBAL(float) dinitial;
};

// Eight steps of a tile into shared memory.
template <class T>
SH_DEVICE void selective_load_back(ShCtx c, ShSelectiveArgs a, ShSelPlace p, ShSelBack<T> x, uint32_t round, uint32_t row, uint32_t end,
                                   SH_TGROUP(float) lines, SH_TGROUP(float) bs) {
    for (uint32_t t = c.warp; t < SEL_BACK; t += SEL_WARPS) {
        float d = 0.0f, input = 0.0f, dy = 0.0f;
        if (p.valid && row + t < end) {
            const uint32_t place = (row + t) * a.channels + p.channel;
            d = selective_step<T>(a, x.delta, x.bias, row + t, p.channel);
            input = d * sh_to_f32(x.u[place]);
            dy = sh_to_f32(x.dout[place]);
            if (a.has_z != 0u) dy *= sh_silu(sh_to_f32(x.z[place]));
        }
        lines[t * 32u + c.lane] = d;
        lines[(SEL_BACK + t) * 32u + c.lane] = input;
        lines[(2u * SEL_BACK + t) * 32u + c.lane] = dy;
    }
    selective_couplings<T>(c, a, x.b, p.group, round, row, end, SEL_BACK, bs);
    selective_couplings<T>(c, a, x.c, p.group, round, row, end, SEL_BACK, sh_part(bs, SEL_BACK * SEL_ROUND, SEL_BACK * SEL_ROUND));
}

template <class T>
SH_DEVICE void selective_backward(ShCtx c, ShSelectiveArgs a, SH_GLOBAL(const uint32_t) spans, ShSelBack<T> x, SH_TGROUP(float) arena) {
    const ShSelPlace p = selective_place(c, a);
    const ShSpan span = selective_span(spans, p.span);
    const uint32_t kept_floats = SEL_TILE / SEL_BACK * SEL_ROUND * 32u, share_floats = 3u * SEL_WARPS * SEL_BACK * 32u;
    SH_TGROUP(float) kept = sh_part(arena, 0u, kept_floats);
    SH_TGROUP(float) shares = sh_part(arena, kept_floats, share_floats);
    SH_TGROUP(float) lines = sh_part(arena, kept_floats + share_floats, 3u * SEL_BACK * 32u);
    SH_TGROUP(float) bs = sh_part(arena, kept_floats + share_floats + 3u * SEL_BACK * 32u, 2u * SEL_BACK * SEL_ROUND);
    const uint32_t all = a.channels * a.states, line = p.channel * a.states;
    const float d_of = p.valid && a.has_skip != 0u ? (float)x.skip[p.channel] : 0.0f;
    float dskip = 0.0f, dbias = 0.0f;
    // What belongs to a state belongs to one thread: it starts what it will add to.
    for (uint32_t i = 0u; i < p.rounds * SEL_EACH; ++i) {
        const uint32_t k = i / SEL_EACH * SEL_ROUND + c.warp * SEL_EACH + i % SEL_EACH;
        if (!p.valid || k >= a.states) continue;
        x.drates[p.span * all + line + k] = 0.0f;
        if (a.carried == 0u) x.running[p.span * all + line + k] = a.has_dlast != 0u ? (float)x.dlast[span.sequence * all + line + k] : 0.0f;
    }
    for (uint32_t tile = sh_ceil_div(span.end - span.start, SEL_TILE); tile-- > 0u;) {
        const uint32_t first = span.start + tile * SEL_TILE;
        const uint32_t end = sh_min(first + SEL_TILE, span.end);
        const uint32_t subs = sh_ceil_div(end - first, SEL_BACK);
        for (uint32_t round = 0u; round < p.rounds; ++round) {
            float rate[SEL_EACH], h[SEL_EACH], g[SEL_EACH], drate[SEL_EACH];
            selective_rates(c, a, p, x.rates, round, rate);
            const uint32_t k0 = round * SEL_ROUND + c.warp * SEL_EACH;
            SH_UNROLL
            for (uint32_t s = 0u; s < SEL_EACH; ++s) {
                const bool real = p.valid && k0 + s < a.states;
                h[s] = real ? (float)x.starts[(span.tile + tile) * all + line + k0 + s] : 0.0f;
                g[s] = real ? (float)x.running[p.span * all + line + k0 + s] : 0.0f;
                drate[s] = real ? (float)x.drates[p.span * all + line + k0 + s] : 0.0f;
            }
            // Forward through the tile: the states before each eight steps.
            for (uint32_t sub = 0u; sub < subs; ++sub) {
                SH_UNROLL
                for (uint32_t s = 0u; s < SEL_EACH; ++s) kept[(sub * SEL_ROUND + c.warp * SEL_EACH + s) * 32u + c.lane] = h[s];
                if (sub + 1u == subs) break;
                sh_barrier(c);
                selective_load_back<T>(c, a, p, x, round, first + sub * SEL_BACK, end, lines, bs);
                sh_barrier(c);
                SH_UNROLL
                for (uint32_t t = 0u; t < SEL_BACK; ++t) {
                    const float d = lines[t * 32u + c.lane], input = lines[(SEL_BACK + t) * 32u + c.lane];
                    SH_UNROLL
                    for (uint32_t s = 0u; s < SEL_EACH; ++s)
                        h[s] = sh_fma(sh_exp2(d * rate[s]), h[s], input * bs[t * SEL_ROUND + c.warp * SEL_EACH + s]);
                }
            }
            // And back, eight steps at a time with their states and decays in registers.
            for (uint32_t sub = subs; sub-- > 0u;) {
                const uint32_t row = first + sub * SEL_BACK;
                sh_barrier(c);
                selective_load_back<T>(c, a, p, x, round, row, end, lines, bs);
                sh_barrier(c);
                float decay[SEL_BACK][SEL_EACH], before[SEL_BACK][SEL_EACH], y[SEL_BACK];
                SH_UNROLL
                for (uint32_t s = 0u; s < SEL_EACH; ++s) h[s] = kept[(sub * SEL_ROUND + c.warp * SEL_EACH + s) * 32u + c.lane];
                SH_UNROLL
                for (uint32_t t = 0u; t < SEL_BACK; ++t) {
                    const float d = lines[t * 32u + c.lane], input = lines[(SEL_BACK + t) * 32u + c.lane];
                    y[t] = 0.0f;
                    SH_UNROLL
                    for (uint32_t s = 0u; s < SEL_EACH; ++s) {
                        const uint32_t k = t * SEL_ROUND + c.warp * SEL_EACH + s;
                        before[t][s] = h[s];
                        decay[t][s] = sh_exp2(d * rate[s]);
                        h[s] = sh_fma(decay[t][s], h[s], input * bs[k]);
                        y[t] = sh_fma(bs[SEL_BACK * SEL_ROUND + k], h[s], y[t]);
                    }
                }
                SH_UNROLL
                for (uint32_t back = 0u; back < SEL_BACK; ++back) {
                    const uint32_t t = SEL_BACK - 1u - back;
                    const float d = lines[t * 32u + c.lane], input = lines[(SEL_BACK + t) * 32u + c.lane];
                    const float dy = lines[(2u * SEL_BACK + t) * 32u + c.lane];
                    float dx = 0.0f, dd = 0.0f, both[2u * SEL_EACH];
                    SH_UNROLL
                    for (uint32_t s = 0u; s < SEL_EACH; ++s) {
                        const uint32_t k = t * SEL_ROUND + c.warp * SEL_EACH + s;
                        const float after = sh_fma(decay[t][s], before[t][s], input * bs[k]);
                        g[s] = sh_fma(dy, bs[SEL_BACK * SEL_ROUND + k], g[s]);
                        both[s] = g[s] * input;
                        both[SEL_EACH + s] = dy * after;
                        const float passed = g[s] * decay[t][s];
                        const float dexponent = passed * before[t][s];
                        drate[s] = sh_fma(dexponent, d, drate[s]);
                        dd = sh_fma(rate[s], dexponent, dd);
                        dx = sh_fma(g[s], bs[k], dx);
                        g[s] = passed;
                    }
                    const float sum = selective_lane_sums(c, both);
                    const uint32_t which = c.lane / 4u / SEL_EACH, k = k0 + c.lane / 4u % SEL_EACH;
                    if (c.lane % 4u == 0u && k < a.states && row + t < end)
                        x.couplings[((p.block * a.rows + row + t) * 2u + which) * a.states + k] = sum;
                    const uint32_t place = (c.warp * SEL_BACK + t) * 32u + c.lane;
                    shares[place] = dx;
                    shares[SEL_WARPS * SEL_BACK * 32u + place] = SEL_LN_2 * dd;
                    shares[2u * SEL_WARPS * SEL_BACK * 32u + place] = y[t];
                }
                sh_barrier(c);
                for (uint32_t t = c.warp; t < SEL_BACK; t += SEL_WARPS) {
                    if (!p.valid || row + t >= end) continue;
                    float sum[3];
                    const uint32_t place = (row + t) * a.channels + p.channel;
                    SH_UNROLL
                    for (uint32_t i = 0u; i < 3u; ++i) {
                        sum[i] = 0.0f;
                        SH_UNROLL
                        for (uint32_t w = 0u; w < SEL_WARPS; ++w)
                            sum[i] += shares[((i * SEL_WARPS + w) * SEL_BACK + t) * 32u + c.lane];
                        if (round > 0u) sum[i] += x.rounds[i * a.rows * a.channels + place];
                        if (round + 1u < p.rounds) x.rounds[i * a.rows * a.channels + place] = sum[i];
                    }
                    if (round + 1u < p.rounds) continue;
                    const float d = lines[t * 32u + c.lane], dy = lines[(2u * SEL_BACK + t) * 32u + c.lane];
                    const float u = sh_to_f32(x.u[place]);
                    float raw = sh_to_f32(x.delta[place]);
                    if (a.has_bias != 0u) raw += x.bias[p.channel];
                    const float draw = sh_fma(sum[0], u, sum[1]) * (a.softplus != 0u ? sh_sigmoid(raw) : 1.0f);
                    dskip = sh_fma(dy, u, dskip);
                    dbias += draw;
                    x.du[place] = sh_from_f32<T>(sh_fma(sum[0], d, d_of * dy));
                    x.ddelta[place] = sh_from_f32<T>(draw);
                    if (a.has_z != 0u)
                        x.dz[place] = sh_from_f32<T>(sh_to_f32(x.dout[place]) * sh_fma(d_of, u, sum[2]) * sh_silu_slope(sh_to_f32(x.z[place])));
                }
            }
            SH_UNROLL
            for (uint32_t s = 0u; s < SEL_EACH; ++s) {
                if (!p.valid || k0 + s >= a.states) continue;
                x.running[p.span * all + line + k0 + s] = g[s];
                x.drates[p.span * all + line + k0 + s] = drate[s];
            }
        }
    }
    if (p.valid && span.is_first != 0u) {
        for (uint32_t i = 0u; i < p.rounds * SEL_EACH; ++i) {
            const uint32_t k = i / SEL_EACH * SEL_ROUND + c.warp * SEL_EACH + i % SEL_EACH;
            if (k < a.states) x.dinitial[span.sequence * all + line + k] = x.running[p.span * all + line + k];
        }
    }
    sh_barrier(c);
    shares[c.tid] = dskip;
    shares[SEL_WARPS * 32u + c.tid] = dbias;
    sh_barrier(c);
    if (c.warp < 2u && p.valid) {
        float sum = 0.0f;
        SH_UNROLL
        for (uint32_t w = 0u; w < SEL_WARPS; ++w) sum += shares[(c.warp * SEL_WARPS + w) * 32u + c.lane];
        x.sums[(p.span * a.channels + p.channel) * 2u + c.warp] = sum;
    }
}

// dB and dC: the shares of the blocks of a group in order. One thread has a step, group and state.
SH_DEVICE void selective_sum_couplings(ShCtx c, ShSelectiveArgs a, SH_GLOBAL(const float) couplings, SH_GLOBAL(float) db, SH_GLOBAL(float) dc) {
    const uint32_t i = c.bid * c.bdim + c.tid;
    if (i >= a.rows * a.groups * a.states) return;
    const uint32_t k = i % a.states, group = i / a.states % a.groups, row = i / a.states / a.groups;
    float sums[2] = {0.0f, 0.0f};
    for (uint32_t block = 0u; block < a.blocks; ++block) {
        const uint32_t place = ((group * a.blocks + block) * a.rows + row) * 2u * a.states + k;
        sums[0] += couplings[place];
        sums[1] += couplings[place + a.states];
    }
    db[i] = sums[0];
    dc[i] = sums[1];
}

// dA, dD and the gradient of the bias: the shares of the spans in order. One thread has a number of a channel.
SH_DEVICE void selective_sum_spans(ShCtx c, ShSelectiveArgs a, SH_GLOBAL(const float) drates, SH_GLOBAL(const float) sums,
                                   SH_GLOBAL(float) da, SH_GLOBAL(float) dskip, SH_GLOBAL(float) dbias) {
    const uint32_t i = c.bid * c.bdim + c.tid;
    const uint32_t all = a.channels * a.states;
    if (i >= all + 2u * a.channels) return;
    float sum = 0.0f;
    if (i < all) {
        for (uint32_t span = 0u; span < a.spans; ++span) sum += drates[span * all + i];
        da[i] = sum;
        return;
    }
    for (uint32_t span = 0u; span < a.spans; ++span) sum += sums[span * 2u * a.channels + (i - all)];
    if ((i - all) % 2u == 0u) dskip[(i - all) / 2u] = sum;
    else dbias[(i - all) / 2u] = sum;
}

#endif
