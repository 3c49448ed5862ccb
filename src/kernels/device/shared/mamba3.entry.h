// Entries of the scan of Mamba-3.
#include "mamba3.h"

SH_KERNEL(shoal_mamba3_weights)
SH_PARAMS(SH_ARGS(0, ShMamba3Args, a), SH_BUF(1, const uint32_t, chunks), SH_BUF(2, const uint32_t, ends), SH_BUF(3, const float, dt),
          SH_BUF(4, const float, trap), SH_BUF(5, float, weights)) {
    SH_ENTER(c);
    m3_weights(c, a, chunks, ends, dt, trap, weights);
}
SH_REGISTER(shoal_mamba3_weights)

SH_KERNEL(shoal_mamba3_chunk_turns)
SH_PARAMS(SH_ARGS(0, ShMamba3Args, a), SH_BUF(1, const uint32_t, chunks), SH_BUF(2, const float, angles), SH_BUF(3, const float, dt),
          SH_BUF(4, float, turns)) {
    SH_ENTER(c);
    m3_chunk_turns(c, a, chunks, angles, dt, turns);
}
SH_REGISTER(shoal_mamba3_chunk_turns)

SH_KERNEL(shoal_mamba3_pass_turns)
SH_PARAMS(SH_ARGS(0, ShMamba3Args, a), SH_BUF(1, const uint32_t, bounds), SH_BUF(2, const float, initial), SH_BUF(3, float, turns),
          SH_BUF(4, float, last)) {
    SH_ENTER(c);
    m3_pass_turns(c, a, bounds, initial, turns, last);
}
SH_REGISTER(shoal_mamba3_pass_turns)

SH_KERNEL(shoal_mamba3_rotate)
SH_PARAMS(SH_ARGS(0, ShMamba3Args, a), SH_BUF(1, const uint32_t, chunks), SH_BUF(2, const float, q), SH_BUF(3, const float, k),
          SH_BUF(4, const float, dt), SH_BUF(5, const float, angles), SH_BUF(6, const float, q_bias), SH_BUF(7, const float, k_bias),
          SH_BUF(8, const float, turns), SH_BUF(9, float, queries), SH_BUF(10, float, keys)) {
    SH_ENTER(c);
    m3_rotate(c, a, chunks, q, k, dt, angles, q_bias, k_bias, turns, queries, keys);
}
SH_REGISTER(shoal_mamba3_rotate)

SH_KERNEL(shoal_mamba3_chunk_states)
SH_PARAMS(SH_ARGS(0, ShMamba3Args, a), SH_BUF(1, const uint32_t, chunks), SH_BUF(2, const float, x), SH_BUF(3, const float, mix),
          SH_BUF(4, const float, log_decay), SH_BUF(5, const float, weights), SH_BUF(6, const float, keys), SH_BUF(7, float, states),
          SH_BUF(8, float, decays)) {
    SH_ENTER(c);
    SH_ARENA(float, arena);
    m3_chunk_states(c, a, chunks, x, mix, log_decay, weights, keys, states, decays, arena);
}
SH_REGISTER(shoal_mamba3_chunk_states)

SH_KERNEL(shoal_mamba3_pass)
SH_PARAMS(SH_ARGS(0, ShMamba3Args, a), SH_BUF(1, const uint32_t, bounds), SH_BUF(2, const uint32_t, ends), SH_BUF(3, const float, decays),
          SH_BUF(4, const float, dt), SH_BUF(5, const float, trap), SH_BUF(6, const float, mix), SH_BUF(7, const float, state),
          SH_BUF(8, const float, key), SH_BUF(9, const float, value), SH_BUF(10, float, states), SH_BUF(11, float, last)) {
    SH_ENTER(c);
    m3_pass(c, a, bounds, ends, decays, dt, trap, mix, state, key, value, states, last);
}
SH_REGISTER(shoal_mamba3_pass)

SH_KERNEL(shoal_mamba3_chunk_scan)
SH_PARAMS(SH_ARGS(0, ShMamba3Args, a), SH_BUF(1, const uint32_t, chunks), SH_BUF(2, const float, x), SH_BUF(3, const float, mix),
          SH_BUF(4, const float, log_decay), SH_BUF(5, const float, weights), SH_BUF(6, const float, queries), SH_BUF(7, const float, keys),
          SH_BUF(8, const float, states), SH_BUF(9, const float, skip), SH_BUF(10, float, o)) {
    SH_ENTER(c);
    SH_ARENA(float, arena);
    m3_chunk_scan(c, a, chunks, x, mix, log_decay, weights, queries, keys, states, skip, o, arena);
}
SH_REGISTER(shoal_mamba3_chunk_scan)

SH_KERNEL(shoal_mamba3_gate)
SH_PARAMS(SH_ARGS(0, ShMamba3Args, a), SH_BUF(1, const float, o), SH_BUF(2, const float, z), SH_BUF(3, const float, mix_z),
          SH_BUF(4, const float, mix_out), SH_BUF(5, const float, norm), SH_BUF(6, float, out)) {
    SH_ENTER(c);
    SH_ARENA(float, room);
    m3_gate(c, a, o, z, mix_z, mix_out, norm, out, room);
}
SH_REGISTER(shoal_mamba3_gate)

SH_KERNEL(shoal_mamba3_carry)
SH_PARAMS(SH_ARGS(0, ShMamba3Args, a), SH_BUF(1, const uint32_t, ends), SH_BUF(2, const float, keys), SH_BUF(3, const float, x),
          SH_BUF(4, const float, key), SH_BUF(5, const float, value), SH_BUF(6, float, last_key), SH_BUF(7, float, last_value)) {
    SH_ENTER(c);
    m3_carry(c, a, ends, keys, x, key, value, last_key, last_value);
}
SH_REGISTER(shoal_mamba3_carry)
