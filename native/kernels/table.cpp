// This instruction set's kernels, by name.
#include "../runtime/error.h"
#include "../runtime/kernel_table.h"
#include "fused.h"

namespace cambium::CAMBIUM_ISA {

#define X(id, name, in, out, epilogue, attrs) void id(Call& call);
CAMBIUM_KERNELS(X)
#undef X

const KernelTable& kernel_table() {
  static const KernelTable table = {{
#define X(id, name, in, out, epilogue, attrs) id,
      CAMBIUM_KERNELS(X)
#undef X
  }};
  return table;
}

}  // namespace cambium::CAMBIUM_ISA
