// The steps that stop a program, and the plain movers: check-finite, check-product, argmax, fill, copy.
#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>

#include "../runtime/kernel_table.h"

namespace cambium::CAMBIUM_ISA {
namespace {

constexpr int64_t kTaskElements = 64 << 10;

template <class Body>
void in_chunks(const Call& call, int64_t count, Body body) {
  const int64_t tasks = (count + kTaskElements - 1) / kTaskElements;
  call.parallel.run(tasks, [&](int64_t task, int) {
    body(task * kTaskElements, std::min(count, (task + 1) * kTaskElements));
  });
}

/** Bits of the largest absolute value; NaN and Inf have the largest bits of all, so one maximum finds them too. */
uint32_t greatest_bits(const Call& call, const float* x, int64_t count) {
  std::atomic<uint32_t> greatest{0};
  in_chunks(call, count, [&](int64_t begin, int64_t end) {
    uint32_t most = 0;
    for (int64_t i = begin; i < end; ++i) {
      uint32_t bits;
      std::memcpy(&bits, x + i, 4);
      most = std::max(most, bits & 0x7fffffffu);
    }
    uint32_t seen = greatest.load(std::memory_order_relaxed);
    while (most > seen && !greatest.compare_exchange_weak(seen, most)) {
    }
  });
  return greatest;
}

constexpr uint32_t kInfinity = 0x7f800000u;

}  // namespace

void check_finite(Call& call) {
  if (greatest_bits(call, call.in<float>(0), call.attr(1)) >= kInfinity) call.stop = call.attr(0);
}

void check_product(Call& call) {
  const uint32_t a = greatest_bits(call, call.in<float>(0), call.attr(1));
  const uint32_t b = greatest_bits(call, call.in<float>(1), call.attr(2));
  const double terms = static_cast<double>(call.attr(3));
  const double bound = static_cast<double>(std::bit_cast<float>(a)) * static_cast<double>(std::bit_cast<float>(b)) * terms;
  if (a >= kInfinity || b >= kInfinity || !(bound <= 3.4028234663852886e38)) call.stop = call.attr(0);
}

void argmax(Call& call) {
  const int64_t outer = call.attr(0), count = call.attr(1), inner = call.attr(2);
  const float* x = call.in<float>(0);
  int32_t* y = call.out<int32_t>(0);
  const int64_t cells = outer * inner;
  const int64_t group = std::max<int64_t>(1, kTaskElements / std::max<int64_t>(1, count));
  call.parallel.run((cells + group - 1) / group, [&](int64_t task, int) {
    for (int64_t cell = task * group; cell < std::min(cells, (task + 1) * group); ++cell) {
      const float* from = x + cell / inner * count * inner + cell % inner;
      float best = from[0];
      int64_t at = 0;
      for (int64_t k = 1; k < count && !std::isnan(best); ++k) {
        const float value = from[k * inner];
        if (value > best || std::isnan(value)) best = value, at = k;
      }
      y[cell] = static_cast<int32_t>(at);
    }
  });
}

void fill(Call& call) {
  float* y = call.out<float>(0);
  const auto value = static_cast<float>(call.step.attrs[0]);
  in_chunks(call, call.attr(1), [&](int64_t begin, int64_t end) { std::fill(y + begin, y + end, value); });
}

void copy(Call& call) {
  const std::byte* x = call.in<std::byte>(0);
  std::byte* y = call.out<std::byte>(0);
  if (x == y) return;
  in_chunks(call, (call.attr(0) + 3) / 4, [&](int64_t begin, int64_t end) {
    std::memcpy(y + begin * 4, x + begin * 4, static_cast<size_t>(std::min(end * 4, call.attr(0)) - begin * 4));
  });
}

}  // namespace cambium::CAMBIUM_ISA
