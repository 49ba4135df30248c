// Depthwise convolution: a few vectors of channels at a time, the taps in registers' reach.
#include "conv2d_depthwise.h"

#include "conv2d_geometry.h"

namespace cambium::CAMBIUM_ISA {
namespace {

constexpr int kWide = 4;  // vectors of channels that advance together
constexpr int64_t kChannels = kWide * Vec::size;

/** acc += a b for kWide vectors, of which `lanes` floats exist. */
inline __attribute__((always_inline)) void multiply_add(Vec (&acc)[kWide], const float* a, const float* b,
                                                        int64_t lanes) {
  if (lanes == kChannels) {
#pragma GCC unroll 4
    for (int j = 0; j < kWide; ++j) acc[j] = fma(Vec::load(a + j * Vec::size), Vec::load(b + j * Vec::size), acc[j]);
    return;
  }
#pragma GCC unroll 4
  for (int j = 0; j < kWide; ++j) {
    const int64_t left = least(Vec::size, lanes - j * Vec::size);
    if (left <= 0) break;
    acc[j] = fma(Vec::load_partial(a + j * Vec::size, left), Vec::load_partial(b + j * Vec::size, left), acc[j]);
  }
}

}  // namespace

void depthwise_gather(const Conv2dArgs& a, bool backward, const float* src, const float* weight, float* dst,
                      const Parallel& par, const TileSink* sink) {
  const int64_t C = a.ic, taps = a.kh * a.kw, padded = round_up(C, kChannels);
  float* packed = par.shared_scratch(static_cast<size_t>(taps * padded + geometry_floats(a)) * sizeof(float));
  const Geometry g = make_geometry(a, backward, packed + taps * padded);
  transpose_copy(weight, taps, packed, padded, taps, C, padded);  // [C][taps] to [taps][C]

  const int64_t block = most(1, least(g.pw, 16384 / C));  // positions of a task, within one line
  const int64_t blocks = ceil_div(g.pw, block);
  const size_t bytes = static_cast<size_t>(block * C) * sizeof(float);
  par.run(g.n * g.ph * blocks, [&](int64_t t, int thread) {
    const int64_t image = t / blocks / g.ph, y = t / blocks % g.ph, x0 = t % blocks * block;
    const int64_t rows = least(block, g.pw - x0), row0 = (image * g.ph + y) * g.pw + x0;
    float* out = sink ? par.scratch(thread, bytes) : dst + row0 * C;
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t c = 0; c < C; c += kChannels) {
        const int64_t lanes = least(kChannels, C - c);
        Vec acc[kWide];
        for (int j = 0; j < kWide; ++j) acc[j] = Vec::zero();
        for (int64_t ky = 0; ky < g.kh; ++ky) {
          const int64_t sy = g.ys[y * g.kh + ky];
          if (sy < 0) continue;
          for (int64_t kx = 0; kx < g.kw; ++kx) {
            const int64_t sx = g.xs[(x0 + i) * g.kw + kx];
            if (sx < 0) continue;
            const float* s = src + ((image * g.sh + sy) * g.sw + sx) * C + c;
            const float* w = packed + (ky * g.kw + kx) * padded + c;
            multiply_add(acc, s, w, lanes);
          }
        }
        float* o = out + i * C + c;
        for (int j = 0; j * Vec::size < lanes; ++j)
          acc[j].store_partial(o + j * Vec::size, least(Vec::size, lanes - j * Vec::size));
      }
    if (sink) sink->run(sink->ctx, thread, row0, 1, rows, 0, C, out, C);
  });
}

void depthwise_weight_grad(const Conv2dArgs& a, const float* x, const float* gy, float* gw, const Parallel& par) {
  const int64_t C = a.ic, taps = a.kh * a.kw, lines = a.n * a.oh, padded = round_up(C, kChannels);
  const int64_t splits = most(1, least(32, lines / 8)), per_split = ceil_div(most(lines, 1), splits);
  float* partial = par.shared_scratch(static_cast<size_t>(splits * taps * padded + geometry_floats(a)) * sizeof(float));
  const Geometry g = make_geometry(a, false, partial + splits * taps * padded);
  par.run(splits, [&](int64_t split, int) {
    float* sums = partial + split * taps * padded;
    for (int64_t i = 0; i < taps * padded; ++i) sums[i] = 0.0f;
    for (int64_t line = split * per_split; line < least(lines, (split + 1) * per_split); ++line) {
      const int64_t image = line / a.oh, y = line % a.oh;
      for (int64_t tap = 0; tap < taps; ++tap) {
        const int64_t sy = g.ys[y * g.kh + tap / g.kw];
        if (sy < 0) continue;
        for (int64_t c = 0; c < C; c += kChannels) {
          const int64_t lanes = least(kChannels, C - c);
          float* sum = sums + tap * padded + c;
          Vec acc[kWide];
          for (int j = 0; j < kWide; ++j) acc[j] = Vec::load(sum + j * Vec::size);
          for (int64_t ox = 0; ox < a.ow; ++ox) {
            const int64_t sx = g.xs[ox * g.kw + tap % g.kw];
            if (sx < 0) continue;
            multiply_add(acc, x + ((image * a.ih + sy) * a.iw + sx) * C + c, gy + (line * a.ow + ox) * C + c, lanes);
          }
          for (int j = 0; j < kWide; ++j) acc[j].store(sum + j * Vec::size);
        }
      }
    }
  });
  for (int64_t c = 0; c < C; ++c)
    for (int64_t tap = 0; tap < taps; ++tap) {
      float sum = 0.0f;
      for (int64_t s = 0; s < splits; ++s) sum += partial[(s * taps + tap) * padded + c];
      gw[c * taps + tap] = sum;
    }
}

}  // namespace cambium::CAMBIUM_ISA
