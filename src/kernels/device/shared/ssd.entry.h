// Entries of the scan of Mamba-2.
#include "ssd_back.h"

SH_KERNEL(shoal_ssd_couplings)
SH_PARAMS(SH_ARGS(0, ShSsdArgs, a), SH_BUF(1, const uint32_t, chunks), SH_BUF(2, const float, b), SH_BUF(3, const float, cc),
          SH_BUF(4, float, squares)) {
    SH_ENTER(c);
    SH_ARENA(float, arena);
    ssd_couplings(c, a, chunks, b, cc, squares, arena);
}
SH_REGISTER(shoal_ssd_couplings)

SH_KERNEL(shoal_ssd_chunk_states)
SH_PARAMS(SH_ARGS(0, ShSsdArgs, a), SH_BUF(1, const uint32_t, chunks), SH_BUF(2, const float, x), SH_BUF(3, const float, dt),
          SH_BUF(4, const float, b), SH_BUF(5, const float, rates), SH_BUF(6, float, states), SH_BUF(7, float, decays)) {
    SH_ENTER(c);
    SH_ARENA(float, arena);
    ssd_chunk_states<true>(c, a, chunks, x, dt, b, rates, states, decays, arena);
}
SH_REGISTER(shoal_ssd_chunk_states)

SH_KERNEL(shoal_ssd_chunk_gradients)
SH_PARAMS(SH_ARGS(0, ShSsdArgs, a), SH_BUF(1, const uint32_t, chunks), SH_BUF(2, const float, dy), SH_BUF(3, const float, dt),
          SH_BUF(4, const float, cc), SH_BUF(5, const float, rates), SH_BUF(6, float, dstates)) {
    SH_ENTER(c);
    SH_ARENA(float, arena);
    ssd_chunk_states<false>(c, a, chunks, dy, dt, cc, rates, dstates, dstates, arena);
}
SH_REGISTER(shoal_ssd_chunk_gradients)

SH_KERNEL(shoal_ssd_pass)
SH_PARAMS(SH_ARGS(0, ShSsdArgs, a), SH_BUF(1, const uint32_t, bounds), SH_BUF(2, const float, decays), SH_BUF(3, const float, initial),
          SH_BUF(4, float, states), SH_BUF(5, float, last)) {
    SH_ENTER(c);
    ssd_pass(c, a, bounds, decays, initial, states, last);
}
SH_REGISTER(shoal_ssd_pass)

SH_KERNEL(shoal_ssd_pass_back)
SH_PARAMS(SH_ARGS(0, ShSsdArgs, a), SH_BUF(1, const uint32_t, bounds), SH_BUF(2, const float, decays), SH_BUF(3, const float, dlast),
          SH_BUF(4, float, dstates), SH_BUF(5, float, dinitial)) {
    SH_ENTER(c);
    ssd_pass_back(c, a, bounds, decays, dlast, dstates, dinitial);
}
SH_REGISTER(shoal_ssd_pass_back)

SH_KERNEL(shoal_ssd_chunk_scan)
SH_PARAMS(SH_ARGS(0, ShSsdArgs, a), SH_BUF(1, const uint32_t, chunks), SH_BUF(2, const float, x), SH_BUF(3, const float, dt),
          SH_BUF(4, const float, cc), SH_BUF(5, const float, rates), SH_BUF(6, const float, skip), SH_BUF(7, const float, squares),
          SH_BUF(8, const float, states), SH_BUF(9, float, y)) {
    SH_ENTER(c);
    SH_ARENA(float, arena);
    ssd_chunk_scan(c, a, chunks, x, dt, cc, rates, skip, squares, states, y, arena);
}
SH_REGISTER(shoal_ssd_chunk_scan)

SH_KERNEL(shoal_ssd_back_chunk)
SH_PARAMS(SH_ARGS(0, ShSsdArgs, a), SH_BUF(1, const uint32_t, chunks), SH_BUF(2, const float, x), SH_BUF(3, const float, dt),
          SH_BUF(4, const float, b), SH_BUF(5, const float, cc), SH_BUF(6, const float, rates), SH_BUF(7, const float, skip),
          SH_BUF(8, const float, dy), SH_BUF(9, const float, squares), SH_BUF(10, const float, states), SH_BUF(11, const float, dstates),
          SH_BUF(12, float, dx), SH_BUF(13, float, ddt), SH_BUF(14, float, dsquares), SH_BUF(15, float, drates), SH_BUF(16, float, dskip)) {
    SH_ENTER(c);
    SH_ARENA(float, arena);
    ssd_back_chunk(c, a, chunks, x, dt, b, cc, rates, skip, dy, squares, states, dstates, dx, ddt, dsquares, drates, dskip, arena);
}
SH_REGISTER(shoal_ssd_back_chunk)

SH_KERNEL(shoal_ssd_sum_heads)
SH_PARAMS(SH_ARGS(0, ShSsdArgs, a), SH_BUF(1, const uint32_t, chunks), SH_BUF(2, const float, dsquares), SH_BUF(3, float, sums)) {
    SH_ENTER(c);
    ssd_sum_heads(c, a, chunks, dsquares, sums);
}
SH_REGISTER(shoal_ssd_sum_heads)

SH_KERNEL(shoal_ssd_back_couplings)
SH_PARAMS(SH_ARGS(0, ShSsdArgs, a), SH_BUF(1, const uint32_t, chunks), SH_BUF(2, const float, x), SH_BUF(3, const float, dt),
          SH_BUF(4, const float, b), SH_BUF(5, const float, cc), SH_BUF(6, const float, rates), SH_BUF(7, const float, dy),
          SH_BUF(8, const float, sums), SH_BUF(9, const float, states), SH_BUF(10, const float, dstates), SH_BUF(11, float, db),
          SH_BUF(12, float, dc)) {
    SH_ENTER(c);
    SH_ARENA(float, arena);
    ssd_back_couplings(c, a, chunks, x, dt, b, cc, rates, dy, sums, states, dstates, db, dc, arena);
}
SH_REGISTER(shoal_ssd_back_couplings)

SH_KERNEL(shoal_ssd_sum_chunks)
SH_PARAMS(SH_ARGS(0, ShSsdArgs, a), SH_BUF(1, const float, drates), SH_BUF(2, const float, dskip), SH_BUF(3, float, da), SH_BUF(4, float, dd)) {
    SH_ENTER(c);
    ssd_sum_chunks(c, a, drates, dskip, da, dd);
}
SH_REGISTER(shoal_ssd_sum_chunks)
