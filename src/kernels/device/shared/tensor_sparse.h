// MTTKRP of sorted coordinates. A group of threads has a stretch of nonzeros, a column of the rank each, and walks it: a row that begins in
// the stretch is written, what is added to one that began before it is kept apart (the stretch's head). Heads of one row are neighbours:
// later launches walk them in the same way, until none is left. No atomics, one order of all sums.
#ifndef SHOAL_SHARED_TENSOR_SPARSE_H
#define SHOAL_SHARED_TENSOR_SPARSE_H

#include "../args/tensor.h"

// Nonzeros whose products are in flight together.
#define TENSOR_FLIGHT 4u

SH_DEVICE void tensor_zero(ShCtx c, ShTensorSparseArgs a, SH_GLOBAL(float) out) {
    const uint32_t i = c.bid * c.bdim + c.tid;
    if (i < a.items) out[i] = 0.0f;
}

// Ends the sum of a row. BELOW: of nonzeros; else of heads, which are added to what the row has.
template <bool BELOW>
SH_DEVICE void tensor_flush(bool begun, uint32_t head, uint32_t place, float sum, SH_GLOBAL(float) out, SH_GLOBAL(float) heads) {
    if (begun) heads[head] = sum;
    else if (BELOW) out[place] = sum;
    else out[place] += sum;
}

// BELOW: values · Π of the rows of factors, whose indices are (modes, items) and which begin at `table`; else `values` are heads, (items,
// rank). `rows`: of each item, never falling. `slots`: where the head of a stretch goes.
template <bool BELOW>
SH_DEVICE void tensor_walk(ShCtx c, ShTensorSparseArgs a, SH_GLOBAL(const uint32_t) rows, SH_GLOBAL(const uint32_t) slots,
                           SH_GLOBAL(const uint32_t) table, SH_GLOBAL(const uint32_t) indices, SH_GLOBAL(const float) values,
                           SH_GLOBAL(const float) factors, SH_GLOBAL(float) out, SH_GLOBAL(float) heads) {
    const uint32_t tiles = sh_ceil_div(a.rank, a.width);
    const uint32_t group = c.bid * (c.bdim / a.width) + c.tid / a.width;
    const uint32_t stretch = group / tiles, column = group % tiles * a.width + c.tid % a.width;
    if (stretch >= a.stretches || column >= a.rank) return;
    const uint32_t start = stretch * a.stretch, end = sh_min(a.items, start + a.stretch);
    uint32_t row = rows[start];
    bool begun = start > 0u && rows[start - 1u] == row;
    const uint32_t head = begun ? slots[stretch] * a.rank + column : 0u;
    float sum = 0.0f;
    for (uint32_t first = start; first < end; first += TENSOR_FLIGHT) {
        float p[TENSOR_FLIGHT];
        SH_UNROLL
        for (uint32_t j = 0u; j < TENSOR_FLIGHT; ++j) {
            const uint32_t k = sh_min(first + j, end - 1u);
            p[j] = values[BELOW ? k : k * a.rank + column];
        }
        if (BELOW) {
            for (uint32_t m = 0u; m < a.modes; ++m) {
                const uint32_t begin = table[m];
                SH_UNROLL
                for (uint32_t j = 0u; j < TENSOR_FLIGHT; ++j)
                    p[j] *= factors[begin + indices[m * a.items + sh_min(first + j, end - 1u)] * a.rank + column];
            }
        }
        SH_UNROLL
        for (uint32_t j = 0u; j < TENSOR_FLIGHT; ++j) {
            if (first + j >= end) continue;
            const uint32_t next = rows[first + j];
            if (next != row) {
                tensor_flush<BELOW>(begun, head, row * a.rank + column, sum, out, heads);
                begun = false;
                row = next;
                sum = 0.0f;
            }
            sum += p[j];
        }
    }
    tensor_flush<BELOW>(begun, head, row * a.rank + column, sum, out, heads);
}

// Σ_r of the products of the factors' rows at every coordinate, indices (modes, items): a group of threads has a coordinate.
SH_DEVICE void tensor_values(ShCtx c, ShTensorSparseArgs a, SH_GLOBAL(const uint32_t) table, SH_GLOBAL(const uint32_t) indices,
                             SH_GLOBAL(const float) factors, SH_GLOBAL(float) out) {
    const uint32_t item = c.bid * (c.bdim / a.width) + c.tid / a.width, lane = c.tid % a.width;
    float sum = 0.0f;
    if (item < a.items) {
        for (uint32_t r = lane; r < a.rank; r += a.width) {
            float p = 1.0f;
            for (uint32_t m = 0u; m < a.modes; ++m) p *= factors[table[m] + indices[m * a.items + item] * a.rank + r];
            sum += p;
        }
    }
    for (uint32_t mask = a.width / 2u; mask > 0u; mask /= 2u) sum += sh_shfl_xor(c, sum, mask);
    if (item < a.items && lane == 0u) out[item] = sum;
}

#endif
