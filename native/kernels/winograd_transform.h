// The transforms of Winograd's minimal filtering (Lavin and Gray 2015, arXiv:1509.09308) on vectors of channels.
//
// F(m x m, 3 x 3) evaluates at the points 0, +-p, infinity. For m = 2: +-1. For m = 4: +-5/8 and +-3/2, whose powers
// are exact in binary and whose products stay near 1: a third of the rounding error of the paper's +-1 and +-2.
// Each function is one dimension; a 2-D transform applies it to the columns, then to the rows.
#pragma once

#include "../simd/bf16.h"
#include "gemm_micro.h"

namespace cambium::CAMBIUM_ISA {

#define CAMBIUM_INLINE static inline __attribute__((always_inline)) void

/** m outputs of three taps from m + 2 inputs; the strides are in vectors. */
template <int m> struct Winograd;

template <> struct Winograd<2> {
  template <int si, int so> CAMBIUM_INLINE input(const Vec* d, Vec* u) {
    u[0] = d[0] - d[2 * si], u[so] = d[si] + d[2 * si];
    u[2 * so] = d[2 * si] - d[si], u[3 * so] = d[3 * si] - d[si];
  }
  /** 3 taps -> 4 points. */
  template <int si, int so> CAMBIUM_INLINE kernel(const Vec* g, Vec* v) {
    const Vec half = Vec::set1(0.5f), e = (g[0] + g[2 * si]) * half, o = g[si] * half;
    v[0] = g[0], v[so] = e + o, v[2 * so] = e - o, v[3 * so] = g[2 * si];
  }
  /** 4 points -> 2 outputs. */
  template <int si, int so> CAMBIUM_INLINE output(const Vec* m, Vec* y) {
    y[0] = m[0] + (m[si] + m[2 * si]), y[so] = (m[si] - m[2 * si]) + m[3 * si];
  }
  /** Weight gradient, F(3, 2): 2 output gradients -> 4 points, their scale left to `taps`. */
  template <int si, int so> CAMBIUM_INLINE gradient(const Vec* g, Vec* w) {
    w[0] = g[0], w[so] = g[0] + g[si], w[2 * so] = g[0] - g[si], w[3 * so] = g[si];
  }
  /** 4 points -> 3 taps. */
  template <int si, int so> CAMBIUM_INLINE taps(const Vec* m, Vec* y) {
    const Vec half = Vec::set1(0.5f), e = (m[si] + m[2 * si]) * half;
    y[0] = m[0] + e, y[so] = (m[si] - m[2 * si]) * half, y[2 * so] = e + m[3 * si];
  }
};

template <> struct Winograd<4> {
  static constexpr float p = 0.625f, q = 1.5f, p2 = p * p, q2 = q * q;
  // One over the product of a point's distances to the others.
  static constexpr double exact_p = 2.0 * p2 * (p2 - q2), exact_q = 2.0 * q2 * (q2 - p2);
  static constexpr float at_zero = static_cast<float>(1.0 / (p2 * q2));
  static constexpr float at_p = static_cast<float>(1.0 / exact_p), at_q = static_cast<float>(1.0 / exact_q);

  template <int si, int so> CAMBIUM_INLINE input(const Vec* d, Vec* u) {
    const Vec vp = Vec::set1(p), vq = Vec::set1(q), vp2 = Vec::set1(p2), vq2 = Vec::set1(q2);
    const Vec both = Vec::set1(p2 * q2), sum = Vec::set1(p2 + q2);
    const Vec ep = fnma(vq2, d[2 * si], d[4 * si]), op = fnma(vq2, d[si], d[3 * si]);
    const Vec eq = fnma(vp2, d[2 * si], d[4 * si]), oq = fnma(vp2, d[si], d[3 * si]);
    u[0] = fma(both, d[0], fnma(sum, d[2 * si], d[4 * si]));
    u[so] = fma(vp, op, ep), u[2 * so] = fnma(vp, op, ep);
    u[3 * so] = fma(vq, oq, eq), u[4 * so] = fnma(vq, oq, eq);
    u[5 * so] = fma(both, d[si], fnma(sum, d[3 * si], d[5 * si]));
  }
  template <int si, int so> CAMBIUM_INLINE kernel(const Vec* g, Vec* v) {
    const Vec ep = fma(Vec::set1(p2), g[2 * si], g[0]) * Vec::set1(at_p), op = g[si] * Vec::set1(p * at_p);
    const Vec eq = fma(Vec::set1(q2), g[2 * si], g[0]) * Vec::set1(at_q), oq = g[si] * Vec::set1(q * at_q);
    v[0] = g[0] * Vec::set1(at_zero);
    v[so] = ep + op, v[2 * so] = ep - op, v[3 * so] = eq + oq, v[4 * so] = eq - oq;
    v[5 * so] = g[2 * si];
  }
  template <int si, int so> CAMBIUM_INLINE output(const Vec* m, Vec* y) {
    const Vec ep = m[si] + m[2 * si], op = m[si] - m[2 * si], eq = m[3 * si] + m[4 * si], oq = m[3 * si] - m[4 * si];
    y[0] = m[0] + (ep + eq);
    y[so] = fma(Vec::set1(p), op, Vec::set1(q) * oq);
    y[2 * so] = fma(Vec::set1(p2), ep, Vec::set1(q2) * eq);
    y[3 * so] = fma(Vec::set1(p2 * p), op, fma(Vec::set1(q2 * q), oq, m[5 * si]));
  }
  template <int si, int so> CAMBIUM_INLINE gradient(const Vec* g, Vec* w) {
    const Vec vp = Vec::set1(p), vq = Vec::set1(q), vp2 = Vec::set1(p2), vq2 = Vec::set1(q2);
    const Vec ep = fma(vp2, g[2 * si], g[0]), op = fma(vp2, g[3 * si], g[si]);
    const Vec eq = fma(vq2, g[2 * si], g[0]), oq = fma(vq2, g[3 * si], g[si]);
    w[0] = g[0];
    w[so] = fma(vp, op, ep), w[2 * so] = fnma(vp, op, ep), w[3 * so] = fma(vq, oq, eq), w[4 * so] = fnma(vq, oq, eq);
    w[5 * so] = g[3 * si];
  }
  template <int si, int so> CAMBIUM_INLINE taps(const Vec* m, Vec* y) {
    const Vec vp = Vec::set1(at_p), vq = Vec::set1(at_q);
    const Vec ep = (m[si] + m[2 * si]) * vp, op = (m[si] - m[2 * si]) * vp;
    const Vec eq = (m[3 * si] + m[4 * si]) * vq, oq = (m[3 * si] - m[4 * si]) * vq;
    y[0] = fma(Vec::set1(at_zero), m[0], ep + eq);
    y[so] = fma(Vec::set1(p), op, Vec::set1(q) * oq);
    y[2 * so] = fma(Vec::set1(p2), ep, fma(Vec::set1(q2), eq, m[5 * si]));
  }
};
#undef CAMBIUM_INLINE

/** Images cut into tiles of m x m, image by image, row by row; a tile reads or writes the pixels from its corner on. */
struct TileGrid {
  int64_t rows, cols;  // tiles of an image
  int64_t per_image() const { return rows * cols; }
};

/** A channels-last image batch whose tile (ty, tx) starts at pixel (ty * m - pad_h, tx * m - pad_w). */
struct TileSource {
  const float* data;
  const float* zeros;  // as many as channels, for the pixels outside
  int64_t h, w, channels, pad_h, pad_w;
};

/** The size x size pixels of tile t. */
template <int m, int size>
inline void tile_pixels(const TileSource& s, const TileGrid& grid, int64_t t, const float* (&pixel)[size * size]) {
  const int64_t image = t / grid.per_image(), ty = t / grid.cols % grid.rows, tx = t % grid.cols;
  const int64_t y0 = ty * m - s.pad_h, x0 = tx * m - s.pad_w;
  for (int64_t i = 0; i < size; ++i)
    for (int64_t j = 0; j < size; ++j) {
      const int64_t y = y0 + i, x = x0 + j;
      const bool inside = y >= 0 && y < s.h && x >= 0 && x < s.w;
      pixel[i * size + j] = inside ? s.data + ((image * s.h + y) * s.w + x) * s.channels : s.zeros;
    }
}

using Bf16 = uint16_t;
inline void put(Vec x, float* p) { x.store(p); }
inline void put(Vec x, Bf16* p) { store_bf16(x, p); }

/** Channels [c0, c1) of tiles [t0, t1), transformed to dst[point][tile][channel]: ld elements a tile, plane a point. */
template <int m, bool of_gradient, class Element>
inline void transform_tiles(const TileSource& s, const TileGrid& grid, int64_t t0, int64_t t1, int64_t c0, int64_t c1,
                            Element* dst, int64_t ld, int64_t plane) {
  constexpr int alpha = m + 2, size = of_gradient ? m : alpha;
  constexpr int fresh = size - m;  // columns from here on were not in the tile before
  const float* pixel[size * size];
  const float* next[size * size];
  tile_pixels<m, size>(s, grid, t0, pixel);
  for (int64_t t = t0; t < t1; ++t, dst += ld) {
    tile_pixels<m, size>(s, grid, t + 1 < t1 ? t + 1 : t, next);
    for (int64_t c = c0; c < c1; c += Vec::size) {
      Vec d[size * size], half[alpha * size], u[alpha];
#pragma GCC unroll 6
      for (int i = 0; i < size; ++i)
#pragma GCC unroll 6
        for (int j = fresh; j < size; ++j) __builtin_prefetch(next[i * size + j] + c);
      if (c + Vec::size <= c1) {
#pragma GCC unroll 36
        for (int i = 0; i < size * size; ++i) d[i] = Vec::load(pixel[i] + c);
      } else {
        for (int i = 0; i < size * size; ++i) d[i] = Vec::load_partial(pixel[i] + c, c1 - c);
      }
#pragma GCC unroll 6
      for (int j = 0; j < size; ++j) {
        if constexpr (of_gradient) Winograd<m>::template gradient<size, size>(d + j, half + j);
        else Winograd<m>::template input<size, size>(d + j, half + j);
      }
      Element* out = dst + c - c0;
#pragma GCC unroll 6
      for (int i = 0; i < alpha; ++i) {
        if constexpr (of_gradient) Winograd<m>::template gradient<1, 1>(half + i * size, u);
        else Winograd<m>::template input<1, 1>(half + i * size, u);
#pragma GCC unroll 6
        for (int j = 0; j < alpha; ++j) put(u[j], out + (i * alpha + j) * plane);
      }
    }
    for (int i = 0; i < size * size; ++i) pixel[i] = next[i];
  }
}

}  // namespace cambium::CAMBIUM_ISA
