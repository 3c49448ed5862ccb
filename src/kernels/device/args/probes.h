// Arguments of the probes. Mirrored in args.rs.
#ifndef SHOAL_ARGS_PROBES_H
#define SHOAL_ARGS_PROBES_H

struct ShProbeArgs {
    uint32_t count, kind;
};
static_assert(sizeof(ShProbeArgs) == 8, "mirrored in Rust");

#endif
