// Reductions of integers: counts and indices, exact and wrapping, so that no order matters.
#include <algorithm>
#include <cstdint>
#include <limits>

#include "../runtime/kernel_table.h"

namespace cambium::CAMBIUM_ISA {
namespace {

constexpr int64_t kTaskElements = 32 << 10;

/** y[o, i] = the elements x[o, :, i] combined, starting from `start`. */
template <class Combine>
void reduce(Call& call, uint32_t start, Combine combine) {
  const int64_t outer = call.attr(0), count = call.attr(1), inner = call.attr(2);
  const int32_t* x = call.in<int32_t>(0);
  int32_t* y = call.out<int32_t>(0);
  const int64_t cells = outer * inner;
  const int64_t group = std::max<int64_t>(1, kTaskElements / std::max<int64_t>(1, count));
  call.parallel.run((cells + group - 1) / group, [&](int64_t task, int) {
    for (int64_t cell = task * group; cell < std::min(cells, (task + 1) * group); ++cell) {
      const int32_t* from = x + cell / inner * count * inner + cell % inner;
      uint32_t sofar = start;
      for (int64_t k = 0; k < count; ++k) sofar = combine(sofar, static_cast<uint32_t>(from[k * inner]));
      y[cell] = static_cast<int32_t>(sofar);
    }
  });
}

}  // namespace

void sum_i32(Call& call) {
  reduce(call, 0, [](uint32_t a, uint32_t b) { return a + b; });
}

void max_i32(Call& call) {
  reduce(call, static_cast<uint32_t>(std::numeric_limits<int32_t>::min()), [](uint32_t a, uint32_t b) {
    return static_cast<int32_t>(a) > static_cast<int32_t>(b) ? a : b;
  });
}

}  // namespace cambium::CAMBIUM_ISA
