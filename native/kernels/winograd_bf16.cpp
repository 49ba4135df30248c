// Winograd's convolution, forward and input gradient, with transformed values rounded to bf16 pairs along the channels.
#include "gemm_bf16_pack.h"
#include "winograd_bf16.h"
#include "winograd_cost.h"
#include "winograd_gather.h"

namespace cambium::CAMBIUM_ISA {
namespace {

struct RoundedProduct {
  using Lane = int32_t;
  static constexpr int64_t values = 2;

  static void put(Vec low, Vec high, Lane* p) { pairs_across(low, high).store(p); }

  template <int m>
  static void transform(const TileSource& s, const TileGrid& grid, int64_t t0, int64_t t1, int64_t channels, Lane* dst,
                        int64_t ld, int64_t plane) {
    transform_tiles<m, false>(s, grid, t0, t1, 0, channels, reinterpret_cast<Bf16*>(dst), 2 * ld, 2 * plane);
  }

  static void multiply(const Lane* u, int64_t ldu, int64_t tiles, int64_t k, const Lane* v, int64_t width, int64_t ahead,
                       float* c, int64_t ldc, Store store) {
    const int64_t vectors = width / Vec::size;
    for (int64_t t = 0; t < tiles; t += kMR) {
      const int64_t rows = least(kMR, tiles - t), line = t / kMR * 16;
      const Lane* pointers[kMR];
      for (int64_t r = 0; r < rows; ++r) pointers[r] = u + (t + r) * ldu;
      const MicroC to{c + t * ldc, ldc, width, store};
      if (ahead && line < width)
        pair_rows_kernel<true>(rows, vectors)(PairRows{1, pointers, nullptr, 0, k, v, 0, width, ahead, line, line + 16}, to);
      else pair_rows_kernel(rows, vectors)(PairRows{1, pointers, nullptr, 0, k, v, 0, width}, to);
    }
  }
};

}  // namespace

int winograd_tile_bf16(const Conv2dArgs& a, ConvPass pass) {
  return cheapest_tile(a, pass, 1.8, pass == ConvPass::weight_grad ? 1.4 : 1.8);
}

void winograd_gather_bf16(const Conv2dArgs& a, int tile, bool backward, const float* src, const float* weight, float* dst,
                          const Parallel& par, const TileSink* sink) {
  winograd_gathering::run<RoundedProduct>(a, tile, backward, src, weight, dst, par, sink);
}

}  // namespace cambium::CAMBIUM_ISA
