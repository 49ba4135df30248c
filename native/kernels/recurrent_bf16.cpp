// The recurrent kernels over bf16 pairs: the state of a step is rounded once for all units that read it.
#include "recurrent_bf16.h"

#include "gemm_bf16_pack.h"
#include "recurrent_backward.h"
#include "recurrent_forward.h"

namespace cambium::CAMBIUM_ISA {
namespace {

/** Operands as pairs along K; a second run of rows starts on a pair, so hidden sizes are even. */
struct RoundedProduct {
  using Lane = int32_t;
  static int64_t depth(int64_t k) { return ceil_div(k, 2); }
  static void pack_transposed(const float* src, int64_t ld, Lane* dst, int64_t ld_dst, int64_t k, int64_t cols,
                              int64_t width) {
    pack_pairs_along_transposed(src, ld, dst, ld_dst, k, cols, width);
  }
  static void pack(const float* b, int64_t ldb, int64_t n, int64_t N, int64_t k0, int64_t kc, Lane* dst) {
    pack_pair_panel(b, ldb, false, n, N, k0, kc, dst);
  }
  static int64_t room(int64_t k) { return round_up(depth(k), Vec::size); }
  static const Lane* rows(const float* from, int64_t& ld, int64_t count, int64_t k, Lane* room) {
    pack_pairs_along(from, ld, room, RoundedProduct::room(k), count, k);
    ld = RoundedProduct::room(k);
    return room;
  }
  static void product(const Lane* const* a, int64_t rows, int64_t depth, const Lane* panel, int64_t width, const MicroC& c) {
    pair_rows_kernel(rows, ceil_div(c.cols, Vec::size))(PairRows{1, a, nullptr, 0, depth, panel, 0, width}, c);
  }
};

}  // namespace

void recurrent_bf16(Call& call) { recurrent_forward<RoundedProduct>(call); }
void recurrent_grad_bf16(Call& call) { recurrent_backward<RoundedProduct>(call); }

}  // namespace cambium::CAMBIUM_ISA
