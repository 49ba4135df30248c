// One float vector `Vec`, one int32 vector `VecI` and one `Mask` per instruction set; kernels are written over them.
//
//   load, store, set1, zero, load_partial(p, n), store_partial(p, n): n in [0, size]; memory past n is not touched,
//       missing lanes read as 0. No alignment is asked of p. store_stream(p): p aligned to sizeof(Vec); bypasses
//       the cache where the instruction set can; call stream_fence() before another thread reads.
//   fma(a, b, c) = a * b + c, fnma(a, b, c) = c - a * b: one rounding, except `portable` without hardware FMA (two).
//   min(a, b) = a < b ? a : b and max(a, b) = a > b ? a : b on every instruction set: when either is NaN, or both
//       are zeros, the result is b. To let NaN of x through, write max(limit, x).
//   eq lt le gt ge ne: false on NaN except ne. select(mask, a, b) = mask ? a : b, lane by lane.
//   floor, round (to nearest, ties to even): exact for every finite value, keep -0, NaN and infinities.
//   to_int rounds to nearest even, to_int_trunc towards zero; unspecified outside int32. to_float is exact to 2^24.
//   reduce_add adds halves: lane i + lane i + size/2, and so on; the same tree for every caller.
//   VecI: + - * wrap; & | ^; shl, shr (logical), sar (arithmetic) by the same count 0..31; eq, lt, gt; min, max.
//   transpose(rows): the size x size matrix whose rows are given, in place.
#pragma once

#include <cstddef>
#include <cstdint>

#ifndef CAMBIUM_ISA
#error "vec.h is compiled once per instruction set: define CAMBIUM_ISA (avx512, avx2, neon or portable)"
#endif

#if defined(__AVX512F__)
#include "vec_avx512.h"
#elif defined(__AVX2__)
#include "vec_avx2.h"
#elif defined(__ARM_NEON) && defined(__aarch64__)
#include "vec_neon.h"
#else
#include "vec_portable.h"
#endif
