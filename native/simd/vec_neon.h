// Vec over 64-bit ARM NEON: 4 lanes.
#pragma once

#include <arm_neon.h>

namespace cambium::CAMBIUM_ISA {

struct Mask {
  uint32x4_t m;
  friend Mask operator&(Mask a, Mask b) { return {vandq_u32(a.m, b.m)}; }
  friend Mask operator|(Mask a, Mask b) { return {vorrq_u32(a.m, b.m)}; }
  friend Mask operator^(Mask a, Mask b) { return {veorq_u32(a.m, b.m)}; }
  friend Mask operator~(Mask a) { return {vmvnq_u32(a.m)}; }
  bool any() const { return vmaxvq_u32(m) != 0; }
  bool all() const { return vminvq_u32(m) != 0; }
};

struct VecI {
  int32x4_t v;
  static constexpr int size = 4;
  static VecI load(const int32_t* p) { return {vld1q_s32(p)}; }
  static VecI load_partial(const int32_t* p, int64_t n) {
    int32_t t[4] = {};
    for (int64_t i = 0; i < n; ++i) t[i] = p[i];
    return load(t);
  }
  static VecI set1(int32_t x) { return {vdupq_n_s32(x)}; }
  static VecI zero() { return set1(0); }
  void store(int32_t* p) const { vst1q_s32(p, v); }
  void store_partial(int32_t* p, int64_t n) const {
    int32_t t[4];
    store(t);
    for (int64_t i = 0; i < n; ++i) p[i] = t[i];
  }
  friend VecI operator+(VecI a, VecI b) { return {vaddq_s32(a.v, b.v)}; }
  friend VecI operator-(VecI a, VecI b) { return {vsubq_s32(a.v, b.v)}; }
  friend VecI operator*(VecI a, VecI b) { return {vmulq_s32(a.v, b.v)}; }
  friend VecI operator&(VecI a, VecI b) { return {vandq_s32(a.v, b.v)}; }
  friend VecI operator|(VecI a, VecI b) { return {vorrq_s32(a.v, b.v)}; }
  friend VecI operator^(VecI a, VecI b) { return {veorq_s32(a.v, b.v)}; }
};
inline VecI shl(VecI a, int n) { return {vshlq_s32(a.v, vdupq_n_s32(n))}; }
inline VecI shr(VecI a, int n) {
  return {vreinterpretq_s32_u32(vshlq_u32(vreinterpretq_u32_s32(a.v), vdupq_n_s32(-n)))};
}
inline VecI sar(VecI a, int n) { return {vshlq_s32(a.v, vdupq_n_s32(-n))}; }
inline Mask eq(VecI a, VecI b) { return {vceqq_s32(a.v, b.v)}; }
inline Mask lt(VecI a, VecI b) { return {vcltq_s32(a.v, b.v)}; }
inline Mask gt(VecI a, VecI b) { return {vcgtq_s32(a.v, b.v)}; }
inline VecI min(VecI a, VecI b) { return {vminq_s32(a.v, b.v)}; }
inline VecI max(VecI a, VecI b) { return {vmaxq_s32(a.v, b.v)}; }
inline VecI select(Mask m, VecI a, VecI b) { return {vbslq_s32(m.m, a.v, b.v)}; }

struct Vec {
  float32x4_t v;
  static constexpr int size = 4;
  static Vec load(const float* p) { return {vld1q_f32(p)}; }
  static Vec load_partial(const float* p, int64_t n) {
    float t[4] = {};
    for (int64_t i = 0; i < n; ++i) t[i] = p[i];
    return load(t);
  }
  static Vec set1(float x) { return {vdupq_n_f32(x)}; }
  static Vec zero() { return set1(0.0f); }
  void store(float* p) const { vst1q_f32(p, v); }
  void store_partial(float* p, int64_t n) const {
    float t[4];
    store(t);
    for (int64_t i = 0; i < n; ++i) p[i] = t[i];
  }
  void store_stream(float* p) const { store(p); }
  friend Vec operator+(Vec a, Vec b) { return {vaddq_f32(a.v, b.v)}; }
  friend Vec operator-(Vec a, Vec b) { return {vsubq_f32(a.v, b.v)}; }
  friend Vec operator*(Vec a, Vec b) { return {vmulq_f32(a.v, b.v)}; }
  friend Vec operator/(Vec a, Vec b) { return {vdivq_f32(a.v, b.v)}; }
  friend Vec operator-(Vec a) { return {vnegq_f32(a.v)}; }
};
inline void stream_fence() {}
inline Vec fma(Vec a, Vec b, Vec c) { return {vfmaq_f32(c.v, a.v, b.v)}; }
inline Vec fnma(Vec a, Vec b, Vec c) { return {vfmsq_f32(c.v, a.v, b.v)}; }
inline Mask eq(Vec a, Vec b) { return {vceqq_f32(a.v, b.v)}; }
inline Mask ne(Vec a, Vec b) { return ~eq(a, b); }
inline Mask lt(Vec a, Vec b) { return {vcltq_f32(a.v, b.v)}; }
inline Mask le(Vec a, Vec b) { return {vcleq_f32(a.v, b.v)}; }
inline Mask gt(Vec a, Vec b) { return {vcgtq_f32(a.v, b.v)}; }
inline Mask ge(Vec a, Vec b) { return {vcgeq_f32(a.v, b.v)}; }
inline Vec select(Mask m, Vec a, Vec b) { return {vbslq_f32(m.m, a.v, b.v)}; }
// Not vminq: it would return NaN where x86 returns b.
inline Vec min(Vec a, Vec b) { return select(lt(a, b), a, b); }
inline Vec max(Vec a, Vec b) { return select(gt(a, b), a, b); }
inline Vec sqrt(Vec a) { return {vsqrtq_f32(a.v)}; }
inline Vec abs(Vec a) { return {vabsq_f32(a.v)}; }
inline Vec floor(Vec a) { return {vrndmq_f32(a.v)}; }
inline Vec round(Vec a) { return {vrndnq_f32(a.v)}; }
inline VecI to_int(Vec a) { return {vcvtnq_s32_f32(a.v)}; }
inline VecI to_int_trunc(Vec a) { return {vcvtq_s32_f32(a.v)}; }
inline Vec to_float(VecI a) { return {vcvtq_f32_s32(a.v)}; }
inline VecI as_int(Vec a) { return {vreinterpretq_s32_f32(a.v)}; }
inline Vec as_float(VecI a) { return {vreinterpretq_f32_s32(a.v)}; }

inline float reduce_add(Vec a) {
  const float32x2_t x = vadd_f32(vget_low_f32(a.v), vget_high_f32(a.v));
  return vget_lane_f32(x, 0) + vget_lane_f32(x, 1);
}
inline float reduce_max(Vec a) { return vmaxvq_f32(a.v); }

inline void transpose(Vec (&r)[4]) {
  const float32x4x2_t a = vtrnq_f32(r[0].v, r[1].v), b = vtrnq_f32(r[2].v, r[3].v);
  r[0].v = vcombine_f32(vget_low_f32(a.val[0]), vget_low_f32(b.val[0]));
  r[1].v = vcombine_f32(vget_low_f32(a.val[1]), vget_low_f32(b.val[1]));
  r[2].v = vcombine_f32(vget_high_f32(a.val[0]), vget_high_f32(b.val[0]));
  r[3].v = vcombine_f32(vget_high_f32(a.val[1]), vget_high_f32(b.val[1]));
}

}  // namespace cambium::CAMBIUM_ISA
