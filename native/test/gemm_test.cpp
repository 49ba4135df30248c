// Checks gemm against a double-precision reference: odd shapes, strides, sinks, every instruction set, thread counts.
// node scripts/build-native.mjs --tests; build/native/test/gemm_test [EVERY]   (--sanitize: build/native-asan)
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>

#include "../kernels/gemm.h"
#include "gemm_isas.h"
#include "gemm_parallel.h"

using namespace cambium;

namespace {

int passed = 0, failed = 0;
/** Only every n-th case is tried: the program's argument, for slow builds. */
int every = 1, turn = 0;
std::mt19937 random_source(7);

struct Case {
  int64_t batch, M, N, K;
  bool ta, tb;
  int64_t pad;        // extra elements per row
  int broadcast;      // bit 0: A has batch stride 0, bit 1: B
  int64_t shift = 0;  // misalignment of every buffer, in floats
};

/** Whether values are made that bf16 holds. */
bool short_values = false;

/** A heap block of exactly n floats after `shift`, so that sanitizers see any access past it. */
struct Buffer {
  Buffer(int64_t n, int64_t shift, bool random) : memory(new float[static_cast<size_t>(n + shift)]), data(memory.get() + shift) {
    std::uniform_real_distribution<float> uniform(-1, 1);
    for (int64_t i = 0; i < n; ++i) {
      const float value = random ? uniform(random_source) : -77.0f;
      data[i] = short_values ? std::round(value * 128) / 128 : value;
    }
  }
  std::unique_ptr<float[]> memory;
  float* data;
};

struct SinkState {
  float* out;
  int64_t N;
  std::vector<int>* seen;
};

void collect(void* ctx, int, int64_t row0, int64_t row_stride, int64_t rows, int64_t col0, int64_t cols,
             const float* tile, int64_t ld) {
  auto& s = *static_cast<SinkState*>(ctx);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < cols; ++c) {
      const int64_t at = (row0 + r * row_stride) * s.N + col0 + c;
      s.out[at] = tile[r * ld + c];
      ++(*s.seen)[static_cast<size_t>(at)];
    }
}

int64_t extent(int64_t batch, int64_t stride, int64_t rows, int64_t cols, int64_t ld) {
  return rows == 0 || cols == 0 || batch == 0 ? 0 : (batch - 1) * stride + (rows - 1) * ld + cols;
}

void check_in(const Case& c, bool bf16) {
  short_values = bf16;
  GemmArgs g;
  g.batch = c.batch, g.M = c.M, g.N = c.N, g.K = c.K, g.trans_a = c.ta, g.trans_b = c.tb;
  const int64_t ar = c.ta ? c.K : c.M, ac = c.ta ? c.M : c.K, br = c.tb ? c.N : c.K, bc = c.tb ? c.K : c.N;
  g.lda = ac + c.pad, g.ldb = bc + c.pad, g.ldc = c.N + c.pad;
  g.stride_a = c.broadcast & 1 ? 0 : ar * g.lda + 3;
  g.stride_b = c.broadcast & 2 ? 0 : br * g.ldb + 5;
  g.stride_c = c.M * g.ldc + 2;
  const Buffer a(extent(c.batch, g.stride_a, ar, ac, g.lda), c.shift, true);
  const Buffer b(extent(c.batch, g.stride_b, br, bc, g.ldb), c.shift, true);
  const int64_t nc = extent(c.batch, g.stride_c, c.M, c.N, g.ldc), dense = c.batch * c.M * c.N;
  g.a = a.data, g.b = b.data;

  std::vector<double> want(static_cast<size_t>(dense)), size(static_cast<size_t>(dense));
  for (int64_t i = 0; i < dense; ++i) {
    const int64_t n = i % c.N, m = i / c.N % c.M, batch = i / c.N / c.M;
    for (int64_t k = 0; k < c.K; ++k) {
      const double x = a.data[batch * g.stride_a + (c.ta ? k * g.lda + m : m * g.lda + k)];
      const double y = b.data[batch * g.stride_b + (c.tb ? n * g.ldb + k : k * g.ldb + n)];
      want[static_cast<size_t>(i)] += x * y;
      size[static_cast<size_t>(i)] += std::fabs(x * y);
    }
  }
  for (const auto& isa : test_isas()) {
    const auto gemm = bf16 ? isa.gemm_bf16 : isa.gemm;
    std::vector<float> reference;
    const char* wrong = nullptr;
    for (int threads = 1; threads <= 3; ++threads)
      for (int with_sink = 0; with_sink < 2; ++with_sink) {
        const TestParallel par(threads);
        const Buffer out(nc, c.shift, false);
        std::vector<float> got(static_cast<size_t>(dense), -5.0f);
        std::vector<int> seen(static_cast<size_t>(dense), with_sink ? 0 : 1);
        if (with_sink) {
          g.c = nullptr;
          SinkState state{got.data(), c.N, &seen};
          const TileSink sink{collect, &state};
          gemm(g, par, &sink);
        } else {
          g.c = out.data;
          gemm(g, par, nullptr);
          std::vector<char> inside(static_cast<size_t>(nc), 0);
          for (int64_t i = 0; i < dense; ++i) {
            const int64_t at = i / c.N / c.M * g.stride_c + i / c.N % c.M * g.ldc + i % c.N;
            got[static_cast<size_t>(i)] = out.data[at];
            inside[static_cast<size_t>(at)] = 1;
          }
          for (int64_t i = 0; i < nc; ++i)
            if (!inside[static_cast<size_t>(i)] && out.data[i] != -77.0f) wrong = "wrote between rows";
        }
        for (int64_t i = 0; i < dense; ++i) {
          const size_t at = static_cast<size_t>(i);
          const double limit = 2 * std::sqrt(static_cast<double>(c.K)) * 0x1p-24 * size[at] + 1e-30;
          if (!(std::fabs(got[at] - want[at]) <= limit)) wrong = with_sink ? "sink value" : "value";
          if (seen[at] != 1) wrong = "sink coverage";
        }
        if (reference.empty()) reference = got;
        else if (dense && std::memcmp(reference.data(), got.data(), got.size() * 4) != 0) wrong = "differs between threads or sink";
      }
    if (wrong) {
      ++failed;
      std::printf("FAIL %s%s %s: batch %ld M %ld N %ld K %ld ta %d tb %d pad %ld broadcast %d shift %ld\n", isa.name, bf16 ? " bf16" : "", wrong,
                  (long)c.batch, (long)c.M, (long)c.N, (long)c.K, c.ta, c.tb, (long)c.pad, c.broadcast, (long)c.shift);
    } else {
      ++passed;
    }
  }
}

void check(const Case& c) {
  if (turn++ % every != 0) return;
  check_in(c, false);
  if (c.K > 0) check_in(c, true);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1) every = std::max(1, std::atoi(argv[1]));
  for (int t = 0; t < 4; ++t) {
    const bool ta = t & 1, tb = t & 2;
    for (int64_t m : {0, 1, 2, 5, 6, 7, 13})
      for (int64_t n : {0, 1, 3, 15, 16, 17, 33, 63, 64, 65, 130})
        for (int64_t k : {0, 1, 3, 17}) check({1, m, n, k, ta, tb, (m + n) % 3, 0, (n + k) % 4});
    for (int64_t m : {1, 2, 3, 4, 5, 8, 15, 16, 17, 31, 33, 64, 65})
      for (int64_t n : {1, 5, 6, 7, 31, 100})
        for (int64_t k : {127, 128, 129, 200}) check({1, m, n, k, ta, tb, k % 2, 0, n % 2});
    check({1, 200, 300, 260, ta, tb, 0, 0});      // several tiles, shared packing
    check({1, 97, 1100, 16, ta, tb, 1, 0, 1});    // shallow
    check({1, 400, 70, 300, ta, tb, 0, 0});
    check({1, 7, 600, 1100, ta, tb, 3, 0, 3});    // skinny: long K
    check({1, 16, 2100, 150, ta, tb, 0, 0, 2});   // skinny: streamed
    check({1, 20, 1100, 300, ta, tb, 0, 0});
    check({1, 50, 1100, 300, ta, tb, 1, 0, 1});
    check({1, 3, 40, 2300, ta, tb, 0, 0});
    check({1, 512, 30, 512, ta, tb, 0, 0});       // rows collide in the cache
    check({1, 100, 512, 512, ta, tb, 0, 0});
    check({2, 150, 150, 150, ta, tb, 0, 0});
    check({1, 70, 2051, 1031, ta, tb, 1, 0, 1});  // few rows, a large B packed where it is used
    check({1, 200, 530, 4100, ta, tb, 0, 0});
    for (int broadcast = 0; broadcast < 4; ++broadcast) {
      check({5, 33, 35, 36, ta, tb, 0, broadcast});
      check({3, 4, 20, 150, ta, tb, 0, broadcast});
      check({40, 3, 5, 7, ta, tb, 1, broadcast, 1});
      check({3, 70, 90, 140, ta, tb, 2, broadcast, 1});
      check({2, 9, 1030, 300, ta, tb, 0, broadcast});
    }
    check({12, 128, 128, 64, ta, tb, 0, 0});
    check({0, 4, 4, 4, ta, tb, 0, 0});
  }
  check({1, 2100, 2048, 8, false, false, 0, 0});  // large enough to bypass the cache
  check({1, 2100, 2048, 9, true, false, 0, 0});
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed != 0;
}
