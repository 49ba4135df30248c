// How the engine calls a kernel, and the table each instruction set fills (kernels/table.cpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "memory.h"
#include "parallel.h"
#include "program.h"

namespace cambium {

struct Call {
  const Step& step;
  std::byte* const* buffers;  // resolved addresses, by buffer number
  Parallel& parallel;
  Arena& vm_scratch;          // the fused VM's own, since it runs inside kernels that use parallel's
  int64_t stop = -1;          // set by a check that failed

  template <class T>
  T* in(size_t i) const { return reinterpret_cast<T*>(buffers[step.in[i]]); }
  template <class T>
  T* out(size_t i) const { return reinterpret_cast<T*>(buffers[step.out[i]]); }
  int64_t attr(int i) const { return step.integer(i); }
};

struct KernelTable {
  void (*run[kKernels])(Call&);
};

/** The table of CAMBIUM_ISA if set and available, else of the best set this processor has; `isa` receives its name. */
const KernelTable& select_kernels(std::string& isa);

}  // namespace cambium
