// Recurrent sequences and their gradients in f32, or handed to those that round the operands of their products to bf16.
#include "../runtime/cpu_features.h"
#include "recurrent_backward.h"
#include "recurrent_bf16.h"
#include "recurrent_forward.h"

namespace cambium::CAMBIUM_ISA {
namespace {

struct Bf16Kernels {
  decltype(&recurrent_bf16) forward;
  decltype(&recurrent_grad_bf16) backward;
};

/** By the instructions made for it where there are some. */
Bf16Kernels bf16_kernels() {
#if defined(CAMBIUM_ISA_AVX512) && defined(CAMBIUM_HAS_AVX512BF16)
  if (has_avx512_bf16()) return {avx512bf16::recurrent_bf16, avx512bf16::recurrent_grad_bf16};
#endif
  return {recurrent_bf16, recurrent_grad_bf16};
}

}  // namespace

void recurrent(Call& call) {
  if (call.attr(6) != 0) bf16_kernels().forward(call);
  else recurrent_forward<ExactProduct>(call);
}

void recurrent_grad(Call& call) {
  if (call.attr(6) != 0) bf16_kernels().backward(call);
  else recurrent_backward<ExactProduct>(call);
}

}  // namespace cambium::CAMBIUM_ISA
