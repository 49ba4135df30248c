// Times GEMM and convolution kernels on two threads against an FMA peak measured here.
// node scripts/build-native.mjs --bench; build/native/test/kernel_bench [FILTER [ISA [THREADS]]]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <functional>
#include <string>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "gemm_isas.h"
#include "gemm_parallel.h"

using namespace cambium;

namespace {

/** The processor's time where one thread runs, which leaves out what others on the machine took. */
bool processor_time = false;
double now() {
  if (processor_time) {
    timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
  }
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/** Threads that wait by spinning, as the engine's do for a while, so that starting a run costs little. */
class SpinParallel : public TestParallel {
 public:
  explicit SpinParallel(int threads) : TestParallel(threads) {
    for (int i = 1; i < threads; ++i) team_.emplace_back([this, i] { loop(i); });
  }
  ~SpinParallel() override {
    stop_ = true;
    for (auto& thread : team_) thread.join();
  }
  void run(int64_t n, TaskRef body) const override {
    if (n <= 1 || team_.empty()) {
      for (int64_t t = 0; t < n; ++t) body(t, 0);
      return;
    }
    body_ = &body, n_ = n, next_ = 0, busy_ = static_cast<int>(team_.size());
    ++epoch_;
    for (int64_t t = next_++; t < n; t = next_++) body(t, 0);
    while (busy_ != 0) {}
  }

 private:
  void loop(int thread) {
    int seen = 0;
    while (!stop_) {
      if (epoch_ == seen) continue;
      ++seen;
      for (int64_t t = next_++; t < n_; t = next_++) (*body_)(t, thread);
      --busy_;
    }
  }
  std::vector<std::thread> team_;
  mutable const TaskRef* body_ = nullptr;
  mutable int64_t n_ = 0;
  mutable std::atomic<int64_t> next_{0};
  mutable std::atomic<int> busy_{0}, epoch_{0};
  std::atomic<bool> stop_{false};
};

/** Independent multiply-add chains in registers: what the processor can do at best. Returns the flops of a step. */
#define CAMBIUM_CHAINS(name, target_attribute, bytes, step)                                           \
  target_attribute int64_t name(int64_t steps) {                                                      \
    typedef float vector __attribute__((vector_size(bytes)));                                         \
    vector a = {}, b = {}, c = {}, d = {}, e = {}, f = {}, g = {}, h = {}, i = {}, j = {}, x = {}, y = {}; \
    for (int64_t s = 0; s < steps; ++s) {                                                             \
      step(a); step(b); step(c); step(d); step(e); step(f); step(g); step(h); step(i); step(j);       \
    }                                                                                                 \
    y = a + b + c + d + e + f + g + h + i + j;                                                        \
    kept = y[0];                                                                                      \
    return 2 * 10 * (bytes / 4);                                                                      \
  }
float volatile kept;
#if defined(__x86_64__)
#define CAMBIUM_FMA(r) asm volatile("vfmadd213ps %2, %1, %0" : "+v"(r) : "v"(x), "v"(y))
CAMBIUM_CHAINS(chains_avx512, __attribute__((target("avx512f,fma"))), 64, CAMBIUM_FMA)
CAMBIUM_CHAINS(chains_avx2, __attribute__((target("avx2,fma"))), 32, CAMBIUM_FMA)
#endif
#define CAMBIUM_MULTIPLY_ADD(r) r = r * x + y; asm volatile("" : "+g"(r))
CAMBIUM_CHAINS(chains_portable, , 16, CAMBIUM_MULTIPLY_ADD)

double measure_peak(const Parallel& par, const std::string& isa) {
  const int64_t steps = 1 << 22;
  double best = 0;
  for (int rep = 0; rep < 5; ++rep) {
    const double start = now();
    std::atomic<int64_t> flops{0};
    par.run(par.threads(), [&](int64_t, int) {
#if defined(__x86_64__)
      if (isa.starts_with("avx512")) flops += steps * chains_avx512(steps);
      else if (isa == "avx2") flops += steps * chains_avx2(steps);
      else
#endif
        flops += steps * chains_portable(steps);
    });
    best = std::max(best, static_cast<double>(flops) / (now() - start));
  }
  return best * 1e-9;
}

double peak = 0;
bool bf16_only = false;
std::string filter;

/** The fastest of many runs: other work on the machine only ever adds time. */
void report(const std::string& name, double flops, double bytes, const std::function<void()>& body) {
  if (name.find(filter) == std::string::npos) return;
  double best = 1e30, spent = 0;
  body();
  for (int rep = 0; rep < 400 && (spent < 0.5 || rep < 5); ++rep) {
    const double start = now();
    body();
    const double t = now() - start;
    best = std::min(best, t), spent += t;
  }
  std::printf("%-44s %9.3f ms %8.1f GFLOP/s %5.1f %%  %6.1f GB/s\n", name.c_str(), best * 1e3, flops / best * 1e-9,
              100 * flops / best * 1e-9 / peak, bytes / best * 1e-9);
  std::fflush(stdout);
}

/** Medians of runs taken in turn, so that other work on the machine slows all alike. */
void compare(const std::string& name, double flops, const std::vector<std::pair<const char*, std::function<void()>>>& bodies) {
  if (name.find(filter) == std::string::npos) return;
  std::vector<std::vector<double>> times(bodies.size());
  double spent = 0;
  for (int rep = 0; rep < 100 && (spent < 0.4 || rep < 5); ++rep)
    for (size_t i = 0; i < bodies.size(); ++i) {
      const double start = now();
      bodies[i].second();
      const double t = now() - start;
      if (rep > 0) times[i].push_back(t);
      spent += t;
    }
  std::printf("%-34s", name.c_str());
  double first = 0;
  for (size_t i = 0; i < bodies.size(); ++i) {
    std::sort(times[i].begin(), times[i].end());
    const double median = times[i][times[i].size() / 2];
    if (i == 0) first = median;
    std::printf("  %s %.3f/%.3f ms %.0f%% x%.2f", bodies[i].first, median * 1e3, times[i][0] * 1e3, 100 * flops / median * 1e-9 / peak,
                first / median);
  }
  std::printf("\n");
  std::fflush(stdout);
}

/** Floats on huge pages, as the engine's arrays are. */
class Values {
 public:
  explicit Values(int64_t n) : size_(n) {
    const size_t page = size_t{2} << 20, bytes = (static_cast<size_t>(n) * 4 + page - 1) / page * page;
    data_ = static_cast<float*>(std::aligned_alloc(page, bytes));
#if defined(__linux__)
    madvise(data_, bytes, MADV_HUGEPAGE);
#endif
    for (int64_t i = 0; i < n; ++i) data_[i] = static_cast<float>(i * 7919 % 201 - 100) * 0.01f;
  }
  Values(const Values&) = delete;
  ~Values() { std::free(data_); }
  float* data() const { return data_; }
  int64_t size() const { return size_; }

 private:
  float* data_;
  int64_t size_;
};

void touch(void* ctx, int thread, int64_t, int64_t, int64_t rows, int64_t, int64_t cols, const float* tile, int64_t ld) {
  float sum = 0;
  for (int64_t r = 0; r < rows; ++r) sum += tile[r * ld] + tile[r * ld + cols - 1];
  static_cast<float*>(ctx)[thread * 16] = sum;
}

void bench_gemm(const TestIsa& isa, const Parallel& par, int64_t batch, int64_t M, int64_t N, int64_t K, bool ta, bool tb,
                bool sink = false) {
  char name[100];
  std::snprintf(name, sizeof name, "gemm %ldx %ld %ld %ld %s%s%s", (long)batch, (long)M, (long)N, (long)K, ta ? "T" : "N",
                tb ? "T" : "N", sink ? " sink" : "");
  if (std::string(name).find(filter) == std::string::npos) return;
  GemmArgs g;
  g.batch = batch, g.M = M, g.N = N, g.K = K, g.trans_a = ta, g.trans_b = tb;
  g.lda = ta ? M : K, g.ldb = tb ? K : N, g.ldc = N;
  g.stride_a = M * K, g.stride_b = K * N, g.stride_c = M * N;
  const Values a(batch * M * K), b(batch * K * N), c(sink ? 1 : batch * M * N);
  g.a = a.data(), g.b = b.data(), g.c = c.data();
  float state[16 * 64];
  const TileSink s{touch, state};
  report(name, 2.0 * batch * M * N * K, 4.0 * batch * (M * K + K * N + (sink ? 0 : M * N)),
         [&] { isa.gemm(g, par, sink ? &s : nullptr); });
  report(std::string(name) + " bf16", 2.0 * batch * M * N * K, 4.0 * batch * (M * K + K * N + (sink ? 0 : M * N)),
         [&] { isa.gemm_bf16(g, par, sink ? &s : nullptr); });
}

void bench_conv(const TestIsa& isa, const Parallel& par, Conv2dArgs c, const char* label) {
  const std::string base = std::string("conv ") + label;
  if (base.find(filter) == std::string::npos && ("conv " + filter).find(base) == std::string::npos &&
      filter.find(label) == std::string::npos)
    return;
  const Values x(c.n * c.ih * c.iw * c.ic), w(c.oc * (c.ic / c.groups) * c.kh * c.kw), y(c.n * c.oh * c.ow * c.oc);
  const Values out(std::max({x.size(), w.size(), y.size()}));
  const double flops = 2.0 * c.n * c.oh * c.ow * c.oc * (c.ic / c.groups) * c.kh * c.kw;
  const double bytes = 4.0 * static_cast<double>(x.size() + w.size() + y.size());
  if (c.kh == 3 && c.stride_h == 1 && c.groups == 1) {  // each algorithm, in turn
    const auto each = [&](const char* pass, const auto& kernel) {
      std::vector<std::pair<const char*, std::function<void()>>> bodies;
      for (auto [label, algorithm] : {std::pair{"direct", ConvAlgorithm::direct}, std::pair{"2x2", ConvAlgorithm::winograd2},
                                      std::pair{"4x4", ConvAlgorithm::winograd4}, std::pair{"auto", ConvAlgorithm::automatic}})
        bodies.emplace_back(label, [&, algorithm = algorithm] {
          Conv2dArgs args = c;
          args.algorithm = algorithm;
          kernel(args);
        });
      compare(base + pass, flops, bodies);
    };
    const auto rounded = [&](const char* pass, const auto& exact, const auto& rounding) {
      Conv2dArgs args = c;
      compare(base + pass + " bf16", flops, {{"f32", [&] { exact(args); }}, {"bf16", [&] { rounding(args); }}});
    };
    rounded(" forward", [&](const Conv2dArgs& args) { isa.conv2d_forward(args, x.data(), w.data(), out.data(), par, nullptr); },
            [&](const Conv2dArgs& args) { isa.conv2d_forward_bf16(args, x.data(), w.data(), out.data(), par, nullptr); });
    rounded(" input-grad", [&](const Conv2dArgs& args) { isa.conv2d_input_grad(args, y.data(), w.data(), out.data(), par, nullptr); },
            [&](const Conv2dArgs& args) { isa.conv2d_input_grad_bf16(args, y.data(), w.data(), out.data(), par, nullptr); });
    rounded(" weight-grad", [&](const Conv2dArgs& args) { isa.conv2d_weight_grad(args, x.data(), y.data(), out.data(), par); },
            [&](const Conv2dArgs& args) { isa.conv2d_weight_grad_bf16(args, x.data(), y.data(), out.data(), par); });
    if (bf16_only) return;
    each(" forward", [&](const Conv2dArgs& args) { isa.conv2d_forward(args, x.data(), w.data(), out.data(), par, nullptr); });
    each(" input-grad", [&](const Conv2dArgs& args) { isa.conv2d_input_grad(args, y.data(), w.data(), out.data(), par, nullptr); });
    each(" weight-grad", [&](const Conv2dArgs& args) { isa.conv2d_weight_grad(args, x.data(), y.data(), out.data(), par); });
    return;
  }
  if (bf16_only || c.oc / c.groups >= 16) {
    compare(base + " forward bf16", flops, {{"f32", [&] { isa.conv2d_forward(c, x.data(), w.data(), out.data(), par, nullptr); }}, {"bf16", [&] { isa.conv2d_forward_bf16(c, x.data(), w.data(), out.data(), par, nullptr); }}});
    compare(base + " input-grad bf16", flops, {{"f32", [&] { isa.conv2d_input_grad(c, y.data(), w.data(), out.data(), par, nullptr); }}, {"bf16", [&] { isa.conv2d_input_grad_bf16(c, y.data(), w.data(), out.data(), par, nullptr); }}});
    compare(base + " weight-grad bf16", flops, {{"f32", [&] { isa.conv2d_weight_grad(c, x.data(), y.data(), out.data(), par); }}, {"bf16", [&] { isa.conv2d_weight_grad_bf16(c, x.data(), y.data(), out.data(), par); }}});
    if (bf16_only) return;
  }
  report(base + " forward", flops, bytes, [&] { isa.conv2d_forward(c, x.data(), w.data(), out.data(), par, nullptr); });
  report(base + " input-grad", flops, bytes,
         [&] { isa.conv2d_input_grad(c, y.data(), w.data(), out.data(), par, nullptr); });
  report(base + " weight-grad", flops, bytes, [&] { isa.conv2d_weight_grad(c, x.data(), y.data(), out.data(), par); });
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1) filter = argv[1];
  bf16_only = argc > 4;
  const int threads = argc > 3 ? std::atoi(argv[3]) : 2;
  TestIsa isa = test_isas().front();
  for (const auto& candidate : test_isas())
    if (argc > 2 && std::strcmp(candidate.name, argv[2]) == 0) isa = candidate;
  processor_time = threads == 1;
  const SpinParallel par(threads);
  peak = measure_peak(par, isa.name);
  std::printf("%s, %d threads, FMA peak %.0f GFLOP/s\n", isa.name, threads, peak);

  for (int64_t n : {256, 512, 1024, 2048, 4096}) bench_gemm(isa, par, 1, n, n, n, false, false);
  bench_gemm(isa, par, 1, 2048, 2048, 2048, false, true);
  bench_gemm(isa, par, 1, 2048, 2048, 2048, true, false);
  bench_gemm(isa, par, 1, 2048, 2048, 2048, true, true);
  bench_gemm(isa, par, 1, 1000, 1000, 1000, false, false);
  bench_gemm(isa, par, 1, 16, 4096, 25088, false, true);
  bench_gemm(isa, par, 1, 16, 4096, 25088, false, true, true);
  bench_gemm(isa, par, 1, 16, 25088, 4096, false, false);
  bench_gemm(isa, par, 1, 4096, 25088, 16, true, false);
  bench_gemm(isa, par, 1, 4096, 25088, 16, true, false, true);
  bench_gemm(isa, par, 1, 64, 4096, 25088, false, true);
  bench_gemm(isa, par, 1, 64, 25088, 4096, false, false);
  bench_gemm(isa, par, 1, 1, 4096, 4096, false, true);
  bench_gemm(isa, par, 1, 1, 4096, 4096, false, false);
  bench_gemm(isa, par, 1, 64, 512, 512, false, true);
  bench_gemm(isa, par, 192, 128, 128, 64, false, true);
  bench_gemm(isa, par, 192, 128, 64, 128, false, false);
  bench_gemm(isa, par, 192, 128, 64, 128, true, false);
  bench_gemm(isa, par, 1, 64, 256, 784, false, true);
  bench_gemm(isa, par, 1, 64, 10, 256, false, true);
  bench_gemm(isa, par, 1, 256, 784, 64, true, false);
  bench_gemm(isa, par, 1, 10, 256, 64, true, false);
  bench_gemm(isa, par, 1, 64, 256, 10, false, false);
  bench_gemm(isa, par, 1, 2048, 768, 768, false, true);
  bench_gemm(isa, par, 1, 2048, 3072, 768, false, true);
  bench_gemm(isa, par, 1, 768, 3072, 2048, true, false);
  bench_gemm(isa, par, 1, 1024, 128, 6400, true, false);
  bench_gemm(isa, par, 1, 1024, 256, 6400, true, false);
  bench_gemm(isa, par, 1, 128, 4096, 25088, false, true);

  const auto vgg = [&](int64_t map, int64_t ic, int64_t oc, int64_t n = 64) {
    char label[60];
    std::snprintf(label, sizeof label, n == 64 ? "%ldx%ld %ld->%ld" : "%ldx%ld %ld->%ld batch %ld", (long)map, (long)map, (long)ic, (long)oc, (long)n);
    Conv2dArgs c;
    c.n = n, c.ih = c.iw = c.oh = c.ow = map, c.ic = ic, c.oc = oc, c.kh = c.kw = 3, c.pad_h = c.pad_w = 1;
    bench_conv(isa, par, c, label);
  };
  vgg(32, 3, 64), vgg(32, 64, 64), vgg(16, 64, 128), vgg(16, 128, 128), vgg(8, 128, 256), vgg(8, 256, 256);
  vgg(4, 256, 512), vgg(4, 512, 512), vgg(2, 512, 512);
  vgg(32, 64, 64, 16), vgg(16, 64, 128, 16), vgg(16, 128, 128, 16), vgg(8, 128, 256, 16), vgg(8, 256, 256, 16);
  vgg(4, 256, 512, 16), vgg(4, 512, 512, 16), vgg(2, 512, 512, 16);
  vgg(224, 3, 64, 8), vgg(224, 64, 64, 8), vgg(112, 64, 128, 8), vgg(112, 128, 128, 8), vgg(56, 128, 256, 8);
  vgg(56, 256, 256, 8), vgg(28, 256, 512, 8), vgg(28, 512, 512, 8), vgg(14, 512, 512, 8);
  vgg(56, 64, 64, 8), vgg(28, 128, 128, 8), vgg(14, 256, 256, 8), vgg(7, 512, 512, 8);  // ResNet-18
  Conv2dArgs c;
  c.n = 16, c.ih = c.iw = 56, c.oh = c.ow = 28, c.ic = 128, c.oc = 256, c.kh = c.kw = 3, c.pad_h = c.pad_w = 1;
  c.stride_h = c.stride_w = 2;
  bench_conv(isa, par, c, "56 stride 2 128->256");
  c.oh = c.ow = 28, c.kh = c.kw = 1, c.pad_h = c.pad_w = 0;
  bench_conv(isa, par, c, "56 1x1 stride 2 128->256");
  c.oh = c.ow = 56, c.stride_h = c.stride_w = 1, c.oc = 64;
  bench_conv(isa, par, c, "56 1x1 128->64");
  c.kh = c.kw = 3, c.pad_h = c.pad_w = 1, c.oc = 128, c.groups = 128;
  bench_conv(isa, par, c, "56 depthwise 128");
  c.groups = 32;
  bench_conv(isa, par, c, "56 32 groups 128->128");
  c = {};
  c.n = 16, c.ih = c.iw = 224, c.oh = c.ow = 112, c.ic = 3, c.oc = 64, c.kh = c.kw = 7, c.pad_h = c.pad_w = 3;
  c.stride_h = c.stride_w = 2;
  bench_conv(isa, par, c, "224 7x7 stride 2 3->64");
  c = {};
  c.n = 4, c.ih = c.iw = c.oh = c.ow = 224, c.ic = 64, c.oc = 64, c.kh = c.kw = 3, c.pad_h = c.pad_w = 1;
  bench_conv(isa, par, c, "224 64->64");
  return 0;
}
