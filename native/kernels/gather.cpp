// Reading and adding by index: gather, scatter-add, embedding and its gradient. Order of additions is the index's.
#include <algorithm>
#include <atomic>
#include <cstring>
#include <string>

#include "../runtime/error.h"
#include "../runtime/kernel_table.h"

namespace cambium::CAMBIUM_ISA {
namespace {

constexpr int64_t kTaskElements = 32 << 10;

[[noreturn]] __attribute__((cold, noinline)) void bad_index(int64_t position, int64_t value, int64_t size) {
  throw Error("INDEX_OUT_OF_RANGE", "index[" + std::to_string(position) + "] is " + std::to_string(value) +
                                        ", outside 0.." + std::to_string(size - 1));
}

/** Throws for the first index outside [0, size), before anything is written. */
void check_indices(const Call& call, const int32_t* index, int64_t count, int64_t size) {
  const int64_t tasks = (count + kTaskElements - 1) / kTaskElements;
  call.parallel.run(tasks, [&](int64_t task, int) {
    const int64_t begin = task * kTaskElements, end = std::min(count, begin + kTaskElements);
    // As unsigned, a negative index is a huge one: one comparison, and the loop vectorises.
    const auto limit = static_cast<uint32_t>(std::min<int64_t>(size, INT32_MAX));
    bool bad = false;
    for (int64_t i = begin; i < end; ++i) bad |= static_cast<uint32_t>(index[i]) >= limit;
    if (!bad) return;
    for (int64_t i = begin; i < end; ++i)
      if (static_cast<uint32_t>(index[i]) >= limit) bad_index(i, index[i], size);
  });
}

}  // namespace

void gather(Call& call) {
  const int64_t outer = call.attr(0), axis = call.attr(1), picked = call.attr(2), inner = call.attr(3);
  const float* x = call.in<float>(0);
  const int32_t* index = call.in<int32_t>(1);
  float* y = call.out<float>(0);
  const int64_t rows = outer * picked;
  if (rows * inner == 0) return;
  check_indices(call, index, rows * inner, axis);
  const int64_t per_task = std::max<int64_t>(1, kTaskElements / inner);
  call.parallel.run((rows + per_task - 1) / per_task, [&](int64_t task, int) {
    for (int64_t row = task * per_task; row < std::min(rows, (task + 1) * per_task); ++row) {
      const float* source = x + row / picked * axis * inner;
      const int32_t* at = index + row * inner;
      float* to = y + row * inner;
      for (int64_t i = 0; i < inner; ++i) to[i] = source[at[i] * inner + i];
    }
  });
}

void scatter_add(Call& call) {
  const int64_t outer = call.attr(0), axis = call.attr(1), picked = call.attr(2), inner = call.attr(3);
  const int32_t* index = call.in<int32_t>(0);
  const float* source = call.in<float>(1);
  float* y = call.out<float>(0);
  if (outer * axis * inner == 0) {
    if (outer * picked * inner > 0) bad_index(0, index[0], axis);
    return;
  }
  check_indices(call, index, outer * picked * inner, axis);
  // A task owns columns of one outer: whoever adds to an element is always the same, in the same order.
  const int64_t width = std::min(inner, std::max<int64_t>(16, kTaskElements / (picked + axis)));
  const int64_t chunks = (inner + width - 1) / width;
  const int64_t group = std::max<int64_t>(1, kTaskElements / ((picked + axis) * width));
  const int64_t units = outer * chunks;
  call.parallel.run((units + group - 1) / group, [&](int64_t task, int) {
    for (int64_t unit = task * group; unit < std::min(units, (task + 1) * group); ++unit) {
      const int64_t o = unit / chunks, begin = unit % chunks * width, end = std::min(inner, begin + width);
      float* to = y + o * axis * inner;
      for (int64_t a = 0; a < axis; ++a) std::memset(to + a * inner + begin, 0, static_cast<size_t>(end - begin) * 4);
      for (int64_t j = 0; j < picked; ++j) {
        const int64_t row = (o * picked + j) * inner;
        for (int64_t i = begin; i < end; ++i) to[index[row + i] * inner + i] += source[row + i];
      }
    }
  });
}

void embedding(Call& call) {
  const int64_t rows = call.attr(0), width = call.attr(1), count = call.attr(2);
  const float* table = call.in<float>(0);
  const int32_t* index = call.in<int32_t>(1);
  float* y = call.out<float>(0);
  check_indices(call, index, count, rows);
  if (width == 0) return;
  const int64_t per_task = std::max<int64_t>(1, kTaskElements / width);
  call.parallel.run((count + per_task - 1) / per_task, [&](int64_t task, int) {
    for (int64_t i = task * per_task; i < std::min(count, (task + 1) * per_task); ++i)
      std::memcpy(y + i * width, table + index[i] * width, static_cast<size_t>(width) * 4);
  });
}

void embedding_grad(Call& call) {
  const int64_t rows = call.attr(0), width = call.attr(1), count = call.attr(2);
  const int32_t* index = call.in<int32_t>(0);
  const float* grad = call.in<float>(1);
  float* table = call.out<float>(0);
  check_indices(call, index, count, rows);
  if (rows * width == 0) return;
  // A task owns rows of the table and reads the whole index for them; with few tasks that is cheap.
  const int64_t tasks = std::clamp<int64_t>((rows + count) * width / kTaskElements, 1, 64);
  const int64_t per_task = (rows + tasks - 1) / tasks;
  call.parallel.run(tasks, [&](int64_t task, int) {
    const int64_t begin = task * per_task, end = std::min(rows, begin + per_task);
    if (begin >= end) return;
    std::memset(table + begin * width, 0, static_cast<size_t>((end - begin) * width) * 4);
    for (int64_t i = 0; i < count; ++i) {
      if (index[i] < begin || index[i] >= end) continue;
      float* to = table + index[i] * width;
      const float* from = grad + i * width;
      for (int64_t j = 0; j < width; ++j) to[j] += from[j];
    }
  });
}

}  // namespace cambium::CAMBIUM_ISA
