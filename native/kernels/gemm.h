// Matrix product: C[b] (M x N) = op(A[b]) op(B[b]), stored, or handed tile by tile to a sink.
#pragma once

#include <cstdint>

#include "../runtime/parallel.h"
#include "tile.h"

namespace cambium {

/** trans_a: A is stored K x M; trans_b: B is stored N x K. A batch stride of 0 repeats the matrix. */
struct GemmArgs {
  int64_t batch = 1, M = 0, N = 0, K = 0;
  bool trans_a = false, trans_b = false;
  int64_t lda = 0, ldb = 0, ldc = 0;
  int64_t stride_a = 0, stride_b = 0, stride_c = 0;
  const float* a = nullptr;
  const float* b = nullptr;
  float* c = nullptr;  // unused with a sink
};

// With a sink, output rows are b * M + m. The order of every sum depends on the shape alone, never on the threads.
#define CAMBIUM_DECLARE_GEMM(isa) \
  namespace isa {                 \
  void gemm(const GemmArgs& args, const Parallel& par, const TileSink* sink); \
  }
CAMBIUM_DECLARE_GEMM(avx512)
CAMBIUM_DECLARE_GEMM(avx2)
CAMBIUM_DECLARE_GEMM(neon)
CAMBIUM_DECLARE_GEMM(portable)
#undef CAMBIUM_DECLARE_GEMM

}  // namespace cambium
