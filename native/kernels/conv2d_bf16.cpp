// Convolution of operands rounded to bf16, forward and input gradient: as conv2d.cpp's indirect GEMM, over channel pairs.
// The source is rounded once, each pixel's channels of a group padded to whole pairs.
#include "conv2d_bf16.h"

#include "conv2d_geometry.h"
#include "gemm_bf16.h"
#include "gemm_bf16_pack.h"
#include "winograd.h"
#include "winograd_bf16.h"

namespace cambium::CAMBIUM_ISA {
namespace {

constexpr int64_t kDepth = 256;  // pairs of K taken at once: the chunk of B for a task stays in L2
constexpr int64_t kSlice = 32;   // channels of the weights packed by a task; even

struct Problem {
  const Conv2dArgs& args;
  bool backward;
  const float* src;
  const float* weight;
  float* dst;
  int64_t K, N;            // channels of a group: read, written
  int64_t channels, width; // floats per pixel: source, destination
  int64_t pairs() const { return ceil_div(K, 2); }
};

struct Plan {
  bool by_position;
  int64_t rows, cols;  // of a task
  int64_t kc, taps;    // pairs and taps of a K chunk
};

Plan make_plan(const Problem& p, const Geometry& g) {
  Plan plan{};
  plan.by_position = g.n >= kMR && g.ph * g.pw <= 64;
  const int64_t blocks = ceil_div(p.pairs(), kDepth);
  plan.kc = round_up(ceil_div(p.pairs(), blocks), 16);
  plan.taps = most(1, kDepth / plan.kc);
  plan.rows = 96;
  plan.cols = least(256, round_up(p.N, kNR));
  const auto tasks = [&] { return ceil_div(g.rows(), plan.rows) * ceil_div(p.N, plan.cols) * p.args.groups; };
  while (tasks() < 24 && plan.cols > kNR) plan.cols = round_up(plan.cols / 2, kNR);
  while (tasks() < 24 && plan.rows > 24) plan.rows /= 2;
  plan.rows = round_up(plan.rows, kMR);
  return plan;
}

/** Packs channels [k0, k1) of one panel of output channels as pairs: [tap][pair][width]. k0 is even. */
void pack_weights(const Problem& p, int64_t group, int64_t n, int64_t k0, int64_t k1, float* scratch, int32_t* panel) {
  const int64_t taps = p.args.kh * p.args.kw, width = panel_width(n, p.N), cols = least(kNR, p.N - n);
  constexpr int S = Vec::size;
  const auto row = [&](int64_t tap, int64_t k) { return scratch + (tap * kSlice + k - k0) * width; };
  if (p.backward) {  // weight [K][N][taps]
    for (int64_t k = k0; k < k1; ++k)
      transpose_copy(p.weight + ((group * p.K + k) * p.N + n) * taps, taps, row(0, k), kSlice * width, taps, cols,
                     width);
  } else {  // weight [N][K][taps]
    const float* w = p.weight + (group * p.N + n) * p.K * taps;
    for (int64_t j = 0; j < width; j += S)
      for (int64_t q = k0 * taps; q < k1 * taps; q += S) {
        const int64_t nq = least(S, k1 * taps - q);
        Vec block[S];
        for (int r = 0; r < S; ++r)
          block[r] = j + r < cols ? Vec::load_partial(w + (j + r) * p.K * taps + q, nq) : Vec::zero();
        transpose(block);
        for (int r = 0; r < nq; ++r) block[r].store(row((q + r) % taps, (q + r) / taps) + j);
      }
  }
  for (int64_t tap = 0; tap < taps; ++tap)
    pack_pairs_across(row(tap, k0), width, panel + (tap * p.pairs() + k0 / 2) * width, width, k1 - k0, width, width);
}

class Task {
 public:
  Task(const Problem& p, const Plan& plan, const Geometry& g, const int32_t* source, const int32_t* packed,
       const int32_t* zeros, const TileSink* sink)
      : p_(p), plan_(plan), g_(g), source_(source), packed_(packed), zeros_(zeros), sink_(sink),
        groups_(ceil_div(plan.rows, kMR)), taps_(g.taps()) {}

  size_t scratch_bytes() const {
    return static_cast<size_t>(plan_.rows * plan_.cols) * sizeof(float) +
           static_cast<size_t>(groups_ * taps_ * kMR) * sizeof(int32_t*) +
           static_cast<size_t>(groups_ * (taps_ + 1)) * sizeof(int32_t) +
           static_cast<size_t>(plan_.rows) * sizeof(int64_t) + 64;
  }

  void run(int64_t group, int64_t v0, int64_t rows, int64_t n0, int64_t cols, void* scratch, int thread) const {
    Memory m;
    m.tile = static_cast<float*>(scratch);
    m.row = reinterpret_cast<int64_t*>(m.tile + plan_.rows * plan_.cols);
    m.pointers = reinterpret_cast<const int32_t**>(m.row + plan_.rows);
    m.counts = reinterpret_cast<int32_t*>(m.pointers + groups_ * taps_ * kMR);
    m.taps = m.counts + groups_;
    gather(group, v0, rows, m);
    multiply(group, rows, n0, cols, m);
    finish(group, rows, n0, cols, m, thread);
  }

 private:
  struct Memory {
    float* tile;
    const int32_t** pointers;  // [row group][tap that any of its rows has][row]
    int32_t* counts;           // [row group] number of those taps
    int32_t* taps;             // [row group][...] which
    int64_t* row;              // destination pixel of each row
  };

  void gather(int64_t group, int64_t v0, int64_t rows, const Memory& m) const {
    const int64_t pixel = p_.args.groups * p_.pairs();
    const int32_t* src = source_ + group * p_.pairs();
    for (int64_t i = 0; i < ceil_div(rows, kMR); ++i) {
      const int64_t count = least(kMR, rows - i * kMR);
      Position at[kMR];
      for (int64_t r = 0; r < count; ++r) {
        at[r] = position_at(g_, plan_.by_position, v0 + i * kMR + r);
        m.row[i * kMR + r] = (at[r].image * g_.ph + at[r].y) * g_.pw + at[r].x;
      }
      const int32_t** out = m.pointers + i * taps_ * kMR;
      int32_t* taps = m.taps + i * taps_;
      int32_t used = 0;
      for (int64_t tap = 0; tap < taps_; ++tap) {
        const int64_t ky = tap / g_.kw, kx = tap % g_.kw;
        bool any = false;
        for (int64_t r = 0; r < count; ++r) {
          const int64_t sy = g_.ys[at[r].y * g_.kh + ky], sx = g_.xs[at[r].x * g_.kw + kx];
          const bool hit = (sy | sx) >= 0;
          out[r] = hit ? src + ((at[r].image * g_.sh + sy) * g_.sw + sx) * pixel : zeros_;
          any |= hit;
        }
        if (!any) continue;  // padding for every row: nothing to multiply
        taps[used++] = static_cast<int32_t>(tap);
        out += count;
      }
      m.counts[i] = used;
    }
  }

  void multiply(int64_t group, int64_t rows, int64_t n0, int64_t cols, const Memory& m) const {
    const int64_t K = p_.pairs(), depth = K * taps_;
    const int32_t* weights = packed_ + group * depth * round_up(p_.N, Vec::size);
    for (int64_t k = 0; k < K; k += plan_.kc)
      for (int64_t tap = 0; tap < taps_; tap += plan_.taps) {
        const bool first = k == 0 && tap == 0;
        for (int64_t n = n0; n < n0 + cols; n += kNR) {
          const int64_t width = panel_width(n, p_.N);
          const int32_t* panel = weights + n * depth + k * width;
          for (int64_t i = 0; i < ceil_div(rows, kMR); ++i) {
            const int64_t count = least(kMR, rows - i * kMR);
            const int32_t* taps = m.taps + i * taps_;
            int64_t lo = 0, hi = m.counts[i];
            while (lo < hi && taps[lo] < tap) ++lo;
            int64_t end = lo;
            while (end < hi && taps[end] < tap + plan_.taps) ++end;
            if (lo == end && !first) continue;
            pair_rows_kernel(count, width / Vec::size)(
                PairRows{end - lo, m.pointers + i * taps_ * kMR + lo * count, taps + lo, k, least(plan_.kc, K - k),
                         panel, K * width, width},
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
  const int32_t* source_;
  const int32_t* packed_;
  const int32_t* zeros_;
  const TileSink* sink_;
  int64_t groups_, taps_;
};

void convolve(const Problem& p, const Parallel& par, const TileSink* sink) {
  const Conv2dArgs& a = p.args;
  const int64_t taps = a.kh * a.kw, padded = round_up(p.N, Vec::size), panels = ceil_div(p.N, kNR), K = p.pairs();
  const int64_t pixels = a.n * (p.backward ? a.oh * a.ow : a.ih * a.iw), weights = a.groups * taps * K * padded;
  const int64_t values = round_up(pixels * a.groups * K, 16), zero = round_up(K, 16);
  float* shared = par.shared_scratch(static_cast<size_t>(weights + values + zero + geometry_floats(a)) * sizeof(float));
  int32_t* packed = reinterpret_cast<int32_t*>(shared);
  int32_t* source = packed + weights;
  int32_t* zeros = source + values;
  for (int64_t i = 0; i < zero; ++i) zeros[i] = 0;
  const Geometry g = make_geometry(a, p.backward, shared + weights + values + zero);

  constexpr int64_t run = 512;  // pixels
  par.run(ceil_div(pixels, run), [&](int64_t t, int) {
    const int64_t count = least(run, pixels - t * run);
    for (int64_t group = 0; group < a.groups; ++group)
      pack_pairs_along(p.src + t * run * p.channels + group * p.K, p.channels,
                       source + (t * run * a.groups + group) * K, a.groups * K, count, p.K);
  });
  const int64_t slices = ceil_div(p.K, kSlice);
  par.run(a.groups * panels * slices, [&](int64_t t, int thread) {
    const int64_t group = t / slices / panels, n = t / slices % panels * kNR, k = t % slices * kSlice;
    pack_weights(p, group, n, k, least(p.K, k + kSlice),
                 par.scratch(thread, static_cast<size_t>(taps * kSlice * kNR) * sizeof(float)),
                 packed + group * taps * K * padded + n * taps * K);
  });

  const Plan plan = make_plan(p, g);
  const Task task(p, plan, g, source, packed, zeros, sink);
  const int64_t row_blocks = ceil_div(g.rows(), plan.rows), col_blocks = ceil_div(p.N, plan.cols);
  par.run(a.groups * row_blocks * col_blocks, [&](int64_t t, int thread) {
    const int64_t v0 = t % row_blocks * plan.rows, n0 = t / row_blocks % col_blocks * plan.cols;
    task.run(t / row_blocks / col_blocks, v0, least(plan.rows, g.rows() - v0), n0, least(plan.cols, p.N - n0),
             par.scratch(thread, task.scratch_bytes()), thread);
  });
}

}  // namespace

void conv2d_forward_bf16(const Conv2dArgs& a, const float* x, const float* weight, float* y, const Parallel& par,
                         const TileSink* sink) {
  if (a.n <= 0 || a.oh <= 0 || a.ow <= 0 || a.oc <= 0) return;
  if (pointwise(a))
    return gemm_bf16({1, a.n * a.oh * a.ow, a.oc, a.ic, false, true, a.ic, a.ic, a.oc, 0, 0, 0, x, weight, y}, par, sink);
  if (const int tile = winograd_tile_bf16(a, ConvPass::forward))
    return winograd_gather_bf16(a, tile, false, x, weight, y, par, sink);
  convolve({a, false, x, weight, y, a.ic / a.groups, a.oc / a.groups, a.ic, a.oc}, par, sink);
}

void conv2d_input_grad_bf16(const Conv2dArgs& a, const float* gy, const float* weight, float* gx, const Parallel& par,
                            const TileSink* sink) {
  if (a.n <= 0 || a.ih <= 0 || a.iw <= 0 || a.ic <= 0) return;
  if (pointwise(a))
    return gemm_bf16({1, a.n * a.ih * a.iw, a.ic, a.oc, false, false, a.oc, a.ic, a.ic, 0, 0, 0, gy, weight, gx}, par, sink);
  if (const int tile = winograd_tile_bf16(a, ConvPass::input_grad))
    return winograd_gather_bf16(a, tile, true, gy, weight, gx, par, sink);
  convolve({a, true, gy, weight, gx, a.oc / a.groups, a.ic / a.groups, a.oc, a.ic}, par, sink);
}

}  // namespace cambium::CAMBIUM_ISA
