// bfloat16 pairs: two values in each 32-bit lane, the first in the low half, and their dot product added to f32.
#pragma once

#include <cstring>

#include "vec.h"

namespace cambium::CAMBIUM_ISA {

#if defined(__AVX512BF16__)

/** c + a.high * b.high, then + a.low * b.low, each lane in f32. */
inline Vec dot_pairs(VecI a, VecI b, Vec c) { return {_mm512_dpbf16_ps(c.v, (__m512bh)a.v, (__m512bh)b.v)}; }

/** Consecutive values: lane i holds x[2 i], x[2 i + 1] of the 2 * Vec::size values `first`, `second`. */
inline VecI pairs_along(Vec first, Vec second) { return {(__m512i)_mm512_cvtne2ps_pbh(second.v, first.v)}; }

/** Lane i holds low[i], high[i]. */
inline VecI pairs_across(Vec low, Vec high) {
  const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21,
                                         5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  return {_mm512_permutexvar_epi16(order, (__m512i)_mm512_cvtne2ps_pbh(high.v, low.v))};
}

/** x as Vec::size bf16 values at p. */
inline void store_bf16(Vec x, uint16_t* p) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), (__m256i)_mm512_cvtneps_pbh(x.v));
}

#else

// The same values without the instructions: rounded to nearest even, subnormals to zero, NaN kept quiet.
inline VecI bf16_high(Vec x) {
  const VecI bits = as_int(x), odd = shr(bits, 16) & VecI::set1(1);
  const VecI rounded = (bits + VecI::set1(0x7fff) + odd) & VecI::set1(static_cast<int32_t>(0xffff0000u));
  const VecI sign = bits & VecI::set1(INT32_MIN), size = bits & VecI::set1(0x7fffffff);
  const VecI quiet = (bits & VecI::set1(static_cast<int32_t>(0xffff0000u))) | VecI::set1(0x00400000);
  const VecI number = select(lt(size, VecI::set1(0x00800000)), sign, rounded);
  return select(gt(size, VecI::set1(0x7f800000)), quiet, number);
}

inline Vec dot_pairs(VecI a, VecI b, Vec c) {
  const VecI high = VecI::set1(static_cast<int32_t>(0xffff0000u));
  return fma(as_float(shl(a, 16)), as_float(shl(b, 16)), fma(as_float(a & high), as_float(b & high), c));
}

inline VecI pairs_across(Vec low, Vec high) { return shr(bf16_high(low), 16) | bf16_high(high); }

inline void store_bf16(Vec x, uint16_t* p) {
  int32_t lanes[Vec::size];
  bf16_high(x).store(lanes);
  for (int i = 0; i < Vec::size; ++i) p[i] = static_cast<uint16_t>(static_cast<uint32_t>(lanes[i]) >> 16);
}

inline VecI pairs_along(Vec first, Vec second) {
  int32_t in[2 * Vec::size], out[Vec::size];
  bf16_high(first).store(in), bf16_high(second).store(in + Vec::size);
  for (int i = 0; i < Vec::size; ++i)
    out[i] = static_cast<int32_t>(static_cast<uint32_t>(in[2 * i]) >> 16 | static_cast<uint32_t>(in[2 * i + 1]));
  return VecI::load(out);
}

#endif

}  // namespace cambium::CAMBIUM_ISA
