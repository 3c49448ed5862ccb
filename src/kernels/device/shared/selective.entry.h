// Entries of the selective scan.
#include "selective_back.h"

#define SELECTIVE_ENTRIES(T, suffix)                                                                                               \
    SH_KERNEL(shoal_selective_forward_##suffix)                                                                                    \
    SH_PARAMS(SH_ARGS(0, ShSelectiveArgs, a), SH_BUF(1, const uint32_t, spans), SH_BUF(2, const T, u), SH_BUF(3, const T, delta),  \
              SH_BUF(4, const T, b), SH_BUF(5, const T, cc), SH_BUF(6, const T, z), SH_BUF(7, const float, rates),                 \
              SH_BUF(8, const float, skip), SH_BUF(9, const float, bias), SH_BUF(10, const float, initial), SH_BUF(11, T, out),    \
              SH_BUF(12, float, starts), SH_BUF(13, float, last)) {                                                                \
        SH_ENTER(c);                                                                                                               \
        SH_ARENA(float, arena);                                                                                                    \
        selective_forward<T, false>(c, a, spans, u, delta, b, cc, z, rates, skip, bias, initial, out, starts, last, last, arena);  \
    }                                                                                                                              \
    SH_REGISTER(shoal_selective_forward_##suffix)                                                                                  \
    SH_KERNEL(shoal_selective_local_##suffix)                                                                                      \
    SH_PARAMS(SH_ARGS(0, ShSelectiveArgs, a), SH_BUF(1, const uint32_t, spans), SH_BUF(2, const T, u), SH_BUF(3, const T, delta),  \
              SH_BUF(4, const T, b), SH_BUF(5, const float, rates), SH_BUF(6, const float, bias), SH_BUF(7, float, ends),          \
              SH_BUF(8, float, sums)) {                                                                                            \
        SH_ENTER(c);                                                                                                               \
        SH_ARENA(float, arena);                                                                                                    \
        selective_forward<T, true>(c, a, spans, u, delta, b, b, u, rates, rates, bias, rates, SH_NULL(T), ends, ends, sums, arena); \
    }                                                                                                                              \
    SH_REGISTER(shoal_selective_local_##suffix)                                                                                    \
    SH_KERNEL(shoal_selective_back_local_##suffix)                                                                                 \
    SH_PARAMS(SH_ARGS(0, ShSelectiveArgs, a), SH_BUF(1, const uint32_t, spans), SH_BUF(2, const T, delta), SH_BUF(3, const T, cc), \
              SH_BUF(4, const T, z), SH_BUF(5, const float, rates), SH_BUF(6, const float, bias), SH_BUF(7, const T, dout),        \
              SH_BUF(8, float, ends), SH_BUF(9, float, sums)) {                                                                    \
        SH_ENTER(c);                                                                                                               \
        SH_ARENA(float, arena);                                                                                                    \
        selective_back_local<T>(c, a, spans, delta, cc, z, rates, bias, dout, ends, sums, arena);                                  \
    }                                                                                                                              \
    SH_REGISTER(shoal_selective_back_local_##suffix)                                                                               \
    SH_KERNEL(shoal_selective_backward_##suffix)                                                                                   \
    SH_PARAMS(SH_ARGS(0, ShSelectiveArgs, a), SH_BUF(1, const uint32_t, spans), SH_BUF(2, const T, u), SH_BUF(3, const T, delta),  \
              SH_BUF(4, const T, b), SH_BUF(5, const T, cc), SH_BUF(6, const T, z), SH_BUF(7, const float, rates),                 \
              SH_BUF(8, const float, skip), SH_BUF(9, const float, bias), SH_BUF(10, const float, starts), SH_BUF(11, const T, dout), \
              SH_BUF(12, const float, dlast), SH_BUF(13, T, du), SH_BUF(14, T, ddelta), SH_BUF(15, T, dz), SH_BUF(16, float, running), \
              SH_BUF(17, float, drates), SH_BUF(18, float, sums), SH_BUF(19, float, couplings), SH_BUF(20, float, rounds),         \
              SH_BUF(21, float, dinitial)) {                                                                                       \
        SH_ENTER(c);                                                                                                               \
        SH_ARENA(float, arena);                                                                                                    \
        const ShSelBack<T> x = {u,     delta, b,  cc,     z,  rates,   skip,   bias, starts,    dout,                              \
                                dlast, du,    ddelta, dz, running, drates, sums, couplings, rounds, dinitial};                     \
        selective_backward<T>(c, a, spans, x, arena);                                                                              \
    }                                                                                                                              \
    SH_REGISTER(shoal_selective_backward_##suffix)

SELECTIVE_ENTRIES(float, f32)
SELECTIVE_ENTRIES(sh_bf16, bf16)

SH_KERNEL(shoal_selective_join)
SH_PARAMS(SH_ARGS(0, ShSelectiveArgs, a), SH_BUF(1, const uint32_t, spans), SH_BUF(2, const uint32_t, bounds), SH_BUF(3, const float, rates),
          SH_BUF(4, const float, initial), SH_BUF(5, const float, ends), SH_BUF(6, const float, sums), SH_BUF(7, float, starts)) {
    SH_ENTER(c);
    selective_join(c, a, spans, bounds, rates, initial, ends, sums, starts);
}
SH_REGISTER(shoal_selective_join)

SH_KERNEL(shoal_selective_back_join)
SH_PARAMS(SH_ARGS(0, ShSelectiveArgs, a), SH_BUF(1, const uint32_t, bounds), SH_BUF(2, const float, rates), SH_BUF(3, const float, dlast),
          SH_BUF(4, const float, ends), SH_BUF(5, const float, sums), SH_BUF(6, float, running)) {
    SH_ENTER(c);
    selective_back_join(c, a, bounds, rates, dlast, ends, sums, running);
}
SH_REGISTER(shoal_selective_back_join)

SH_KERNEL(shoal_selective_sum_couplings)
SH_PARAMS(SH_ARGS(0, ShSelectiveArgs, a), SH_BUF(1, const float, couplings), SH_BUF(2, float, db), SH_BUF(3, float, dc)) {
    SH_ENTER(c);
    selective_sum_couplings(c, a, couplings, db, dc);
}
SH_REGISTER(shoal_selective_sum_couplings)

SH_KERNEL(shoal_selective_sum_spans)
SH_PARAMS(SH_ARGS(0, ShSelectiveArgs, a), SH_BUF(1, const float, drates), SH_BUF(2, const float, sums), SH_BUF(3, float, da),
          SH_BUF(4, float, dskip), SH_BUF(5, float, dbias)) {
    SH_ENTER(c);
    selective_sum_spans(c, a, drates, sums, da, dskip, dbias);
}
SH_REGISTER(shoal_selective_sum_spans)
