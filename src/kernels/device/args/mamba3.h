// Arguments of the scan of Mamba-3. Mirrored in args.rs.
#ifndef SHOAL_ARGS_MAMBA3_H
#define SHOAL_ARGS_MAMBA3_H

struct ShMamba3Args {
    uint32_t rows, heads, width, groups, states;
    // Heads of a group.
    uint32_t per_group;
    uint32_t rank, angles;
    // Steps of a chunk, at most 64 / rank; chunks of all sequences.
    uint32_t chunk, chunks, sequences;
    // Pairs are (i, i + states / 2) instead of (2i, 2i + 1).
    uint32_t halves;
    // Raw angles are those of all heads.
    uint32_t shared_angles;
    // Flags.
    uint32_t has_initial, has_z, has_skip, has_mix_x, has_mix_z, has_mix_out, has_norm;
    float eps;
};
static_assert(sizeof(ShMamba3Args) == 84, "mirrored in Rust");

#endif
