// Matrix product with operands rounded to bf16 and sums in f32.
#pragma once

#include "gemm.h"

namespace cambium {

// As its f32 namesake, for K > 0: the operands are f32 in memory and are rounded (to nearest even, subnormals to zero) on the
// way in. The order of every sum depends on the shape alone, never on the threads or the instruction set.
#define CAMBIUM_DECLARE_BF16(isa)                                                                                     \
  namespace isa {                                                                                                     \
  void gemm_bf16(const GemmArgs& args, const Parallel& par, const TileSink* sink);                                    \
  }
CAMBIUM_DECLARE_BF16(avx512bf16)
CAMBIUM_DECLARE_BF16(avx512)
CAMBIUM_DECLARE_BF16(avx2)
CAMBIUM_DECLARE_BF16(neon)
CAMBIUM_DECLARE_BF16(portable)
#undef CAMBIUM_DECLARE_BF16

}  // namespace cambium
