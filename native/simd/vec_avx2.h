// Vec over AVX2 and FMA: 8 lanes.
#pragma once

#include <immintrin.h>

namespace cambium::CAMBIUM_ISA {

struct Mask {
  __m256 m;
  friend Mask operator&(Mask a, Mask b) { return {_mm256_and_ps(a.m, b.m)}; }
  friend Mask operator|(Mask a, Mask b) { return {_mm256_or_ps(a.m, b.m)}; }
  friend Mask operator^(Mask a, Mask b) { return {_mm256_xor_ps(a.m, b.m)}; }
  friend Mask operator~(Mask a) { return {_mm256_xor_ps(a.m, _mm256_castsi256_ps(_mm256_set1_epi32(-1)))}; }
  bool any() const { return _mm256_movemask_ps(m) != 0; }
  bool all() const { return _mm256_movemask_ps(m) == 0xff; }
};

inline __m256i first_lanes(int64_t n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

struct VecI {
  __m256i v;
  static constexpr int size = 8;
  static VecI load(const int32_t* p) { return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))}; }
  static VecI load_partial(const int32_t* p, int64_t n) { return {_mm256_maskload_epi32(p, first_lanes(n))}; }
  static VecI set1(int32_t x) { return {_mm256_set1_epi32(x)}; }
  static VecI zero() { return {_mm256_setzero_si256()}; }
  void store(int32_t* p) const { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }
  void store_partial(int32_t* p, int64_t n) const { _mm256_maskstore_epi32(p, first_lanes(n), v); }
  friend VecI operator+(VecI a, VecI b) { return {_mm256_add_epi32(a.v, b.v)}; }
  friend VecI operator-(VecI a, VecI b) { return {_mm256_sub_epi32(a.v, b.v)}; }
  friend VecI operator*(VecI a, VecI b) { return {_mm256_mullo_epi32(a.v, b.v)}; }
  friend VecI operator&(VecI a, VecI b) { return {_mm256_and_si256(a.v, b.v)}; }
  friend VecI operator|(VecI a, VecI b) { return {_mm256_or_si256(a.v, b.v)}; }
  friend VecI operator^(VecI a, VecI b) { return {_mm256_xor_si256(a.v, b.v)}; }
};
inline VecI shl(VecI a, int n) { return {_mm256_sll_epi32(a.v, _mm_cvtsi32_si128(n))}; }
inline VecI shr(VecI a, int n) { return {_mm256_srl_epi32(a.v, _mm_cvtsi32_si128(n))}; }
inline VecI sar(VecI a, int n) { return {_mm256_sra_epi32(a.v, _mm_cvtsi32_si128(n))}; }
inline Mask eq(VecI a, VecI b) { return {_mm256_castsi256_ps(_mm256_cmpeq_epi32(a.v, b.v))}; }
inline Mask gt(VecI a, VecI b) { return {_mm256_castsi256_ps(_mm256_cmpgt_epi32(a.v, b.v))}; }
inline Mask lt(VecI a, VecI b) { return gt(b, a); }
inline VecI min(VecI a, VecI b) { return {_mm256_min_epi32(a.v, b.v)}; }
inline VecI max(VecI a, VecI b) { return {_mm256_max_epi32(a.v, b.v)}; }
inline VecI select(Mask m, VecI a, VecI b) { return {_mm256_blendv_epi8(b.v, a.v, _mm256_castps_si256(m.m))}; }

struct Vec {
  __m256 v;
  static constexpr int size = 8;
  static Vec load(const float* p) { return {_mm256_loadu_ps(p)}; }
  static Vec load_partial(const float* p, int64_t n) { return {_mm256_maskload_ps(p, first_lanes(n))}; }
  static Vec set1(float x) { return {_mm256_set1_ps(x)}; }
  static Vec zero() { return {_mm256_setzero_ps()}; }
  void store(float* p) const { _mm256_storeu_ps(p, v); }
  void store_partial(float* p, int64_t n) const { _mm256_maskstore_ps(p, first_lanes(n), v); }
  void store_stream(float* p) const { _mm256_stream_ps(p, v); }
  friend Vec operator+(Vec a, Vec b) { return {_mm256_add_ps(a.v, b.v)}; }
  friend Vec operator-(Vec a, Vec b) { return {_mm256_sub_ps(a.v, b.v)}; }
  friend Vec operator*(Vec a, Vec b) { return {_mm256_mul_ps(a.v, b.v)}; }
  friend Vec operator/(Vec a, Vec b) { return {_mm256_div_ps(a.v, b.v)}; }
  friend Vec operator-(Vec a) { return {_mm256_xor_ps(a.v, _mm256_set1_ps(-0.0f))}; }
};
inline void stream_fence() { _mm_sfence(); }
inline Vec fma(Vec a, Vec b, Vec c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
inline Vec fnma(Vec a, Vec b, Vec c) { return {_mm256_fnmadd_ps(a.v, b.v, c.v)}; }
inline Vec min(Vec a, Vec b) { return {_mm256_min_ps(a.v, b.v)}; }
inline Vec max(Vec a, Vec b) { return {_mm256_max_ps(a.v, b.v)}; }
inline Vec sqrt(Vec a) { return {_mm256_sqrt_ps(a.v)}; }
inline Vec abs(Vec a) { return {_mm256_andnot_ps(_mm256_set1_ps(-0.0f), a.v)}; }
inline Vec floor(Vec a) { return {_mm256_floor_ps(a.v)}; }
inline Vec round(Vec a) { return {_mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
inline Mask eq(Vec a, Vec b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_EQ_OQ)}; }
inline Mask ne(Vec a, Vec b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_NEQ_UQ)}; }
inline Mask lt(Vec a, Vec b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ)}; }
inline Mask le(Vec a, Vec b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LE_OQ)}; }
inline Mask gt(Vec a, Vec b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_GT_OQ)}; }
inline Mask ge(Vec a, Vec b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_GE_OQ)}; }
inline Vec select(Mask m, Vec a, Vec b) { return {_mm256_blendv_ps(b.v, a.v, m.m)}; }
inline VecI to_int(Vec a) { return {_mm256_cvtps_epi32(a.v)}; }
inline VecI to_int_trunc(Vec a) { return {_mm256_cvttps_epi32(a.v)}; }
inline Vec to_float(VecI a) { return {_mm256_cvtepi32_ps(a.v)}; }
inline VecI as_int(Vec a) { return {_mm256_castps_si256(a.v)}; }
inline Vec as_float(VecI a) { return {_mm256_castsi256_ps(a.v)}; }

inline float reduce_add(Vec a) {
  __m128 y = _mm_add_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  y = _mm_add_ps(y, _mm_movehl_ps(y, y));
  return _mm_cvtss_f32(_mm_add_ss(y, _mm_movehdup_ps(y)));
}
inline float reduce_max(Vec a) {
  __m128 y = _mm_max_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  y = _mm_max_ps(y, _mm_movehl_ps(y, y));
  return _mm_cvtss_f32(_mm_max_ss(y, _mm_movehdup_ps(y)));
}

inline void transpose(Vec (&r)[8]) {
  __m256 t[8], u[8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; i += 2) {
    t[i] = _mm256_unpacklo_ps(r[i].v, r[i + 1].v);
    t[i + 1] = _mm256_unpackhi_ps(r[i].v, r[i + 1].v);
  }
#pragma GCC unroll 8
  for (int i = 0; i < 8; i += 4) {
    u[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
    u[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
    u[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    u[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
  }
#pragma GCC unroll 8
  for (int c = 0; c < 4; ++c) {
    r[c].v = _mm256_permute2f128_ps(u[c], u[c + 4], 0x20);
    r[c + 4].v = _mm256_permute2f128_ps(u[c], u[c + 4], 0x31);
  }
}

}  // namespace cambium::CAMBIUM_ISA
