// Winograd's convolution, forward and input gradient, in f32.
#include "winograd.h"

#include "winograd_gather.h"

namespace cambium::CAMBIUM_ISA {
namespace {

struct ExactProduct {
  using Lane = float;
  static constexpr int64_t values = 1;  // of K in a lane

  static void put(Vec x, Vec, Lane* p) { x.store(p); }

  /** dst[point][tile][channel]: ld lanes a tile, plane a point. */
  template <int m>
  static void transform(const TileSource& s, const TileGrid& grid, int64_t t0, int64_t t1, int64_t channels, Lane* dst,
                        int64_t ld, int64_t plane) {
    transform_tiles<m, false>(s, grid, t0, t1, 0, channels, dst, ld, plane);
  }

  /** c[tile][width] (+)= u[tile][k] v[k][width]; meanwhile brings the next panel, `ahead` lanes past v, into the cache. */
  static void multiply(const Lane* u, int64_t ldu, int64_t tiles, int64_t k, const Lane* v, int64_t width, int64_t ahead,
                       float* c, int64_t ldc, Store store) {
    const int64_t vectors = width / Vec::size;
    for (int64_t t = 0; t < tiles; t += kMR) {
      const int64_t rows = least(kMR, tiles - t), line = t / kMR * 16;
      const Lane* pointers[kMR];
      for (int64_t r = 0; r < rows; ++r) pointers[r] = u + (t + r) * ldu;
      const MicroC to{c + t * ldc, ldc, width, store};
      if (ahead && line < width)
        rows_kernel<true>(rows, vectors)(MicroRows{1, pointers, nullptr, 0, k, v, 0, width, ahead, line, line + 16}, to);
      else rows_kernel(rows, vectors)(MicroRows{1, pointers, nullptr, 0, k, v, 0, width}, to);
    }
  }
};

}  // namespace

void winograd_gather(const Conv2dArgs& a, int tile, bool backward, const float* src, const float* weight, float* dst,
                     const Parallel& par, const TileSink* sink) {
  winograd_gathering::run<ExactProduct>(a, tile, backward, src, weight, dst, par, sink);
}

}  // namespace cambium::CAMBIUM_ISA
