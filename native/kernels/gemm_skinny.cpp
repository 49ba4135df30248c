// Products with few rows: B is read once from memory, in runs long enough for the prefetchers.
#include "gemm_skinny.h"

#include "gemm_pack.h"

namespace cambium::CAMBIUM_ISA {
namespace {

// Rows of A and rows of B whose dot products advance together.
#if defined(__AVX512F__) || defined(__ARM_NEON)
constexpr int kDM = 4, kDN = 6;
#else
constexpr int kDM = 3, kDN = 3;
#endif

struct Dots {
  const float* a;
  int64_t lda;
  const float* b;
  int64_t ldb, k;
  float* partial;  // DM x DN vectors carried between chunks of K
  bool first, last;
  float* out;
  int64_t ldo;
  const float* ahead[2];  // what the next block will read
};

template <int DM, int DN>
void dots(const Dots& d) {
  constexpr int S = Vec::size;
  Vec acc[DM][DN];
#pragma GCC unroll 8
  for (int i = 0; i < DM; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < DN; ++j) acc[i][j] = d.first ? Vec::zero() : Vec::load(d.partial + (i * DN + j) * S);
  const auto step = [&](const auto& load) __attribute__((always_inline)) {
    Vec b[DN];
#pragma GCC unroll 8
    for (int j = 0; j < DN; ++j) b[j] = load(d.b + j * d.ldb);
#pragma GCC unroll 8
    for (int i = 0; i < DM; ++i) {
      const Vec a = load(d.a + i * d.lda);
#pragma GCC unroll 8
      for (int j = 0; j < DN; ++j) acc[i][j] = fma(a, b[j], acc[i][j]);
    }
  };
  int64_t k = 0;
  for (; k + S <= d.k; k += S) {
    __builtin_prefetch(d.ahead[0] + k);
    __builtin_prefetch(d.ahead[1] + k);
    step([&](const float* p) __attribute__((always_inline)) { return Vec::load(p + k); });
  }
  if (k < d.k) step([&](const float* p) __attribute__((always_inline)) { return Vec::load_partial(p + k, d.k - k); });
#pragma GCC unroll 8
  for (int i = 0; i < DM; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < DN; ++j) {
      if (d.last) d.out[i * d.ldo + j] = reduce_add(acc[i][j]);
      else acc[i][j].store(d.partial + (i * DN + j) * S);
    }
}

using DotsKernel = void (*)(const Dots&);
DotsKernel dots_kernel(int64_t rows, int64_t cols) {
  static constexpr auto table = []<int... i>(std::integer_sequence<int, i...>) {
    struct Table { DotsKernel f[kDM * kDN]; };
    return Table{{&dots<i / kDN + 1, i % kDN + 1>...}};
  }(std::make_integer_sequence<int, kDM * kDN>());
  return table.f[(rows - 1) * kDN + cols - 1];
}

}  // namespace

void gemm_dot(const GemmArgs& g, const Parallel& par, const TileSink* sink) {
  constexpr int64_t depth = 32 * Vec::size;  // kDN rows of B this long stay in L1, the rows of A in L2
  const int64_t run = most(depth, (1 << 17) / g.M / depth * depth);  // of each row of B at a time: A stays in L2
  const int64_t block = least(round_up(g.N, kDN), most(2 * kDN, round_up(1536 / g.M, kDN)));
  const int64_t blocks = ceil_div(g.N, block), groups = ceil_div(g.M, kDM), units = ceil_div(block, kDN);
  const float* a_all = g.a;
  int64_t lda = g.lda, stride_a = g.stride_a;
  if (g.trans_a) {  // few rows: a copy in row order costs little
    const int64_t copies = g.stride_a ? g.batch : 1;
    float* rows = par.shared_scratch(static_cast<size_t>(copies * g.M * g.K) * sizeof(float));
    par.run(copies, [&](int64_t b, int) {
      transpose_copy(g.a + b * g.stride_a, g.lda, rows + b * g.M * g.K, g.K, g.M, g.K, g.K);
    });
    a_all = rows, lda = g.K, stride_a = g.stride_a ? g.M * g.K : 0;
  }
  const int64_t slot = kDM * kDN * Vec::size;
  const size_t bytes = static_cast<size_t>(groups * units * slot + g.M * block) * sizeof(float);
  par.run(g.batch * blocks, [&](int64_t t, int thread) {
    float* partial = par.scratch(thread, bytes);
    const int64_t batch = t / blocks, n0 = t % blocks * block, cols = least(block, g.N - n0);
    const float* a = a_all + batch * stride_a;
    const float* b = g.b + batch * g.stride_b + n0 * g.ldb;
    float* out = sink ? partial + groups * units * slot : g.c + batch * g.stride_c + n0;
    const int64_t ldo = sink ? block : g.ldc;
    for (int64_t k0 = 0; k0 < g.K; k0 += run)
      for (int64_t n = 0; n < cols; n += kDN) {
        const int64_t width = least(kDN, cols - n), end = least(g.K, k0 + run);
        const float* rows_b = b + n * g.ldb;
        for (int64_t k = k0; k < end; k += depth)
          for (int64_t group = 0; group < groups; ++group) {
            const int64_t m = group * kDM, kc = least(depth, end - k);
            // Each group of rows fetches its share of what the next chunk will read.
            const float* ahead = rows_b + least(k + depth, g.K - 1);
            const int64_t h0 = least(group, width - 1), h1 = least(group + groups, width - 1);
            dots_kernel(least(kDM, g.M - m), width)(
                Dots{a + m * lda + k, lda, rows_b + k, g.ldb, kc, partial + (n / kDN * groups + group) * slot, k == 0,
                     k + kc == g.K, out + m * ldo + n, ldo, {ahead + h0 * g.ldb, ahead + h1 * g.ldb}});
          }
      }
    if (sink) sink->run(sink->ctx, thread, batch * g.M, 1, g.M, n0, cols, out, ldo);
  });
}

void gemm_stream(const GemmArgs& g, const Parallel& par, const TileSink* sink) {
  constexpr int64_t depth = 32;  // rows of B in flight
  const int64_t block = least((g.M > 32 ? 8 : 16) * kNR, round_up(ceil_div(g.N, 4), kNR)), blocks = ceil_div(g.N, block);
  const int64_t rows_a = round_up(g.M, kMR);
  float* a_rows = nullptr;
  if (g.trans_a) {
    a_rows = par.shared_scratch(static_cast<size_t>(g.batch * g.M * g.K) * sizeof(float));
    par.run(g.batch, [&](int64_t b, int) {
      transpose_copy(g.a + b * g.stride_a, g.lda, a_rows + b * g.M * g.K, g.K, g.M, g.K, g.K);
    });
  }
  par.run(g.batch * blocks, [&](int64_t t, int thread) {
    const int64_t batch = t / blocks, n0 = t % blocks * block, cols = least(block, g.N - n0);
    float* tile = par.scratch(thread, static_cast<size_t>(rows_a * block + depth * kNR) * sizeof(float));
    float* edge = tile + rows_a * block;
    const float* a = a_rows ? a_rows + batch * g.M * g.K : g.a + batch * g.stride_a;
    const int64_t lda = a_rows ? g.K : g.lda;
    for (int64_t k = 0; k < g.K; k += depth) {
      const int64_t kc = least(depth, g.K - k);
      const bool more = k + 2 * depth <= g.K;  // a whole next block to prefetch
      for (int64_t n = 0; n < cols; n += kNR) {
        const int64_t width = least(kNR, cols - n);
        const float* b = g.b + batch * g.stride_b + k * g.ldb + n0 + n;
        int64_t ld = g.ldb;
        if (width < kNR) {  // whole vectors must not read past the row
          ld = round_up(width, Vec::size);
          row_copy(b, g.ldb, edge, ld, kc, width, ld);
          b = edge;
        }
        for (int64_t m = 0; m < g.M; m += kMR) {
          const int64_t rows = least(kMR, g.M - m);
          const float* pointers[kMR];
          for (int64_t r = 0; r < rows; ++r) pointers[r] = a + (m + r) * lda + k;
          // Each group of rows fetches its share of the next block of B.
          const int64_t part = round_up(ceil_div(kNR, ceil_div(g.M, kMR)), 16), from = least(kNR, m / kMR * part);
          const int64_t to = more && width == kNR ? least(kNR, from + part) : 0;
          rows_kernel<true>(rows, ceil_div(width, Vec::size))(
              MicroRows{1, pointers, nullptr, 0, kc, b, 0, ld, depth * g.ldb, from, to},
              MicroC{tile + m * block + n, block, width, k ? Store::add : Store::set});
        }
      }
    }
    if (sink) {
      sink->run(sink->ctx, thread, batch * g.M, 1, g.M, n0, cols, tile, block);
    } else {
      float* c = g.c + batch * g.stride_c + n0;
      row_copy(tile, block, c, g.ldc, g.M, cols, cols);
    }
  });
}

}  // namespace cambium::CAMBIUM_ISA
