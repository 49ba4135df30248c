// Winograd's convolution, forward and input gradient: tiles transformed, a product per point, tiles transformed back.
// The transforms are f32; `Product` says how transformed values are kept and multiplied.
#pragma once

#include "gemm_pack.h"
#include "winograd.h"
#include "winograd_transform.h"

namespace cambium::CAMBIUM_ISA::winograd_gathering {

constexpr int64_t kSkew = 16;        // floats between points beyond a power of two: else they share a cache set
constexpr int64_t kPanelDepth = 32;  // K taken at once where the weights are transformed as they are used
constexpr int64_t kDepth = 256;

struct Problem {
  bool backward;
  TileSource src;
  TileGrid grid;
  int64_t n, ph, pw;  // images, and their output pixels
  const float* weight;
  float* dst;
  int64_t K, N;  // channels read, written
  const TileSink* sink;

  int64_t tiles() const { return n * grid.per_image(); }
};

/** How the work is cut. Sums depend on `by_panel` and `depth` only, and those on the shape only. */
struct Plan {
  bool by_panel;   // few tiles, many channels: a task is a panel of N, whose weights only it transforms
  int64_t depth;   // K of a product
  int64_t tiles;   // tiles of a task (by_panel: of all tasks)
  int64_t cols;    // N at once
};

template <int m>
Plan make_plan(const Problem& p, int threads) {
  Plan plan{};
  const int64_t tiles = p.tiles();
  plan.by_panel = tiles <= 64 && p.N >= 4 * kNR && p.K >= 64;
  if (plan.by_panel) {
    plan.depth = kPanelDepth, plan.cols = kNR, plan.tiles = round_up(tiles, kMR);
    return plan;
  }
  plan.depth = kDepth;
  plan.cols = least(p.K > 128 ? 2 * kNR : kNR, round_up(p.N, Vec::size));
  plan.tiles = p.K > 128 ? 96 : p.K > 32 ? 48 : 24;
  if (m == 2) plan.tiles *= 2;
  while (ceil_div(tiles, plan.tiles) < 4 * threads && plan.tiles > 24) plan.tiles /= 2;
  return plan;
}

/** Weights of columns [n, n + width) and channels [k0, k1), k0 even, to v[point][k][width], `plane` lanes a point. */
template <int m, class Product>
void transform_weights(const Problem& p, int64_t n, int64_t k0, int64_t k1, typename Product::Lane* v, int64_t plane) {
  constexpr int S = Vec::size, alpha = m + 2;
  const int64_t width = panel_width(n, p.N), group = p.backward ? Product::values : S;
  Vec block[S], taps[9 * S + S];
  for (int64_t j = 0; j < width; j += S) {
    const int64_t cols = most(0, least(S, p.N - n - j));
    for (int64_t k = k0; k < k1; k += group) {
      const int64_t count = least(group, k1 - k);
      // Forward [N][K][9]: long runs of each row. Backward [K][N][9]: nine taps of each.
      const int64_t parts = p.backward ? count : 1, run = 9 * count / parts, ld = p.backward ? 9 : p.K * 9;
      for (int64_t part = 0; part < parts; ++part) {
        const float* w = p.backward ? p.weight + ((k + part) * p.N + n + j) * 9 : p.weight + ((n + j) * p.K + k) * 9;
        if (p.backward)  // rows too far apart for the processor to foresee
          for (int64_t i = 0; i < 9 * S; i += 16) __builtin_prefetch(w + 6 * p.N * 9 + i);
        for (int64_t q = 0; q < run; q += S) {
          const int64_t left = least(S, run - q);
          for (int r = 0; r < S; ++r) block[r] = r < cols ? Vec::load_partial(w + r * ld + q, left) : Vec::zero();
          transpose(block);
          for (int r = 0; r < S; ++r) taps[part * 9 + q + r] = block[r];
        }
      }
      const auto points = [&](int64_t i, Vec* out) {
        Vec g[9], half[alpha * 3];
#pragma GCC unroll 9
        for (int t = 0; t < 9; ++t) g[t] = taps[i * 9 + (p.backward ? 8 - t : t)];
#pragma GCC unroll 3
        for (int t = 0; t < 3; ++t) Winograd<m>::template kernel<3, 3>(g + t, half + t);
#pragma GCC unroll 6
        for (int a = 0; a < alpha; ++a) Winograd<m>::template kernel<1, 1>(half + a * 3, out + a * alpha);
      };
      for (int64_t i = 0; i < count; i += Product::values) {
        Vec out[Product::values][alpha * alpha];
        for (int64_t r = 0; r < Product::values; ++r) {
          if (i + r < count) points(i + r, out[r]);
          else for (Vec& x : out[r]) x = Vec::zero();
        }
        typename Product::Lane* to = v + (k - k0 + i) / Product::values * width + j;
#pragma GCC unroll 36
        for (int a = 0; a < alpha * alpha; ++a) Product::put(out[0][a], out[Product::values - 1][a], to + a * plane);
      }
    }
  }
}

template <int m>
class Output {
 public:
  static constexpr int alpha = m + 2;
  Output(const Problem& p, int64_t cols) : p_(p), cols_(cols) {}

  /** Room for a row of tiles, if there is a sink. */
  size_t floats() const { return p_.sink ? static_cast<size_t>(m * p_.grid.cols * m * cols_) : 0; }

  /** Transforms the products of tiles [t0, t1) back and hands on columns [n0, n0 + cols), a row of tiles at a time. */
  void run(const float* products, int64_t ld, int64_t plane, int64_t t0, int64_t t1, int64_t n0, int64_t cols,
           float* buffer, int thread) const {
    for (int64_t t = t0; t < t1;) {
      const int64_t image = t / p_.grid.per_image(), ty = t / p_.grid.cols % p_.grid.rows, tx = t % p_.grid.cols;
      const int64_t count = least(p_.grid.cols - tx, t1 - t), width = least(count * m, p_.pw - tx * m);
      const int64_t height = least(m, p_.ph - ty * m), row0 = (image * p_.ph + ty * m) * p_.pw + tx * m;
      const bool sink = p_.sink != nullptr;
      float* out = sink ? buffer : p_.dst + row0 * p_.N + n0;
      const int64_t pixel = sink ? cols_ : p_.N, line = sink ? width * cols_ : p_.pw * p_.N;
      for (int64_t i = 0; i < count; ++i)
        tile(products + (t - t0 + i) * ld, plane, height, least(m, width - i * m), cols, out + i * m * pixel, line, pixel);
      if (sink) {
        if (width == p_.pw) {
          p_.sink->run(p_.sink->ctx, thread, row0, 1, height * width, n0, cols, buffer, cols_);
        } else {
          for (int64_t y = 0; y < height; ++y)
            p_.sink->run(p_.sink->ctx, thread, row0 + y * p_.pw, 1, width, n0, cols, buffer + y * line, cols_);
        }
      }
      t += count;
    }
  }

 private:
  static void tile(const float* products, int64_t plane, int64_t height, int64_t width, int64_t cols, float* out,
                   int64_t line, int64_t pixel) {
    for (int64_t c = 0; c < cols; c += Vec::size) {
      Vec d[alpha * alpha], half[m * alpha], y[m * m];
#pragma GCC unroll 36
      for (int i = 0; i < alpha * alpha; ++i) d[i] = Vec::load(products + i * plane + c);
#pragma GCC unroll 6
      for (int j = 0; j < alpha; ++j) Winograd<m>::template output<alpha, alpha>(d + j, half + j);
#pragma GCC unroll 4
      for (int i = 0; i < m; ++i) Winograd<m>::template output<1, 1>(half + i * alpha, y + i * m);
      if (height == m && width == m && c + Vec::size <= cols) {
#pragma GCC unroll 16
        for (int i = 0; i < m * m; ++i) y[i].store(out + i / m * line + i % m * pixel + c);
      } else {
        for (int64_t i = 0; i < height; ++i)
          for (int64_t j = 0; j < width; ++j)
            y[i * m + j].store_partial(out + i * line + j * pixel + c, least(Vec::size, cols - c));
      }
    }
  }

  const Problem& p_;
  int64_t cols_;
};

/** Every task transforms its own tiles; the weights are transformed once for all. */
template <int m, class Product>
void run_by_tiles(const Problem& p, const Plan& plan, float* shared, const Parallel& par) {
  using Lane = typename Product::Lane;
  constexpr int64_t points = (m + 2) * (m + 2), values = Product::values;
  Lane* v = reinterpret_cast<Lane*>(shared);
  const int64_t depth = ceil_div(p.K, values), padded = round_up(p.N, Vec::size), v_plane = depth * padded + kSkew;
  const int64_t panels = ceil_div(p.N, kNR), slices = ceil_div(p.K, 32);
  par.run(panels * slices, [&](int64_t task, int) {
    const int64_t n = task / slices * kNR, k = task % slices * 32;
    transform_weights<m, Product>(p, n, k, least(p.K, k + 32), v + n * depth + k / values * panel_width(n, p.N), v_plane);
  });

  const int64_t ldu = round_up(p.K, values * Vec::size) / values, u_plane = plan.tiles * ldu + kSkew;
  const int64_t ldc = plan.cols, c_plane = plan.tiles * ldc + kSkew;
  const Output<m> output(p, plan.cols);
  const size_t bytes = (static_cast<size_t>(points * (u_plane + c_plane)) + output.floats()) * sizeof(float);
  par.run(ceil_div(p.tiles(), plan.tiles), [&](int64_t task, int thread) {
    Lane* u = reinterpret_cast<Lane*>(par.scratch(thread, bytes));
    float* products = reinterpret_cast<float*>(u + points * u_plane);
    const int64_t t0 = task * plan.tiles, t1 = least(p.tiles(), t0 + plan.tiles);
    Product::template transform<m>(p.src, p.grid, t0, t1, p.K, u, ldu, u_plane);
    for (int64_t n0 = 0; n0 < p.N; n0 += plan.cols) {
      for (int64_t point = 0; point < points; ++point)
        for (int64_t k = 0; k < p.K; k += plan.depth)
          for (int64_t n = n0; n < least(p.N, n0 + plan.cols); n += kNR) {
            const int64_t width = panel_width(n, p.N);
            Product::multiply(u + point * u_plane + k / values, ldu, t1 - t0, ceil_div(least(plan.depth, p.K - k), values),
                              v + point * v_plane + n * depth + k / values * width, width, point + 1 < points ? v_plane : 0,
                              products + point * c_plane + n - n0, ldc, k ? Store::add : Store::set);
          }
      output.run(products, ldc, c_plane, t0, t1, n0, least(plan.cols, p.N - n0), products + points * c_plane, thread);
    }
  });
}

/** All tiles are transformed first; every task transforms the weights of its panel as it goes. */
template <int m, class Product>
void run_by_panels(const Problem& p, const Plan& plan, float* shared, const Parallel& par) {
  using Lane = typename Product::Lane;
  constexpr int64_t points = (m + 2) * (m + 2), values = Product::values;
  Lane* u = reinterpret_cast<Lane*>(shared);
  const int64_t ldu = round_up(p.K, values * Vec::size) / values, u_plane = plan.tiles * ldu + kSkew, tiles = p.tiles();
  constexpr int64_t per_task = 4;
  par.run(ceil_div(tiles, per_task), [&](int64_t task, int) {
    const int64_t t0 = task * per_task;
    Product::template transform<m>(p.src, p.grid, t0, least(tiles, t0 + per_task), p.K, u + t0 * ldu, ldu, u_plane);
  });

  const int64_t v_plane = plan.depth / values * kNR + kSkew, c_plane = plan.tiles * kNR + kSkew;
  const Output<m> output(p, plan.cols);
  const size_t bytes = (static_cast<size_t>(points * (v_plane + c_plane)) + output.floats()) * sizeof(float);
  par.run(ceil_div(p.N, kNR), [&](int64_t task, int thread) {
    Lane* v = reinterpret_cast<Lane*>(par.scratch(thread, bytes));
    float* products = reinterpret_cast<float*>(v + points * v_plane);
    const int64_t n = task * kNR, width = panel_width(n, p.N);
    for (int64_t k = 0; k < p.K; k += plan.depth) {
      const int64_t kc = least(plan.depth, p.K - k);
      transform_weights<m, Product>(p, n, k, k + kc, v, v_plane);
      for (int64_t point = 0; point < points; ++point)
        Product::multiply(u + point * u_plane + k / values, ldu, tiles, ceil_div(kc, values), v + point * v_plane, width, 0,
                          products + point * c_plane, kNR, k ? Store::add : Store::set);
    }
    output.run(products, kNR, c_plane, 0, tiles, n, least(kNR, p.N - n), products + points * c_plane, thread);
  });
}

template <int m, class Product>
void gather(Problem p, const Parallel& par) {
  p.grid = {ceil_div(p.ph, m), ceil_div(p.pw, m)};
  constexpr int64_t points = (m + 2) * (m + 2);
  const Plan plan = make_plan<m>(p, par.threads());
  constexpr int64_t values = Product::values;
  const int64_t zero = round_up(p.K, values * Vec::size);
  const int64_t kept = plan.by_panel ? points * (plan.tiles * zero / values + kSkew)
                                     : points * (ceil_div(p.K, values) * round_up(p.N, Vec::size) + kSkew);
  float* shared = par.shared_scratch(static_cast<size_t>(kept + zero) * sizeof(float));
  for (int64_t i = 0; i < zero; ++i) shared[kept + i] = 0.0f;
  p.src.zeros = shared + kept;
  if (plan.by_panel) run_by_panels<m, Product>(p, plan, shared, par);
  else run_by_tiles<m, Product>(p, plan, shared, par);
}

/** Forward, or with `backward` the input gradient: src is x or gy, dst y or gx. */
template <class Product>
void run(const Conv2dArgs& a, int tile, bool backward, const float* src, const float* weight, float* dst,
         const Parallel& par, const TileSink* sink) {
  // The input gradient is the convolution of gy with the weights turned by 180 degrees, padded by what remains of 2.
  const TileSource source = backward ? TileSource{src, nullptr, a.oh, a.ow, a.oc, 2 - a.pad_h, 2 - a.pad_w}
                                     : TileSource{src, nullptr, a.ih, a.iw, a.ic, a.pad_h, a.pad_w};
  const Problem p{backward, source, {}, a.n, backward ? a.ih : a.oh, backward ? a.iw : a.ow, weight, dst,
                  backward ? a.oc : a.ic, backward ? a.ic : a.oc, sink};
  if (tile == 2) gather<2, Product>(p, par);
  else gather<4, Product>(p, par);
}

}  // namespace cambium::CAMBIUM_ISA::winograd_gathering
