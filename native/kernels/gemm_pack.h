// Copies that bring the operands of the microkernels into the order they read: panels of B, rows of A.
#pragma once

#include "gemm_micro.h"

namespace cambium::CAMBIUM_ISA {

/** dst[i][j] = src[j][i] for i < rows, j < cols; pads each row of dst with zeros up to `width` columns. */
inline void transpose_copy(const float* src, int64_t ld_src, float* dst, int64_t ld_dst, int64_t rows, int64_t cols,
                           int64_t width) {
  constexpr int S = Vec::size;
  for (int64_t j = 0; j < width; j += S) {
    const int64_t nj = most(0, least(S, cols - j)), wj = least(S, width - j);
    for (int64_t i = 0; i < rows; i += S) {
      const int64_t ni = least(S, rows - i);
      Vec block[S];
      if (ni == S && nj == S) {
#pragma GCC unroll 16
        for (int r = 0; r < S; ++r) block[r] = Vec::load(src + (j + r) * ld_src + i);
      } else {
        for (int r = 0; r < S; ++r)
          block[r] = r < nj ? Vec::load_partial(src + (j + r) * ld_src + i, ni) : Vec::zero();
      }
      transpose(block);
      if (ni == S && wj == S) {
#pragma GCC unroll 16
        for (int r = 0; r < S; ++r) block[r].store(dst + (i + r) * ld_dst + j);
      } else {
        for (int r = 0; r < ni; ++r) block[r].store_partial(dst + (i + r) * ld_dst + j, wj);
      }
    }
  }
}

/** Copies rows x cols, padding each row of dst with zeros up to `width` (a multiple of the vector, or cols). */
inline void row_copy(const float* src, int64_t ld_src, float* dst, int64_t ld_dst, int64_t rows, int64_t cols,
                     int64_t width) {
  for (int64_t i = 0; i < rows; ++i) {
    const float* s = src + i * ld_src;
    float* d = dst + i * ld_dst;
    int64_t j = 0;
    for (; j + Vec::size <= cols; j += Vec::size) Vec::load(s + j).store(d + j);
    for (; j < width; j += Vec::size) {
      const int64_t left = most(0, cols - j);
      Vec::load_partial(s + (left ? j : 0), left).store_partial(d + j, least(Vec::size, width - j));
    }
  }
}

/** Width of the panel that starts at column n: kNR, or what is left rounded up to whole vectors. */
inline int64_t panel_width(int64_t n, int64_t N) { return least(kNR, round_up(N - n, Vec::size)); }

/** Packs rows [k0, k0 + kc) of the panel at column n of op(B) to dst, panel_width floats a row. */
inline void pack_panel(const float* b, int64_t ldb, bool trans, int64_t n, int64_t N, int64_t k0, int64_t kc,
                       float* dst) {
  const int64_t width = panel_width(n, N), cols = least(kNR, N - n);
  if (trans) transpose_copy(b + n * ldb + k0, ldb, dst, width, kc, cols, width);
  else row_copy(b + k0 * ldb + n, ldb, dst, width, kc, cols, width);
}

}  // namespace cambium::CAMBIUM_ISA
