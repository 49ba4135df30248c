// What this processor can run, asked once.
#include "cpu_features.h"

namespace cambium {
namespace {

std::vector<std::string> detect() {
  std::vector<std::string> isas;
#if defined(__x86_64__)
  __builtin_cpu_init();
#if defined(CAMBIUM_HAS_AVX512)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma"))
    isas.push_back("avx512");
#endif
#if defined(CAMBIUM_HAS_AVX2)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) isas.push_back("avx2");
#endif
#elif defined(CAMBIUM_HAS_NEON)
  isas.push_back("neon");  // part of every arm64 processor
#endif
#if defined(CAMBIUM_HAS_PORTABLE)
  isas.push_back("portable");
#endif
  return isas;
}

}  // namespace

bool has_avx512_bf16() {
#if defined(__x86_64__) && defined(CAMBIUM_HAS_AVX512BF16)
  static const bool has = (__builtin_cpu_init(), __builtin_cpu_supports("avx512bf16"));
  return has;
#else
  return false;
#endif
}

const std::vector<std::string>& available_isas() {
  static const std::vector<std::string> isas = detect();
  return isas;
}

}  // namespace cambium
