// Winograd's weight gradient with transformed values rounded to bf16 pairs along the tiles.
#include "gemm_bf16_pack.h"
#include "winograd_bf16.h"
#include "winograd_sum.h"

namespace cambium::CAMBIUM_ISA {
namespace {

struct RoundedProduct {
  using Lane = int32_t;
  static constexpr int64_t values = 2, tiles = 48;  // at once, as many bytes as in f32

  /** dst[point][pair of tiles][channel]; a last tile without a partner is paired with zeros. */
  template <int m, bool of_gradient>
  static void transform(const TileSource& s, const TileGrid& grid, int64_t t0, int64_t t1, int64_t c0, int64_t c1, Lane* dst,
                        int64_t ld, int64_t plane) {
    constexpr int64_t S = Vec::size, points = (m + 2) * (m + 2);
    alignas(64) float low[points * S], high[points * S];
    for (int64_t t = t0; t < t1; t += 2, dst += ld)
      for (int64_t c = c0; c < c1; c += S) {
        const int64_t end = least(c1, c + S);
        transform_tiles<m, of_gradient>(s, grid, t, t + 1, c, end, low, S, S);
        if (t + 1 < t1) transform_tiles<m, of_gradient>(s, grid, t + 1, t + 2, c, end, high, S, S);
        else for (float& x : high) x = 0.0f;
        for (int64_t i = 0; i < points; ++i)
          pairs_across(Vec::load(low + i * S), Vec::load(high + i * S)).store(dst + i * plane + c - c0);
      }
  }

  static void multiply(const Lane* u, int64_t ldu, int64_t rows, int64_t steps, const Lane* w, int64_t width, float* sums,
                       Store store) {
    for (int64_t r = 0; r < rows; r += kMR)
      pair_steps_kernel(least(kMR, rows - r), width / Vec::size)(PairSteps{steps, u + r, ldu, w, nullptr, width},
                                                                 MicroC{sums + r * width, width, width, store});
  }
};

}  // namespace

void winograd_weight_grad_bf16(const Conv2dArgs& a, int tile, const float* x, const float* gy, float* gw,
                               const Parallel& par) {
  winograd_summing::run<RoundedProduct>(a, tile, x, gy, gw, par);
}

}  // namespace cambium::CAMBIUM_ISA
