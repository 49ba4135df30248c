// The reductions of the fused VM. Sums run over 64 fixed lanes, halves added to halves, long rows split in two:
// the order depends on the length alone, and is the same for every instruction set.
#include <limits>

#include "../simd/vec.h"
#include "vm.h"

namespace cambium::CAMBIUM_ISA {
namespace {

constexpr int64_t kSize = Vec::size, kWide = 64, kVecs = kWide / kSize;
constexpr int64_t kLeaf = 8192;

struct Sum {
  static constexpr float identity = 0.0f;
  static Vec apply(Vec a, Vec b) { return a + b; }
};
struct Max {
  static constexpr float identity = -std::numeric_limits<float>::infinity();
  static Vec apply(Vec a, Vec b) { return select(ne(a, a), a, max(a, b)); }  // NaN passes
};
struct Min {
  static constexpr float identity = std::numeric_limits<float>::infinity();
  static Vec apply(Vec a, Vec b) { return select(ne(a, a), a, min(a, b)); }
};

template <class Body>
inline auto with_op(ReduceOp op, Body body) {
  switch (op) {
    case ReduceOp::sum: return body(Sum{});
    case ReduceOp::max: return body(Max{});
    default: return body(Min{});
  }
}

template <class Op>
inline Vec load_or_identity(const float* x, int64_t n) {
  if (Op::identity == 0.0f) return Vec::load_partial(x, n);
  float lanes[kSize];
  Vec::set1(Op::identity).store(lanes);
  Vec::load_partial(x, n).store_partial(lanes, n);
  return Vec::load(lanes);
}

template <class Op>
inline float scalar(float a, float b) {
  float result;
  Op::apply(Vec::set1(a), Vec::set1(b)).store_partial(&result, 1);
  return result;
}

/** Lane j + lane j + 32, then 16, ... : the same tree whatever the size of a vector. */
template <class Op>
inline float fold64(float* lanes) {
  for (int64_t half = kWide / 2; half >= kSize; half /= 2)
    for (int64_t i = 0; i < half; i += kSize)
      Op::apply(Vec::load(lanes + i), Vec::load(lanes + i + half)).store(lanes + i);
  for (int64_t half = kSize / 2; half > 0; half /= 2)
    Op::apply(Vec::load_partial(lanes, half), Vec::load_partial(lanes + half, half)).store_partial(lanes, half);
  return lanes[0];
}

template <class Op>
float reduce(const float* x, int64_t n) {
  if (n > kLeaf) {
    const int64_t left = (n / 2 + kLeaf - 1) / kLeaf * kLeaf;
    return scalar<Op>(reduce<Op>(x, left), reduce<Op>(x + left, n - left));
  }
  Vec acc[kVecs];
  for (Vec& v : acc) v = Vec::set1(Op::identity);
  int64_t i = 0;
  for (; i + kWide <= n; i += kWide)
    for (int64_t j = 0; j < kVecs; ++j) acc[j] = Op::apply(acc[j], Vec::load(x + i + j * kSize));
  for (int64_t j = 0; i < n; ++j, i += kSize)
    acc[j] = Op::apply(acc[j], n - i >= kSize ? Vec::load(x + i) : load_or_identity<Op>(x + i, n - i));
  float lanes[kWide];
  for (int64_t j = 0; j < kVecs; ++j) acc[j].store(lanes + j * kSize);
  return fold64<Op>(lanes);
}

template <class Op>
void combine(float* acc, const float* x, int64_t n) {
  int64_t i = 0;
  for (; i + kSize <= n; i += kSize) Op::apply(Vec::load(acc + i), Vec::load(x + i)).store(acc + i);
  if (i < n)
    Op::apply(Vec::load_partial(acc + i, n - i), Vec::load_partial(x + i, n - i)).store_partial(acc + i, n - i);
}

/** Four rows at a time, so that the accumulators are read and written a quarter as often; same order of additions. */
template <class Op>
void combine_rows(float* acc, int64_t width, const float* x, int64_t rows) {
  int64_t row = 0;
  for (; row + 4 <= rows; row += 4, x += 4 * width) {
    int64_t i = 0;
    for (; i + kSize <= width; i += kSize) {
      Vec v = Op::apply(Vec::load(acc + i), Vec::load(x + i));
      v = Op::apply(v, Vec::load(x + width + i));
      v = Op::apply(v, Vec::load(x + 2 * width + i));
      Op::apply(v, Vec::load(x + 3 * width + i)).store(acc + i);
    }
    if (i < width)
      for (int64_t r = 0; r < 4; ++r) combine<Op>(acc + i, x + r * width + i, width - i);
  }
  for (; row < rows; ++row, x += width) combine<Op>(acc, x, width);
}

}  // namespace

float reduce_identity(ReduceOp op) {
  return with_op(op, [](auto tag) { return decltype(tag)::identity; });
}

float reduce_lanes(ReduceOp op, const float* x, int64_t n) {
  return with_op(op, [&](auto tag) { return reduce<decltype(tag)>(x, n); });
}

void combine_lanes(ReduceOp op, float* acc, const float* x, int64_t n) {
  with_op(op, [&](auto tag) { combine<decltype(tag)>(acc, x, n); });
}

int64_t accumulate_lanes(ReduceOp op, float* acc, int64_t width, int64_t phase, const float* x, int64_t n) {
  return with_op(op, [&](auto tag) {
    using Op = decltype(tag);
    if (phase > 0) {
      const int64_t head = n < width - phase ? n : width - phase;
      combine<Op>(acc + phase, x, head);
      phase = (phase + head) % width;
      x += head;
      n -= head;
    }
    combine_rows<Op>(acc, width, x, n / width);
    const int64_t tail = n % width;
    if (tail > 0) combine<Op>(acc + phase, x + (n - tail), tail);
    return phase + tail;
  });
}

void fold_lanes(ReduceOp op, float* acc, int64_t width, int64_t inner, float* dst) {
  with_op(op, [&](auto tag) {
    const int64_t parts = width / inner;
    for (int64_t step = 1; step < parts; step *= 2)
      for (int64_t i = 0; i + step < parts; i += 2 * step)
        combine<decltype(tag)>(acc + i * inner, acc + (i + step) * inner, inner);
    for (int64_t i = 0; i < inner; ++i) dst[i] = acc[i];
  });
}

}  // namespace cambium::CAMBIUM_ISA
