// The register-tiled inner loops over bf16 pairs: MR rows x NV vectors of f32 sums stay in registers.
#pragma once

#include "../simd/bf16.h"
#include "gemm_micro.h"

namespace cambium::CAMBIUM_ISA {

/** As MicroRows, counted in pairs along K: row r of segment s is rows[s * MR + r], one 32-bit lane a pair. */
struct PairRows {
  int64_t segments;
  const int32_t* const* rows;
  const int32_t* segment;  // null: 0
  int64_t from, k;         // pairs
  const int32_t* b;
  int64_t b_segment, ldb;  // lanes
  int64_t ahead = 0, ahead_from = 0, ahead_to = 0;  // prefetch lanes [from, to) this far past each row of B
};

/** C += A^T B: step k of A holds the MR pairs a[k * lda + r]; its pairs of B are b + index[k] * ldb. */
struct PairSteps {
  int64_t k;
  const int32_t* a;
  int64_t lda;
  const int32_t* b;
  const int32_t* index;  // null: 0, 1, 2 ...
  int64_t ldb;
};

template <int MR, int NV, bool Ahead = false>
void micro_pair_rows(const PairRows& m, const MicroC& t) {
  Vec acc[MR][NV];
#pragma GCC unroll 16
  for (int r = 0; r < MR; ++r)
#pragma GCC unroll 8
    for (int j = 0; j < NV; ++j) acc[r][j] = Vec::zero();
  for (int64_t s = 0; s < m.segments; ++s) {
    const int32_t* a[MR];
#pragma GCC unroll 16
    for (int r = 0; r < MR; ++r) a[r] = m.rows[s * MR + r] + m.from;
    const int32_t* b = m.b + (m.segment ? m.segment[s] * m.b_segment : 0);
    for (int64_t k = 0; k < m.k; ++k) {
      if constexpr (Ahead)
        for (int64_t j = m.ahead_from; j < m.ahead_to; j += 16) __builtin_prefetch(b + m.ahead + j);
      VecI bv[NV];
#pragma GCC unroll 8
      for (int j = 0; j < NV; ++j) bv[j] = VecI::load(b + j * Vec::size);
#pragma GCC unroll 16
      for (int r = 0; r < MR; ++r) {
        const VecI x = VecI::set1(a[r][k]);
#pragma GCC unroll 8
        for (int j = 0; j < NV; ++j) acc[r][j] = dot_pairs(x, bv[j], acc[r][j]);
      }
      b += m.ldb;
    }
  }
  micro_store<MR, NV>(acc, t);
}

template <int MR, int NV>
void micro_pair_steps(const PairSteps& m, const MicroC& t) {
  Vec acc[MR][NV];
#pragma GCC unroll 16
  for (int r = 0; r < MR; ++r)
#pragma GCC unroll 8
    for (int j = 0; j < NV; ++j) acc[r][j] = Vec::zero();
  for (int64_t k = 0; k < m.k; ++k) {
    const int32_t* a = m.a + k * m.lda;
    const int32_t* b = m.b + (m.index ? m.index[k] : k) * m.ldb;
    VecI bv[NV];
#pragma GCC unroll 8
    for (int j = 0; j < NV; ++j) bv[j] = VecI::load(b + j * Vec::size);
#pragma GCC unroll 16
    for (int r = 0; r < MR; ++r) {
      const VecI x = VecI::set1(a[r]);
#pragma GCC unroll 8
      for (int j = 0; j < NV; ++j) acc[r][j] = dot_pairs(x, bv[j], acc[r][j]);
    }
  }
  micro_store<MR, NV>(acc, t);
}

using PairRowsKernel = void (*)(const PairRows&, const MicroC&);
using PairStepsKernel = void (*)(const PairSteps&, const MicroC&);

/** The kernel for `rows` (1 .. kMR) and `vectors` (1 .. kNV); row pointers of a segment are then `rows` apart. */
template <bool Ahead = false>
inline PairRowsKernel pair_rows_kernel(int64_t rows, int64_t vectors) {
  static constexpr auto table = []<int... i>(std::integer_sequence<int, i...>) {
    struct Table { PairRowsKernel f[kMR * kNV]; };
    return Table{{&micro_pair_rows<i / kNV + 1, i % kNV + 1, Ahead>...}};
  }(std::make_integer_sequence<int, kMR * kNV>());
  return table.f[(rows - 1) * kNV + vectors - 1];
}
inline PairStepsKernel pair_steps_kernel(int64_t rows, int64_t vectors) {
  static constexpr auto table = []<int... i>(std::integer_sequence<int, i...>) {
    struct Table { PairStepsKernel f[kMR * kNV]; };
    return Table{{&micro_pair_steps<i / kNV + 1, i % kNV + 1>...}};
  }(std::make_integer_sequence<int, kMR * kNV>());
  return table.f[(rows - 1) * kNV + vectors - 1];
}

}  // namespace cambium::CAMBIUM_ISA
