// Weight gradient of convolution with operands rounded to bf16: per tap, input channels x output channels summed over
// pairs of pixels. A pair that the tap misses wholly is skipped; a pixel it misses counts as zeros.
#include "conv2d_bf16.h"
#include "conv2d_geometry.h"
#include "gemm_bf16_pack.h"
#include "winograd.h"
#include "winograd_bf16.h"

namespace cambium::CAMBIUM_ISA {
namespace {

constexpr int64_t kPixels = 256;  // output pixels taken at once: their gradients stay in L1 and L2; even
constexpr int64_t kPairs = kPixels / 2;
constexpr int64_t kWide = 2;  // panels of output channels that share what a task gathers

struct Plan {
  int64_t K, N;         // input and output channels of a group
  int64_t block;        // input channels of a task
  int64_t blocks, panels, splits, per_split;  // panels: kWide or fewer of kNR output channels
  int64_t rows;         // rows of the sums of a task: [tap][input channel]
};

Plan make_plan(const Conv2dArgs& a) {
  Plan p{};
  const int64_t taps = a.kh * a.kw, pixels = a.n * a.oh * a.ow;
  p.K = a.ic / a.groups, p.N = a.oc / a.groups;
  p.blocks = most(1, ceil_div(p.K, 96));
  p.block = round_up(ceil_div(p.K, p.blocks), p.blocks > 1 ? kMR : 1);
  p.blocks = ceil_div(p.K, p.block);
  p.panels = ceil_div(p.N, kWide * kNR);
  const int64_t tasks = p.blocks * p.panels * a.groups;
  p.splits = most(1, least(ceil_div(32, tasks), pixels / (2 * kPixels)));
  p.per_split = round_up(ceil_div(most(pixels, 1), p.splits), kPixels);
  p.splits = most(1, ceil_div(pixels, p.per_split));
  p.rows = taps * p.block;
  return p;
}

class Task {
 public:
  Task(const Conv2dArgs& a, const Plan& p, const Geometry& g, const float* x, const float* gy)
      : a_(a), p_(p), g_(g), x_(x), gy_(gy) {}

  size_t scratch_bytes(bool sums) const {
    return static_cast<size_t>((sums ? p_.rows * kNR * kWide : 0) + kPairs * kNR * kWide + kPairs * round_up(p_.block, Vec::size)) *
               sizeof(float) +
           kPixels * sizeof(Position) + kPairs * sizeof(int32_t) + 64;
  }

  /** sums[panel][(tap * block + channel) * width + output channel] over the pixels [from, to). */
  void run(int64_t group, int64_t k0, int64_t n0, int64_t from, int64_t to, float* sums, float* scratch) const {
    const int64_t wide = least(kWide, ceil_div(p_.N - n0, kNR)), rows = least(p_.block, p_.K - k0);
    int32_t* gy = reinterpret_cast<int32_t*>(scratch);
    int32_t* x = gy + kPairs * kNR * kWide;
    const int64_t ld = round_up(p_.block, Vec::size);
    Position* at = reinterpret_cast<Position*>(x + kPairs * ld);
    int32_t* index = reinterpret_cast<int32_t*>(at + kPixels);
    for (int64_t i = 0; i < p_.rows * kNR * wide; ++i) sums[i] = 0.0f;
    for (int64_t v = from; v < to; v += kPixels) {
      const int64_t pixels = least(kPixels, to - v);
      for (int64_t q = 0; q < wide; ++q) {
        const int64_t n = n0 + q * kNR, width = panel_width(n, p_.N);
        pack_pairs_across(gy_ + v * a_.oc + group * p_.N + n, a_.oc, gy + q * kPairs * kNR, width, pixels,
                          least(kNR, p_.N - n), width);
      }
      for (int64_t i = 0; i < pixels; ++i) at[i] = position_at(g_, false, v + i);
      for (int64_t tap = 0; tap < g_.taps(); ++tap) {
        const int64_t pairs = gather(group * p_.K + k0, tap, pixels, rows, at, x, ld, index);
        if (!pairs) continue;
        for (int64_t q = 0; q < wide; ++q) {
          const int64_t width = panel_width(n0 + q * kNR, p_.N);
          float* out = sums + (q * p_.rows * kNR) + tap * p_.block * width;
          for (int64_t r = 0; r < rows; r += kMR)
            pair_steps_kernel(least(kMR, rows - r), width / Vec::size)(
                PairSteps{pairs, x + r, ld, gy + q * kPairs * kNR, index, width},
                MicroC{out + r * width, width, width, Store::add});
        }
      }
    }
  }

 private:
  const float* pixel(const Position& at, int64_t tap, int64_t channel) const {
    const int64_t sy = g_.ys[at.y * g_.kh + tap / g_.kw], sx = g_.xs[at.x * g_.kw + tap % g_.kw];
    return (sy | sx) < 0 ? nullptr : x_ + ((at.image * g_.sh + sy) * g_.sw + sx) * a_.ic + channel;
  }

  /** Packs what the tap reads at each pair of pixels, [pair][channel], and which pairs they are. */
  int64_t gather(int64_t channel, int64_t tap, int64_t pixels, int64_t rows, const Position* at, int32_t* out,
                 int64_t ld, int32_t* index) const {
    int64_t pairs = 0;
    for (int64_t i = 0; i < pixels; i += 2) {
      const float* low = pixel(at[i], tap, channel);
      const float* high = i + 1 < pixels ? pixel(at[i + 1], tap, channel) : nullptr;
      if (!low && !high) continue;
      int32_t* to = out + pairs * ld;
      if (low && high && rows % Vec::size == 0) {
        for (int64_t c = 0; c < rows; c += Vec::size) pairs_across(Vec::load(low + c), Vec::load(high + c)).store(to + c);
        index[pairs++] = static_cast<int32_t>(i / 2);
        continue;
      }
      for (int64_t c = 0; c < rows; c += Vec::size) {
        const int64_t n = least(Vec::size, rows - c);
        const Vec a = low ? Vec::load_partial(low + c, n) : Vec::zero();
        const Vec b = high ? Vec::load_partial(high + c, n) : Vec::zero();
        pairs_across(a, b).store(to + c);
      }
      index[pairs++] = static_cast<int32_t>(i / 2);
    }
    return pairs;
  }

  const Conv2dArgs& a_;
  const Plan& p_;
  const Geometry& g_;
  const float* x_;
  const float* gy_;
};

/** Adds up the splits in order and writes gw[output channel][input channel][tap]. */
void combine(const Plan& p, int64_t taps, const float* sums, int64_t split_stride, int64_t k0, int64_t n0, int64_t j,
             float* gw_group) {
  constexpr int S = Vec::size;
  const int64_t width = panel_width(n0, p.N), total = least(p.block, p.K - k0) * taps;
  const int64_t outputs = least(S, p.N - n0 - j);
  float* out = gw_group + ((n0 + j) * p.K + k0) * taps;
  for (int64_t q = 0; q < total; q += S) {
    const int64_t nq = least(S, total - q);
    Vec block[S];
    for (int r = 0; r < S; ++r) {
      block[r] = Vec::zero();
      if (r >= nq) continue;
      const float* from = sums + ((q + r) % taps * p.block + (q + r) / taps) * width + j;
      for (int64_t s = 0; s < p.splits; ++s) block[r] = block[r] + Vec::load(from + s * split_stride);
    }
    transpose(block);
    for (int r = 0; r < outputs; ++r) block[r].store_partial(out + r * p.K * taps + q, nq);
  }
}

}  // namespace

void conv2d_weight_grad_bf16(const Conv2dArgs& a, const float* x, const float* gy, float* gw, const Parallel& par) {
  if (a.oc <= 0 || a.ic <= 0) return;
  if (const int tile = winograd_tile_bf16(a, ConvPass::weight_grad))
    return winograd_weight_grad_bf16(a, tile, x, gy, gw, par);
  const Plan p = make_plan(a);
  const int64_t taps = a.kh * a.kw, pixels = a.n * a.oh * a.ow, tiles = a.groups * p.blocks * p.panels;
  const int64_t tile = p.rows * kNR * kWide, kept = p.splits > 1 ? p.splits * tiles * tile : 0;
  float* shared = par.shared_scratch(static_cast<size_t>(kept + geometry_floats(a)) * sizeof(float));
  const Geometry g = make_geometry(a, false, shared + kept);
  const Task task(a, p, g, x, gy);

  const auto finish = [&](int64_t t, const float* sums) {
    const int64_t n0 = t % p.panels * kWide * kNR, k0 = t / p.panels % p.blocks * p.block, group = t / p.panels / p.blocks;
    for (int64_t n = n0; n < least(n0 + kWide * kNR, p.N); n += kNR, sums += p.rows * kNR)
      for (int64_t j = 0; j < least(kNR, p.N - n); j += Vec::size)
        combine(p, taps, sums, tiles * tile, k0, n, j, gw + group * p.N * p.K * taps);
  };
  par.run(tiles * p.splits, [&](int64_t i, int thread) {
    const int64_t t = i % tiles, split = i / tiles;
    const int64_t n0 = t % p.panels * kWide * kNR, k0 = t / p.panels % p.blocks * p.block, group = t / p.panels / p.blocks;
    float* scratch = par.scratch(thread, task.scratch_bytes(!kept));
    float* sums = kept ? shared + (split * tiles + t) * tile : scratch;
    task.run(group, k0, n0, split * p.per_split, least(pixels, (split + 1) * p.per_split), sums,
             kept ? scratch : scratch + tile);
    if (!kept) finish(t, sums);
  });
  if (kept) par.run(tiles, [&](int64_t t, int) { finish(t, shared + t * tile); });
}

}  // namespace cambium::CAMBIUM_ISA
