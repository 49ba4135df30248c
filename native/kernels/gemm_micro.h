// The register-tiled inner loops shared by GEMM and convolution: MR rows x NV vectors of C stay in registers.
#pragma once

#include <utility>

#include "../simd/vec.h"

namespace cambium::CAMBIUM_ISA {

// Rows and vectors of the full tile: as many accumulators as the registers hold.
#if defined(__AVX512F__)
constexpr int kMR = 6, kNV = 4;
#elif defined(__AVX2__)
constexpr int kMR = 6, kNV = 2;
#elif defined(__ARM_NEON)
constexpr int kMR = 6, kNV = 4;
#else
constexpr int kMR = 6, kNV = 2;
#endif
constexpr int64_t kNR = kNV * Vec::size;

constexpr int64_t round_up(int64_t x, int64_t to) { return (x + to - 1) / to * to; }
constexpr int64_t ceil_div(int64_t x, int64_t by) { return (x + by - 1) / by; }
constexpr int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
constexpr int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

enum class Store { set, add, stream };  // stream: set, past the cache; the rows must be vector-aligned

/** One tile of C: `cols` valid columns, at most NV vectors. */
struct MicroC {
  float* c;
  int64_t ldc;
  int64_t cols;
  Store store;
};

/**
 * C += A B with the rows of A anywhere: a K-segment s has MR row pointers rows[s * MR + r] (read from `from` on),
 * and its B rows start at b + segment[s] * b_segment. A convolution has one segment per kernel tap.
 */
struct MicroRows {
  int64_t segments;
  const float* const* rows;
  const int32_t* segment;  // null: 0
  int64_t from, k;
  const float* b;
  int64_t b_segment, ldb;
  int64_t ahead = 0, ahead_from = 0, ahead_to = 0;  // prefetch floats [from, to) this far past each row of B
};

/** C += A^T B: row k of A holds the MR values of step k, at a[k]; row k of B is b + index[k] * ldb. */
struct MicroSteps {
  int64_t k;
  const float* const* a;
  int64_t a_offset;
  const float* b;
  const int32_t* index;
  int64_t ldb;
};

template <int MR, int NV>
inline __attribute__((always_inline)) void micro_store(const Vec (&acc)[MR][NV], const MicroC& t) {
  const bool whole = t.cols == NV * Vec::size;
  const int64_t last = t.cols - (NV - 1) * Vec::size;
#pragma GCC unroll 16
  for (int r = 0; r < MR; ++r) {
    float* row = t.c + r * t.ldc;
    if (whole) {
      if (t.store == Store::add) {
#pragma GCC unroll 8
        for (int j = 0; j < NV; ++j) (Vec::load(row + j * Vec::size) + acc[r][j]).store(row + j * Vec::size);
      } else if (t.store == Store::set) {
#pragma GCC unroll 8
        for (int j = 0; j < NV; ++j) acc[r][j].store(row + j * Vec::size);
      } else {
#pragma GCC unroll 8
        for (int j = 0; j < NV; ++j) acc[r][j].store_stream(row + j * Vec::size);
      }
    } else {
#pragma GCC unroll 8
      for (int j = 0; j < NV; ++j) {
        float* p = row + j * Vec::size;
        const int64_t n = j + 1 < NV ? Vec::size : last;
        (t.store == Store::add ? Vec::load_partial(p, n) + acc[r][j] : acc[r][j]).store_partial(p, n);
      }
    }
  }
}

template <int MR, int NV, bool Ahead = false>
void micro_rows(const MicroRows& m, const MicroC& t) {
  Vec acc[MR][NV];
#pragma GCC unroll 16
  for (int r = 0; r < MR; ++r)
#pragma GCC unroll 8
    for (int j = 0; j < NV; ++j) acc[r][j] = Vec::zero();
  for (int64_t s = 0; s < m.segments; ++s) {
    const float* a[MR];
#pragma GCC unroll 16
    for (int r = 0; r < MR; ++r) a[r] = m.rows[s * MR + r] + m.from;
    const float* b = m.b + (m.segment ? m.segment[s] * m.b_segment : 0);
    for (int64_t k = 0; k < m.k; ++k) {
      if constexpr (Ahead)
        for (int64_t j = m.ahead_from; j < m.ahead_to; j += 16) __builtin_prefetch(b + m.ahead + j);
      Vec bv[NV];
#pragma GCC unroll 8
      for (int j = 0; j < NV; ++j) bv[j] = Vec::load(b + j * Vec::size);
#pragma GCC unroll 16
      for (int r = 0; r < MR; ++r) {
        const Vec x = Vec::set1(a[r][k]);
#pragma GCC unroll 8
        for (int j = 0; j < NV; ++j) acc[r][j] = fma(x, bv[j], acc[r][j]);
      }
      b += m.ldb;
    }
  }
  micro_store<MR, NV>(acc, t);
}

template <int MR, int NV>
void micro_steps(const MicroSteps& m, const MicroC& t) {
  Vec acc[MR][NV];
#pragma GCC unroll 16
  for (int r = 0; r < MR; ++r)
#pragma GCC unroll 8
    for (int j = 0; j < NV; ++j) acc[r][j] = Vec::zero();
  for (int64_t k = 0; k < m.k; ++k) {
    const float* a = m.a[k] + m.a_offset;
    const float* b = m.b + m.index[k] * m.ldb;
    Vec bv[NV];
#pragma GCC unroll 8
    for (int j = 0; j < NV; ++j) bv[j] = Vec::load(b + j * Vec::size);
#pragma GCC unroll 16
    for (int r = 0; r < MR; ++r) {
      const Vec x = Vec::set1(a[r]);
#pragma GCC unroll 8
      for (int j = 0; j < NV; ++j) acc[r][j] = fma(x, bv[j], acc[r][j]);
    }
  }
  micro_store<MR, NV>(acc, t);
}

using RowsKernel = void (*)(const MicroRows&, const MicroC&);
using StepsKernel = void (*)(const MicroSteps&, const MicroC&);

/** The kernel for `rows` (1 .. kMR) and `vectors` (1 .. kNV); row pointers of a segment are then `rows` apart. */
template <bool Ahead = false>
inline RowsKernel rows_kernel(int64_t rows, int64_t vectors) {
  static constexpr auto table = []<int... i>(std::integer_sequence<int, i...>) {
    struct Table { RowsKernel f[kMR * kNV]; };
    return Table{{&micro_rows<i / kNV + 1, i % kNV + 1, Ahead>...}};
  }(std::make_integer_sequence<int, kMR * kNV>());
  return table.f[(rows - 1) * kNV + vectors - 1];
}
inline StepsKernel steps_kernel(int64_t rows, int64_t vectors) {
  static constexpr auto table = []<int... i>(std::integer_sequence<int, i...>) {
    struct Table { StepsKernel f[kMR * kNV]; };
    return Table{{&micro_steps<i / kNV + 1, i % kNV + 1>...}};
  }(std::make_integer_sequence<int, kMR * kNV>());
  return table.f[(rows - 1) * kNV + vectors - 1];
}

}  // namespace cambium::CAMBIUM_ISA
