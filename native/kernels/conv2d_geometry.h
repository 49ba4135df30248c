// Which source pixel each kernel tap of an output position reads: tables shared by the convolution kernels.
#pragma once

#include "conv2d.h"
#include "gemm_pack.h"

namespace cambium::CAMBIUM_ISA {

/**
 * A gathering convolution: every position of a ph x pw grid reads one pixel of an sh x sw source per tap, or none.
 * Forward: the grid is the output, the source the input. Input gradient: the grid is the input, the source gy.
 */
struct Geometry {
  int64_t n, ph, pw, sh, sw, kh, kw;
  const int32_t* ys;  // [ph][kh] source rows, -1 for none
  const int32_t* xs;  // [pw][kw]
  const int32_t* order;  // [ph * pw] positions in the order they are visited, or null: row by row

  int64_t taps() const { return kh * kw; }
  int64_t rows() const { return n * ph * pw; }
};

/** A 1 x 1 convolution with nothing skipped is a plain product over pixels. */
inline bool pointwise(const Conv2dArgs& a) {
  return a.kh == 1 && a.kw == 1 && a.stride_h == 1 && a.stride_w == 1 && a.pad_h == 0 && a.pad_w == 0 &&
         a.groups == 1 && a.oh == a.ih && a.ow == a.iw;
}

inline int64_t geometry_floats(const Conv2dArgs& a) {
  const int64_t order = a.stride_h > 1 || a.stride_w > 1 ? a.ih * a.iw : 0;
  return most(a.oh, a.ih) * a.kh + most(a.ow, a.iw) * a.kw + order + 16;
}

inline int32_t source_forward(int64_t at, int64_t tap, int64_t stride, int64_t pad, int64_t dil, int64_t size) {
  const int64_t s = at * stride - pad + tap * dil;
  return s >= 0 && s < size ? static_cast<int32_t>(s) : -1;
}
inline int32_t source_backward(int64_t at, int64_t tap, int64_t stride, int64_t pad, int64_t dil, int64_t size) {
  const int64_t s = at + pad - tap * dil;
  return s >= 0 && s % stride == 0 && s / stride < size ? static_cast<int32_t>(s / stride) : -1;
}

/** Fills the tables into `memory` (geometry_floats of it). */
inline Geometry make_geometry(const Conv2dArgs& a, bool backward, float* memory) {
  Geometry g{a.n, backward ? a.ih : a.oh, backward ? a.iw : a.ow, backward ? a.oh : a.ih, backward ? a.ow : a.iw,
             a.kh, a.kw, nullptr, nullptr, nullptr};
  int32_t* ys = reinterpret_cast<int32_t*>(memory);
  int32_t* xs = ys + g.ph * g.kh;
  int32_t* order = xs + g.pw * g.kw;
  const auto source = backward ? source_backward : source_forward;
  for (int64_t y = 0; y < g.ph; ++y)
    for (int64_t k = 0; k < g.kh; ++k) ys[y * g.kh + k] = source(y, k, a.stride_h, a.pad_h, a.dil_h, g.sh);
  for (int64_t x = 0; x < g.pw; ++x)
    for (int64_t k = 0; k < g.kw; ++k) xs[x * g.kw + k] = source(x, k, a.stride_w, a.pad_w, a.dil_w, g.sw);
  g.ys = ys, g.xs = xs;
  if (!backward || (a.stride_h == 1 && a.stride_w == 1)) return g;
  // Positions one stride apart are hit by the same taps of a strided convolution: visit them together.
  int64_t at = 0;
  for (int64_t py = 0; py < a.stride_h; ++py)
    for (int64_t px = 0; px < a.stride_w; ++px)
      for (int64_t y = py; y < g.ph; y += a.stride_h)
        for (int64_t x = px; x < g.pw; x += a.stride_w) order[at++] = static_cast<int32_t>(y * g.pw + x);
  g.order = order;
  return g;
}

struct Position {
  int64_t image, y, x;
};

/** The v-th grid position: image by image, or (for small maps) position by position with all its images together. */
inline Position position_at(const Geometry& g, bool by_position, int64_t v) {
  if (by_position) return {v % g.n, v / g.n / g.pw, v / g.n % g.pw};
  if (!g.order) return {v / g.pw / g.ph, v / g.pw % g.ph, v % g.pw};
  const int64_t area = g.ph * g.pw, at = g.order[v % area];
  return {v / area, at / g.pw, at % g.pw};
}

/** Copies the source values of every tap, [ky][kx][channel], for a position into `out`; absent pixels give zeros. */
inline void copy_patch(const Geometry& g, const float* src, int64_t channels, const Position& p, bool runs, float* out) {
  const int32_t* xs = g.xs + p.x * g.kw;
  const bool inside = runs && xs[0] >= 0 && xs[g.kw - 1] >= 0;
  for (int64_t ky = 0; ky < g.kh; ++ky) {
    const int64_t sy = g.ys[p.y * g.kh + ky];
    const float* row = sy < 0 ? nullptr : src + (p.image * g.sh + sy) * g.sw * channels;
    if (row && inside) {
      const int64_t length = g.kw * channels;
      const float* from = row + xs[0] * channels;
      int64_t i = 0;
      for (; i + Vec::size <= length; i += Vec::size) Vec::load(from + i).store(out + i);
      if (i < length) Vec::load_partial(from + i, length - i).store_partial(out + i, length - i);
      out += length;
      continue;
    }
    for (int64_t kx = 0; kx < g.kw; ++kx, out += channels)
      for (int64_t c = 0; c < channels; ++c) out[c] = row && xs[kx] >= 0 ? row[xs[kx] * channels + c] : 0.0f;
  }
}

}  // namespace cambium::CAMBIUM_ISA
