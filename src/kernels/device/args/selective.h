// Arguments of the selective scan. Mirrored in args.rs.
#ifndef SHOAL_ARGS_SELECTIVE_H
#define SHOAL_ARGS_SELECTIVE_H

struct ShSelectiveArgs {
    uint32_t rows, channels, states, groups;
    // Channels of a group, and blocks of 32 that they make.
    uint32_t per_group, blocks;
    uint32_t sequences, spans;
    // Flags. `carried`: the states (or gradients) at the ends of spans come from an earlier launch.
    uint32_t softplus, has_skip, has_bias, has_z, has_initial, has_dlast, carried;
};
static_assert(sizeof(ShSelectiveArgs) == 60, "mirrored in Rust");

#endif
