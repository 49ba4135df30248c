// Winograd's weight gradient, F(3 x 3, m x m): per point, transformed inputs times transformed output gradients, summed
// over the tiles; the sums are transformed back once. `Product` says how transformed values are kept and multiplied.
#pragma once

#include "gemm_pack.h"
#include "winograd.h"
#include "winograd_transform.h"

namespace cambium::CAMBIUM_ISA::winograd_summing {

constexpr int64_t kSkew = 16;    // floats between points beyond a power of two: else they share a cache set
constexpr int64_t kBlock = 64;   // input channels of a task

/** A function of the shape only, as is the order of every sum. */
struct Plan {
  int64_t tiles, block, blocks, panels, splits, per_split, plane;
};

template <int m, class Product>
Plan make_plan(const Conv2dArgs& a) {
  constexpr int64_t kTiles = Product::tiles;
  Plan p{};
  p.tiles = a.n * ceil_div(a.oh, m) * ceil_div(a.ow, m);
  p.blocks = ceil_div(a.ic, kBlock);
  p.block = round_up(ceil_div(a.ic, p.blocks), Vec::size);
  p.blocks = ceil_div(a.ic, p.block);
  p.panels = ceil_div(a.oc, kNR);
  p.splits = most(1, least(ceil_div(12, p.blocks * p.panels), p.tiles / (4 * kTiles)));
  p.per_split = round_up(ceil_div(most(p.tiles, 1), p.splits), kTiles);
  p.splits = most(1, ceil_div(p.tiles, p.per_split));
  p.plane = p.block * kNR + kSkew;
  return p;
}

template <int m, class Product>
class Task {
 public:
  using Lane = typename Product::Lane;
  static constexpr int64_t points = (m + 2) * (m + 2), kSteps = Product::tiles / Product::values;

  Task(const Conv2dArgs& a, const Plan& p, const float* x, const float* gy, const float* zeros)
      : a_(a), p_(p), grid_{ceil_div(a.oh, m), ceil_div(a.ow, m)}, x_{x, zeros, a.ih, a.iw, a.ic, a.pad_h, a.pad_w},
        gy_{gy, zeros, a.oh, a.ow, a.oc, 0, 0} {}

  int64_t sums() const { return points * p_.plane; }
  int64_t scratch() const { return points * (kSteps * (p_.block + kNR) + 2 * kSkew); }

  /** sums[point][channel of the block][output channel of the panel] over tiles [from, to). */
  void run(int64_t k0, int64_t n0, int64_t from, int64_t to, float* sums, float* scratch) const {
    const int64_t width = panel_width(n0, a_.oc), cols = least(kNR, a_.oc - n0), rows = least(p_.block, a_.ic - k0);
    const int64_t u_plane = kSteps * p_.block + kSkew, w_plane = kSteps * width + kSkew;
    Lane* u = reinterpret_cast<Lane*>(scratch);
    Lane* w = u + points * u_plane;
    for (int64_t t = from; t < to; t += Product::tiles) {
      const int64_t count = least(Product::tiles, to - t);
      Product::template transform<m, false>(x_, grid_, t, t + count, k0, k0 + rows, u, p_.block, u_plane);
      Product::template transform<m, true>(gy_, grid_, t, t + count, n0, n0 + cols, w, width, w_plane);
      for (int64_t point = 0; point < points; ++point)
        Product::multiply(u + point * u_plane, p_.block, rows, ceil_div(count, Product::values), w + point * w_plane, width,
                          sums + point * p_.plane, t > from ? Store::add : Store::set);
    }
  }

  /** Adds up the splits in order and writes gw[output channel][input channel][tap] of channels [c0, c1) of a block. */
  void finish(const float* sums, int64_t split_stride, int64_t k0, int64_t n0, int64_t c0, int64_t c1, float* gw) const {
    constexpr int S = Vec::size, alpha = m + 2;
    const int64_t width = panel_width(n0, a_.oc);
    for (int64_t j = 0; j < width; j += S)
      for (int64_t c = c0; c < c1; c += S) {
        Vec taps[9 * S + S];
        const int64_t count = least(S, c1 - c), run = 9 * count;
        for (int64_t i = 0; i < count; ++i) {
          Vec d[alpha * alpha], half[3 * alpha];
          const float* from = sums + (c + i) * width + j;
          for (int point = 0; point < points; ++point) {
            d[point] = Vec::load(from + point * p_.plane);
            for (int64_t s = 1; s < p_.splits; ++s)
              d[point] = d[point] + Vec::load(from + s * split_stride + point * p_.plane);
          }
          for (int b = 0; b < alpha; ++b) Winograd<m>::template taps<alpha, alpha>(d + b, half + b);
          for (int b = 0; b < 3; ++b) Winograd<m>::template taps<1, 1>(half + b * alpha, taps + i * 9 + b * 3);
        }
        for (int64_t q = run; q < round_up(run, S); ++q) taps[q] = Vec::zero();
        for (int64_t q = 0; q < run; q += S) {
          Vec block[S];
          for (int r = 0; r < S; ++r) block[r] = taps[q + r];
          transpose(block);
          for (int64_t r = 0; r < least(S, a_.oc - n0 - j); ++r)
            block[r].store_partial(gw + ((n0 + j + r) * a_.ic + k0 + c) * 9 + q, least(S, run - q));
        }
      }
  }

 private:
  const Conv2dArgs& a_;
  const Plan& p_;
  TileGrid grid_;
  TileSource x_, gy_;
};

template <int m, class Product>
void weight_grad(const Conv2dArgs& a, const float* x, const float* gy, float* gw, const Parallel& par) {
  const Plan p = make_plan<m, Product>(a);
  const int64_t tasks = p.blocks * p.panels, zero = round_up(most(a.ic, a.oc), Vec::size);
  const int64_t sums = Task<m, Product>(a, p, x, gy, nullptr).sums(), kept = p.splits > 1 ? p.splits * tasks * sums : 0;
  float* shared = par.shared_scratch(static_cast<size_t>(kept + zero) * sizeof(float));
  for (int64_t i = 0; i < zero; ++i) shared[kept + i] = 0.0f;
  const Task<m, Product> task(a, p, x, gy, shared + kept);

  par.run(tasks * p.splits, [&](int64_t i, int thread) {
    const int64_t t = i % tasks, split = i / tasks, n0 = t % p.panels * kNR, k0 = t / p.panels * p.block;
    float* scratch = par.scratch(thread, static_cast<size_t>(task.scratch() + (kept ? 0 : sums)) * sizeof(float));
    float* mine = kept ? shared + i * sums : scratch + task.scratch();
    task.run(k0, n0, split * p.per_split, least(p.tiles, (split + 1) * p.per_split), mine, scratch);
    if (!kept) task.finish(mine, 0, k0, n0, 0, least(p.block, a.ic - k0), gw);
  });
  if (!kept) return;
  const int64_t slices = ceil_div(p.block, Vec::size);
  par.run(tasks * slices, [&](int64_t i, int) {
    const int64_t t = i / slices, c0 = i % slices * Vec::size, n0 = t % p.panels * kNR, k0 = t / p.panels * p.block;
    const int64_t c1 = least(c0 + Vec::size, a.ic - k0);
    if (c0 < c1) task.finish(shared + t * sums, tasks * sums, k0, n0, c0, c1, gw);
  });
}

template <class Product>
void run(const Conv2dArgs& a, int tile, const float* x, const float* gy, float* gw, const Parallel& par) {
  if (tile == 2) weight_grad<2, Product>(a, x, gy, gw, par);
  else weight_grad<4, Product>(a, x, gy, gw, par);
}

}  // namespace cambium::CAMBIUM_ISA::winograd_summing
