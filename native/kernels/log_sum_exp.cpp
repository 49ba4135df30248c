// log(sum(exp(x))) of rows too long to be held in registers: pieces that fit the first cache, one after the other.
#include <algorithm>
#include <cmath>
#include <limits>

#include "../runtime/kernel_table.h"
#include "../simd/math.h"

namespace cambium::CAMBIUM_ISA {
namespace {

constexpr int64_t kPiece = 4096;
constexpr int64_t kTaskElements = 32 << 10;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

/** `top` and the sum of exp(x - top) over a row so far. */
struct Sum {
  float top = -kInfinity, sum = 0;

  void add(const float* x, int64_t n) {
    Vec highest = Vec::set1(-kInfinity);
    int64_t j = 0;
    for (; j + Vec::size <= n; j += Vec::size) highest = max(highest, Vec::load(x + j));
    float most = reduce_max(highest);
    for (int64_t i = j; i < n; ++i) most = x[i] > most ? x[i] : most;
    const float next = most > top ? most : top;
    const Vec limit = Vec::set1(next == -kInfinity ? 0.0f : next);
    Vec acc[4] = {Vec::zero(), Vec::zero(), Vec::zero(), Vec::zero()};
    for (j = 0; j + 4 * Vec::size <= n; j += 4 * Vec::size)
      for (int u = 0; u < 4; ++u) acc[u] = acc[u] + exp_weight(Vec::load(x + j + u * Vec::size) - limit);
    for (; j < n; j += Vec::size) {
      const int64_t left = std::min<int64_t>(Vec::size, n - j);
      float lanes[Vec::size];
      exp_weight(Vec::load_partial(x + j, left) - limit).store(lanes);
      acc[0] = acc[0] + Vec::load_partial(lanes, left);
    }
    const float piece = reduce_add((acc[0] + acc[1]) + (acc[2] + acc[3]));
    sum = (next == top || sum == 0.0f ? sum : sum * std::exp(top - next)) + piece;
    top = next;
  }
};

float log_sum_exp_row(const float* x, int64_t n) {
  Sum s;
  for (int64_t j = 0; j < n; j += kPiece) s.add(x + j, std::min(kPiece, n - j));
  if (s.top == kInfinity) {  // infinity - infinity has made a NaN of the sum
    for (int64_t j = 0; j < n; ++j)
      if (x[j] != x[j]) return x[j];
    return kInfinity;
  }
  return s.sum == 0.0f ? -kInfinity : (s.top == -kInfinity ? 0.0f : s.top) + std::log(s.sum);
}

}  // namespace

void log_sum_exp(Call& call) {
  const int64_t outer = call.attr(0), count = call.attr(1);
  const float* x = call.in<const float>(0);
  float* y = call.out<float>(0);
  const int64_t group = std::max<int64_t>(1, kTaskElements / std::max<int64_t>(1, count));
  call.parallel.run((outer + group - 1) / group, [&](int64_t task, int) {
    for (int64_t row = task * group; row < std::min(outer, (task + 1) * group); ++row)
      y[row] = log_sum_exp_row(x + row * count, count);
  });
}

}  // namespace cambium::CAMBIUM_ISA
