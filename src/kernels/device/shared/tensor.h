// Products of dense tensors: the contraction of an MTTKRP, its row dot, the product along a mode, their gradients. No tensor is permuted
// and no Khatri-Rao product of a side is formed: both are read through addresses.
#ifndef SHOAL_SHARED_TENSOR_H
#define SHOAL_SHARED_TENSOR_H

#include "../args/tensor.h"

// 256 threads have 4 x 4 elements of a result each, ACROSS of them side by side: tiles of 256 x 16, 128 x 32 or 64 x 64. 16 terms of both
// matrices are in shared memory at a time.
#define TENSOR_DEPTH 16u
#define TENSOR_THREADS 256u
#define TENSOR_ROWS(across) (1024u / (across))
#define TENSOR_COLUMNS(across) (4u * (across))
#define TENSOR_LEFT_LINE(across) (TENSOR_ROWS(across) + 4u)
#define TENSOR_RIGHT_LINE(across) (TENSOR_COLUMNS(across) + 4u)
// Floats of shared memory: of the product and, after it, of the result on its way out.
#define TENSOR_PRODUCT_FLOATS(across) (TENSOR_DEPTH * (TENSOR_LEFT_LINE(across) + TENSOR_RIGHT_LINE(across)))
#define TENSOR_RESULT_FLOATS(across) (TENSOR_COLUMNS(across) * (TENSOR_ROWS(across) + 1u))
#define TENSOR_FLOATS(across) \
    (TENSOR_PRODUCT_FLOATS(across) > TENSOR_RESULT_FLOATS(across) ? TENSOR_PRODUCT_FLOATS(across) : TENSOR_RESULT_FLOATS(across))

// Left matrices: element (row, k) is at row_place(row) + depth_place(k).

// Rows one after the other.
struct ShTensorLines {
    SH_GLOBAL(const float) x;
    uint32_t step;
    SH_DEVICE_MEMBER uint32_t row_place(uint32_t row) const { return row * step; }
    SH_DEVICE_MEMBER uint32_t depth_place(uint32_t k) const { return k; }
    SH_DEVICE_MEMBER float at(uint32_t row, uint32_t k) const { return x[row + k]; }
};

// Rows in runs of `inner` neighbours.
struct ShTensorFolds {
    SH_GLOBAL(const float) x;
    uint32_t inner, outer, step;
    SH_DEVICE_MEMBER uint32_t row_place(uint32_t row) const { return row / inner * outer + row % inner; }
    SH_DEVICE_MEMBER uint32_t depth_place(uint32_t k) const { return k * step; }
    SH_DEVICE_MEMBER float at(uint32_t row, uint32_t k) const { return x[row + k]; }
};

// Terms in runs of `inner` neighbours, rows that far apart.
struct ShTensorPairs {
    SH_GLOBAL(const float) x;
    uint32_t inner, outer;
    SH_DEVICE_MEMBER uint32_t row_place(uint32_t row) const { return row * inner; }
    SH_DEVICE_MEMBER uint32_t depth_place(uint32_t k) const { return k / inner * outer + k % inner; }
    SH_DEVICE_MEMBER float at(uint32_t row, uint32_t k) const { return x[row + k]; }
};

// Where the rows of a Khatri-Rao product have their factors, `count` of them: place i of mode m is words[m · count + i]. The table has the
// size of each mode and where its factor begins.
SH_DEVICE void tensor_places(SH_GLOBAL(const uint32_t) table, uint32_t modes, uint32_t rank, uint32_t row, SH_TGROUP(uint32_t) words,
                             uint32_t count, uint32_t i) {
    for (uint32_t m = modes; m-- > 0u;) {
        const uint32_t size = table[2u * m];
        words[m * count + i] = table[2u * m + 1u] + row % size * rank;
        row /= size;
    }
}

// Rows of a Khatri-Rao product whose places are known, `count` of them.
struct ShTensorPoints {
    SH_GLOBAL(const float) factors;
    SH_TGROUP(uint32_t) words;
    uint32_t modes, count, first;
    SH_DEVICE_MEMBER uint32_t row_place(uint32_t row) const { return row - first; }
    SH_DEVICE_MEMBER uint32_t depth_place(uint32_t k) const { return k; }
    SH_DEVICE_MEMBER float at(uint32_t row, uint32_t k) const {
        float v = 1.0f;
        for (uint32_t m = 0u; m < modes; ++m) v *= factors[words[m * count + row] + k];
        return v;
    }
};

// Right matrices: `ready` is called by all threads before a step of 16 terms, ahead of a barrier.

struct ShTensorMatrix {
    SH_GLOBAL(const float) m;
    uint32_t depth_step, column_step;
    SH_DEVICE_MEMBER void ready(ShCtx, uint32_t) const {}
    SH_DEVICE_MEMBER float at(uint32_t k, uint32_t column) const { return m[k * depth_step + column * column_step]; }
};

// As ShTensorPairs, turned.
struct ShTensorPairColumns {
    SH_GLOBAL(const float) x;
    uint32_t inner, outer;
    SH_DEVICE_MEMBER void ready(ShCtx, uint32_t) const {}
    SH_DEVICE_MEMBER float at(uint32_t k, uint32_t column) const { return x[k / inner * outer + column * inner + k % inner]; }
};

// The points of a model, turned.
struct ShTensorPointColumns {
    ShTensorPoints points;
    SH_DEVICE_MEMBER void ready(ShCtx, uint32_t) const {}
    SH_DEVICE_MEMBER float at(uint32_t k, uint32_t column) const { return points.at(points.row_place(column), k); }
};

// Rows of a Khatri-Rao product as terms from `from` up to `to`: the places of `batch` of them are looked up at a time, so that an index is
// taken apart once for all columns.
struct ShTensorKhatriRao {
    SH_GLOBAL(const uint32_t) table;
    SH_GLOBAL(const float) factors;
    SH_TGROUP(uint32_t) words;
    uint32_t modes, batch, rank, from, to;
    SH_DEVICE_MEMBER void ready(ShCtx c, uint32_t first) const {
        if ((first - from) % batch != 0u) return;
        for (uint32_t i = c.tid; i < batch; i += TENSOR_THREADS)
            if (first + i < to) tensor_places(table, modes, rank, first + i, words, batch, i);
    }
    SH_DEVICE_MEMBER float at(uint32_t k, uint32_t column) const {
        const uint32_t i = (k - from) & (batch - 1u);
        float v = 1.0f;
        for (uint32_t m = 0u; m < modes; ++m) v *= factors[words[m * batch + i] + column];
        return v;
    }
};

// acc += left · right over the terms `from` up to `to`, for the tile at `row`, `column`. KL, KR: whether neighbouring threads take
// neighbouring terms of the left and the right matrix. The room is free after the next barrier.
template <uint32_t ACROSS, bool KL, bool KR, class L, class R>
SH_DEVICE void tensor_product(ShCtx c, ShTensorArgs a, L left, R right, uint32_t row, uint32_t column, uint32_t from, uint32_t to,
                              SH_TGROUP(float) room, SH_THREAD(float) acc) {
    const uint32_t rows = TENSOR_ROWS(ACROSS), columns = TENSOR_COLUMNS(ACROSS);
    const uint32_t line = TENSOR_LEFT_LINE(ACROSS), right_line = TENSOR_RIGHT_LINE(ACROSS);
    SH_TGROUP(float) ls = sh_part(room, 0u, TENSOR_DEPTH * line);
    SH_TGROUP(float) rs = sh_part(room, TENSOR_DEPTH * line, TENSOR_DEPTH * right_line);
    const uint32_t own_row = c.tid / ACROSS * 4u, own_column = c.tid % ACROSS * 4u;
    SH_ASSERT(c.bdim == TENSOR_THREADS && a.part % TENSOR_DEPTH == 0u);
    // A thread loads one row throughout, or one term of a step.
    const bool in = row + c.tid % rows < a.rows;
    const uint32_t place = !KL && in ? left.row_place(row + c.tid % rows) : 0u;
    for (uint32_t first = from; first < to; first += TENSOR_DEPTH) {
        right.ready(c, first);
        sh_barrier(c);
        if (KL) {
            const uint32_t kk = c.tid % TENSOR_DEPTH, k = first + kk;
            const uint32_t depth = k < to ? left.depth_place(k) : 0u;
            for (uint32_t r = c.tid / TENSOR_DEPTH; r < rows; r += TENSOR_THREADS / TENSOR_DEPTH)
                ls[kk * line + r] = k < to && row + r < a.rows ? left.at(left.row_place(row + r), depth) : 0.0f;
        } else {
            SH_UNROLL
            for (uint32_t kk = c.tid / rows; kk < TENSOR_DEPTH; kk += TENSOR_THREADS / rows)
                ls[kk * line + c.tid % rows] = in && first + kk < to ? left.at(place, left.depth_place(first + kk)) : 0.0f;
        }
        for (uint32_t i = c.tid; i < columns * TENSOR_DEPTH; i += TENSOR_THREADS) {
            const uint32_t kk = KR ? i % TENSOR_DEPTH : i / columns, col = KR ? i / TENSOR_DEPTH : i % columns;
            rs[kk * right_line + col] = first + kk < to && column + col < a.columns ? right.at(first + kk, column + col) : 0.0f;
        }
        sh_barrier(c);
        if (row + own_row >= a.rows || column + own_column >= a.columns) continue;
        for (uint32_t k = 0u; k < TENSOR_DEPTH; ++k) {
            float l[4], r[4];
            SH_UNROLL
            for (uint32_t i = 0u; i < 4u; ++i) {
                l[i] = ls[k * line + own_row + i];
                r[i] = rs[k * right_line + own_column + i];
            }
            SH_UNROLL
            for (uint32_t i = 0u; i < 4u; ++i) {
                SH_UNROLL
                for (uint32_t j = 0u; j < 4u; ++j) acc[i * 4u + j] = sh_fma(l[i], r[j], acc[i * 4u + j]);
            }
        }
    }
}

// A tile to its places in `out`, turned in shared memory so that neighbouring threads write neighbouring numbers. Starts with a barrier.
template <uint32_t ACROSS>
SH_DEVICE void tensor_write(ShCtx c, ShTensorArgs a, uint32_t row, uint32_t column, SH_THREAD(const float) acc, SH_TGROUP(float) room,
                            SH_GLOBAL(float) out) {
    const uint32_t rows = TENSOR_ROWS(ACROSS), columns = TENSOR_COLUMNS(ACROSS), line = rows + 1u;
    const uint32_t own_row = c.tid / ACROSS * 4u, own_column = c.tid % ACROSS * 4u;
    sh_barrier(c);
    SH_UNROLL
    for (uint32_t e = 0u; e < 16u; ++e) room[(own_column + e % 4u) * line + own_row + e / 4u] = acc[e];
    sh_barrier(c);
    if (a.out_inner == 1u) {
        for (uint32_t e = c.tid; e < rows * columns; e += TENSOR_THREADS) {
            const uint32_t r = e / columns, col = e % columns;
            if (row + r < a.rows && column + col < a.columns) out[(row + r) * a.columns + column + col] = room[col * line + r];
        }
        return;
    }
    const uint32_t r = c.tid % rows;
    if (row + r >= a.rows) return;
    const uint32_t place = (row + r) / a.out_inner * a.columns * a.out_inner + (row + r) % a.out_inner;
    for (uint32_t col = c.tid / rows; col < columns; col += TENSOR_THREADS / rows)
        if (column + col < a.columns) out[place + (column + col) * a.out_inner] = room[col * line + r];
}

// The tile of a block: columns fastest, so that blocks that run together read the same rows; then rows, then parts of the terms.
struct ShTensorTile {
    uint32_t row, column, part;
};
template <uint32_t ACROSS> SH_DEVICE ShTensorTile tensor_tile(ShCtx c, ShTensorArgs a) {
    const uint32_t across = sh_ceil_div(a.columns, TENSOR_COLUMNS(ACROSS)), down = sh_ceil_div(a.rows, TENSOR_ROWS(ACROSS));
    ShTensorTile t;
    t.column = c.bid % across * TENSOR_COLUMNS(ACROSS);
    t.row = c.bid / across % down * TENSOR_ROWS(ACROSS);
    t.part = c.bid / across / down;
    return t;
}

// A part of a product and its way out.
template <uint32_t ACROSS, bool KL, bool KR, class L, class R>
SH_DEVICE void tensor_block(ShCtx c, ShTensorArgs a, ShTensorTile t, L left, R right, SH_GLOBAL(float) out, SH_TGROUP(float) arena) {
    float acc[16];
    SH_UNROLL
    for (uint32_t i = 0u; i < 16u; ++i) acc[i] = 0.0f;
    const uint32_t from = t.part * a.part;
    tensor_product<ACROSS, KL, KR>(c, a, left, right, t.row, t.column, from, sh_min(a.depth, from + a.part), arena, acc);
    tensor_write<ACROSS>(c, a, t.row, t.column, acc, arena, out + t.part * a.rows * a.columns);
}

// The first contraction of an MTTKRP: X, seen as a matrix of rows, times a Khatri-Rao product. out: (parts, rows, rank).
template <uint32_t ACROSS, bool KL, class L>
SH_DEVICE void tensor_contract(ShCtx c, ShTensorArgs a, SH_GLOBAL(const uint32_t) table, L left, SH_GLOBAL(const float) factors,
                               SH_GLOBAL(float) out, SH_TGROUP(float) arena, SH_TGROUP(uint32_t) words) {
    const ShTensorTile t = tensor_tile<ACROSS>(c, a);
    const uint32_t from = t.part * a.part;
    const ShTensorKhatriRao right = {table,   factors, sh_part(words, TENSOR_FLOATS(ACROSS), a.batch * a.modes),
                                     a.modes, a.batch, a.columns,
                                     from,    sh_min(a.depth, from + a.part)};
    tensor_block<ACROSS, KL, false>(c, a, t, left, right, out, arena);
}

// Σ over terms and parts of the first contraction times the other side's Khatri-Rao product. A block has an output and `width` columns:
// its groups of threads take terms in turn, and their sums are added as a tree.
SH_DEVICE void tensor_row_dot(ShCtx c, ShTensorDotArgs a, SH_GLOBAL(const uint32_t) table, SH_GLOBAL(const float) factors,
                              SH_GLOBAL(const float) partial, SH_GLOBAL(float) out, SH_TGROUP(float) arena) {
    const uint32_t tiles = sh_ceil_div(a.rank, a.width), groups = c.bdim / a.width;
    const uint32_t output = c.bid / tiles, column = c.bid % tiles * a.width + c.tid % a.width, group = c.tid / a.width;
    float sum = 0.0f;
    if (column < a.rank) {
        for (uint32_t s = group; s < a.terms; s += groups) {
            const uint32_t place = (output * a.output_step + s * a.term_step) * a.rank + column;
            float y = 0.0f;
            for (uint32_t p = 0u; p < a.parts; ++p) y += partial[p * a.rows * a.rank + place];
            uint32_t k = s;
            float by = 1.0f;
            for (uint32_t m = a.modes; m-- > 0u;) {
                const uint32_t size = table[2u * m];
                by *= factors[table[2u * m + 1u] + k % size * a.rank + column];
                k /= size;
            }
            sum = sh_fma(y, by, sum);
        }
    }
    arena[c.tid] = sum;
    for (uint32_t half_ = groups / 2u; half_ > 0u; half_ /= 2u) {
        sh_barrier(c);
        if (group < half_) arena[c.tid] = arena[c.tid] + arena[c.tid + half_ * a.width];
    }
    if (group == 0u && column < a.rank) out[output * a.rank + column] = arena[c.tid];
}

// Parts of `outputs` numbers, added in their order.
SH_DEVICE void tensor_sum_parts(ShCtx c, ShTensorDotArgs a, SH_GLOBAL(const float) partial, SH_GLOBAL(float) out) {
    const uint32_t i = c.bid * c.bdim + c.tid;
    if (i >= a.outputs) return;
    float sum = 0.0f;
    for (uint32_t p = 0u; p < a.parts; ++p) sum += partial[p * a.outputs + i];
    out[i] = sum;
}

// The CP model, Σ_r of the products of the factors' rows: out (rows, columns), which the first `left_modes` and the other modes make.
SH_DEVICE void tensor_model(ShCtx c, ShTensorArgs a, SH_GLOBAL(const uint32_t) table, SH_GLOBAL(const float) factors, SH_GLOBAL(float) out,
                            SH_TGROUP(float) arena, SH_TGROUP(uint32_t) words) {
    const ShTensorTile t = tensor_tile<16u>(c, a);
    const uint32_t side = TENSOR_ROWS(16u);
    const ShTensorPoints left = {factors, sh_part(words, TENSOR_FLOATS(16u), a.left_modes * side), a.left_modes, side, t.row};
    const ShTensorPoints right = {factors, sh_part(words, TENSOR_FLOATS(16u) + a.left_modes * side, a.modes * side), a.modes, side, t.column};
    if (c.tid < side) {
        if (t.row + c.tid < a.rows) tensor_places(table, a.left_modes, a.depth, t.row + c.tid, left.words, side, c.tid);
        if (t.column + c.tid < a.columns)
            tensor_places(table + 2u * a.left_modes, a.modes, a.depth, t.column + c.tid, right.words, side, c.tid);
    }
    const ShTensorPointColumns turned = {right};
    tensor_block<16u, true, true>(c, a, t, left, turned, out, arena);
}

#endif
