// The compiled instruction sets this processor can run, with their GEMM and convolution entry points.
#pragma once

#include <vector>

#include "../kernels/conv2d_bf16.h"
#include "../kernels/gemm_bf16.h"

namespace cambium {

struct TestIsa {
  const char* name;
  decltype(&portable::gemm) gemm;
  decltype(&portable::conv2d_forward) conv2d_forward;
  decltype(&portable::conv2d_input_grad) conv2d_input_grad;
  decltype(&portable::conv2d_weight_grad) conv2d_weight_grad;
  decltype(&portable::gemm_bf16) gemm_bf16;
  decltype(&portable::conv2d_forward_bf16) conv2d_forward_bf16;
  decltype(&portable::conv2d_input_grad_bf16) conv2d_input_grad_bf16;
  decltype(&portable::conv2d_weight_grad_bf16) conv2d_weight_grad_bf16;
};

inline std::vector<TestIsa> test_isas() {
  std::vector<TestIsa> isas;
#define CAMBIUM_TEST_ISAS(name, isa, rounding)                                                                           \
  isas.push_back({name, &isa::gemm, &isa::conv2d_forward, &isa::conv2d_input_grad, &isa::conv2d_weight_grad,              \
                  &rounding::gemm_bf16, &rounding::conv2d_forward_bf16, &rounding::conv2d_input_grad_bf16,                \
                  &rounding::conv2d_weight_grad_bf16})
#define CAMBIUM_TEST_ISA(isa) CAMBIUM_TEST_ISAS(#isa, isa, isa)
#if defined(CAMBIUM_HAS_AVX512BF16)
  if (__builtin_cpu_supports("avx512bf16")) CAMBIUM_TEST_ISAS("avx512bf16", avx512, avx512bf16);
#endif
#if defined(CAMBIUM_HAS_AVX512)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl"))
    CAMBIUM_TEST_ISA(avx512);
#endif
#if defined(CAMBIUM_HAS_AVX2)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) CAMBIUM_TEST_ISA(avx2);
#endif
#if defined(CAMBIUM_HAS_NEON)
  CAMBIUM_TEST_ISA(neon);
#endif
#if defined(CAMBIUM_HAS_PORTABLE)
  CAMBIUM_TEST_ISA(portable);
#endif
#undef CAMBIUM_TEST_ISA
#undef CAMBIUM_TEST_ISAS
  return isas;
}

}  // namespace cambium
