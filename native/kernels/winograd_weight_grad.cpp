// Winograd's weight gradient in f32.
#include "winograd.h"
#include "winograd_sum.h"

namespace cambium::CAMBIUM_ISA {
namespace {

struct ExactProduct {
  using Lane = float;
  static constexpr int64_t values = 1, tiles = 24;  // at once: both operands and the sums of a task stay in L2

  template <int m, bool of_gradient>
  static void transform(const TileSource& s, const TileGrid& grid, int64_t t0, int64_t t1, int64_t c0, int64_t c1, Lane* dst,
                        int64_t ld, int64_t plane) {
    transform_tiles<m, of_gradient>(s, grid, t0, t1, c0, c1, dst, ld, plane);
  }

  /** sums[row][width] (+)= the sum over steps of u[step][row] w[step][width]. */
  static void multiply(const Lane* u, int64_t ldu, int64_t rows, int64_t steps, const Lane* w, int64_t width, float* sums,
                       Store store) {
    const Lane* pointers[tiles];
    int32_t index[tiles];
    for (int64_t i = 0; i < steps; ++i) pointers[i] = u + i * ldu, index[i] = static_cast<int32_t>(i);
    for (int64_t r = 0; r < rows; r += kMR)
      steps_kernel(least(kMR, rows - r), width / Vec::size)(MicroSteps{steps, pointers, r, w, index, width},
                                                            MicroC{sums + r * width, width, width, store});
  }
};

}  // namespace

void winograd_weight_grad(const Conv2dArgs& a, int tile, const float* x, const float* gy, float* gw,
                          const Parallel& par) {
  winograd_summing::run<ExactProduct>(a, tile, x, gy, gw, par);
}

}  // namespace cambium::CAMBIUM_ISA
