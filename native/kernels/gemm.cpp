// General matrix product: packed panels of B, row blocks of A, one register-tiled kernel; skinny shapes go elsewhere.
#include "gemm.h"

#include "gemm_pack.h"
#include "gemm_skinny.h"

namespace cambium::CAMBIUM_ISA {
namespace {

constexpr int64_t kKC = 128;                   // a panel of B this deep stays in L1
constexpr int64_t kTile = 96 * 256;            // floats of C per task: stays in L2 beside A and B
constexpr int64_t kPackLimit = int64_t{1} << 24;  // floats of packed B held at once
constexpr int64_t kStreamFrom = int64_t{1} << 22;  // floats of C from which it cannot stay in cache
constexpr int64_t kSinkColumns = 1024;         // an epilogue gets long runs of each row; the tile still fits in L2
constexpr int64_t kSinkRows = 96;
constexpr int64_t kFewRows = 256;              // rows of A that one task can take whole
constexpr int64_t kLargeB = int64_t{1} << 21;  // floats of B from which it comes from memory

/** The blocking of one call; a function of the shape only, so that sums do not depend on the threads. */
struct Plan {
  bool local;        // each task packs its own B: small or batched products
  bool direct;       // full panels of B are read in place
  bool copy_a;       // A is transposed, or its rows would collide in the cache
  bool stream;       // C bypasses the cache
  int64_t mc, nc;    // C rows and columns of a task
  int64_t group;     // whole products per task
  int64_t columns;   // columns packed at once (shared)
};

Plan make_plan(const GemmArgs& g, bool sink) {
  Plan p{};
  const bool shared_b = g.batch == 1 || g.stride_b == 0;
  const double work = static_cast<double>(g.M) * static_cast<double>(g.N) * static_cast<double>(g.K);
  p.local = !shared_b || work * static_cast<double>(g.batch) < 1 << 20;
  // Shallow products are bound by C, and by all that an epilogue reads beside it: long runs of each row.
  p.nc = g.K > 64 ? 256 : sink ? 2048 : 1024;
  p.mc = most(kTile / p.nc, kMR);
  if (sink && g.K > 64) p.nc = round_up(ceil_div(g.N, ceil_div(g.N, kSinkColumns)), kNR), p.mc = kSinkRows;
  if (g.N < p.nc) {
    p.nc = round_up(g.N, kNR);
    p.mc = least(kTile / p.nc, p.local ? 192 : 96);
  }
  const auto tasks = [&] { return ceil_div(g.M, p.mc) * ceil_div(g.N, p.nc) * g.batch; };
  const bool worth = work >= 1 << 18;
  while (worth && tasks() < 16 && p.mc > 4 * kMR) p.mc /= 2;
  while (worth && tasks() < 8 && p.nc > kNR) p.nc = round_up(p.nc / 2, kNR);
  p.mc = round_up(p.mc, kMR);
  if (g.batch == 1 && g.M <= kFewRows && g.K > 64 && g.N * g.K >= kLargeB) {
    // A large B for few rows: packed where it is used, it crosses the memory bus once.
    p.local = true;
    p.mc = round_up(g.M, kMR);
    p.nc = 8 * kNR;
    while (p.nc > kNR && (ceil_div(g.N, p.nc) < 8 || p.mc * p.nc > 4 * kTile)) p.nc /= 2;
  }
  p.group = 1;
  if (p.local && g.M <= p.mc && g.N <= p.nc)
    p.group = most(1, least(ceil_div(g.batch, 16), static_cast<int64_t>((1 << 18) / (work + 1))));
  p.direct = p.local && !g.trans_b && g.ldb <= 4 * kNR;
  p.copy_a = g.trans_a || (g.lda % 512 == 0 && g.N > 2 * kNR);
  p.columns = least(round_up(g.N, p.nc), most(p.nc, kPackLimit / most(1, g.K) / p.nc * p.nc));
  p.stream = !sink && g.K <= kKC && g.batch * g.M * g.N >= kStreamFrom && g.ldc % Vec::size == 0 &&
             g.stride_c % Vec::size == 0 && reinterpret_cast<uintptr_t>(g.c) % sizeof(Vec) == 0;
  return p;
}

struct Block {
  int64_t b, m, n, rows, cols;
};

class Task {
 public:
  Task(const GemmArgs& g, const Plan& p, const TileSink* sink, const float* packed, int64_t packed_from)
      : g_(g), p_(p), sink_(sink), packed_(packed), packed_from_(packed_from) {}

  size_t scratch_bytes() const {
    const int64_t a = p_.copy_a ? p_.mc * kKC : 0, b = p_.local ? kKC * p_.nc : 0, c = sink_ ? p_.mc * p_.nc : 0;
    return static_cast<size_t>(a + b + c) * sizeof(float) + 64;
  }

  void run(const Block& block, float* scratch, int thread) const {
    float* rows_a = scratch;
    float* panels = rows_a + (p_.copy_a ? p_.mc * kKC : 0);
    float* tile = panels + (p_.local ? kKC * p_.nc : 0);
    const float* a = g_.a + block.b * g_.stride_a;
    const float* b = g_.b + block.b * g_.stride_b;
    float* c = sink_ ? tile : g_.c + block.b * g_.stride_c + block.m * g_.ldc + block.n;
    const int64_t ldc = sink_ ? p_.nc : g_.ldc;
    for (int64_t k = 0; k < g_.K; k += kKC) {
      const int64_t kc = least(kKC, g_.K - k);
      if (p_.copy_a) {
        if (g_.trans_a) transpose_copy(a + k * g_.lda + block.m, g_.lda, rows_a, kKC, block.rows, kc, kc);
        else row_copy(a + block.m * g_.lda + k, g_.lda, rows_a, kKC, block.rows, kc, kc);
      }
      const float* first = p_.copy_a ? rows_a : a + block.m * g_.lda + k;
      const Store store = k ? Store::add : p_.stream ? Store::stream : Store::set;
      multiply(block, first, p_.copy_a ? kKC : g_.lda, b, panels, k, kc, c, ldc, store);
    }
    if (p_.stream) stream_fence();
    if (sink_) sink_->run(sink_->ctx, thread, block.b * g_.M + block.m, 1, block.rows, block.n, block.cols, c, ldc);
  }

 private:
  struct Panel {
    const float* b;
    int64_t ld, n, cols;
  };

  Panel panel(const Block& block, int64_t n, const float* b, float* panels, int64_t k, int64_t kc) const {
    const int64_t width = panel_width(block.n + n, g_.N), cols = least(kNR, block.cols - n);
    if (!p_.local) return {packed_ + (block.n + n - packed_from_) * g_.K + k * width, width, n, cols};
    if (p_.direct && cols == kNR) return {b + k * g_.ldb + block.n + n, g_.ldb, n, cols};
    pack_panel(b, g_.ldb, g_.trans_b, block.n + n, g_.N, k, kc, panels + n * kKC);
    return {panels + n * kKC, width, n, cols};
  }

  /** Fetches a share of the panel that is packed next: the one kNR columns on, or the first one K-block further. */
  void fetch(const Block& block, int64_t n, const float* b, int64_t k, int64_t kc, int64_t part, int64_t parts) const {
    n += kNR;
    if (n >= block.cols) n = 0, k += kc, kc = least(kKC, g_.K - k);
    const int64_t cols = least(kNR, block.cols - n), line = 64 / static_cast<int64_t>(sizeof(float));
    const int64_t rows = g_.trans_b ? cols : kc, width = g_.trans_b ? kc : cols;
    const float* from = g_.trans_b ? b + (block.n + n) * g_.ldb + k : b + k * g_.ldb + block.n + n;
    for (int64_t r = rows * part / parts; r < rows * (part + 1) / parts; ++r)
      for (int64_t j = 0; j < width; j += line) __builtin_prefetch(from + r * g_.ldb + j, 0, 2);
  }

  void micro(const float* a, int64_t lda, int64_t m, int64_t rows, const Panel& panel, int64_t kc, float* c,
             int64_t ldc, Store store) const {
    const float* pointers[kMR];
    for (int64_t r = 0; r < rows; ++r) pointers[r] = a + (m + r) * lda;
    rows_kernel(rows, ceil_div(panel.cols, Vec::size))(
        MicroRows{1, pointers, nullptr, 0, kc, panel.b, 0, panel.ld},
        MicroC{c + m * ldc + panel.n, ldc, panel.cols, store});
  }

  void multiply(const Block& block, const float* a, int64_t lda, const float* b, float* panels, int64_t k, int64_t kc,
                float* c, int64_t ldc, Store store) const {
    if (kc > 64 || block.cols <= kNR || p_.local) {
      for (int64_t n = 0; n < block.cols; n += kNR) {
        const Panel p = panel(block, n, b, panels, k, kc);
        const int64_t groups = ceil_div(block.rows, kMR);
        for (int64_t m = 0; m < block.rows; m += kMR) {
          if (p_.local && !p_.direct && groups > 1) fetch(block, n, b, k, kc, m / kMR, groups);
          micro(a, lda, m, least(kMR, block.rows - m), p, kc, c, ldc, store);
        }
      }
      return;
    }
    // Shallow: C is the traffic, so write its rows in long runs.
    for (int64_t m = 0; m < block.rows; m += kMR)
      for (int64_t n = 0; n < block.cols; n += kNR)
        micro(a, lda, m, least(kMR, block.rows - m), panel(block, n, b, panels, k, kc), kc, c, ldc, store);
  }

  const GemmArgs& g_;
  const Plan& p_;
  const TileSink* sink_;
  const float* packed_;
  int64_t packed_from_;
};

/** An empty sum is zero, also through a sink. */
void zeros(const GemmArgs& g, const Parallel& par, const TileSink* sink) {
  const int64_t cols = least(g.N, 1024), rows = sink ? least(g.M, 16) : g.M;
  par.run(g.batch, [&](int64_t b, int thread) {
    if (!sink) {
      for (int64_t m = 0; m < g.M; ++m)
        for (int64_t n = 0; n < g.N; ++n) g.c[b * g.stride_c + m * g.ldc + n] = 0.0f;
      return;
    }
    float* tile = par.scratch(thread, static_cast<size_t>(rows * cols) * sizeof(float));
    for (int64_t m = 0; m < g.M; m += rows)
      for (int64_t n = 0; n < g.N; n += cols) {
        for (int64_t i = 0; i < rows * cols; ++i) tile[i] = 0.0f;
        sink->run(sink->ctx, thread, b * g.M + m, 1, least(rows, g.M - m), n, least(cols, g.N - n), tile, cols);
      }
  });
}

}  // namespace

void gemm(const GemmArgs& g, const Parallel& par, const TileSink* sink) {
  if (g.batch <= 0 || g.M <= 0 || g.N <= 0) return;
  if (g.K <= 0) return zeros(g, par, sink);
  if (use_dot(g)) return gemm_dot(g, par, sink);
  if (use_stream(g)) return gemm_stream(g, par, sink);

  const Plan p = make_plan(g, sink != nullptr);
  const int64_t row_blocks = ceil_div(g.M, p.mc);
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

  const size_t bytes = static_cast<size_t>(round_up(least(p.columns, g.N), Vec::size) * g.K) * sizeof(float);
  float* packed = par.shared_scratch(bytes);
  for (int64_t from = 0; from < g.N; from += p.columns) {
    const int64_t columns = least(p.columns, g.N - from), panels = ceil_div(columns, kNR);
    const int64_t depth = 512, deep = ceil_div(g.K, depth);
    par.run(panels * deep, [&](int64_t t, int) {
      const int64_t n = from + t / deep * kNR, k = t % deep * depth;
      pack_panel(g.b, g.ldb, g.trans_b, n, g.N, k, least(depth, g.K - k),
                 packed + (n - from) * g.K + k * panel_width(n, g.N));
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
