// Checks the convolution kernels against double-precision loops: strides, dilation, padding, groups, sinks, threads.
// node scripts/build-native.mjs --tests; build/native/test/conv_test [EVERY]   (--sanitize: build/native-asan)
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>

#include "gemm_isas.h"
#include "gemm_parallel.h"

using namespace cambium;

namespace {

int passed = 0, failed = 0;
/** Only every n-th case is tried: the program's argument, for slow builds. */
int every = 1, turn = 0;
std::mt19937 random_source(11);

/** Whether values are made that bf16 holds. */
bool short_values = false;

/** A heap block of exactly n floats after `shift`, so that sanitizers see any access past it. */
struct Buffer {
  Buffer(int64_t n, int64_t shift, bool random) : size(n), memory(new float[static_cast<size_t>(n + shift)]), data(memory.get() + shift) {
    std::uniform_real_distribution<float> uniform(-1, 1);
    for (int64_t i = 0; i < n; ++i) {
      const float value = random ? uniform(random_source) : -77.0f;
      data[i] = short_values ? std::round(value * 128) / 128 : value;
    }
  }
  int64_t size;
  std::unique_ptr<float[]> memory;
  float* data;
};

/** Error of Winograd's convolution relative to the largest sum of magnitudes, for tiles of 2 and of 4. */
double winograd_limit(int tile) { return tile == 2 ? 1e-6 : 3e-6; }
/** With transformed values rounded to bf16. Operands rounded as they are would be off by 2^-8 at worst; errors average. */
double rounded_limit(int tile, int64_t terms) {
  if (terms < 144) return tile == 2 ? 8e-3 : 5e-2;
  return tile == 2 ? 2.5e-3 : 1e-2;
}
double worst[2] = {}, worst_rounded[2][2] = {};

struct Expected {
  std::vector<double> sum, size;
  std::vector<int64_t> terms;
  explicit Expected(int64_t n) : sum(static_cast<size_t>(n)), size(static_cast<size_t>(n)), terms(static_cast<size_t>(n)) {}
  void add(int64_t at, double a, double b) {
    const size_t i = static_cast<size_t>(at);
    sum[i] += a * b, size[i] += std::fabs(a * b), ++terms[i];
  }
  /** `winograd`: the side of its tiles. It adds and subtracts whole tiles, so its errors follow their largest size. */
  const char* compare(const float* got, int winograd, bool bf16) const {
    double largest = 0;
    for (double s : size) largest = std::max(largest, s);
    int64_t most_terms = 0;
    for (int64_t n : terms) most_terms = std::max(most_terms, n);
    for (size_t i = 0; i < sum.size(); ++i) {
      const double root = std::sqrt(static_cast<double>(terms[i]));
      const double limit = winograd ? (bf16 ? rounded_limit(winograd, most_terms) : winograd_limit(winograd)) * largest : 2 * root * 0x1p-24 * size[i] + 1e-30;
      const double error = std::fabs(static_cast<double>(got[i]) - sum[i]);
      if (winograd && largest > 0) {
        double& most = bf16 ? worst_rounded[most_terms >= 144][winograd / 4] : worst[winograd / 4];
        most = std::max(most, error / largest);
      }
      if (!(error <= limit)) return "value";
    }
    return nullptr;
  }
};

struct SinkState {
  float* out;
  int64_t cols;
  std::vector<int>* seen;
};

void collect(void* ctx, int, int64_t row0, int64_t row_stride, int64_t rows, int64_t col0, int64_t cols,
             const float* tile, int64_t ld) {
  auto& s = *static_cast<SinkState*>(ctx);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < cols; ++c) {
      const int64_t at = (row0 + r * row_stride) * s.cols + col0 + c;
      s.out[at] = tile[r * ld + c];
      ++(*s.seen)[static_cast<size_t>(at)];
    }
}

struct Data {
  Buffer x, y, w;
  Expected forward, input, weight;
};

Data make_data(const Conv2dArgs& a, int64_t shift) {
  const int64_t nx = a.n * a.ih * a.iw * a.ic, ny = a.n * a.oh * a.ow * a.oc, K = a.ic / a.groups, N = a.oc / a.groups;
  const int64_t taps = a.kh * a.kw, nw = a.oc * K * taps;
  Data d{Buffer(nx, shift, true), Buffer(ny, shift, true), Buffer(nw, shift, true), Expected(ny), Expected(nx), Expected(nw)};
  for (int64_t n = 0; n < a.n; ++n)
    for (int64_t oy = 0; oy < a.oh; ++oy)
      for (int64_t ox = 0; ox < a.ow; ++ox)
        for (int64_t tap = 0; tap < taps; ++tap) {
          const int64_t iy = oy * a.stride_h - a.pad_h + tap / a.kw * a.dil_h;
          const int64_t ix = ox * a.stride_w - a.pad_w + tap % a.kw * a.dil_w;
          if (iy < 0 || iy >= a.ih || ix < 0 || ix >= a.iw) continue;
          const int64_t px = ((n * a.ih + iy) * a.iw + ix) * a.ic, py = ((n * a.oh + oy) * a.ow + ox) * a.oc;
          for (int64_t o = 0; o < a.oc; ++o)
            for (int64_t k = 0; k < K; ++k) {
              const int64_t i = o / N * K + k, at = (o * K + k) * taps + tap;
              const double x = d.x.data[px + i], y = d.y.data[py + o], w = d.w.data[at];
              d.forward.add(py + o, x, w);
              d.input.add(px + i, y, w);
              d.weight.add(at, x, y);
            }
        }
  return d;
}

struct Kernels {
  decltype(&portable::conv2d_forward) forward, input_grad;
  decltype(&portable::conv2d_weight_grad) weight_grad;
};

void check_algorithm(const Conv2dArgs& a, int64_t shift, const Data& d, int winograd, bool bf16 = false) {
  for (const auto& isa : test_isas()) {
    const Kernels kernels = bf16 ? Kernels{isa.conv2d_forward_bf16, isa.conv2d_input_grad_bf16, isa.conv2d_weight_grad_bf16}
                                 : Kernels{isa.conv2d_forward, isa.conv2d_input_grad, isa.conv2d_weight_grad};
    const char* wrong = nullptr;
    const auto gather = [&](const char* what, const Expected& want, int64_t cols, const auto& kernel) {
      std::vector<float> reference;
      for (int threads = 1; threads <= 3; ++threads)
        for (int with_sink = 0; with_sink < 2; ++with_sink) {
          const TestParallel par(threads);
          const Buffer out(static_cast<int64_t>(want.sum.size()), shift, false);
          std::vector<int> seen(want.sum.size(), with_sink ? 0 : 1);
          SinkState state{out.data, cols, &seen};
          const TileSink sink{collect, &state};
          kernel(with_sink ? nullptr : out.data, par, with_sink ? &sink : nullptr);
          if (want.compare(out.data, winograd, bf16)) wrong = what;
          for (int count : seen)
            if (count != 1) wrong = "sink coverage";
          if (reference.empty()) reference.assign(out.data, out.data + out.size);
          else if (std::memcmp(reference.data(), out.data, reference.size() * 4) != 0) wrong = "differs between threads or sink";
        }
    };
    gather("forward", d.forward, a.oc, [&](float* out, const Parallel& par, const TileSink* sink) {
      kernels.forward(a, d.x.data, d.w.data, out, par, sink);
    });
    gather("input grad", d.input, a.ic, [&](float* out, const Parallel& par, const TileSink* sink) {
      kernels.input_grad(a, d.y.data, d.w.data, out, par, sink);
    });
    std::vector<float> reference;
    for (int threads = 1; threads <= 3; ++threads) {
      const TestParallel par(threads);
      const Buffer out(d.w.size, shift, false);
      kernels.weight_grad(a, d.x.data, d.y.data, out.data, par);
      if (d.weight.compare(out.data, winograd, bf16)) wrong = "weight grad";
      if (reference.empty()) reference.assign(out.data, out.data + out.size);
      else if (std::memcmp(reference.data(), out.data, reference.size() * 4) != 0) wrong = "weight grad differs between threads";
    }
    ++(wrong ? failed : passed);
    if (wrong)
      std::printf("FAIL %s%s winograd %d %s: n %ld x %ldx%ldx%ld y %ldx%ldx%ld k %ldx%ld stride %ld,%ld pad %ld,%ld dil %ld,%ld groups %ld\n",
                  isa.name, bf16 ? " bf16" : "", winograd, wrong, (long)a.n, (long)a.ih, (long)a.iw, (long)a.ic, (long)a.oh, (long)a.ow, (long)a.oc,
                  (long)a.kh, (long)a.kw, (long)a.stride_h, (long)a.stride_w, (long)a.pad_h, (long)a.pad_w, (long)a.dil_h,
                  (long)a.dil_w, (long)a.groups);
  }
}

void check(Conv2dArgs a, int64_t shift = 0) {
  if (turn++ % every != 0) return;
  const Data d = make_data(a, shift);
  a.algorithm = ConvAlgorithm::direct;
  check_algorithm(a, shift, d, 0);
  if (a.ic * a.oc * a.kh * a.kw > 0) {
    short_values = true;
    check_algorithm(a, shift, make_data(a, shift), 0, true);
    short_values = false;
  }
  if (a.kh != 3 || a.kw != 3 || a.stride_h != 1 || a.stride_w != 1 || a.dil_h != 1 || a.dil_w != 1 || a.groups != 1 ||
      a.n * a.ih * a.iw * a.ic * a.oh * a.ow * a.oc == 0)
    return;
  a.algorithm = ConvAlgorithm::winograd2;
  check_algorithm(a, shift, d, 2);
  a.algorithm = ConvAlgorithm::winograd4;
  check_algorithm(a, shift, d, 4);
  a.algorithm = ConvAlgorithm::winograd2;
  check_algorithm(a, shift, d, 2, true);
  a.algorithm = ConvAlgorithm::winograd4;
  check_algorithm(a, shift, d, 4, true);
}

/** Derives oh, ow from the padding of both sides, bottom and right `extra` larger. */
Conv2dArgs shape(int64_t n, int64_t ih, int64_t iw, int64_t ic, int64_t oc, int64_t k, int64_t stride, int64_t pad,
                 int64_t dil = 1, int64_t groups = 1, int64_t extra = 0) {
  Conv2dArgs a;
  a.n = n, a.ih = ih, a.iw = iw, a.ic = ic, a.oc = oc, a.kh = a.kw = k, a.stride_h = a.stride_w = stride;
  a.pad_h = a.pad_w = pad, a.dil_h = a.dil_w = dil, a.groups = groups;
  const auto out = [&](int64_t size) {
    const int64_t room = size + 2 * pad + extra - dil * (k - 1) - 1;
    return room < 0 ? 0 : room / stride + 1;
  };
  a.oh = out(ih), a.ow = out(iw);
  return a;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1) every = std::max(1, std::atoi(argv[1]));
  for (int64_t k : {1, 2, 3, 5})
    for (int64_t stride : {1, 2, 3})
      for (int64_t dil : {1, 2})
        for (int64_t pad : {0, 1, 2}) {
          check(shape(2, 7, 9, 5, 7, k, stride, pad, dil), (k + pad) % 3);
          check(shape(1, 8, 6, 12, 17, k, stride, pad, dil, 1, pad % 2), stride % 3);
        }
  for (int64_t ic : {1, 3, 8, 9, 16, 33, 64, 70})
    for (int64_t oc : {1, 5, 16, 17, 64, 65, 130}) check(shape(2, 5, 4, ic, oc, 3, 1, 1), ic % 4);
  for (int64_t groups : {2, 4})
    for (int64_t per : {1, 2, 3, 9, 17})
      for (int64_t stride : {1, 2}) check(shape(2, 6, 5, groups * per, groups * (per + stride), 3, stride, 1, 1, groups), 1);
  for (int64_t channels : {2, 3, 16, 31, 64, 65, 130})
    for (int64_t stride : {1, 2})
      for (int64_t dil : {1, 2}) check(shape(2, 6, 7, channels, channels, 3, stride, 2, dil, channels), channels % 3);
  check(shape(2, 6, 6, 4, 8, 3, 1, 1, 1, 4));  // one input channel, two outputs per group
  for (int64_t n : {1, 5, 6, 7, 13})
    for (int64_t map : {1, 2, 3, 4, 8}) check(shape(n, map, map, 20, 30, 3, 1, 1));
  check(shape(8, 9, 8, 20, 30, 3, 1, 1));
  check(shape(3, 13, 17, 3, 40, 7, 2, 3));
  check(shape(2, 17, 13, 4, 20, 5, 1, 2, 2));
  check(shape(1, 3, 3, 300, 40, 3, 1, 1));       // several K chunks
  check(shape(7, 4, 4, 290, 70, 3, 1, 1), 1);
  check(shape(2, 4, 4, 40, 530, 3, 1, 1), 3);    // several column blocks
  check(shape(5, 20, 20, 10, 12, 3, 1, 1));      // several pixel blocks and splits
  check(shape(3, 24, 20, 3, 70, 3, 1, 1), 1);
  check(shape(3, 24, 20, 100, 10, 1, 1, 0));     // pointwise
  check(shape(3, 9, 9, 70, 140, 1, 2, 0));
  check(shape(2, 2, 2, 6, 6, 3, 1, 4));          // whole outputs in the padding
  check(shape(1, 1, 1, 9, 9, 1, 1, 0));
  check(shape(0, 4, 4, 3, 3, 3, 1, 1));
  check(shape(1, 2, 2, 3, 3, 5, 1, 0));          // no output
  check(shape(2, 12, 12, 10, 10, 2, 3, 0));      // stride beyond the kernel: input never read
  {
    Conv2dArgs a = shape(2, 9, 11, 10, 20, 3, 1, 1);  // different in each direction
    a.kh = 2, a.stride_h = 2, a.pad_w = 0, a.dil_w = 2, a.oh = 5, a.ow = 7;
    check(a, 2);
    a.ic = 3, a.pad_h = 0, a.oh = 4;
    check(a, 1);
    a.ic = 0;
    check(a);
  }
  // Every tile edge, with padding on no side, both sides, or more below and to the right.
  for (int64_t h = 3; h <= 10; ++h)
    for (int64_t pad : {0, 1, 2}) {
      check(shape(2, h, 13 - h, 18, 19, 3, 1, pad), h % 3);
      check(shape(1, h, 7, 5, 33, 3, 1, pad, 1, 1, 1), pad);
    }
  check(shape(5, 8, 8, 70, 260, 3, 1, 1), 1);    // panels of weights transformed as used
  check(shape(3, 22, 18, 130, 140, 3, 1, 1), 2); // two column blocks, several tasks of tiles
  check(shape(2, 4, 5, 300, 70, 3, 1, 1), 1);    // several chunks of channels
  check(shape(4, 24, 24, 30, 20, 3, 1, 1), 3);   // weight gradient in splits
  std::printf("Winograd's worst error of the largest sum of magnitudes: 2x2 %.1e, 4x4 %.1e\n", worst[0], worst[1]);
  std::printf("the same rounded to bf16: 2x2 %.1e, 4x4 %.1e; of 144 terms and more 2x2 %.1e, 4x4 %.1e\n", worst_rounded[0][0],
              worst_rounded[0][1], worst_rounded[1][0], worst_rounded[1][1]);
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed != 0;
}
