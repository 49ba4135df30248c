// The fused VM as a step of its own, and as what a GEMM or convolution does with each finished tile.
#pragma once

#include "../runtime/fused_plan.h"
#include "../runtime/kernel_table.h"
#include "fused_tile.h"
#include "tile.h"

namespace cambium::CAMBIUM_ISA {

void run_plan(const Call& call, const FusedPlan& plan);
void fused(Call& call);

/** Runs a step's plan on the tiles of an output of `columns` columns. */
class Epilogue {
 public:
  Epilogue(const Call& call, const FusedPlan& plan, int64_t columns);
  TileSink sink() { return {&Epilogue::tile, this}; }

 private:
  static void tile(void* self, int thread, int64_t row0, int64_t row_stride, int64_t rows, int64_t col0, int64_t cols,
                   const float* tile, int64_t ld);

  TileRunner runner(const FusedPlan& plan, int thread) const;

  const Call& call_;
  const FusedPlan& plan_;
  int64_t columns_;
  int64_t thread_bytes_;
  std::byte* scratch_;
};

}  // namespace cambium::CAMBIUM_ISA
