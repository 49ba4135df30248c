// Elementary functions on Vec: at most 2 ulp for exp and log, 4 for the others (native/test/vm_math.cpp sweeps them).
// NaN passes through, infinities and zeros keep their meaning and sign, subnormals are not flushed.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include "vec.h"

namespace cambium::CAMBIUM_ISA {

namespace math {
inline Vec f(float x) { return Vec::set1(x); }
inline VecI i(int32_t x) { return VecI::set1(x); }
inline Vec copysign(Vec size, Vec sign) {
  return as_float((as_int(size) & i(0x7fffffff)) | (as_int(sign) & i(INT32_MIN)));
}
/** 2^n for n in [-126, 127]. */
inline Vec power_of_two(VecI n) { return as_float(shl(n + i(127), 23)); }

struct Reduced {
  Vec r;   // x - n ln 2, |r| <= ln 2 / 2
  VecI n;
};
inline Reduced reduce_ln2(Vec x) {
  const Vec n = round(x * f(1.44269504f));
  // The first part of ln 2 has 9 bits, so its product with n is exact even without a fused multiply-add.
  return {fnma(n, f(-2.12194440e-4f), fnma(n, f(0.693359375f), x)), to_int(n)};
}
/** (e^r - 1 - r) / r^2 for |r| <= ln 2 / 2. */
inline Vec exp_tail(Vec r) {
  Vec p = f(1.9875691500e-4f);
  p = fma(p, r, f(1.3981999507e-3f));
  p = fma(p, r, f(8.3334519073e-3f));
  p = fma(p, r, f(4.1665795894e-2f));
  p = fma(p, r, f(1.6666665459e-1f));
  return fma(p, r, f(5.0000001201e-1f));
}
}  // namespace math

inline Vec exp(Vec x) {
  using namespace math;
  const auto [r, n] = reduce_ln2(min(f(89.0f), max(f(-104.0f), x)));
  const Vec y = fma(r * r, exp_tail(r), r) + f(1.0f);
  // In two factors: 2^n itself may be subnormal or overflow where the result does not.
  const VecI half = sar(n, 1);
  return y * power_of_two(half) * power_of_two(n - half);
}

/** e^x for x <= 0; 0 below the smallest normal number, NaN for NaN. */
inline Vec exp_weight(Vec x) {
  using namespace math;
  const auto [r, n] = reduce_ln2(max(f(-87.3f), x));
  const Vec y = fma(r * r, exp_tail(r), r) + f(1.0f);
  return select(lt(x, f(-87.3f)), Vec::zero(), y * power_of_two(n));
}

/** e^x - 1, exact near 0. */
inline Vec expm1(Vec x) {
  using namespace math;
  const auto [r, n] = reduce_ln2(min(f(89.0f), max(f(-18.0f), x)));
  const Vec y = fma(r * r, exp_tail(r), r), t = power_of_two(n - i(1));
  // 2^n y + 2^n - 1, halved so that 2^128 does not appear.
  const Vec result = fma(t, y, t - f(0.5f)) * f(2.0f);
  return select(lt(abs(x), f(1e-20f)), x, result);  // keeps -0 and subnormals
}

namespace math {
/** log((1 + z) 2^e), 1 + z in [sqrt(1/2), sqrt(2)). */
inline Vec log_core(Vec z, Vec e) {
  Vec p = f(7.0376836292e-2f);
  p = fma(p, z, f(-1.1514610310e-1f));
  p = fma(p, z, f(1.1676998740e-1f));
  p = fma(p, z, f(-1.2420140846e-1f));
  p = fma(p, z, f(1.4249322787e-1f));
  p = fma(p, z, f(-1.6668057665e-1f));
  p = fma(p, z, f(2.0000714765e-1f));
  p = fma(p, z, f(-2.4999993993e-1f));
  p = fma(p, z, f(3.3333331174e-1f));
  const Vec square = z * z;
  Vec y = p * z * square;
  y = fma(e, f(-2.12194440e-4f), y);
  y = fnma(f(0.5f), square, y);
  return fma(e, f(0.693359375f), z + y);
}
// 0x3f3504f3 is sqrt(1/2): subtracting it leaves the exponent of the range above.
inline VecI log_exponent(Vec x) { return sar(as_int(x) - i(0x3f3504f3), 23); }
inline Vec log_mantissa(Vec x) { return as_float(((as_int(x) - i(0x3f3504f3)) & i(0x7fffff)) + i(0x3f3504f3)); }
}  // namespace math

inline Vec log(Vec x) {
  using namespace math;
  const Mask tiny = lt(x, f(1.17549435e-38f));
  const Vec normal = select(tiny, x * f(8388608.0f), x);
  const Vec e = to_float(log_exponent(normal)) - select(tiny, f(23.0f), Vec::zero());
  Vec y = log_core(log_mantissa(normal) - f(1.0f), e);
  const float infinity = std::numeric_limits<float>::infinity();
  y = select(eq(x, f(infinity)), x, y);
  y = select(eq(x, Vec::zero()), f(-infinity), y);
  // Below zero and NaN.
  return select(ge(x, Vec::zero()), y, f(std::numeric_limits<float>::quiet_NaN()));
}

/** log(1 + x), exact near 0: what rounding 1 + x lost is carried into the reduced argument. */
inline Vec log1p(Vec x) {
  using namespace math;
  const Vec u = x + f(1.0f);
  const Vec lost = select(gt(abs(x), f(1.0f)), f(1.0f) - (u - x), x - (u - f(1.0f)));
  const VecI e = log_exponent(u);
  const Mask large = gt(u, f(16777216.0f));
  const Vec scaled = select(large, Vec::zero(), lost * as_float(shl(i(127) - e, 23)));
  Vec y = log_core(log_mantissa(u) - f(1.0f) + scaled, to_float(e));
  const float infinity = std::numeric_limits<float>::infinity();
  y = select(eq(x, f(infinity)), x, y);
  y = select(eq(x, f(-1.0f)), f(-infinity), y);
  y = select(eq(x, Vec::zero()), x, y);
  return select(ge(x, f(-1.0f)), y, f(std::numeric_limits<float>::quiet_NaN()));
}

inline Vec sigmoid(Vec x) {
  using namespace math;
  const Vec z = exp(-abs(x));
  return select(lt(x, Vec::zero()), z, f(1.0f)) / (f(1.0f) + z);
}

inline Vec tanh(Vec x) {
  using namespace math;
  const Vec e = expm1(abs(x) * f(-2.0f));
  return copysign(-e / (f(2.0f) + e), x);
}

// After N. Juffa (forums.developer.nvidia.com, "erff, a more accurate implementation"): a polynomial near 0,
// 1 - e^(a polynomial) beyond.
inline Vec erf(Vec x) {
  using namespace math;
  const Vec t = abs(x), s = x * x;
  Vec near = f(-5.96761703e-4f);
  near = fma(near, s, f(4.99119423e-3f));
  near = fma(near, s, f(-2.67681349e-2f));
  near = fma(near, s, f(1.12819925e-1f));
  near = fma(near, s, f(-3.76125336e-1f));
  near = fma(near, s, f(1.28379166e-1f));
  near = fma(near, x, x);
  const Vec u = min(f(4.0f), t), v = u * u;  // beyond 4 the result is 1
  Vec far = fma(f(-1.72853470e-5f), u, f(3.83197126e-4f));
  far = fma(far, v, fma(f(-3.88396438e-3f), u, f(2.42546219e-2f)));
  far = fma(far, u, f(-1.06777877e-1f));
  far = fma(far, u, f(-6.34846687e-1f));
  far = fma(far, u, f(-1.28717512e-1f));
  far = fma(far, u, -u);
  far = copysign(f(1.0f) - exp(far), x);
  return select(gt(t, f(0.927734375f)), far, near);
}

namespace math {
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
constexpr float kTrigLimit = 1e5f;
/** x - n pi/2; each step is exact or leaves an error far below the result. */
inline Vec subtract_quadrants(Vec x, Vec n) {
  x = fnma(n, f(1.57079637e+00f), x);
  x = fnma(n, f(-4.37113883e-08f), x);
  return fnma(n, f(-1.71512489e-15f), x);
}
#else
// Without a fused multiply-add the products must be exact: short parts, and n of at most 12 bits.
constexpr float kTrigLimit = 6000.0f;
inline Vec subtract_quadrants(Vec x, Vec n) {
  x = x - n * f(1.5703125f);
  x = x - n * f(4.8351287841796875e-4f);
  x = x - n * f(3.1385570764541625976e-7f);
  return x - n * f(6.0771005065061922e-11f);
}
#endif

/** sin(x + quarter pi/2) */
inline Vec sine(Vec x, int32_t quarter) {
  const Mask outside = gt(abs(x), f(kTrigLimit));
  if (outside.any()) {
    float lanes[Vec::size];
    x.store(lanes);
    for (float& lane : lanes) {
      const auto wide = static_cast<double>(lane);
      lane = static_cast<float>(quarter ? std::cos(wide) : std::sin(wide));
    }
    return Vec::load(lanes);
  }
  const Vec n = round(x * f(0.636619772f));
  const VecI quadrant = to_int(n) + i(quarter);
  const Vec r = subtract_quadrants(x, n), z = r * r;
  Vec s = f(-1.9515295891e-4f);
  s = fma(s, z, f(8.3321608736e-3f));
  s = fma(s, z, f(-1.6666654611e-1f));
  s = fma(s * z, r, r);
  Vec c = f(2.443315711809948e-5f);
  c = fma(c, z, f(-1.388731625493765e-3f));
  c = fma(c, z, f(4.166664568298827e-2f));
  c = fma(c * z, z, fnma(f(0.5f), z, f(1.0f)));
  const Vec y = select(eq(quadrant & i(1), i(0)), s, c);
  const Vec result = as_float(as_int(y) ^ shl(quadrant & i(2), 30));
  return quarter ? result : select(eq(x, Vec::zero()), x, result);
}
}  // namespace math

inline Vec sin(Vec x) { return math::sine(x, 0); }
inline Vec cos(Vec x) { return math::sine(x, 1); }

/**
 * C's pow (so 1^NaN = 1), by way of double: 2^(y log2 |x|) in a loop over lanes the compiler turns into vectors, which
 * it does as long as no floating-point comparison is in it. Special cases follow lane by lane.
 */
inline Vec pow(Vec base, Vec exponent) {
  using namespace math;
  const Vec size = abs(base);
  float a[Vec::size], b[Vec::size];
  size.store(a);
  // Beyond 1e10 every result but 1 has over- or underflown.
  min(f(1e10f), max(f(-1e10f), exponent)).store(b);
  for (int lane = 0; lane < Vec::size; ++lane) {
    // x = m 2^e, m in [sqrt(1/2), sqrt(2)); log m = 2 atanh((m - 1) / (m + 1)).
    constexpr int64_t root_half = 0x3fe6a09e667f3bcd;
    const int64_t shifted = std::bit_cast<int64_t>(static_cast<double>(a[lane])) - root_half;
    const auto e = static_cast<double>(static_cast<int32_t>(shifted >> 52));
    const auto m = std::bit_cast<double>((shifted & 0xfffffffffffff) + root_half);
    const double s = (m - 1.0) / (m + 1.0), q = s * s;
    double p = 1.0 / 15;
    p = p * q + 1.0 / 13;
    p = p * q + 1.0 / 11;
    p = p * q + 1.0 / 9;
    p = p * q + 1.0 / 7;
    p = p * q + 1.0 / 5;
    p = p * q + 1.0 / 3;
    p = p * q + 1.0;
    const double t = static_cast<double>(b[lane]) * (e + s * p * 2.8853900817779268);
    // 1.5 * 2^52 rounds to an integer and leaves it in the low bits.
    constexpr double magic = 6755399441055744.0;
    const double rounded = t + magic;
    const double r = (t - (rounded - magic)) * 0.69314718055994531;
    double z = 1.0 / 3628800;
    z = z * r + 1.0 / 362880;
    z = z * r + 1.0 / 40320;
    z = z * r + 1.0 / 5040;
    z = z * r + 1.0 / 720;
    z = z * r + 1.0 / 120;
    z = z * r + 1.0 / 24;
    z = z * r + 1.0 / 6;
    z = z * r + 0.5;
    z = z * r + 1.0;
    z = z * r + 1.0;
    int64_t n = std::bit_cast<int64_t>(rounded) - std::bit_cast<int64_t>(magic);
    n = n > 400 ? 400 : n;
    n = n < -400 ? -400 : n;
    a[lane] = static_cast<float>(z * std::bit_cast<double>((n + 1023) << 52));
  }
  const Vec zero = Vec::zero(), one = f(1.0f), infinity = f(std::numeric_limits<float>::infinity());
  const Mask grows = gt(exponent, zero);
  Vec y = Vec::load(a);
  y = select(eq(size, zero), select(grows, zero, infinity), y);
  y = select(eq(size, infinity), select(grows, infinity, zero), y);
  y = select(eq(size, one), one, y);
  const Vec half = exponent * f(0.5f);
  const Mask integer = eq(floor(exponent), exponent);
  const Mask odd = integer & ne(floor(half), half) & lt(abs(exponent), f(16777216.0f));
  const Mask negative = lt(as_int(base), VecI::zero());
  y = select(odd & negative, -y, y);
  const Mask imaginary = lt(base, zero) & gt(base, -infinity) & ~integer;
  y = select(imaginary, f(std::numeric_limits<float>::quiet_NaN()), y);
  y = select(ne(base, base), base, y);
  y = select(ne(exponent, exponent), exponent, y);
  return select(eq(exponent, zero) | eq(base, one), one, y);
}

}  // namespace cambium::CAMBIUM_ISA
