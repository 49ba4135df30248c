// What the recurrent kernels share: the layout of their results, how rows of the batch are cut into tiles, tails of lines.
#pragma once

#include "../runtime/kernel_table.h"
#include "gemm_pack.h"

namespace cambium::CAMBIUM_ISA {

enum class Cell : int64_t { lstm, gru, tanh, relu };

/** Sizes and order of one sequence. Rows of the batch do not depend on each other, so threads share them out. */
struct Recurrent {
  Cell cell;
  bool reverse, masked;
  int64_t steps, batch, hidden;

  explicit Recurrent(const Call& call)
      : cell(static_cast<Cell>(call.attr(0))),
        reverse(call.attr(1) != 0),
        masked(call.attr(2) != 0),
        steps(call.attr(3)),
        batch(call.attr(4)),
        hidden(call.attr(5)) {}

  int64_t gates() const { return cell == Cell::lstm ? 4 : cell == Cell::gru ? 3 : 1; }
  /** h and what backward reads, side by side: h c i f g o; h r z n hn; h. */
  int64_t slots() const { return cell == Cell::lstm ? 6 : cell == Cell::gru ? 5 : 1; }
  /** Gradients of the gates before their activation: i f g o; hn r z n; h. */
  int64_t grad_slots() const { return cell == Cell::lstm || cell == Cell::gru ? 4 : 1; }

  /** The step processed as number s, and where the states before and after it lie. */
  int64_t step(int64_t s) const { return reverse ? steps - 1 - s : s; }
  int64_t before(int64_t t) const { return reverse ? t + 1 : t; }
  int64_t after(int64_t t) const { return reverse ? t : t + 1; }
  int64_t initial() const { return reverse ? steps : 0; }

  /** Runs body(first, end, thread) on runs of rows; what a row gets does not depend on the cut. */
  template <class Body>
  void for_rows(const Parallel& parallel, const Body& body) const {
    const int64_t chunks = most(1, least(parallel.threads(), ceil_div(batch, 4)));
    parallel.run(chunks, [&](int64_t chunk, int thread) {
      body(batch * chunk / chunks, batch * (chunk + 1) / chunks, thread);
    });
  }
};

/** Cuts rows [first, end) into tiles of nearly equal height, at most kMR. */
template <class Body>
inline void for_tiles(int64_t first, int64_t end, const Body& body) {
  const int64_t tiles = ceil_div(end - first, kMR);
  for (int64_t i = 0; i < tiles; ++i)
    body(first + (end - first) * i / tiles, first + (end - first) * (i + 1) / tiles);
}

/** Products of f32 operands; recurrent_bf16.cpp has those of rounded ones. Weights lie in panels, [depth][width] lanes. */
struct ExactProduct {
  using Lane = float;
  static int64_t depth(int64_t k) { return k; }
  /** dst[k][i] = src[i][k]. */
  static void pack_transposed(const float* src, int64_t ld, Lane* dst, int64_t ld_dst, int64_t k, int64_t cols,
                              int64_t width) {
    transpose_copy(src, ld, dst, ld_dst, k, cols, width);
  }
  static void pack(const float* b, int64_t ldb, int64_t n, int64_t N, int64_t k0, int64_t kc, Lane* dst) {
    pack_panel(b, ldb, false, n, N, k0, kc, dst);
  }
  /** Rows of the left operand as the product reads them, and how far they then are apart. Nothing is kept in `room`. */
  static int64_t room(int64_t) { return 0; }
  static const Lane* rows(const float* from, int64_t&, int64_t, int64_t, Lane*) { return from; }
  /** `rows` rows of A (pointers) times a packed panel; c gets or adds it. */
  static void product(const Lane* const* a, int64_t rows, int64_t depth, const Lane* panel, int64_t width, const MicroC& c) {
    rows_kernel(rows, ceil_div(c.cols, Vec::size))(MicroRows{1, a, nullptr, 0, depth, panel, 0, width}, c);
  }
};

/** n >= 1 lanes at p; lanes past n read as 0 and are not written. */
inline Vec load_lanes(const float* p, int64_t n) { return n >= Vec::size ? Vec::load(p) : Vec::load_partial(p, n); }
inline void store_lanes(Vec v, float* p, int64_t n) {
  if (n >= Vec::size) v.store(p);
  else v.store_partial(p, n);
}
inline void copy_lanes(const float* from, float* to, int64_t n) {
  for (int64_t j = 0; j < n; ++j) to[j] = from[j];
}
inline void clear_lanes(float* to, int64_t n) {
  for (int64_t j = 0; j < n; ++j) to[j] = 0.0f;
}

}  // namespace cambium::CAMBIUM_ISA
