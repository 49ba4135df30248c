// The compiled instruction sets this processor can run, with their GEMM and convolution entry points.
#pragma once

#include <vector>

#include "../kernels/conv2d.h"
#include "../kernels/gemm.h"

namespace cambium {

struct TestIsa {
  const char* name;
  decltype(&portable::gemm) gemm;
  decltype(&portable::conv2d_forward) conv2d_forward;
  decltype(&portable::conv2d_input_grad) conv2d_input_grad;
  decltype(&portable::conv2d_weight_grad) conv2d_weight_grad;
};

inline std::vector<TestIsa> test_isas() {
  std::vector<TestIsa> isas;
#define CAMBIUM_TEST_ISA(isa) \
  isas.push_back({#isa, &isa::gemm, &isa::conv2d_forward, &isa::conv2d_input_grad, &isa::conv2d_weight_grad})
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
  return isas;
}

}  // namespace cambium
