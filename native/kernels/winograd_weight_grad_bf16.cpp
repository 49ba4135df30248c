// Winograd's weight gradient with transformed values rounded to bf16 pairs along the tiles.
#include "gemm_bf16_pack.h"
#include "winograd_bf16.h"
#include "winograd_sum.h"

namespace cambium::CAMBIUM_ISA {
namespace {

using winograd_summing::kBlock;

struct RoundedProduct {
  using Lane = int32_t;
  static constexpr int64_t values = 2, tiles = 48;  // at once, as many bytes as in f32

  /** dst[point][pair of tiles][channel]; a last tile without a partner is paired with zeros. */
  template <int m, bool of_gradient>
  static void transform(const TileSource& s, const TileGrid& grid, int64_t t0, int64_t t1, int64_t c0, int64_t c1, Lane* dst,
                        int64_t ld, int64_t plane) {
    constexpr int64_t S = Vec::size, points = (m + 2) * (m + 2), room = most(kBlock, kNR);
    alignas(64) float both[points][2][room];
    for (int64_t t = t0; t < t1; t += 2, dst += ld) {
      const int64_t count = least(2, t1 - t);
      transform_tiles<m, of_gradient>(s, grid, t, t + count, c0, c1, &both[0][0][0], room, 2 * room);
      for (int64_t i = 0; i < points; ++i)
        for (int64_t c = 0; c < c1 - c0; c += S)
          pairs_across(Vec::load(both[i][0] + c), count == 2 ? Vec::load(both[i][1] + c) : Vec::zero()).store(dst + i * plane + c);
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
