// Entries of the products of tensors.
#include "tensor.h"
#include "tensor_sparse.h"

#define TENSOR_ENTRIES(ACROSS, suffix)                                                                                             \
    SH_KERNEL(shoal_tensor_contract_rows_##suffix)                                                                                 \
    SH_PARAMS(SH_ARGS(0, ShTensorArgs, a), SH_BUF(1, const uint32_t, table), SH_BUF(2, const float, x), SH_BUF(3, const float, factors), \
              SH_BUF(4, float, out)) {                                                                                             \
        SH_ENTER(c);                                                                                                               \
        SH_ARENA(float, arena);                                                                                                    \
        SH_ARENA(uint32_t, words);                                                                                                 \
        const ShTensorLines left = {x, a.outer};                                                                                   \
        tensor_contract<ACROSS, true>(c, a, table, left, factors, out, arena, words);                                              \
    }                                                                                                                              \
    SH_REGISTER(shoal_tensor_contract_rows_##suffix)                                                                               \
    SH_KERNEL(shoal_tensor_contract_columns_##suffix)                                                                              \
    SH_PARAMS(SH_ARGS(0, ShTensorArgs, a), SH_BUF(1, const uint32_t, table), SH_BUF(2, const float, x), SH_BUF(3, const float, factors), \
              SH_BUF(4, float, out)) {                                                                                             \
        SH_ENTER(c);                                                                                                               \
        SH_ARENA(float, arena);                                                                                                    \
        SH_ARENA(uint32_t, words);                                                                                                 \
        const ShTensorFolds left = {x, a.inner, a.outer, a.step};                                                                  \
        tensor_contract<ACROSS, false>(c, a, table, left, factors, out, arena, words);                                             \
    }                                                                                                                              \
    SH_REGISTER(shoal_tensor_contract_columns_##suffix)                                                                            \
    SH_KERNEL(shoal_tensor_ttm_rows_##suffix)                                                                                      \
    SH_PARAMS(SH_ARGS(0, ShTensorArgs, a), SH_BUF(1, const float, x), SH_BUF(2, const float, m), SH_BUF(3, float, out)) {          \
        SH_ENTER(c);                                                                                                               \
        SH_ARENA(float, arena);                                                                                                    \
        const ShTensorLines left = {x, a.outer};                                                                                   \
        const ShTensorMatrix right = {m, a.depth_step, a.column_step};                                                             \
        tensor_block<ACROSS, true, true>(c, a, tensor_tile<ACROSS>(c, a), left, right, out, arena);                                \
    }                                                                                                                              \
    SH_REGISTER(shoal_tensor_ttm_rows_##suffix)                                                                                    \
    SH_KERNEL(shoal_tensor_ttm_columns_##suffix)                                                                                   \
    SH_PARAMS(SH_ARGS(0, ShTensorArgs, a), SH_BUF(1, const float, x), SH_BUF(2, const float, m), SH_BUF(3, float, out)) {          \
        SH_ENTER(c);                                                                                                               \
        SH_ARENA(float, arena);                                                                                                    \
        const ShTensorFolds left = {x, a.inner, a.outer, a.step};                                                                  \
        const ShTensorMatrix right = {m, a.depth_step, a.column_step};                                                             \
        tensor_block<ACROSS, false, true>(c, a, tensor_tile<ACROSS>(c, a), left, right, out, arena);                               \
    }                                                                                                                              \
    SH_REGISTER(shoal_tensor_ttm_columns_##suffix)                                                                                 \
    SH_KERNEL(shoal_tensor_cross_rows_##suffix)                                                                                    \
    SH_PARAMS(SH_ARGS(0, ShTensorArgs, a), SH_BUF(1, const float, x), SH_BUF(2, const float, y), SH_BUF(3, float, out)) {          \
        SH_ENTER(c);                                                                                                               \
        SH_ARENA(float, arena);                                                                                                    \
        const ShTensorPairs left = {x, a.inner, a.rows * a.inner};                                                                 \
        const ShTensorPairColumns right = {y, a.inner, a.columns * a.inner};                                                       \
        tensor_block<ACROSS, true, true>(c, a, tensor_tile<ACROSS>(c, a), left, right, out, arena);                                \
    }                                                                                                                              \
    SH_REGISTER(shoal_tensor_cross_rows_##suffix)                                                                                  \
    SH_KERNEL(shoal_tensor_cross_columns_##suffix)                                                                                 \
    SH_PARAMS(SH_ARGS(0, ShTensorArgs, a), SH_BUF(1, const float, x), SH_BUF(2, const float, y), SH_BUF(3, float, out)) {          \
        SH_ENTER(c);                                                                                                               \
        SH_ARENA(float, arena);                                                                                                    \
        const ShTensorFolds left = {x, a.inner, a.outer, a.step};                                                                  \
        const ShTensorMatrix right = {y, a.depth_step, a.column_step};                                                             \
        tensor_block<ACROSS, false, false>(c, a, tensor_tile<ACROSS>(c, a), left, right, out, arena);                              \
    }                                                                                                                              \
    SH_REGISTER(shoal_tensor_cross_columns_##suffix)

TENSOR_ENTRIES(4u, c16)
TENSOR_ENTRIES(8u, c32)
TENSOR_ENTRIES(16u, c64)

SH_KERNEL(shoal_tensor_row_dot)
SH_PARAMS(SH_ARGS(0, ShTensorDotArgs, a), SH_BUF(1, const uint32_t, table), SH_BUF(2, const float, factors), SH_BUF(3, const float, partial),
          SH_BUF(4, float, out)) {
    SH_ENTER(c);
    SH_ARENA(float, arena);
    tensor_row_dot(c, a, table, factors, partial, out, arena);
}
SH_REGISTER(shoal_tensor_row_dot)

SH_KERNEL(shoal_tensor_sum_parts)
SH_PARAMS(SH_ARGS(0, ShTensorDotArgs, a), SH_BUF(1, const float, partial), SH_BUF(2, float, out)) {
    SH_ENTER(c);
    tensor_sum_parts(c, a, partial, out);
}
SH_REGISTER(shoal_tensor_sum_parts)

SH_KERNEL(shoal_tensor_model)
SH_PARAMS(SH_ARGS(0, ShTensorArgs, a), SH_BUF(1, const uint32_t, table), SH_BUF(2, const float, factors), SH_BUF(3, float, out)) {
    SH_ENTER(c);
    SH_ARENA(float, arena);
    SH_ARENA(uint32_t, words);
    tensor_model(c, a, table, factors, out, arena, words);
}
SH_REGISTER(shoal_tensor_model)

SH_KERNEL(shoal_tensor_zero)
SH_PARAMS(SH_ARGS(0, ShTensorSparseArgs, a), SH_BUF(1, float, out)) {
    SH_ENTER(c);
    tensor_zero(c, a, out);
}
SH_REGISTER(shoal_tensor_zero)

SH_KERNEL(shoal_tensor_walk)
SH_PARAMS(SH_ARGS(0, ShTensorSparseArgs, a), SH_BUF(1, const uint32_t, rows), SH_BUF(2, const uint32_t, slots), SH_BUF(3, const uint32_t, table),
          SH_BUF(4, const uint32_t, indices), SH_BUF(5, const float, values), SH_BUF(6, const float, factors), SH_BUF(7, float, out),
          SH_BUF(8, float, heads)) {
    SH_ENTER(c);
    tensor_walk<true>(c, a, rows, slots, table, indices, values, factors, out, heads);
}
SH_REGISTER(shoal_tensor_walk)

SH_KERNEL(shoal_tensor_join)
SH_PARAMS(SH_ARGS(0, ShTensorSparseArgs, a), SH_BUF(1, const uint32_t, rows), SH_BUF(2, const uint32_t, slots), SH_BUF(3, const float, from),
          SH_BUF(4, float, out), SH_BUF(5, float, heads)) {
    SH_ENTER(c);
    tensor_walk<false>(c, a, rows, slots, rows, rows, from, from, out, heads);
}
SH_REGISTER(shoal_tensor_join)

SH_KERNEL(shoal_tensor_values)
SH_PARAMS(SH_ARGS(0, ShTensorSparseArgs, a), SH_BUF(1, const uint32_t, table), SH_BUF(2, const uint32_t, indices), SH_BUF(3, const float, factors),
          SH_BUF(4, float, out)) {
    SH_ENTER(c);
    tensor_values(c, a, table, indices, factors, out);
}
SH_REGISTER(shoal_tensor_values)
