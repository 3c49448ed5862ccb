// Arguments of the scan of Mamba-2. Mirrored in args.rs.
#ifndef SHOAL_ARGS_SSD_H
#define SHOAL_ARGS_SSD_H

struct ShSsdArgs {
    uint32_t rows, heads, width, groups, states;
    // Heads of a group.
    uint32_t per_group;
    // Steps of a chunk, at most 64; chunks of all sequences.
    uint32_t chunk, chunks, sequences;
    // D: 0 none, 1 per head, 2 per channel.
    uint32_t skip;
    // Flags.
    uint32_t has_initial, has_dlast;
};
static_assert(sizeof(ShSsdArgs) == 48, "mirrored in Rust");

#endif
