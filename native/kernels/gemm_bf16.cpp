// Matrix product of operands rounded to bf16: B packed as pairs along K, row blocks of A packed by each task.
#include "gemm_bf16.h"

#include "gemm_bf16_pack.h"

namespace cambium::CAMBIUM_ISA {
namespace {

constexpr int64_t kKC = 256;                      // a panel of B this deep (half its f32 size) stays in L1
constexpr int64_t kPackLimit = int64_t{1} << 25;  // values of packed B held at once

/** The blocking of one call; a function of the shape only, so that sums do not depend on the threads. */
struct Plan {
  bool local;       // each task packs its own B: small or batched products
  int64_t mc, nc;   // C rows and columns of a task
  int64_t group;    // whole products per task
  int64_t columns;  // columns packed at once (shared)
};

Plan make_plan(const GemmArgs& g) {
  Plan p{};
  const bool shared_b = g.batch == 1 || g.stride_b == 0;
  const double work = static_cast<double>(g.M) * static_cast<double>(g.N) * static_cast<double>(g.K);
  const bool once = g.M <= 192;  // of every panel of B: packing it where it is used saves a trip to memory
  p.local = !shared_b || once || work * static_cast<double>(g.batch) < 1 << 20;
  p.nc = least(512, round_up(g.N, kNR));
  p.mc = least(192, round_up(g.M, kMR));
  const auto tasks = [&] { return ceil_div(g.M, p.mc) * ceil_div(g.N, p.nc) * g.batch; };
  const bool worth = work >= 1 << 18;
  while (worth && once && tasks() < 16 && p.nc > kNR) p.nc = round_up(p.nc / 2, kNR);
  const bool whole = once && g.M <= 12 * kMR;  // so few rows cost no more than packing B for each part of them
  while (worth && !whole && tasks() < 16 && p.mc > 8 * kMR) p.mc /= 2;
  while (worth && tasks() < 8 && p.nc > kNR) p.nc = round_up(p.nc / 2, kNR);
  p.mc = round_up(p.mc, kMR);
  p.group = 1;
  if (p.local && g.M <= p.mc && g.N <= p.nc)
    p.group = most(1, least(ceil_div(g.batch, 16), static_cast<int64_t>((1 << 18) / (work + 1))));
  p.columns = least(round_up(g.N, p.nc), most(p.nc, kPackLimit / most(1, g.K) / p.nc * p.nc));
  return p;
}

struct Block {
  int64_t b, m, n, rows, cols;
};

class Task {
 public:
  Task(const GemmArgs& g, const Plan& p, const TileSink* sink, const int32_t* packed, int64_t packed_from)
      : g_(g), p_(p), sink_(sink), packed_(packed), packed_from_(packed_from) {}

  size_t scratch_bytes() const {
    const int64_t a = ld_steps() * kKC / 2, b = p_.local ? kKC / 2 * p_.nc : 0, c = sink_ ? p_.mc * p_.nc : 0;
    return static_cast<size_t>(a + b + c) * sizeof(float) + 64;
  }

  void run(const Block& block, float* scratch, int thread) const {
    float* tile = scratch;
    int32_t* rows_a = reinterpret_cast<int32_t*>(tile + (sink_ ? p_.mc * p_.nc : 0));
    int32_t* panels = rows_a + ld_steps() * kKC / 2;
    const float* a = g_.a + block.b * g_.stride_a;
    const float* b = g_.b + block.b * g_.stride_b;
    float* c = sink_ ? tile : g_.c + block.b * g_.stride_c + block.m * g_.ldc + block.n;
    const int64_t ldc = sink_ ? p_.nc : g_.ldc;
    for (int64_t k = 0; k < g_.K; k += kKC) {
      const int64_t kc = least(kKC, g_.K - k);
      if (g_.trans_a)
        pack_pairs_across(a + k * g_.lda + block.m, g_.lda, rows_a, ld_steps(), kc, block.rows,
                          round_up(block.rows, Vec::size));
      else pack_pairs_along(a + block.m * g_.lda + k, g_.lda, rows_a, kKC / 2, block.rows, kc);
      multiply(block, rows_a, b, panels, k, kc, c, ldc);
    }
    if (sink_) sink_->run(sink_->ctx, thread, block.b * g_.M + block.m, 1, block.rows, block.n, block.cols, c, ldc);
  }

 private:
  /** Lanes between the pairs of A that is stored K x M. */
  int64_t ld_steps() const { return round_up(p_.mc, Vec::size); }

  void multiply(const Block& block, const int32_t* a, const float* b, int32_t* panels, int64_t k, int64_t kc, float* c,
                int64_t ldc) const {
    const int64_t depth = ceil_div(g_.K, 2);
    for (int64_t n = 0; n < block.cols; n += kNR) {
      const int64_t width = panel_width(block.n + n, g_.N), cols = least(kNR, block.cols - n);
      const int32_t* panel = panels;
      if (p_.local) pack_pair_panel(b, g_.ldb, g_.trans_b, block.n + n, g_.N, k, kc, panels);
      else panel = packed_ + (block.n + n - packed_from_) * depth + k / 2 * width;
      for (int64_t m = 0; m < block.rows; m += kMR) {
        const int64_t rows = least(kMR, block.rows - m);
        const MicroC to{c + m * ldc + n, ldc, cols, k ? Store::add : Store::set};
        const int64_t vectors = ceil_div(cols, Vec::size);
        if (g_.trans_a) {
          pair_steps_kernel(rows, vectors)(PairSteps{ceil_div(kc, 2), a + m, ld_steps(), panel, nullptr, width}, to);
          continue;
        }
        const int32_t* pointers[kMR];
        for (int64_t r = 0; r < rows; ++r) pointers[r] = a + (m + r) * kKC / 2;
        pair_rows_kernel(rows, vectors)(PairRows{1, pointers, nullptr, 0, ceil_div(kc, 2), panel, 0, width}, to);
      }
    }
  }

  const GemmArgs& g_;
  const Plan& p_;
  const TileSink* sink_;
  const int32_t* packed_;
  int64_t packed_from_;
};

}  // namespace

void gemm_bf16(const GemmArgs& g, const Parallel& par, const TileSink* sink) {
  if (g.batch <= 0 || g.M <= 0 || g.N <= 0 || g.K <= 0) return;
  const Plan p = make_plan(g);
  const int64_t row_blocks = ceil_div(g.M, p.mc), depth = ceil_div(g.K, 2);
  if (p.local) {
    const Task task(g, p, sink, nullptr, 0);
    const int64_t blocks = row_blocks * ceil_div(g.N, p.nc);
    par.run(ceil_div(g.batch, p.group) * blocks, [&](int64_t t, int thread) {
      float* scratch = par.scratch(thread, task.scratch_bytes());
      const int64_t first = t / blocks * p.group, m = t % row_blocks * p.mc, n = t % blocks / row_blocks * p.nc;
      for (int64_t b = first; b < least(g.batch, first + p.group); ++b)
        task.run({b, m, n, least(p.mc, g.M - m), least(p.nc, g.N - n)}, scratch, thread);
    });
    return;
  }

  const size_t bytes = static_cast<size_t>(round_up(least(p.columns, g.N), Vec::size) * depth) * sizeof(int32_t);
  int32_t* packed = reinterpret_cast<int32_t*>(par.shared_scratch(bytes));
  for (int64_t from = 0; from < g.N; from += p.columns) {
    const int64_t columns = least(p.columns, g.N - from), panels = ceil_div(columns, kNR);
    const int64_t slice = 512, slices = ceil_div(g.K, slice);
    par.run(panels * slices, [&](int64_t t, int) {
      const int64_t n = from + t / slices * kNR, k = t % slices * slice;
      pack_pair_panel(g.b, g.ldb, g.trans_b, n, g.N, k, least(slice, g.K - k),
                      packed + (n - from) * depth + k / 2 * panel_width(n, g.N));
    });
    const Task task(g, p, sink, packed, from);
    const int64_t col_blocks = ceil_div(columns, p.nc);
    par.run(g.batch * row_blocks * col_blocks, [&](int64_t t, int thread) {
      const int64_t m = t % row_blocks * p.mc, b = t / row_blocks % g.batch;
      const int64_t n = from + t / row_blocks / g.batch * p.nc;
      task.run({b, m, n, least(p.mc, g.M - m), least(p.nc, from + columns - n)},
               par.scratch(thread, task.scratch_bytes()), thread);
    });
  }
}

}  // namespace cambium::CAMBIUM_ISA
