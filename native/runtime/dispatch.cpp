// Chooses the kernel table for this processor.
#include <algorithm>
#include <cstdlib>

#include "cpu_features.h"
#include "error.h"
#include "kernel_table.h"

namespace cambium {

#if defined(CAMBIUM_HAS_AVX512)
namespace avx512 { const KernelTable& kernel_table(); }
#endif
#if defined(CAMBIUM_HAS_AVX2)
namespace avx2 { const KernelTable& kernel_table(); }
#endif
#if defined(CAMBIUM_HAS_NEON)
namespace neon { const KernelTable& kernel_table(); }
#endif
#if defined(CAMBIUM_HAS_PORTABLE)
namespace portable { const KernelTable& kernel_table(); }
#endif

const KernelTable& select_kernels(std::string& isa) {
  const auto& available = available_isas();
  isa = available.front();
  if (const char* forced = std::getenv("CAMBIUM_ISA"); forced && *forced) {
    if (std::find(available.begin(), available.end(), forced) == available.end()) {
      std::string names;
      for (const auto& name : available) names += (names.empty() ? "" : ", ") + name;
      throw Error("BAD_ISA", std::string("CAMBIUM_ISA=") + forced + " is not available here; choose one of " + names);
    }
    isa = forced;
  }
#if defined(CAMBIUM_HAS_AVX512)
  if (isa == "avx512") return avx512::kernel_table();
#endif
#if defined(CAMBIUM_HAS_AVX2)
  if (isa == "avx2") return avx2::kernel_table();
#endif
#if defined(CAMBIUM_HAS_NEON)
  if (isa == "neon") return neon::kernel_table();
#endif
  return portable::kernel_table();
}

}  // namespace cambium
