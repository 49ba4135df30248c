// 2-D convolution over channels-last activations: forward, gradient of the input, gradient of the weight.
#pragma once

#include <cstdint>

#include "../runtime/conv_algorithm.h"
#include "../runtime/parallel.h"
#include "tile.h"

namespace cambium {

/**
 * x [n, ih, iw, ic], y [n, oh, ow, oc], weight [oc, ic / groups, kh, kw]. Padding is given for the top and the left;
 * oh and ow are given, so bottom and right padding follow from them and may differ.
 */
struct Conv2dArgs {
  int64_t n = 0, ih = 0, iw = 0, ic = 0, oh = 0, ow = 0, oc = 0, kh = 0, kw = 0;
  int64_t stride_h = 1, stride_w = 1, pad_h = 0, pad_w = 0, dil_h = 1, dil_w = 1, groups = 1;
  ConvAlgorithm algorithm = ConvAlgorithm::automatic;
};

// Forward: sink rows are (n * oh + oy) * ow + ox, columns oc. Input gradient: rows (n * ih + iy) * iw + ix, columns ic.
// With a sink the output pointer is unused. The order of every sum depends on the shape alone.
#define CAMBIUM_DECLARE_CONV2D(isa)                                                                                  \
  namespace isa {                                                                                                    \
  void conv2d_forward(const Conv2dArgs& args, const float* x, const float* weight, float* y, const Parallel& par,    \
                      const TileSink* sink);                                                                         \
  void conv2d_input_grad(const Conv2dArgs& args, const float* gy, const float* weight, float* gx,                    \
                         const Parallel& par, const TileSink* sink);                                                 \
  void conv2d_weight_grad(const Conv2dArgs& args, const float* x, const float* gy, float* gw, const Parallel& par);  \
  }
CAMBIUM_DECLARE_CONV2D(avx512)
CAMBIUM_DECLARE_CONV2D(avx2)
CAMBIUM_DECLARE_CONV2D(neon)
CAMBIUM_DECLARE_CONV2D(portable)
#undef CAMBIUM_DECLARE_CONV2D

}  // namespace cambium
