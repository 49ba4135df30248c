// 3 x 3 convolutions with fewer multiplications than their definition (Lavin and Gray 2015, arXiv:1509.09308).
#pragma once

#include "conv2d.h"

namespace cambium::CAMBIUM_ISA {

enum class ConvPass { forward, input_grad, weight_grad };

/** The side of the output tiles, 2 or 4, with which Winograd's algorithm should do this; 0: the direct one should. */
int winograd_tile(const Conv2dArgs& args, ConvPass pass);

/** The same for operands that may be rounded to bf16. */
int winograd_tile_bf16(const Conv2dArgs& args, ConvPass pass);

/** Forward, or with `backward` the input gradient: src is x or gy, dst y or gx. */
void winograd_gather(const Conv2dArgs& args, int tile, bool backward, const float* src, const float* weight, float* dst,
                     const Parallel& par, const TileSink* sink);
void winograd_weight_grad(const Conv2dArgs& args, int tile, const float* x, const float* gy, float* gw,
                          const Parallel& par);

}  // namespace cambium::CAMBIUM_ISA
