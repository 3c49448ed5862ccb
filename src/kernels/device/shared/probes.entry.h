// Entries of the probes.
#include "probes.h"

SH_KERNEL(shoal_probe_context)
SH_PARAMS(SH_ARGS(0, ShProbeArgs, a), SH_BUF(1, uint32_t, out)) {
    SH_ENTER(c);
    if (a.count > 0u) probe_context(c, out);
}
SH_REGISTER(shoal_probe_context)

SH_KERNEL(shoal_probe_shuffles)
SH_PARAMS(SH_ARGS(0, ShProbeArgs, a), SH_BUF(1, const float, x), SH_BUF(2, float, out)) {
    SH_ENTER(c);
    if (a.count > 0u) probe_shuffles(c, x, out);
}
SH_REGISTER(shoal_probe_shuffles)

SH_KERNEL(shoal_probe_memory)
SH_PARAMS(SH_ARGS(0, ShProbeArgs, a), SH_BUF(1, const float, x), SH_BUF(2, float, out)) {
    SH_ENTER(c);
    SH_ARENA(float, arena);
    SH_SHARED(float, fixed, 128);
    if (a.count > 0u) probe_memory(c, x, out, arena, fixed);
}
SH_REGISTER(shoal_probe_memory)

SH_KERNEL(shoal_probe_maths)
SH_PARAMS(SH_ARGS(0, ShProbeArgs, a), SH_BUF(1, const float, x), SH_BUF(2, float, out)) {
    SH_ENTER(c);
    probe_maths(c, a, x, out);
}
SH_REGISTER(shoal_probe_maths)

SH_KERNEL(shoal_probe_types)
SH_PARAMS(SH_ARGS(0, ShProbeArgs, a), SH_BUF(1, const float, x), SH_BUF(2, sh_bf16, brain), SH_BUF(3, sh_f16, half_), SH_BUF(4, float, out)) {
    SH_ENTER(c);
    probe_types(c, a, x, brain, half_, out);
}
SH_REGISTER(shoal_probe_types)

SH_KERNEL(shoal_probe_integers)
SH_PARAMS(SH_ARGS(0, ShProbeArgs, a), SH_BUF(1, const uint32_t, x), SH_BUF(2, int32_t, out), SH_BUF(3, uint32_t, odd)) {
    SH_ENTER(c);
    probe_integers(c, a, x, out, odd);
}
SH_REGISTER(shoal_probe_integers)
