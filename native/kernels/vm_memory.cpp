// How the fused VM reads and writes tensors: strided walks in long inner runs, conversions, indices, random bits.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "vm.h"

namespace cambium::CAMBIUM_ISA {
namespace {

/** Calls run(lane, element, stride, count) for each stretch of constant stride. */
template <class Run>
inline void walk(const View& view, int64_t start, int64_t n, Run run) {
  if (view.rank == 0) return run(int64_t{0}, view.offset, int64_t{0}, n);
  const int last = view.rank - 1;
  const int64_t stride = view.strides[last];
  int64_t index[kMaxRank];
  int64_t element = view.offset;
  for (int i = last; i > 0; --i) {
    const int64_t outer = start / view.dims[i];
    index[i] = start - outer * view.dims[i];
    element += index[i] * view.strides[i];
    start = outer;
  }
  index[0] = start;
  element += start * view.strides[0];
  for (int64_t lane = 0;;) {
    const int64_t count = std::min(view.dims[last] - index[last], n - lane);
    run(lane, element, stride, count);
    lane += count;
    if (lane >= n) return;
    element += count * stride;
    index[last] += count;
    for (int i = last; i > 0 && index[i] == view.dims[i]; --i) {
      element += view.strides[i - 1] - view.dims[i] * view.strides[i];
      index[i] = 0;
      ++index[i - 1];
    }
  }
}

template <class T, class Convert>
inline void load_converted(const PlanOperand& operand, const std::byte* base, int64_t start, int64_t n, float* dst,
                           Convert convert) {
  const T* x = reinterpret_cast<const T*>(base);
  walk(operand.view, start, n, [&](int64_t lane, int64_t element, int64_t stride, int64_t count) {
    float* to = dst + lane;
    const T* from = x + element;
    if (stride == 1) {
      for (int64_t i = 0; i < count; ++i) to[i] = convert(from[i]);
    } else if (stride == 0) {
      const float value = convert(from[0]);
      for (int64_t i = 0; i < count; ++i) to[i] = value;
    } else {
      for (int64_t i = 0; i < count; ++i) to[i] = convert(from[i * stride]);
    }
  });
}

template <class T, class Convert>
inline void store_converted(const PlanOperand& operand, std::byte* base, int64_t start, int64_t n, const float* src,
                            Convert convert) {
  T* y = reinterpret_cast<T*>(base);
  walk(operand.view, start, n, [&](int64_t lane, int64_t element, int64_t stride, int64_t count) {
    const float* from = src + lane;
    T* to = y + element;
    if (stride == 1) {
      for (int64_t i = 0; i < count; ++i) to[i] = convert(from[i]);
    } else {
      for (int64_t i = 0; i < count; ++i) to[i * stride] = convert(from[i]);
    }
  });
}

// JavaScript's ToUint8: truncated, modulo 256; NaN and infinities are 0.
inline uint8_t to_u8(float value) {
  if (std::fabs(value) < 2147483648.0f) return static_cast<uint8_t>(static_cast<int32_t>(value));
  if (!std::isfinite(value)) return 0;
  return static_cast<uint8_t>(static_cast<int64_t>(std::fmod(static_cast<double>(value), 256.0)));
}

/**
 * The transpose: outer lanes lie side by side in memory, inner ones `stride` apart. Reading along the outer dim uses
 * each cache line once; walking the inner dim would touch a line per element.
 */
bool load_transposed(const View& view, const float* x, int64_t start, int64_t n, float* dst) {
  const int last = view.rank - 1;
  if (view.rank < 2 || view.strides[last - 1] != 1 || view.strides[last] == 0 || view.strides[last] == 1) return false;
  const int64_t inner = view.dims[last], outer = view.dims[last - 1], stride = view.strides[last];
  if (n % inner != 0 || start % inner != 0 || n < 4 * inner) return false;
  int64_t rows = n / inner, row = start / inner;
  while (rows > 0) {
    int64_t rest = row / outer;
    const int64_t first = row - rest * outer, here = std::min(rows, outer - first);
    int64_t element = view.offset + first;
    for (int i = last - 2; i >= 0; --i) {
      const int64_t next = rest / view.dims[i];
      element += (rest - next * view.dims[i]) * view.strides[i];
      rest = next;
    }
    for (int64_t c = 0; c < inner; ++c) {
      const float* from = x + element + c * stride;
      float* to = dst + c;
      for (int64_t r = 0; r < here; ++r) to[r * inner] = from[r];
    }
    dst += here * inner;
    row += here;
    rows -= here;
  }
  return true;
}

}  // namespace

const float* lanes_in_place(const PlanOperand& operand, const std::byte* base, int64_t start, int64_t n) {
  const View& view = operand.view;
  const int last = view.rank - 1;
  if (byte_size(operand.dtype) != 4 || view.rank == 0 || view.strides[last] != 1 || n > view.dims[last]) return nullptr;
  int64_t element = view.offset;
  for (int i = last; i >= 0; --i) {
    const int64_t outer = i > 0 ? start / view.dims[i] : 0;
    const int64_t index = start - outer * view.dims[i];
    if (i == last && index + n > view.dims[i]) return nullptr;
    element += index * view.strides[i];
    start = outer;
  }
  return reinterpret_cast<const float*>(base) + element;
}

void load_lanes(const PlanOperand& operand, const std::byte* base, int64_t start, int64_t n, float* dst) {
  switch (operand.dtype) {
    case DType::f32:
    case DType::i32:
      if (load_transposed(operand.view, reinterpret_cast<const float*>(base), start, n, dst)) return;
      return load_converted<float>(operand, base, start, n, dst, [](float x) { return x; });
    case DType::u8:
      return load_converted<uint8_t>(operand, base, start, n, dst, [](uint8_t x) { return static_cast<float>(x); });
    case DType::boolean:
      return load_converted<uint8_t>(operand, base, start, n, dst, [](uint8_t x) { return x ? 1.0f : 0.0f; });
  }
}

void store_lanes(const PlanOperand& operand, std::byte* base, int64_t start, int64_t n, const float* src) {
  switch (operand.dtype) {
    case DType::f32:
    case DType::i32: return store_converted<float>(operand, base, start, n, src, [](float x) { return x; });
    case DType::u8: return store_converted<uint8_t>(operand, base, start, n, src, to_u8);
    case DType::boolean:
      return store_converted<uint8_t>(operand, base, start, n, src,
                                      [](float x) { return static_cast<uint8_t>(x != 0.0f); });
  }
}

void iota_lanes(const View& view, int64_t start, int64_t n, int32_t* dst) {
  walk(view, start, n, [&](int64_t lane, int64_t element, int64_t stride, int64_t count) {
    for (int64_t i = 0; i < count; ++i) dst[lane + i] = static_cast<int32_t>(element + i * stride);
  });
}

// Philox4x32-10, the same numbers as src/base/rng.ts; sixteen blocks of four words side by side.
void random_lanes(const int32_t* key, int64_t start, int64_t n, float* dst) {
  constexpr int kBlocks = 16;
  constexpr uint32_t m0 = 0xd2511f53u, m1 = 0xcd9e8d57u, w0 = 0x9e3779b9u, w1 = 0xbb67ae85u;
  for (int64_t lane = 0; lane < n;) {
    const int64_t first = (start + lane) >> 2;
    uint32_t c0[kBlocks], c1[kBlocks], c2[kBlocks], c3[kBlocks];
    for (int i = 0; i < kBlocks; ++i) {
      const auto block = static_cast<uint64_t>(first + i);
      c0[i] = static_cast<uint32_t>(block);
      c1[i] = static_cast<uint32_t>(block >> 32);
      c2[i] = static_cast<uint32_t>(key[2]);
      c3[i] = static_cast<uint32_t>(key[3]);
    }
    auto k0 = static_cast<uint32_t>(key[0]), k1 = static_cast<uint32_t>(key[1]);
    for (int round = 0; round < 10; ++round) {
      for (int i = 0; i < kBlocks; ++i) {
        const uint64_t p0 = static_cast<uint64_t>(m0) * c0[i], p1 = static_cast<uint64_t>(m1) * c2[i];
        c0[i] = static_cast<uint32_t>(p1 >> 32) ^ c1[i] ^ k0;
        c2[i] = static_cast<uint32_t>(p0 >> 32) ^ c3[i] ^ k1;
        c1[i] = static_cast<uint32_t>(p1);
        c3[i] = static_cast<uint32_t>(p0);
      }
      k0 += w0;
      k1 += w1;
    }
    float words[4 * kBlocks];
    // 24 bits: exactly representable in f32, in [0, 1).
    for (int i = 0; i < kBlocks; ++i) {
      words[4 * i] = static_cast<float>(static_cast<int32_t>(c0[i] >> 8)) * 0x1p-24f;
      words[4 * i + 1] = static_cast<float>(static_cast<int32_t>(c1[i] >> 8)) * 0x1p-24f;
      words[4 * i + 2] = static_cast<float>(static_cast<int32_t>(c2[i] >> 8)) * 0x1p-24f;
      words[4 * i + 3] = static_cast<float>(static_cast<int32_t>(c3[i] >> 8)) * 0x1p-24f;
    }
    const int64_t skip = (start + lane) & 3, count = std::min<int64_t>(4 * kBlocks - skip, n - lane);
    std::memcpy(dst + lane, words + skip, static_cast<size_t>(count) * 4);
    lane += count;
  }
}

}  // namespace cambium::CAMBIUM_ISA
