// What the chunked scans share: products of matrices in tiles, and decays of a chunk.
#ifndef SHOAL_SHARED_TILES_H
#define SHOAL_SHARED_TILES_H

// A tile is 64 x 64, by 256 threads of 4 x 4 each; 16 columns of the left and rows of the right matrix are in shared memory at a time.
#define TILE_SIDE 64u
#define TILE_DEPTH 16u
#define TILE_LINE 68u
#define TILE_THREADS 256u
// Floats of shared memory of a product.
#define TILE_FLOATS (2u * TILE_DEPTH * TILE_LINE)

// Row and column of a thread's first element.
SH_DEVICE uint32_t tile_row(ShCtx c) { return c.tid / 16u * 4u; }
SH_DEVICE uint32_t tile_column(ShCtx c) { return c.tid % 16u * 4u; }

SH_DEVICE void tile_zero(SH_THREAD(float) acc) {
    SH_UNROLL
    for (uint32_t i = 0u; i < 16u; ++i) acc[i] = 0.0f;
}

// acc += left · right, of which `m` rows and `n` columns are wanted, over `depth`. `left.at(row, k)` and `right.at(k, column)` give zeros
// beyond their edges. KL, KR: whether k runs along memory there, so that neighbouring threads read neighbouring numbers.
// Starts with a barrier; the room is free after the next one.
template <bool KL, bool KR, class L, class R>
SH_DEVICE void tile_product(ShCtx c, L left, R right, uint32_t m, uint32_t n, uint32_t depth, SH_TGROUP(float) room, SH_THREAD(float) acc) {
    SH_TGROUP(float) ls = sh_part(room, 0u, TILE_DEPTH * TILE_LINE);
    SH_TGROUP(float) rs = sh_part(room, TILE_DEPTH * TILE_LINE, TILE_DEPTH * TILE_LINE);
    const uint32_t row = tile_row(c), column = tile_column(c);
    SH_ASSERT(c.bdim == TILE_THREADS);
    for (uint32_t first = 0u; first < depth; first += TILE_DEPTH) {
        sh_barrier(c);
        for (uint32_t i = c.tid; i < TILE_SIDE * TILE_DEPTH; i += TILE_THREADS) {
            const uint32_t kl = KL ? i % TILE_DEPTH : i / TILE_SIDE, r = KL ? i / TILE_DEPTH : i % TILE_SIDE;
            ls[kl * TILE_LINE + r] = r < m && first + kl < depth ? left.at(r, first + kl) : 0.0f;
            const uint32_t kr = KR ? i % TILE_DEPTH : i / TILE_SIDE, col = KR ? i / TILE_DEPTH : i % TILE_SIDE;
            rs[kr * TILE_LINE + col] = col < n && first + kr < depth ? right.at(first + kr, col) : 0.0f;
        }
        sh_barrier(c);
        if (row >= m || column >= n) continue;
        for (uint32_t k = 0u; k < TILE_DEPTH; ++k) {
            float l[4], r[4];
            SH_UNROLL
            for (uint32_t i = 0u; i < 4u; ++i) {
                l[i] = ls[k * TILE_LINE + row + i];
                r[i] = rs[k * TILE_LINE + column + i];
            }
            SH_UNROLL
            for (uint32_t i = 0u; i < 4u; ++i) {
                SH_UNROLL
                for (uint32_t j = 0u; j < 4u; ++j) acc[i * 4u + j] = sh_fma(l[i], r[j], acc[i * 4u + j]);
            }
        }
    }
}

// Rows of a matrix in global memory, from a first row and column on; zeros beyond `rows` and `width`.
struct ShRows {
    SH_GLOBAL(const float) x;
    uint32_t stride, rows, width;
    SH_DEVICE_MEMBER float at(uint32_t row, uint32_t column) const {
        return row < rows && column < width ? (float)x[row * stride + column] : 0.0f;
    }
};

// Each row times a number in shared memory.
struct ShScaledRows {
    ShRows rows;
    SH_TGROUP(float) scale;
    SH_DEVICE_MEMBER float at(uint32_t row, uint32_t column) const { return row < rows.rows ? scale[row] * rows.at(row, column) : 0.0f; }
};

// Rows and columns exchanged.
template <class M> struct ShTurned {
    M matrix;
    SH_DEVICE_MEMBER float at(uint32_t row, uint32_t column) const { return matrix.at(column, row); }
};

template <class M> SH_DEVICE ShTurned<M> sh_turned(M matrix) {
    ShTurned<M> t = {matrix};
    return t;
}

// Σ over the 16 threads that have a row of a tile; all get it.
SH_DEVICE float tile_row_sum(ShCtx c, float v) {
    SH_UNROLL
    for (uint32_t mask = 8u; mask > 0u; mask /= 2u) v += sh_shfl_xor(c, v, mask);
    return v;
}

// Decays of the 64 rows of a chunk from their logarithms. No difference of long sums is formed: a chunk is four blocks of 16, and an
// exponent between two blocks is what is left of the first, the whole blocks between, and what the second has begun.
#define DECAY_FLOATS (4u * 64u + 16u)
struct ShDecays {
    // Σ of the block up to and with a row, and of what is behind it.
    SH_TGROUP(float) within;
    SH_TGROUP(float) behind;
    // exp of the sums from the start of the chunk to a row, and from behind a row to the end.
    SH_TGROUP(float) starts;
    SH_TGROUP(float) ends;
    // Σ of the blocks.
    SH_TGROUP(float) blocks;

    // Σ of the logarithms behind row j up to and with row i >= j.
    SH_DEVICE_MEMBER float between(uint32_t i, uint32_t j) const {
        const uint32_t bi = i / 16u, bj = j / 16u;
        if (bi == bj) return within[i] - within[j];
        float sum = behind[j];
        for (uint32_t b = bj + 1u; b < bi; ++b) sum += blocks[b];
        return sum + within[i];
    }
    // Σ of all.
    SH_DEVICE_MEMBER float all() const { return (blocks[0] + blocks[1]) + (blocks[2] + blocks[3]); }
};

SH_DEVICE ShDecays sh_decays(SH_TGROUP(float) room) {
    ShDecays d;
    d.within = sh_part(room, 0u, 64u);
    d.behind = sh_part(room, 64u, 64u);
    d.starts = sh_part(room, 128u, 64u);
    d.ends = sh_part(room, 192u, 64u);
    d.blocks = sh_part(room, 256u, 16u);
    return d;
}

// Fills them: thread i < 64 gives the logarithm of row i, 0 behind the last. Starts and ends with a barrier.
SH_DEVICE void sh_fill_decays(ShCtx c, ShDecays d, float logarithm) {
    sh_barrier(c);
    if (c.warp < 2u) {
        const uint32_t place = c.lane % 16u;
        float sum = logarithm;
        float rest = sh_shfl_down_or(c, logarithm, 1u, 0.0f);
        if (place == 15u) rest = 0.0f;
        SH_UNROLL
        for (uint32_t by = 1u; by < 16u; by *= 2u) {
            const float before = sh_shfl_up_or(c, sum, by, 0.0f);
            const float after = sh_shfl_down_or(c, rest, by, 0.0f);
            if (place >= by) sum += before;
            if (place + by < 16u) rest += after;
        }
        d.within[c.tid] = sum;
        d.behind[c.tid] = rest;
        if (place == 15u) d.blocks[c.tid / 16u] = sum;
    }
    sh_barrier(c);
    if (c.tid < 64u) {
        float before = d.within[c.tid], behind = d.behind[c.tid];
        for (uint32_t b = c.tid / 16u; b-- > 0u;) before += d.blocks[b];
        for (uint32_t b = c.tid / 16u + 1u; b < 4u; ++b) behind += d.blocks[b];
        d.starts[c.tid] = sh_exp(before);
        d.ends[c.tid] = sh_exp(behind);
    }
    sh_barrier(c);
}

#endif
