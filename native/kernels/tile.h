// Where a kernel hands a finished tile of its output instead of storing it: the fused epilogue.
#pragma once

#include <cstdint>

namespace cambium {

/**
 * Called once per tile, on the thread that computed it. Tile row r is output row row0 + r * row_stride;
 * its columns are col0 .. col0 + cols, ld floats apart in the tile. Read the tile only.
 */
struct TileSink {
  void (*run)(void* ctx, int thread, int64_t row0, int64_t row_stride, int64_t rows, int64_t col0, int64_t cols,
              const float* tile, int64_t ld);
  void* ctx;
};

}  // namespace cambium
