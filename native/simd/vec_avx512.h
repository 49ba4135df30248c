// Vec over AVX-512: 16 lanes, compare results in mask registers.
#pragma once

#include <immintrin.h>

namespace cambium::CAMBIUM_ISA {

struct Mask {
  __mmask16 m;
  friend Mask operator&(Mask a, Mask b) { return {static_cast<__mmask16>(a.m & b.m)}; }
  friend Mask operator|(Mask a, Mask b) { return {static_cast<__mmask16>(a.m | b.m)}; }
  friend Mask operator^(Mask a, Mask b) { return {static_cast<__mmask16>(a.m ^ b.m)}; }
  friend Mask operator~(Mask a) { return {static_cast<__mmask16>(~a.m)}; }
  bool any() const { return m != 0; }
  bool all() const { return m == 0xffff; }
};

inline __mmask16 first_lanes(int64_t n) { return static_cast<__mmask16>((1u << n) - 1u); }

struct VecI {
  __m512i v;
  static constexpr int size = 16;
  static VecI load(const int32_t* p) { return {_mm512_loadu_si512(p)}; }
  static VecI load_partial(const int32_t* p, int64_t n) { return {_mm512_maskz_loadu_epi32(first_lanes(n), p)}; }
  static VecI set1(int32_t x) { return {_mm512_set1_epi32(x)}; }
  static VecI zero() { return {_mm512_setzero_si512()}; }
  void store(int32_t* p) const { _mm512_storeu_si512(p, v); }
  void store_partial(int32_t* p, int64_t n) const { _mm512_mask_storeu_epi32(p, first_lanes(n), v); }
  friend VecI operator+(VecI a, VecI b) { return {_mm512_add_epi32(a.v, b.v)}; }
  friend VecI operator-(VecI a, VecI b) { return {_mm512_sub_epi32(a.v, b.v)}; }
  friend VecI operator*(VecI a, VecI b) { return {_mm512_mullo_epi32(a.v, b.v)}; }
  friend VecI operator&(VecI a, VecI b) { return {_mm512_and_si512(a.v, b.v)}; }
  friend VecI operator|(VecI a, VecI b) { return {_mm512_or_si512(a.v, b.v)}; }
  friend VecI operator^(VecI a, VecI b) { return {_mm512_xor_si512(a.v, b.v)}; }
};
inline VecI shl(VecI a, int n) { return {_mm512_sll_epi32(a.v, _mm_cvtsi32_si128(n))}; }
inline VecI shr(VecI a, int n) { return {_mm512_srl_epi32(a.v, _mm_cvtsi32_si128(n))}; }
inline VecI sar(VecI a, int n) { return {_mm512_sra_epi32(a.v, _mm_cvtsi32_si128(n))}; }
inline Mask eq(VecI a, VecI b) { return {_mm512_cmpeq_epi32_mask(a.v, b.v)}; }
inline Mask lt(VecI a, VecI b) { return {_mm512_cmplt_epi32_mask(a.v, b.v)}; }
inline Mask gt(VecI a, VecI b) { return {_mm512_cmpgt_epi32_mask(a.v, b.v)}; }
inline VecI min(VecI a, VecI b) { return {_mm512_maskz_min_epi32(0xffff, a.v, b.v)}; }
inline VecI max(VecI a, VecI b) { return {_mm512_maskz_max_epi32(0xffff, a.v, b.v)}; }
inline VecI select(Mask m, VecI a, VecI b) { return {_mm512_mask_mov_epi32(b.v, m.m, a.v)}; }

struct Vec {
  __m512 v;
  static constexpr int size = 16;
  static Vec load(const float* p) { return {_mm512_loadu_ps(p)}; }
  static Vec load_partial(const float* p, int64_t n) { return {_mm512_maskz_loadu_ps(first_lanes(n), p)}; }
  static Vec set1(float x) { return {_mm512_set1_ps(x)}; }
  static Vec zero() { return {_mm512_setzero_ps()}; }
  void store(float* p) const { _mm512_storeu_ps(p, v); }
  void store_partial(float* p, int64_t n) const { _mm512_mask_storeu_ps(p, first_lanes(n), v); }
  void store_stream(float* p) const { _mm512_stream_ps(p, v); }
  friend Vec operator+(Vec a, Vec b) { return {_mm512_add_ps(a.v, b.v)}; }
  friend Vec operator-(Vec a, Vec b) { return {_mm512_sub_ps(a.v, b.v)}; }
  friend Vec operator*(Vec a, Vec b) { return {_mm512_mul_ps(a.v, b.v)}; }
  friend Vec operator/(Vec a, Vec b) { return {_mm512_div_ps(a.v, b.v)}; }
  friend Vec operator-(Vec a) { return {_mm512_xor_ps(a.v, _mm512_set1_ps(-0.0f))}; }
};
inline void stream_fence() { _mm_sfence(); }
inline Vec fma(Vec a, Vec b, Vec c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
inline Vec fnma(Vec a, Vec b, Vec c) { return {_mm512_fnmadd_ps(a.v, b.v, c.v)}; }
inline Vec min(Vec a, Vec b) { return {_mm512_maskz_min_ps(0xffff, a.v, b.v)}; }
inline Vec max(Vec a, Vec b) { return {_mm512_maskz_max_ps(0xffff, a.v, b.v)}; }
inline Vec sqrt(Vec a) { return {_mm512_maskz_sqrt_ps(0xffff, a.v)}; }
inline Vec abs(Vec a) { return {_mm512_andnot_ps(_mm512_set1_ps(-0.0f), a.v)}; }
inline Vec floor(Vec a) { return {_mm512_maskz_roundscale_ps(0xffff, a.v, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC)}; }
inline Vec round(Vec a) {
  return {_mm512_maskz_roundscale_ps(0xffff, a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
inline Mask eq(Vec a, Vec b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ)}; }
inline Mask ne(Vec a, Vec b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_NEQ_UQ)}; }
inline Mask lt(Vec a, Vec b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)}; }
inline Mask le(Vec a, Vec b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LE_OQ)}; }
inline Mask gt(Vec a, Vec b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_GT_OQ)}; }
inline Mask ge(Vec a, Vec b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_GE_OQ)}; }
inline Vec select(Mask m, Vec a, Vec b) { return {_mm512_mask_mov_ps(b.v, m.m, a.v)}; }
inline VecI to_int(Vec a) { return {_mm512_maskz_cvtps_epi32(0xffff, a.v)}; }
inline VecI to_int_trunc(Vec a) { return {_mm512_maskz_cvttps_epi32(0xffff, a.v)}; }
inline Vec to_float(VecI a) { return {_mm512_maskz_cvtepi32_ps(0xffff, a.v)}; }
inline VecI as_int(Vec a) { return {_mm512_castps_si512(a.v)}; }
inline Vec as_float(VecI a) { return {_mm512_castsi512_ps(a.v)}; }

// The maskz forms above and below avoid GCC 12's false "may be used uninitialized" in the plain intrinsics.
inline __m256 low_half(__m512 a) { return _mm512_maskz_extractf32x8_ps(0xff, a, 0); }
inline __m256 high_half(__m512 a) { return _mm512_maskz_extractf32x8_ps(0xff, a, 1); }
inline float reduce_add(Vec a) {
  __m256 x = _mm256_add_ps(low_half(a.v), high_half(a.v));
  __m128 y = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  y = _mm_add_ps(y, _mm_movehl_ps(y, y));
  return _mm_cvtss_f32(_mm_add_ss(y, _mm_movehdup_ps(y)));
}
inline float reduce_max(Vec a) {
  __m256 x = _mm256_max_ps(low_half(a.v), high_half(a.v));
  __m128 y = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  y = _mm_max_ps(y, _mm_movehl_ps(y, y));
  return _mm_cvtss_f32(_mm_max_ss(y, _mm_movehdup_ps(y)));
}

template <int kind>
inline __m512 mix(__m512 a, __m512 b) {
  constexpr __mmask16 all = 0xffff;
  if constexpr (kind == 0) return _mm512_maskz_unpacklo_ps(all, a, b);
  if constexpr (kind == 1) return _mm512_maskz_unpackhi_ps(all, a, b);
  if constexpr (kind == 2) return _mm512_maskz_shuffle_ps(all, a, b, 0x44);
  if constexpr (kind == 3) return _mm512_maskz_shuffle_ps(all, a, b, 0xee);
  if constexpr (kind == 4) return _mm512_maskz_shuffle_f32x4(all, a, b, 0x88);
  return _mm512_maskz_shuffle_f32x4(all, a, b, 0xdd);
}
inline void transpose(Vec (&r)[16]) {
  __m512 t[16], u[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; i += 2) {
    t[i] = mix<0>(r[i].v, r[i + 1].v);
    t[i + 1] = mix<1>(r[i].v, r[i + 1].v);
  }
#pragma GCC unroll 16
  for (int i = 0; i < 16; i += 4) {  // u[i + c]: column c of each 4 x 4 block of rows i .. i + 3
    u[i] = mix<2>(t[i], t[i + 2]);
    u[i + 1] = mix<3>(t[i], t[i + 2]);
    u[i + 2] = mix<2>(t[i + 1], t[i + 3]);
    u[i + 3] = mix<3>(t[i + 1], t[i + 3]);
  }
#pragma GCC unroll 16
  for (int c = 0; c < 4; ++c) {
    const __m512 a = mix<4>(u[c], u[c + 4]), b = mix<5>(u[c], u[c + 4]);
    const __m512 d = mix<4>(u[c + 8], u[c + 12]), e = mix<5>(u[c + 8], u[c + 12]);
    r[c].v = mix<4>(a, d);
    r[c + 8].v = mix<5>(a, d);
    r[c + 4].v = mix<4>(b, e);
    r[c + 12].v = mix<5>(b, e);
  }
}

}  // namespace cambium::CAMBIUM_ISA
