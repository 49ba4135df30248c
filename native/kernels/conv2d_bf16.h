// Convolution with operands rounded to bf16 and sums in f32.
#pragma once

#include "conv2d.h"

namespace cambium {

// As their f32 namesakes, for sums that are not empty. The order of every sum depends on the shape alone.
#define CAMBIUM_DECLARE_CONV2D_BF16(isa)                                                                             \
  namespace isa {                                                                                                    \
  void conv2d_forward_bf16(const Conv2dArgs& args, const float* x, const float* weight, float* y,                    \
                           const Parallel& par, const TileSink* sink);                                               \
  void conv2d_input_grad_bf16(const Conv2dArgs& args, const float* gy, const float* weight, float* gx,               \
                              const Parallel& par, const TileSink* sink);                                            \
  void conv2d_weight_grad_bf16(const Conv2dArgs& args, const float* x, const float* gy, float* gw,                   \
                               const Parallel& par);                                                                 \
  }
CAMBIUM_DECLARE_CONV2D_BF16(avx512bf16)
CAMBIUM_DECLARE_CONV2D_BF16(avx512)
CAMBIUM_DECLARE_CONV2D_BF16(avx2)
CAMBIUM_DECLARE_CONV2D_BF16(neon)
CAMBIUM_DECLARE_CONV2D_BF16(portable)
#undef CAMBIUM_DECLARE_CONV2D_BF16

}  // namespace cambium
