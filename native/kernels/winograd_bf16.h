// Winograd's convolution with transformed values rounded to bf16, products of pairs and sums in f32.
#pragma once

#include "conv2d.h"

namespace cambium {

// As their f32 namesakes of winograd.h.
#define CAMBIUM_DECLARE_WINOGRAD_BF16(isa)                                                                                \
  namespace isa {                                                                                                         \
  void winograd_gather_bf16(const Conv2dArgs& args, int tile, bool backward, const float* src, const float* weight,       \
                            float* dst, const Parallel& par, const TileSink* sink);                                       \
  void winograd_weight_grad_bf16(const Conv2dArgs& args, int tile, const float* x, const float* gy, float* gw,            \
                                 const Parallel& par);                                                                    \
  }
CAMBIUM_DECLARE_WINOGRAD_BF16(avx512bf16)
CAMBIUM_DECLARE_WINOGRAD_BF16(avx512)
CAMBIUM_DECLARE_WINOGRAD_BF16(avx2)
CAMBIUM_DECLARE_WINOGRAD_BF16(neon)
CAMBIUM_DECLARE_WINOGRAD_BF16(portable)
#undef CAMBIUM_DECLARE_WINOGRAD_BF16

}  // namespace cambium
