// Kernels with mistakes, which the emulator must find. No target compiles them.
#include "../compat/host.h"
#include "../args/probes.h"

// A sum over neighbours in shared memory; the barrier between writing and reading is left out when `kind` is 1, and the one behind
// (so that the next row overwrites what is still read) when it is 2.
SH_DEVICE void neighbours(ShCtx c, ShProbeArgs a, SH_GLOBAL(const float) x, SH_GLOBAL(float) out, SH_TGROUP(float) s) {
    for (uint32_t row = 0; row < a.count; ++row) {
        s[c.tid] = x[row * c.bdim + c.tid];
        if (a.kind != 1) sh_barrier(c);
        out[row * c.bdim + c.tid] = s[(c.tid + c.bdim / 2) % c.bdim] + s[(c.tid + 1) % c.bdim];
        if (a.kind != 2) sh_barrier(c);
    }
}
SH_KERNEL(shoal_fault_neighbours) SH_PARAMS(SH_ARGS(0, ShProbeArgs, a), SH_BUF(1, const float, x), SH_BUF(2, float, out)) {
    SH_ENTER(c);
    SH_ARENA(float, s);
    if (a.kind == 1 || a.kind == 2) s[c.tid] = 0.0f; // so that order, and not what was not written, shows
    if (a.kind != 0) sh_barrier(c);
    neighbours(c, a, x, out, s);
}
SH_REGISTER(shoal_fault_neighbours)

static int32_t deep(int32_t n, volatile char* above) {
    volatile char here[1024];
    for (int i = 0; i < 1024; ++i) here[i] = above[i % 16];
    return n == 0 ? here[0] : deep(n - 1, here) + here[1023];
}

SH_KERNEL(shoal_fault) SH_PARAMS(SH_ARGS(0, ShProbeArgs, a), SH_BUF(1, const float, x), SH_BUF(2, float, out)) {
    SH_ENTER(c);
    SH_ARENA(float, s);
    switch (a.kind) {
    case 0: // a barrier that some threads do not reach
        if (c.tid < 16) sh_barrier(c);
        break;
    case 1: // a barrier that one warp does not reach
        if (c.warp == 0) sh_barrier(c);
        break;
    case 2: // two barriers
        if (c.tid < 32) sh_barrier(c);
        else sh_barrier(c);
        break;
    case 3: // half a warp shuffles
        if (c.lane < 16) out[c.tid] = sh_shfl(c, 1.0f, 0u);
        break;
    case 4: // two shuffles
        if (c.lane < 16) out[c.tid] = sh_shfl(c, 1.0f, 0u);
        else out[c.tid] = sh_shfl(c, 2.0f, 0u);
        break;
    case 5: // a lane that does not exist
        out[c.tid] = sh_shfl(c, 1.0f, c.lane + 1u);
        break;
    case 6: // behind a buffer
        out[c.tid + 1u] = 1.0f;
        break;
    case 7: // before a buffer
        out[(int32_t)c.tid - 1] = 1.0f;
        break;
    case 8: // behind the arena
        s[c.tid + 1u] = 1.0f;
        break;
    case 9: // behind a part of the arena
        sh_part(s, 0, 8u)[c.tid] = 1.0f;
        break;
    case 10: // shared memory that nobody wrote
        out[c.tid] = s[c.tid];
        break;
    case 11: // global memory that nobody wrote
        out[c.tid] = out[c.tid] + 1.0f;
        break;
    case 12: // two blocks, one place
        out[0] = (float)c.bid;
        break;
    case 13: // global memory as a way between threads
        out[c.tid] = x[c.tid];
        sh_barrier(c);
        s[c.tid] = out[(c.tid + 1u) % c.bdim];
        break;
    case 14: // a buffer that is not there
        out[c.tid] = x[c.tid];
        break;
    case 15: SH_ASSERT(c.tid != 37); break;
    case 16: { // too deep
        volatile char top[16] = {0};
        out[c.tid] = (float)deep(200, top);
        break;
    }
    case 17: // a warp exchanges without a warp barrier
        s[c.tid] = 1.0f;
        out[c.tid] = s[c.tid ^ 1u];
        break;
    case 18: // overwritten while another thread of the warp may still read
        s[c.tid] = 1.0f;
        sh_warp_barrier(c);
        out[c.tid] = s[c.tid ^ 1u];
        s[c.tid] = 2.0f;
        break;
    case 19: // a shuffle orders no memory
        s[c.tid] = 1.0f;
        out[c.tid] = sh_shfl(c, 1.0f, 0u);
        out[c.tid] = s[c.tid ^ 1u];
        break;
    default: out[c.tid] = 0.0f;
    }
}
SH_REGISTER(shoal_fault)
EMU_UNIT(faults)
