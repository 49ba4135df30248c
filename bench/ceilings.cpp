// The ceilings of this machine, measured with every core at once: multiply-adds in fp32 and of bf16 pairs, and memory bandwidth.
// usage: ceilings [threads]; prints {"flops": per second, "bf16Flops": where there are bf16 dot products, else 0,
// "bandwidth": bytes per second}. Built by bench/ceilings.ts.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#if defined(__AVX512BF16__)
#include <immintrin.h>
#endif

namespace {

// Enough independent chains of vectors to hide the latency of a fused multiply-add on any instruction set.
constexpr int kChains = 12;
typedef float Lanes __attribute__((vector_size(64)));

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

template <class Body>
double timed(int threads, Body body) {
  const double start = seconds();
  std::vector<std::thread> team;
  for (int t = 0; t < threads; ++t) team.emplace_back([&, t] { body(t); });
  for (std::thread& thread : team) thread.join();
  return seconds() - start;
}

volatile float sink[64];  // or the work would be optimised away

void multiply_add(int64_t rounds, int thread) {
  Lanes acc[kChains], a, b;
  for (int i = 0; i < 16; ++i) a[i] = 0.999f, b[i] = 1e-3f;
  for (int i = 0; i < kChains; ++i) acc[i] = b * static_cast<float>(i + thread + 1);
  for (int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) acc[i] = acc[i] * a + b;
  }
  float sum = 0;
  for (const Lanes& x : acc)
    for (int i = 0; i < 16; ++i) sum += x[i];
  sink[thread % 64] = sum;
}

#if defined(__AVX512BF16__)
void multiply_pairs(int64_t rounds, int thread) {
  __m512 acc[kChains];
  const __m512bh a = _mm512_cvtne2ps_pbh(_mm512_set1_ps(0.5f), _mm512_set1_ps(0.5f)), b = a;
  for (int i = 0; i < kChains; ++i) acc[i] = _mm512_set1_ps(static_cast<float>(i + thread));
  for (int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) acc[i] = _mm512_dpbf16_ps(acc[i], a, b);
  }
  float sum = 0;
  for (const __m512& x : acc) sum += _mm512_reduce_add_ps(x);
  sink[thread % 64] = sum;
}
#endif

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : static_cast<int>(std::thread::hardware_concurrency());
  double flops = 0, pairs = 0, bandwidth = 0;
  const int64_t rounds = 20'000'000;
  for (int i = 0; i < 3; ++i) {
    const double t = timed(threads, [&](int thread) { multiply_add(rounds, thread); });
    flops = std::max(flops, 2.0 * 16 * kChains * static_cast<double>(rounds) * threads / t);
#if defined(__AVX512BF16__)
    const double p = timed(threads, [&](int thread) { multiply_pairs(rounds, thread); });
    pairs = std::max(pairs, 4.0 * 16 * kChains * static_cast<double>(rounds) * threads / p);
#endif
  }
  // Read and written in place, as an optimizer does; far past the last cache.
  const int64_t count = int64_t{64} << 20;
  std::vector<std::vector<float>> arrays(static_cast<size_t>(threads), std::vector<float>(static_cast<size_t>(count), 1.0f));
  for (int i = 0; i < 5; ++i) {
    const double t = timed(threads, [&](int thread) {
      float* x = arrays[static_cast<size_t>(thread)].data();
      for (int64_t k = 0; k < count; ++k) x[k] = x[k] * 0.5f + 1.0f;
    });
    bandwidth = std::max(bandwidth, 8.0 * static_cast<double>(count) * threads / t);
  }
  std::printf("{\"flops\": %.0f, \"bf16Flops\": %.0f, \"bandwidth\": %.0f}\n", flops, pairs, bandwidth);
}
