// Entries of the causal convolution.
#include "conv.h"

#define CONV_ENTRIES(T, W, suffix)                                                                                                 \
    SH_KERNEL(shoal_conv_forward_##suffix)                                                                                         \
    SH_PARAMS(SH_ARGS(0, ShConvArgs, a), SH_BUF(1, const uint32_t, pieces), SH_BUF(2, const T, x), SH_BUF(3, const float, weight), \
              SH_BUF(4, const float, bias), SH_BUF(5, const T, before), SH_BUF(6, T, y), SH_BUF(7, T, after)) {                    \
        SH_ENTER(c);                                                                                                               \
        conv_forward<T, W>(c, a, pieces, x, weight, bias, before, y, after);                                                       \
    }                                                                                                                              \
    SH_REGISTER(shoal_conv_forward_##suffix)                                                                                       \
    SH_KERNEL(shoal_conv_backward_##suffix)                                                                                        \
    SH_PARAMS(SH_ARGS(0, ShConvArgs, a), SH_BUF(1, const uint32_t, pieces), SH_BUF(2, const T, x), SH_BUF(3, const float, weight), \
              SH_BUF(4, const float, bias), SH_BUF(5, const T, before), SH_BUF(6, const T, dy), SH_BUF(7, const T, dafter),        \
              SH_BUF(8, T, dx), SH_BUF(9, T, dbefore), SH_BUF(10, float, sums)) {                                                  \
        SH_ENTER(c);                                                                                                               \
        conv_backward<T, W>(c, a, pieces, x, weight, bias, before, dy, dafter, dx, dbefore, sums);                                 \
    }                                                                                                                              \
    SH_REGISTER(shoal_conv_backward_##suffix)

CONV_ENTRIES(float, 4u, w4_f32)
CONV_ENTRIES(float, 16u, w16_f32)
CONV_ENTRIES(sh_bf16, 4u, w4_bf16)
CONV_ENTRIES(sh_bf16, 16u, w16_bf16)

SH_KERNEL(shoal_conv_sums)
SH_PARAMS(SH_ARGS(0, ShConvArgs, a), SH_BUF(1, const float, sums), SH_BUF(2, float, dweight), SH_BUF(3, float, dbias)) {
    SH_ENTER(c);
    conv_sums(c, a, sums, dweight, dbias);
}
SH_REGISTER(shoal_conv_sums)
