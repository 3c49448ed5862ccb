// Causal depthwise convolution: one thread has one channel of a piece of a sequence and slides over its rows, the last W rows in registers.
//
// W is 4 or 16; a filter with fewer taps has zeros before them. Reads x once (and W - 1 rows of each piece again).
#ifndef SHOAL_SHARED_CONV_H
#define SHOAL_SHARED_CONV_H

#include "../args/conv.h"

// Rows `start..end` of sequence `sequence`, whose rows are `first..last`.
struct ShConvPiece {
    uint32_t sequence;
    int32_t first, last, start, end;
};

SH_DEVICE ShConvPiece conv_piece(SH_GLOBAL(const uint32_t) pieces, uint32_t i) {
    ShConvPiece p;
    p.sequence = pieces[5u * i];
    p.first = (int32_t)pieces[5u * i + 1u];
    p.last = (int32_t)pieces[5u * i + 2u];
    p.start = (int32_t)pieces[5u * i + 3u];
    p.end = (int32_t)pieces[5u * i + 4u];
    return p;
}

// One row of x, or of the rows carried in, which are the taps - 1 before the sequence.
template <class T>
SH_DEVICE float conv_row(ShConvArgs a, ShConvPiece p, SH_GLOBAL(const T) x, SH_GLOBAL(const T) before, uint32_t channel, int32_t row) {
    if (row >= p.first) return sh_to_f32(x[(uint32_t)row * a.channels + channel]);
    const int32_t kept = (int32_t)a.taps - 1;
    const int32_t k = kept - (p.first - row);
    if (k < 0 || a.has_before == 0u) return 0.0f;
    return sh_to_f32(before[(p.sequence * (uint32_t)kept + (uint32_t)k) * a.channels + channel]);
}

// The filter behind zeros, and the rows before `start` as seen from there.
template <class T, uint32_t W>
SH_DEVICE void conv_begin(ShConvArgs a, ShConvPiece p, SH_GLOBAL(const T) x, SH_GLOBAL(const float) weight, SH_GLOBAL(const T) before,
                          uint32_t channel, SH_THREAD(float) w, SH_THREAD(float) window) {
    SH_ASSERT(a.taps >= 1u && a.taps <= W);
    SH_UNROLL
    for (uint32_t j = 0u; j < W; ++j) {
        const bool in = j + a.taps >= W;
        w[j] = in ? weight[channel * a.taps + (j + a.taps - W)] : 0.0f;
        window[j] = in && j + a.taps > W ? conv_row<T>(a, p, x, before, channel, p.start - (int32_t)(W - j)) : 0.0f;
    }
}

template <uint32_t W> SH_DEVICE void conv_slide(SH_THREAD(float) window, float next) {
    SH_UNROLL
    for (uint32_t j = 0u; j + 1u < W; ++j) window[j] = window[j + 1u];
    window[W - 1u] = next;
}

template <uint32_t W> SH_DEVICE float conv_sum(SH_THREAD(const float) w, SH_THREAD(const float) window, float sum) {
    SH_UNROLL
    for (uint32_t j = 0u; j < W; ++j) sum = sh_fma(w[j], window[j], sum);
    return sum;
}

template <class T, uint32_t W>
SH_DEVICE void conv_forward(ShCtx c, ShConvArgs a, SH_GLOBAL(const uint32_t) pieces, SH_GLOBAL(const T) x, SH_GLOBAL(const float) weight,
                            SH_GLOBAL(const float) bias, SH_GLOBAL(const T) before, SH_GLOBAL(T) y, SH_GLOBAL(T) after) {
    const uint32_t blocks = sh_ceil_div(a.channels, c.bdim);
    const uint32_t channel = c.bid % blocks * c.bdim + c.tid;
    if (channel >= a.channels) return;
    const ShConvPiece p = conv_piece(pieces, c.bid / blocks);
    float w[W], window[W];
    conv_begin<T, W>(a, p, x, weight, before, channel, w, window);
    const float shift = a.has_bias != 0u ? (float)bias[channel] : 0.0f;
    for (int32_t row = p.start; row < p.end; ++row) {
        const uint32_t place = (uint32_t)row * a.channels + channel;
        conv_slide<W>(window, sh_to_f32(x[place]));
        const float sum = conv_sum<W>(w, window, shift);
        y[place] = sh_from_f32<T>(a.silu != 0u ? sh_silu(sum) : sum);
    }
    if (p.end != p.last) return;
    const uint32_t kept = a.taps - 1u;
    SH_UNROLL
    for (uint32_t j = 0u; j < W; ++j)
        if (j + kept >= W) after[(p.sequence * kept + (j + kept - W)) * a.channels + channel] = sh_from_f32<T>(window[j]);
}

// Gradients of x, of the rows carried in, and of the filter and the bias per piece: (pieces, taps + 1, channels).
template <class T, uint32_t W>
SH_DEVICE void conv_backward(ShCtx c, ShConvArgs a, SH_GLOBAL(const uint32_t) pieces, SH_GLOBAL(const T) x, SH_GLOBAL(const float) weight,
                             SH_GLOBAL(const float) bias, SH_GLOBAL(const T) before, SH_GLOBAL(const T) dy, SH_GLOBAL(const T) dafter,
                             SH_GLOBAL(T) dx, SH_GLOBAL(T) dbefore, SH_GLOBAL(float) sums) {
    const uint32_t blocks = sh_ceil_div(a.channels, c.bdim);
    const uint32_t channel = c.bid % blocks * c.bdim + c.tid;
    if (channel >= a.channels) return;
    const uint32_t piece = c.bid / blocks;
    const ShConvPiece p = conv_piece(pieces, piece);
    const int32_t kept = (int32_t)a.taps - 1;
    float w[W], window[W], gradients[W], dw[W];
    conv_begin<T, W>(a, p, x, weight, before, channel, w, window);
    SH_UNROLL
    for (uint32_t j = 0u; j < W; ++j) {
        gradients[j] = 0.0f;
        dw[j] = 0.0f;
    }
    const float shift = a.has_bias != 0u ? (float)bias[channel] : 0.0f;
    float dbias = 0.0f;
    // The rows behind the piece that see its rows are done again.
    for (int32_t row = p.start; row < p.end + (int32_t)W - 1; ++row) {
        float g = 0.0f;
        if (row < p.last) {
            const uint32_t place = (uint32_t)row * a.channels + channel;
            conv_slide<W>(window, sh_to_f32(x[place]));
            g = sh_to_f32(dy[place]);
            if (a.silu != 0u) g *= sh_silu_slope(conv_sum<W>(w, window, shift));
            if (row < p.end) {
                dbias += g;
                SH_UNROLL
                for (uint32_t j = 0u; j < W; ++j) dw[j] = sh_fma(g, window[j], dw[j]);
            }
        }
        conv_slide<W>(gradients, g);
        // The row that the first of the W gradients is the last to see.
        const int32_t target = row - (int32_t)W + 1;
        if (target < p.start - (p.start == p.first ? kept : 0)) continue;
        float sum = 0.0f;
        SH_UNROLL
        for (uint32_t j = 0u; j < W; ++j) sum = sh_fma(w[j], gradients[W - 1u - j], sum);
        const int32_t k = target - (p.last - kept);
        if (k >= 0 && a.has_dafter != 0u) sum += sh_to_f32(dafter[(p.sequence * (uint32_t)kept + (uint32_t)k) * a.channels + channel]);
        if (target >= p.start) {
            dx[(uint32_t)target * a.channels + channel] = sh_from_f32<T>(sum);
        } else {
            const uint32_t at = (uint32_t)(target - (p.start - kept));
            dbefore[(p.sequence * (uint32_t)kept + at) * a.channels + channel] = sh_from_f32<T>(sum);
        }
    }
    const uint32_t line = piece * (a.taps + 1u);
    SH_UNROLL
    for (uint32_t j = 0u; j < W; ++j)
        if (j + a.taps >= W) sums[(line + (j + a.taps - W)) * a.channels + channel] = dw[j];
    sums[(line + a.taps) * a.channels + channel] = dbias;
}

// The sums of the pieces in their order.
SH_DEVICE void conv_sums(ShCtx c, ShConvArgs a, SH_GLOBAL(const float) sums, SH_GLOBAL(float) dweight, SH_GLOBAL(float) dbias) {
    const uint32_t i = c.bid * c.bdim + c.tid;
    const uint32_t width = (a.taps + 1u) * a.channels;
    if (i >= width) return;
    float sum = 0.0f;
    for (uint32_t piece = 0u; piece < a.pieces; ++piece) sum += sums[piece * width + i];
    const uint32_t tap = i / a.channels;
    const uint32_t channel = i % a.channels;
    if (tap < a.taps) dweight[channel * a.taps + tap] = sum;
    else dbias[channel] = sum;
}

#endif
