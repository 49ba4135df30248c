// Recurrent sequences whose products round both operands to bf16; gates and states stay f32.
#pragma once

#include "../runtime/kernel_table.h"

namespace cambium {

#define CAMBIUM_DECLARE_RECURRENT_BF16(isa)   \
  namespace isa {                             \
  void recurrent_bf16(Call& call);            \
  void recurrent_grad_bf16(Call& call);       \
  }
CAMBIUM_DECLARE_RECURRENT_BF16(avx512bf16)
CAMBIUM_DECLARE_RECURRENT_BF16(avx512)
CAMBIUM_DECLARE_RECURRENT_BF16(avx2)
CAMBIUM_DECLARE_RECURRENT_BF16(neon)
CAMBIUM_DECLARE_RECURRENT_BF16(portable)
#undef CAMBIUM_DECLARE_RECURRENT_BF16

}  // namespace cambium
