// Vec over the vector extensions of GCC and Clang: 4 lanes, whatever the processor.
#pragma once

#include <cmath>
#include <cstring>

namespace cambium::CAMBIUM_ISA {

typedef float lanes_f __attribute__((vector_size(16)));
typedef int32_t lanes_i __attribute__((vector_size(16)));
typedef uint32_t lanes_u __attribute__((vector_size(16)));

struct Mask {
  lanes_i m;  // all ones or all zeros in each lane
  friend Mask operator&(Mask a, Mask b) { return {a.m & b.m}; }
  friend Mask operator|(Mask a, Mask b) { return {a.m | b.m}; }
  friend Mask operator^(Mask a, Mask b) { return {a.m ^ b.m}; }
  friend Mask operator~(Mask a) { return {~a.m}; }
  bool any() const { return (m[0] | m[1] | m[2] | m[3]) != 0; }
  bool all() const { return (m[0] & m[1] & m[2] & m[3]) != 0; }
};

struct VecI {
  lanes_i v;
  static constexpr int size = 4;
  static VecI load(const int32_t* p) { return load_partial(p, 4); }
  static VecI load_partial(const int32_t* p, int64_t n) {
    VecI r = zero();
    if (n > 0) std::memcpy(&r.v, p, static_cast<size_t>(n) * 4);
    return r;
  }
  static VecI set1(int32_t x) { return {lanes_i{x, x, x, x}}; }
  static VecI zero() { return set1(0); }
  void store(int32_t* p) const { std::memcpy(p, &v, 16); }
  void store_partial(int32_t* p, int64_t n) const {
    if (n > 0) std::memcpy(p, &v, static_cast<size_t>(n) * 4);
  }
  friend VecI operator+(VecI a, VecI b) { return {(lanes_i)((lanes_u)a.v + (lanes_u)b.v)}; }
  friend VecI operator-(VecI a, VecI b) { return {(lanes_i)((lanes_u)a.v - (lanes_u)b.v)}; }
  friend VecI operator*(VecI a, VecI b) { return {(lanes_i)((lanes_u)a.v * (lanes_u)b.v)}; }
  friend VecI operator&(VecI a, VecI b) { return {a.v & b.v}; }
  friend VecI operator|(VecI a, VecI b) { return {a.v | b.v}; }
  friend VecI operator^(VecI a, VecI b) { return {a.v ^ b.v}; }
};
inline VecI shl(VecI a, int n) { return {(lanes_i)((lanes_u)a.v << static_cast<uint32_t>(n))}; }
inline VecI shr(VecI a, int n) { return {(lanes_i)((lanes_u)a.v >> static_cast<uint32_t>(n))}; }
inline VecI sar(VecI a, int n) { return {a.v >> n}; }
inline Mask eq(VecI a, VecI b) { return {a.v == b.v}; }
inline Mask lt(VecI a, VecI b) { return {a.v < b.v}; }
inline Mask gt(VecI a, VecI b) { return {a.v > b.v}; }
inline VecI select(Mask m, VecI a, VecI b) { return {(m.m & a.v) | (~m.m & b.v)}; }
inline VecI min(VecI a, VecI b) { return select(lt(a, b), a, b); }
inline VecI max(VecI a, VecI b) { return select(gt(a, b), a, b); }

struct Vec {
  lanes_f v;
  static constexpr int size = 4;
  static Vec load(const float* p) {
    Vec r;
    std::memcpy(&r.v, p, 16);
    return r;
  }
  static Vec load_partial(const float* p, int64_t n) {
    Vec r = zero();
    if (n > 0) std::memcpy(&r.v, p, static_cast<size_t>(n) * 4);
    return r;
  }
  static Vec set1(float x) { return {lanes_f{x, x, x, x}}; }
  static Vec zero() { return set1(0.0f); }
  void store(float* p) const { std::memcpy(p, &v, 16); }
  void store_partial(float* p, int64_t n) const {
    if (n > 0) std::memcpy(p, &v, static_cast<size_t>(n) * 4);
  }
  void store_stream(float* p) const { store(p); }
  friend Vec operator+(Vec a, Vec b) { return {a.v + b.v}; }
  friend Vec operator-(Vec a, Vec b) { return {a.v - b.v}; }
  friend Vec operator*(Vec a, Vec b) { return {a.v * b.v}; }
  friend Vec operator/(Vec a, Vec b) { return {a.v / b.v}; }
  friend Vec operator-(Vec a) { return {-a.v}; }
};
inline void stream_fence() {}
inline VecI as_int(Vec a) { return {(lanes_i)a.v}; }
inline Vec as_float(VecI a) { return {(lanes_f)a.v}; }
// Two roundings: a library fma per lane would be far slower.
inline Vec fma(Vec a, Vec b, Vec c) { return {a.v * b.v + c.v}; }
inline Vec fnma(Vec a, Vec b, Vec c) { return {c.v - a.v * b.v}; }
inline Mask eq(Vec a, Vec b) { return {a.v == b.v}; }
inline Mask ne(Vec a, Vec b) { return {a.v != b.v}; }
inline Mask lt(Vec a, Vec b) { return {a.v < b.v}; }
inline Mask le(Vec a, Vec b) { return {a.v <= b.v}; }
inline Mask gt(Vec a, Vec b) { return {a.v > b.v}; }
inline Mask ge(Vec a, Vec b) { return {a.v >= b.v}; }
inline Vec select(Mask m, Vec a, Vec b) { return as_float(select(m, as_int(a), as_int(b))); }
inline Vec min(Vec a, Vec b) { return select(lt(a, b), a, b); }
inline Vec max(Vec a, Vec b) { return select(gt(a, b), a, b); }
inline Vec sqrt(Vec a) {
  for (int i = 0; i < 4; ++i) a.v[i] = std::sqrt(a.v[i]);
  return a;
}
inline Vec abs(Vec a) { return as_float(as_int(a) & VecI::set1(0x7fffffff)); }
inline Vec round(Vec a) {
  // Adding 2^23 drops the fraction by the processor's own rounding; beyond 2^23 there is none.
  const Vec big = Vec::set1(8388608.0f), size = abs(a);
  const Vec whole = (size + big) - big;
  const Vec sign = as_float(as_int(a) & VecI::set1(INT32_MIN));
  return select(lt(size, big), as_float(as_int(whole) | as_int(sign)), a);
}
inline Vec floor(Vec a) {
  const Vec r = round(a);
  return select(gt(r, a), r - Vec::set1(1.0f), r);
}
inline VecI to_int_trunc(Vec a) { return {__builtin_convertvector(a.v, lanes_i)}; }
inline VecI to_int(Vec a) { return to_int_trunc(round(a)); }
inline Vec to_float(VecI a) { return {__builtin_convertvector(a.v, lanes_f)}; }

inline float reduce_add(Vec a) { return (a.v[0] + a.v[2]) + (a.v[1] + a.v[3]); }
inline float reduce_max(Vec a) {
  const float x = a.v[0] > a.v[2] ? a.v[0] : a.v[2], y = a.v[1] > a.v[3] ? a.v[1] : a.v[3];
  return x > y ? x : y;
}

inline void transpose(Vec (&r)[4]) {
  Vec t[4];
  for (int i = 0; i < 4; ++i) t[i].v = lanes_f{r[0].v[i], r[1].v[i], r[2].v[i], r[3].v[i]};
  for (int i = 0; i < 4; ++i) r[i] = t[i];
}

}  // namespace cambium::CAMBIUM_ISA
