// Arguments of the products of tensors. Mirrored in args.rs.
#ifndef SHOAL_ARGS_TENSOR_H
#define SHOAL_ARGS_TENSOR_H

// A product (rows, depth) · (depth, columns).
struct ShTensorArgs {
    uint32_t rows, columns, depth;
    // Terms that a block adds up, a multiple of 16.
    uint32_t part;
    // Where the left matrix lies: see the structures in shared/tensor.h.
    uint32_t inner, outer, step;
    // Distances in the right matrix.
    uint32_t depth_step, column_step;
    // Element (row, column) of the result is at (row / out_inner · columns + column) · out_inner + row % out_inner.
    uint32_t out_inner;
    // Factors of the rows and of the columns of Khatri-Rao products, and rows that are looked up at a time, a power of two.
    uint32_t left_modes, modes, batch;
};
static_assert(sizeof(ShTensorArgs) == 52, "mirrored in Rust");

// The row dot that ends an MTTKRP.
struct ShTensorDotArgs {
    uint32_t outputs, rank, terms;
    // Rows of the partial product between outputs and between terms; rows of all, and how many parts there are of each.
    uint32_t output_step, term_step, rows, parts;
    uint32_t modes;
    // Columns of a block, a power of two up to 32.
    uint32_t width;
};
static_assert(sizeof(ShTensorDotArgs) == 36, "mirrored in Rust");

// Sums over sorted nonzeros, or over what stretches of them left.
struct ShTensorSparseArgs {
    uint32_t items;
    // Items of a stretch, and stretches.
    uint32_t stretch, stretches;
    uint32_t rank;
    // Lanes of a group, a power of two up to 32.
    uint32_t width;
    uint32_t modes;
};
static_assert(sizeof(ShTensorSparseArgs) == 24, "mirrored in Rust");

#endif
