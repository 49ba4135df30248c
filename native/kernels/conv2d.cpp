// Convolution forward and input gradient: one indirect GEMM whose rows are pixel pointers, a K-segment per tap.
#include "conv2d.h"

#include "conv2d_depthwise.h"
#include "conv2d_geometry.h"
#include "gemm.h"
#include "winograd.h"

namespace cambium::CAMBIUM_ISA {
namespace {

constexpr int64_t kDepth = 256;       // K taken at once: the chunk of B for a task stays in L2
constexpr int64_t kPatchChannels = 8; // up to this many input channels, taps are copied side by side

struct Problem {
  const Conv2dArgs& args;
  bool backward;
  const float* src;
  const float* weight;
  float* dst;
  int64_t K, N;            // channels of a group: read, written
  int64_t channels, width; // floats per pixel: source, destination
};

struct Plan {
  bool by_position, patches;
  int64_t rows, cols;  // of a task
  int64_t kc, taps;    // channels and taps of a K chunk
};

Plan make_plan(const Problem& p, const Geometry& g) {
  Plan plan{};
  plan.by_position = g.n >= kMR && g.ph * g.pw <= 64;
  plan.patches = p.K <= kPatchChannels && p.args.groups == 1 && p.K * g.taps() <= 1024;
  const int64_t blocks = ceil_div(p.K, kDepth);
  plan.kc = plan.patches ? p.K * g.taps() : round_up(ceil_div(p.K, blocks), 16);
  plan.taps = plan.patches ? 1 : most(1, kDepth / plan.kc);
  plan.rows = 96;
  plan.cols = least(256, round_up(p.N, kNR));
  const auto tasks = [&] { return ceil_div(g.rows(), plan.rows) * ceil_div(p.N, plan.cols) * p.args.groups; };
  while (tasks() < 24 && plan.cols > kNR) plan.cols = round_up(plan.cols / 2, kNR);
  while (tasks() < 24 && plan.rows > 24) plan.rows /= 2;
  plan.rows = round_up(plan.rows, kMR);
  return plan;
}

/** Packs the weights of one group's panel of output channels: [tap][K][width]. */
void pack_weights(const Problem& p, int64_t group, int64_t n, int64_t k0, int64_t k1, float* panel) {
  const int64_t taps = p.args.kh * p.args.kw, width = panel_width(n, p.N), cols = least(kNR, p.N - n);
  constexpr int S = Vec::size;
  if (p.backward) {  // weight [K][N][taps]: transpose N x taps for every K
    for (int64_t k = k0; k < k1; ++k)
      transpose_copy(p.weight + ((group * p.K + k) * p.N + n) * taps, taps, panel + k * width, p.K * width, taps, cols,
                     width);
    return;
  }
  // weight [N][K][taps]: transpose N x (K taps), the rows of the result reordered to [tap][K]
  const float* w = p.weight + (group * p.N + n) * p.K * taps;
  for (int64_t j = 0; j < width; j += S)
    for (int64_t q = k0 * taps; q < k1 * taps; q += S) {
      const int64_t nq = least(S, k1 * taps - q);
      Vec block[S];
      for (int r = 0; r < S; ++r)
        block[r] = j + r < cols ? Vec::load_partial(w + (j + r) * p.K * taps + q, nq) : Vec::zero();
      transpose(block);
      int64_t k = q / taps, tap = q % taps;
      for (int r = 0; r < nq; ++r) {
        block[r].store(panel + (tap * p.K + k) * width + j);
        if (++tap == taps) tap = 0, ++k;
      }
    }
}

class Task {
 public:
  Task(const Problem& p, const Plan& plan, const Geometry& g, const float* packed, const float* zeros,
       const TileSink* sink)
      : p_(p), plan_(plan), g_(g), packed_(packed), zeros_(zeros), sink_(sink) {
    groups_ = ceil_div(plan.rows, kMR), taps_ = plan.patches ? 1 : g.taps();
  }

  size_t scratch_bytes() const {
    const int64_t patch = plan_.patches ? plan_.rows * plan_.kc : 0;
    return static_cast<size_t>(plan_.rows * plan_.cols + patch) * sizeof(float) +
           static_cast<size_t>(groups_ * taps_ * kMR) * sizeof(float*) +
           static_cast<size_t>(groups_ * (taps_ + 1)) * sizeof(int32_t) +
           static_cast<size_t>(plan_.rows) * sizeof(int64_t) + 64;
  }

  void run(int64_t group, int64_t v0, int64_t rows, int64_t n0, int64_t cols, void* scratch, int thread) const {
    Memory m;
    m.tile = static_cast<float*>(scratch);
    m.patch = m.tile + plan_.rows * plan_.cols;
    m.row = reinterpret_cast<int64_t*>(round_up(
        reinterpret_cast<intptr_t>(m.patch + (plan_.patches ? plan_.rows * plan_.kc : 0)), sizeof(int64_t)));
    m.pointers = reinterpret_cast<const float**>(m.row + plan_.rows);
    m.counts = reinterpret_cast<int32_t*>(m.pointers + groups_ * taps_ * kMR);
    m.taps = m.counts + groups_;
    if (plan_.patches) gather_patches(v0, rows, m);
    else gather(group, v0, rows, m);
    multiply(group, rows, n0, cols, m);
    finish(group, rows, n0, cols, m, thread);
  }

 private:
  struct Memory {
    float* tile;
    float* patch;
    const float** pointers;  // [row group][tap that any of its rows has][row]
    int32_t* counts;         // [row group] number of those taps
    int32_t* taps;           // [row group][...] which
    int64_t* row;            // destination pixel of each row
  };

  int64_t pixel(const Position& at) const { return (at.image * g_.ph + at.y) * g_.pw + at.x; }

  void gather_patches(int64_t v0, int64_t rows, const Memory& m) const {
    const bool runs = p_.args.dil_w == 1 && !p_.backward;
    for (int64_t r = 0; r < rows; ++r) {
      const Position at = position_at(g_, plan_.by_position, v0 + r);
      m.row[r] = pixel(at);
      copy_patch(g_, p_.src, p_.channels, at, runs, m.patch + r * plan_.kc);
    }
    for (int64_t i = 0; i < ceil_div(rows, kMR); ++i) {
      m.counts[i] = 1, m.taps[i] = 0;
      for (int64_t r = 0; r < least(kMR, rows - i * kMR); ++r)
        m.pointers[i * kMR + r] = m.patch + (i * kMR + r) * plan_.kc;
    }
  }

  void gather(int64_t group, int64_t v0, int64_t rows, const Memory& m) const {
    const float* src = p_.src + group * p_.K;
    for (int64_t i = 0; i < ceil_div(rows, kMR); ++i) {
      const int64_t count = least(kMR, rows - i * kMR);
      Position at[kMR];
      for (int64_t r = 0; r < count; ++r) {
        at[r] = position_at(g_, plan_.by_position, v0 + i * kMR + r);
        m.row[i * kMR + r] = pixel(at[r]);
      }
      const float** out = m.pointers + i * taps_ * kMR;
      int32_t* taps = m.taps + i * taps_;
      int32_t used = 0;
      for (int64_t ky = 0; ky < g_.kh; ++ky) {
        const float* line[kMR];
        bool any_row = false;
        for (int64_t r = 0; r < count; ++r) {
          const int64_t sy = g_.ys[at[r].y * g_.kh + ky];
          line[r] = sy < 0 ? nullptr : src + (at[r].image * g_.sh + sy) * g_.sw * p_.channels;
          any_row |= sy >= 0;
        }
        if (!any_row) continue;
        for (int64_t kx = 0; kx < g_.kw; ++kx) {
          bool any = false;
          for (int64_t r = 0; r < count; ++r) {
            const int64_t sx = g_.xs[at[r].x * g_.kw + kx];
            const bool hit = line[r] && sx >= 0;
            out[r] = hit ? line[r] + sx * p_.channels : zeros_;
            any |= hit;
          }
          if (!any) continue;  // padding for every row: nothing to multiply
          taps[used++] = static_cast<int32_t>(ky * g_.kw + kx);
          out += count;
        }
      }
      m.counts[i] = used;
    }
  }

  void multiply(int64_t group, int64_t rows, int64_t n0, int64_t cols, const Memory& m) const {
    const int64_t K = plan_.patches ? plan_.kc : p_.K, depth = K * taps_;
    const float* weights = packed_ + group * depth * round_up(p_.N, Vec::size);
    for (int64_t k = 0; k < K; k += plan_.kc)
      for (int64_t tap = 0; tap < taps_; tap += plan_.taps) {
        const bool first = k == 0 && tap == 0;
        for (int64_t n = n0; n < n0 + cols; n += kNR) {
          const int64_t width = panel_width(n, p_.N), vectors = width / Vec::size;
          const float* panel = weights + n * depth + k * width;
          for (int64_t i = 0; i < ceil_div(rows, kMR); ++i) {
            const int64_t count = least(kMR, rows - i * kMR);
            const int32_t* taps = m.taps + i * taps_;
            int64_t lo = 0, hi = m.counts[i];
            if (plan_.taps < taps_) {
              while (lo < hi && taps[lo] < tap) ++lo;
              int64_t end = lo;
              while (end < hi && taps[end] < tap + plan_.taps) ++end;
              hi = end;
            }
            if (lo == hi && !first) continue;
            rows_kernel(count, vectors)(
                MicroRows{hi - lo, m.pointers + i * taps_ * kMR + lo * count, taps + lo, k, least(plan_.kc, K - k), panel,
                          K * width, width},
                MicroC{m.tile + i * kMR * plan_.cols + n - n0, plan_.cols, width, first ? Store::set : Store::add});
          }
        }
      }
  }

  void finish(int64_t group, int64_t rows, int64_t n0, int64_t cols, const Memory& m, int thread) const {
    const int64_t col = group * p_.N + n0;
    if (!sink_) {
      for (int64_t r = 0; r < rows; ++r)
        row_copy(m.tile + r * plan_.cols, 0, p_.dst + m.row[r] * p_.width + col, 0, 1, cols, cols);
      return;
    }
    for (int64_t r = 0; r < rows;) {  // runs of equally spaced pixels
      const int64_t stride = r + 1 < rows ? m.row[r + 1] - m.row[r] : 1;
      int64_t end = r + 1;
      while (end < rows && m.row[end] - m.row[end - 1] == stride) ++end;
      sink_->run(sink_->ctx, thread, m.row[r], stride, end - r, col, cols, m.tile + r * plan_.cols, plan_.cols);
      r = end;
    }
  }

  const Problem& p_;
  const Plan& plan_;
  const Geometry& g_;
  const float* packed_;
  const float* zeros_;
  const TileSink* sink_;
  int64_t groups_, taps_;
};

void convolve(const Problem& p, const Parallel& par, const TileSink* sink) {
  const Conv2dArgs& a = p.args;
  if (p.K <= 0 || a.kh <= 0 || a.kw <= 0) {  // empty sums: the product with K = 0 is zero
    const int64_t pixels = a.n * (p.backward ? a.ih * a.iw : a.oh * a.ow);
    return gemm({1, pixels, p.width, 0, false, false, 0, p.width, p.width, 0, 0, 0, nullptr, nullptr, p.dst}, par, sink);
  }
  const int64_t taps = a.kh * a.kw, padded = round_up(p.N, Vec::size), panels = ceil_div(p.N, kNR);
  const int64_t weights = a.groups * taps * p.K * padded, zero = round_up(most(p.K, 1), 16);
  float* packed = par.shared_scratch(static_cast<size_t>(weights + zero + geometry_floats(a)) * sizeof(float));
  float* zeros = packed + weights;
  for (int64_t i = 0; i < zero; ++i) zeros[i] = 0.0f;
  const Geometry g = make_geometry(a, p.backward, zeros + zero);

  constexpr int64_t slice = 32;
  const int64_t slices = most(1, ceil_div(p.K, slice));
  par.run(a.groups * panels * slices, [&](int64_t t, int) {
    const int64_t group = t / slices / panels, n = t / slices % panels * kNR, k = t % slices * slice;
    pack_weights(p, group, n, k, least(p.K, k + slice), packed + group * taps * p.K * padded + n * taps * p.K);
  });

  const Plan plan = make_plan(p, g);
  const Task task(p, plan, g, packed, zeros, sink);
  const int64_t row_blocks = ceil_div(g.rows(), plan.rows), col_blocks = ceil_div(p.N, plan.cols);
  par.run(a.groups * row_blocks * col_blocks, [&](int64_t t, int thread) {
    const int64_t v0 = t % row_blocks * plan.rows, n0 = t / row_blocks % col_blocks * plan.cols;
    task.run(t / row_blocks / col_blocks, v0, least(plan.rows, g.rows() - v0), n0, least(plan.cols, p.N - n0),
             par.scratch(thread, task.scratch_bytes()), thread);
  });
}

}  // namespace

void conv2d_forward(const Conv2dArgs& a, const float* x, const float* weight, float* y, const Parallel& par,
                    const TileSink* sink) {
  if (a.n <= 0 || a.oh <= 0 || a.ow <= 0 || a.oc <= 0) return;
  if (pointwise(a)) {
    return gemm({1, a.n * a.oh * a.ow, a.oc, a.ic, false, true, a.ic, a.ic, a.oc, 0, 0, 0, x, weight, y}, par, sink);
  }
  if (depthwise(a)) return depthwise_gather(a, false, x, weight, y, par, sink);
  if (const int tile = winograd_tile(a, ConvPass::forward))
    return winograd_gather(a, tile, false, x, weight, y, par, sink);
  convolve({a, false, x, weight, y, a.ic / a.groups, a.oc / a.groups, a.ic, a.oc}, par, sink);
}

void conv2d_input_grad(const Conv2dArgs& a, const float* gy, const float* weight, float* gx, const Parallel& par,
                       const TileSink* sink) {
  if (a.n <= 0 || a.ih <= 0 || a.iw <= 0 || a.ic <= 0) return;
  if (pointwise(a)) {
    return gemm({1, a.n * a.ih * a.iw, a.ic, a.oc, false, false, a.oc, a.ic, a.ic, 0, 0, 0, gy, weight, gx}, par, sink);
  }
  if (depthwise(a)) return depthwise_gather(a, true, gy, weight, gx, par, sink);
  if (const int tile = winograd_tile(a, ConvPass::input_grad))
    return winograd_gather(a, tile, true, gy, weight, gx, par, sink);
  convolve({a, true, gy, weight, gx, a.oc / a.groups, a.ic / a.groups, a.oc, a.ic}, par, sink);
}

}  // namespace cambium::CAMBIUM_ISA
