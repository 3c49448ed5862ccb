// Arguments of the causal convolution. Mirrored in args.rs.
#ifndef SHOAL_ARGS_CONV_H
#define SHOAL_ARGS_CONV_H

struct ShConvArgs {
    uint32_t channels, taps, pieces;
    // Flags.
    uint32_t silu, has_bias, has_before, has_dafter;
};
static_assert(sizeof(ShConvArgs) == 28, "mirrored in Rust");

#endif
