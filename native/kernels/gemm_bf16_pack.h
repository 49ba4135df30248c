// Copies that round f32 operands to bf16 pairs along K, in the order the microkernels read them.
#pragma once

#include "gemm_bf16_micro.h"
#include "gemm_pack.h"

namespace cambium::CAMBIUM_ISA {

/** The 2 * Vec::size values at p, of which n are there; the others are zero. */
inline VecI load_pairs_along(const float* p, int64_t n) {
  constexpr int64_t S = Vec::size;
  if (n >= 2 * S) return pairs_along(Vec::load(p), Vec::load(p + S));
  const int64_t first = least(S, n), second = most(0, n - S);
  return pairs_along(Vec::load_partial(p, first), second ? Vec::load_partial(p + S, second) : Vec::zero());
}

/** dst[i][j] = the pair src[i][2 j], src[i][2 j + 1], for i < rows; an odd last value is paired with zero. */
inline void pack_pairs_along(const float* src, int64_t ld_src, int32_t* dst, int64_t ld_dst, int64_t rows, int64_t k) {
  constexpr int64_t S = Vec::size;
  const int64_t pairs = ceil_div(k, 2);
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < pairs; j += S)
      load_pairs_along(src + i * ld_src + 2 * j, k - 2 * j).store_partial(dst + i * ld_dst + j, least(S, pairs - j));
}

/** dst[j][i] = the pair src[2 j][i], src[2 j + 1][i], for i < cols; zeros from cols to width. */
inline void pack_pairs_across(const float* src, int64_t ld_src, int32_t* dst, int64_t ld_dst, int64_t k, int64_t cols,
                              int64_t width) {
  constexpr int64_t S = Vec::size;
  for (int64_t j = 0; 2 * j < k; ++j) {
    const float* low = src + 2 * j * ld_src;
    const bool two = 2 * j + 1 < k;
    for (int64_t i = 0; i < cols; i += 16) {
      __builtin_prefetch(low + 16 * ld_src + i);
      __builtin_prefetch(low + 17 * ld_src + i);
    }
    for (int64_t i = 0; i < width; i += S) {
      const int64_t n = most(0, least(S, cols - i)), at = n ? i : 0;
      const Vec a = Vec::load_partial(low + at, n);
      const Vec b = two ? Vec::load_partial(low + ld_src + at, n) : Vec::zero();
      pairs_across(a, b).store_partial(dst + j * ld_dst + i, least(S, width - i));
    }
  }
}

/** The transpose of pack_pairs_along: dst[j][i], for i < cols; zeros from cols to width. */
inline void pack_pairs_along_transposed(const float* src, int64_t ld_src, int32_t* dst, int64_t ld_dst, int64_t k,
                                        int64_t cols, int64_t width) {
  constexpr int S = Vec::size;
  const int64_t pairs = ceil_div(k, 2);
  for (int64_t j = 0; j < pairs; j += S)
    for (int64_t i = 0; i < width; i += S) {
      const int64_t ni = most(0, least(S, cols - i)), nj = least(S, pairs - j);
      Vec block[S];
      for (int64_t r = 0; r < S; ++r)
        block[r] = r < ni ? as_float(load_pairs_along(src + (i + r) * ld_src + 2 * j, k - 2 * j)) : Vec::zero();
      transpose(block);
      for (int64_t r = 0; r < nj; ++r) as_int(block[r]).store_partial(dst + (j + r) * ld_dst + i, least(S, width - i));
    }
}

/** Packs rows [k0, k0 + kc) (k0 even) of the panel at column n of op(B) to dst, panel_width lanes a pair. */
inline void pack_pair_panel(const float* b, int64_t ldb, bool trans, int64_t n, int64_t N, int64_t k0, int64_t kc,
                            int32_t* dst) {
  const int64_t width = panel_width(n, N), cols = least(kNR, N - n);
  if (trans) pack_pairs_along_transposed(b + n * ldb + k0, ldb, dst, width, kc, cols, width);
  else pack_pairs_across(b + k0 * ldb + n, ldb, dst, width, kc, cols, width);
}

}  // namespace cambium::CAMBIUM_ISA
