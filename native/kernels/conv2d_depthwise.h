// Depthwise convolution (one input and one output channel per group), vectorised over channels.
#pragma once

#include "conv2d.h"

namespace cambium::CAMBIUM_ISA {

inline bool depthwise(const Conv2dArgs& a) { return a.groups > 1 && a.groups == a.ic && a.groups == a.oc; }

/** Forward (backward = false) or input gradient. */
void depthwise_gather(const Conv2dArgs& args, bool backward, const float* src, const float* weight, float* dst,
                      const Parallel& par, const TileSink* sink);
void depthwise_weight_grad(const Conv2dArgs& args, const float* x, const float* gy, float* gw, const Parallel& par);

}  // namespace cambium::CAMBIUM_ISA
