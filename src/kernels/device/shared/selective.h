// The selective scan. A block has 32 channels of one group (its lanes) and 16 states at a time, 4 for each of its 4 warps, in registers;
// it walks time in order. Nothing is summed across lanes forward, and one load of u and delta serves all states.
//
// Long sequences with few channels are cut into spans of whole tiles of 64 steps: a first launch gives what each span does to a state of
// zero, a second joins them in order, and the scan starts every span where the one before it ended.
#ifndef SHOAL_SHARED_SELECTIVE_H
#define SHOAL_SHARED_SELECTIVE_H

#include "../args/selective.h"

// Warps of a block, states of a thread, states of a block.
#define SEL_WARPS 4u
#define SEL_EACH 4u
#define SEL_ROUND 16u
// Steps in shared memory forward, and on the way back.
#define SEL_STEPS 16u
#define SEL_BACK 8u
// Steps between states that are kept for the way back.
#define SEL_TILE 64u

// Rows `start..end` of a sequence; the first tile's place among all.
struct ShSpan {
    uint32_t sequence, start, end, tile, is_first, is_last;
};

SH_DEVICE ShSpan selective_span(SH_GLOBAL(const uint32_t) spans, uint32_t i) {
    ShSpan s;
    s.sequence = spans[6u * i];
    s.start = spans[6u * i + 1u];
    s.end = spans[6u * i + 2u];
    s.tile = spans[6u * i + 3u];
    s.is_first = spans[6u * i + 4u];
    s.is_last = spans[6u * i + 5u];
    return s;
}

// Where a thread works.
struct ShSelPlace {
    uint32_t span, block, group, channel, rounds;
    // Whether the channel is one.
    bool valid;
};

SH_DEVICE ShSelPlace selective_place(ShCtx c, ShSelectiveArgs a) {
    SH_ASSERT(c.bdim == SEL_WARPS * SH_WARP);
    ShSelPlace p;
    const uint32_t blocks = a.blocks * a.groups;
    p.span = c.bid / blocks;
    p.block = c.bid % blocks;
    p.group = p.block / a.blocks;
    const uint32_t within = p.block % a.blocks * SH_WARP + c.lane;
    p.valid = within < a.per_group;
    p.channel = p.group * a.per_group + within;
    p.rounds = sh_ceil_div(a.states, SEL_ROUND);
    return p;
}

// The step size; a step that is not there changes nothing.
template <class T>
SH_DEVICE float selective_step(ShSelectiveArgs a, SH_GLOBAL(const T) delta, SH_GLOBAL(const float) bias, uint32_t row, uint32_t channel) {
    float raw = sh_to_f32(delta[row * a.channels + channel]);
    if (a.has_bias != 0u) raw += bias[channel];
    return a.softplus != 0u ? sh_softplus(raw) : raw;
}

// B or C of some steps and the 16 states of a round into shared memory, zeros beyond.
template <class T>
SH_DEVICE void selective_couplings(ShCtx c, ShSelectiveArgs a, SH_GLOBAL(const T) from, uint32_t group, uint32_t round, uint32_t row,
                                   uint32_t end, uint32_t steps, SH_TGROUP(float) to) {
    for (uint32_t i = c.tid; i < steps * SEL_ROUND; i += c.bdim) {
        const uint32_t t = row + i / SEL_ROUND, k = round * SEL_ROUND + i % SEL_ROUND;
        to[i] = t < end && k < a.states ? sh_to_f32(from[(t * a.groups + group) * a.states + k]) : 0.0f;
    }
}

// 1 / ln 2 and ln 2. Rates are taken times it once, as a power of two costs less than one of e.
#define SEL_LOG2_E 1.44269504f
#define SEL_LN_2 0.693147181f

// Rates of the four states of a thread in a round, times SEL_LOG2_E; 0 beyond.
SH_DEVICE void selective_rates(ShCtx c, ShSelectiveArgs a, ShSelPlace p, SH_GLOBAL(const float) rates, uint32_t round, SH_THREAD(float) to) {
    SH_UNROLL
    for (uint32_t s = 0u; s < SEL_EACH; ++s) {
        const uint32_t k = round * SEL_ROUND + c.warp * SEL_EACH + s;
        to[s] = p.valid && k < a.states ? SEL_LOG2_E * rates[p.channel * a.states + k] : 0.0f;
    }
}

// Floats of shared memory, forward: steps, inputs, B, C, shares of y, states.
#define SEL_FORWARD_FLOATS(rounds) (2u * SEL_STEPS * 32u + 2u * SEL_STEPS * SEL_ROUND + SEL_WARPS * SEL_STEPS * 32u + (rounds) * SEL_ROUND * 32u)

// LOCAL: only what a span does to a state of zero, `ends` (spans, channels, states), and its Σ delta, `sums` (spans, channels).
template <class T, bool LOCAL>
SH_DEVICE void selective_forward(ShCtx c, ShSelectiveArgs a, SH_GLOBAL(const uint32_t) spans, SH_GLOBAL(const T) u, SH_GLOBAL(const T) delta,
                                 SH_GLOBAL(const T) b, SH_GLOBAL(const T) cc, SH_GLOBAL(const T) z, SH_GLOBAL(const float) rates,
                                 SH_GLOBAL(const float) skip, SH_GLOBAL(const float) bias, SH_GLOBAL(const float) initial, SH_GLOBAL(T) out,
                                 SH_GLOBAL(float) starts, SH_GLOBAL(float) ends, SH_GLOBAL(float) sums, SH_TGROUP(float) arena) {
    const ShSelPlace p = selective_place(c, a);
    const ShSpan span = selective_span(spans, p.span);
    SH_TGROUP(float) steps = sh_part(arena, 0u, SEL_STEPS * 32u);
    SH_TGROUP(float) inputs = sh_part(arena, SEL_STEPS * 32u, SEL_STEPS * 32u);
    SH_TGROUP(float) bs = sh_part(arena, 2u * SEL_STEPS * 32u, SEL_STEPS * SEL_ROUND);
    SH_TGROUP(float) cs = sh_part(arena, 2u * SEL_STEPS * 32u + SEL_STEPS * SEL_ROUND, SEL_STEPS * SEL_ROUND);
    SH_TGROUP(float) shares = sh_part(arena, 2u * SEL_STEPS * 32u + 2u * SEL_STEPS * SEL_ROUND, SEL_WARPS * SEL_STEPS * 32u);
    SH_TGROUP(float) states = sh_part(arena, 2u * SEL_STEPS * (32u + SEL_ROUND) + SEL_WARPS * SEL_STEPS * 32u, p.rounds * SEL_ROUND * 32u);
    const uint32_t line = p.channel * a.states;
    const uint32_t all = a.channels * a.states;
    // A state belongs to one thread from here to the end.
    for (uint32_t i = 0u; i < p.rounds * SEL_EACH; ++i) {
        const uint32_t k = i / SEL_EACH * SEL_ROUND + c.warp * SEL_EACH + i % SEL_EACH;
        float h = 0.0f;
        if (!LOCAL && p.valid && k < a.states) {
            if (a.carried != 0u && span.start < span.end) h = starts[span.tile * all + line + k];
            else if (a.has_initial != 0u) h = initial[span.sequence * all + line + k];
        }
        states[k * 32u + c.lane] = h;
    }
    float total = 0.0f;
    for (uint32_t first = span.start; first < span.end; first += SEL_STEPS) {
        if (!LOCAL && p.valid && (first - span.start) % SEL_TILE == 0u && (a.carried == 0u || first != span.start)) {
            const uint32_t tile = span.tile + (first - span.start) / SEL_TILE;
            for (uint32_t i = 0u; i < p.rounds * SEL_EACH; ++i) {
                const uint32_t k = i / SEL_EACH * SEL_ROUND + c.warp * SEL_EACH + i % SEL_EACH;
                if (k < a.states) starts[tile * all + line + k] = states[k * 32u + c.lane];
            }
        }
        sh_barrier(c);
        for (uint32_t t = c.warp; t < SEL_STEPS; t += SEL_WARPS) {
            const uint32_t row = first + t;
            float d = 0.0f, x = 0.0f;
            if (p.valid && row < span.end) {
                d = selective_step<T>(a, delta, bias, row, p.channel);
                x = d * sh_to_f32(u[row * a.channels + p.channel]);
            }
            steps[t * 32u + c.lane] = d;
            inputs[t * 32u + c.lane] = x;
            total += d;
        }
        float y[SEL_STEPS];
        SH_UNROLL
        for (uint32_t t = 0u; t < SEL_STEPS; ++t) y[t] = 0.0f;
        for (uint32_t round = 0u; round < p.rounds; ++round) {
            if (round > 0u) sh_barrier(c);
            selective_couplings<T>(c, a, b, p.group, round, first, span.end, SEL_STEPS, bs);
            if (!LOCAL) selective_couplings<T>(c, a, cc, p.group, round, first, span.end, SEL_STEPS, cs);
            sh_barrier(c);
            float rate[SEL_EACH], h[SEL_EACH];
            selective_rates(c, a, p, rates, round, rate);
            const uint32_t mine = (round * SEL_ROUND + c.warp * SEL_EACH) * 32u + c.lane;
            SH_UNROLL
            for (uint32_t s = 0u; s < SEL_EACH; ++s) h[s] = states[mine + 32u * s];
            SH_UNROLL
            for (uint32_t t = 0u; t < SEL_STEPS; ++t) {
                const float d = steps[t * 32u + c.lane], x = inputs[t * 32u + c.lane];
                SH_UNROLL
                for (uint32_t s = 0u; s < SEL_EACH; ++s) {
                    const uint32_t k = t * SEL_ROUND + c.warp * SEL_EACH + s;
                    h[s] = sh_fma(sh_exp2(d * rate[s]), h[s], x * bs[k]);
                    if (!LOCAL) y[t] = sh_fma(cs[k], h[s], y[t]);
                }
            }
            SH_UNROLL
            for (uint32_t s = 0u; s < SEL_EACH; ++s) states[mine + 32u * s] = h[s];
        }
        if (!LOCAL) {
            SH_UNROLL
            for (uint32_t t = 0u; t < SEL_STEPS; ++t) shares[(c.warp * SEL_STEPS + t) * 32u + c.lane] = y[t];
            sh_barrier(c);
            for (uint32_t t = c.warp; t < SEL_STEPS; t += SEL_WARPS) {
                const uint32_t row = first + t;
                if (!p.valid || row >= span.end) continue;
                float sum = 0.0f;
                SH_UNROLL
                for (uint32_t w = 0u; w < SEL_WARPS; ++w) sum += shares[(w * SEL_STEPS + t) * 32u + c.lane];
                const uint32_t place = row * a.channels + p.channel;
                if (a.has_skip != 0u) sum = sh_fma(skip[p.channel], sh_to_f32(u[place]), sum);
                if (a.has_z != 0u) sum *= sh_silu(sh_to_f32(z[place]));
                out[place] = sh_from_f32<T>(sum);
            }
        }
    }
    if (p.valid && (LOCAL || span.is_last != 0u)) {
        const uint32_t at = (LOCAL ? p.span : span.sequence) * all + line;
        for (uint32_t i = 0u; i < p.rounds * SEL_EACH; ++i) {
            const uint32_t k = i / SEL_EACH * SEL_ROUND + c.warp * SEL_EACH + i % SEL_EACH;
            if (k < a.states) ends[at + k] = states[k * 32u + c.lane];
        }
    }
    if (LOCAL) {
        sh_barrier(c);
        shares[c.tid] = total;
        sh_barrier(c);
        if (c.warp == 0u && p.valid) {
            float sum = 0.0f;
            SH_UNROLL
            for (uint32_t w = 0u; w < SEL_WARPS; ++w) sum += shares[w * 32u + c.lane];
            sums[p.span * a.channels + p.channel] = sum;
        }
    }
}

// Joins spans forward: the states at their starts, among those at the starts of tiles. One thread has a state of a channel of a sequence.
SH_DEVICE void selective_join(ShCtx c, ShSelectiveArgs a, SH_GLOBAL(const uint32_t) spans, SH_GLOBAL(const uint32_t) bounds,
                              SH_GLOBAL(const float) rates, SH_GLOBAL(const float) initial, SH_GLOBAL(const float) ends,
                              SH_GLOBAL(const float) sums, SH_GLOBAL(float) starts) {
    const uint32_t all = a.channels * a.states;
    const uint32_t i = c.bid * c.bdim + c.tid;
    if (i >= a.sequences * all) return;
    const uint32_t sequence = i / all, place = i % all;
    float h = a.has_initial != 0u ? (float)initial[i] : 0.0f;
    for (uint32_t s = bounds[sequence]; s < bounds[sequence + 1u]; ++s) {
        if (spans[6u * s + 1u] < spans[6u * s + 2u]) starts[spans[6u * s + 3u] * all + place] = h;
        h = sh_fma(sh_exp(rates[place] * sums[s * a.channels + place / a.states]), h, ends[s * all + place]);
    }
}

#endif
