// Runs whole programs through the engine: pools, indexing, checks and epilogues against plain loops, for 1 to 3 threads.
// CAMBIUM_ISA chooses the instruction set under test.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "../runtime/engine.h"
#include "../runtime/error.h"

using namespace cambium;

namespace {

int passed = 0, failed = 0;
uint32_t state = 1;

uint32_t random_bits() { return (state = state * 1664525u + 1013904223u) >> 8; }
int64_t random_int(int64_t least, int64_t most) { return least + random_bits() % (most - least + 1); }
float random_float() { return static_cast<float>(static_cast<int32_t>(random_bits() % 4001) - 2000) / 512.0f; }

void expect(bool ok, const std::string& what) {
  ok ? ++passed : ++failed;
  if (!ok) std::printf("FAILED %s\n", what.c_str());
}

using Floats = std::vector<float>;

Floats random_floats(int64_t count) {
  Floats x(static_cast<size_t>(count));
  for (float& v : x) v = random_float();
  return x;
}

Floats indices(int64_t count, int64_t size) {
  Floats x(static_cast<size_t>(count));
  for (float& v : x) {
    const auto index = static_cast<int32_t>(random_int(0, size - 1));
    std::memcpy(&v, &index, 4);
  }
  return x;
}

int32_t as_index(float x) {
  int32_t index;
  std::memcpy(&index, &x, 4);
  return index;
}

/** A program of one step whose buffers are `arrays` in order. */
Program one_step(const std::string& kernel, std::vector<int> in, std::vector<int> out,
                 const std::vector<std::pair<std::string, double>>& attrs, const std::vector<Floats>& arrays,
                 std::unique_ptr<Fused> fused = nullptr) {
  Program program;
  for (size_t i = 0; i < arrays.size(); ++i) {
    program.buffers.push_back({true, static_cast<int64_t>(i)});
    program.lengths.push_back(static_cast<int64_t>(arrays[i].size()) * 4);
  }
  Step step;
  step.kernel = kernel_named(kernel);
  step.name = kernel;
  step.in = std::move(in);
  step.out = std::move(out);
  for (const std::string& name : kernel_attributes(step.kernel))
    for (const auto& [key, value] : attrs)
      if (key == name) step.attrs.push_back(value);
  step.fused = std::move(fused);
  program.steps.push_back(std::move(step));
  prepare(program);
  return program;
}

int64_t run(Engine& engine, Program& program, std::vector<Floats>& arrays) {
  std::vector<Array> views;
  for (Floats& array : arrays)
    views.push_back({reinterpret_cast<std::byte*>(array.data()), static_cast<int64_t>(array.size()) * 4});
  return engine.run(program, views);
}

/** Runs with 1, 2 and 3 threads, compares them bit by bit, and array `out` with `want`. */
void check(Engine& engine, const std::string& what, Program program, std::vector<Floats>& arrays, size_t out,
           const Floats& want, float tolerance = 1e-5f) {
  const std::vector<Floats> before = arrays;
  engine.set_threads(1);
  run(engine, program, arrays);
  for (int threads = 2; threads <= 3; ++threads) {
    std::vector<Floats> again = before;
    engine.set_threads(threads);
    run(engine, program, again);
    expect(!std::memcmp(again[out].data(), arrays[out].data(), want.size() * 4), what + ": the thread count matters");
  }
  for (size_t i = 0; i < want.size(); ++i) {
    const float got = arrays[out][i];
    if (std::memcmp(&got, &want[i], 4) == 0 || (std::isnan(got) && std::isnan(want[i]))) continue;
    if (std::fabs(got - want[i]) <= tolerance * std::max(1.0f, std::fabs(want[i]))) continue;
    return expect(false, what + ": element " + std::to_string(i) + " is " + std::to_string(got) + ", not " + std::to_string(want[i]));
  }
  expect(true, what);
}

struct Pool {
  int64_t n, ih, iw, c, oh, ow, kh, kw, sh, sw, ph, pw, dh, dw;
  std::vector<std::pair<std::string, double>> attrs() const {
    const auto d = [](int64_t x) { return static_cast<double>(x); };
    return {{"n", d(n)}, {"ih", d(ih)}, {"iw", d(iw)}, {"c", d(c)}, {"oh", d(oh)}, {"ow", d(ow)}, {"kh", d(kh)}, {"kw", d(kw)},
            {"strideH", d(sh)}, {"strideW", d(sw)}, {"padH", d(ph)}, {"padW", d(pw)}, {"dilH", d(dh)}, {"dilW", d(dw)}};
  }
  size_t x(int64_t b, int64_t h, int64_t w, int64_t k) const { return static_cast<size_t>(((b * ih + h) * iw + w) * c + k); }
  size_t y(int64_t b, int64_t h, int64_t w, int64_t k) const { return static_cast<size_t>(((b * oh + h) * ow + w) * c + k); }
  int64_t x_size() const { return n * ih * iw * c; }
  int64_t y_size() const { return n * oh * ow * c; }

  /** visit(output element, channel, the window's inputs in row-major order, divisor counting padding) */
  void windows(const std::function<void(size_t, const std::vector<size_t>&, int64_t)>& visit) const {
    for (int64_t b = 0; b < n; ++b)
      for (int64_t i = 0; i < oh; ++i)
        for (int64_t j = 0; j < ow; ++j)
          for (int64_t k = 0; k < c; ++k) {
            std::vector<size_t> taps;
            int64_t padded = 0;
            for (int64_t u = 0; u < kh; ++u)
              for (int64_t v = 0; v < kw; ++v) {
                const int64_t h = i * sh - ph + u * dh, w = j * sw - pw + v * dw;
                if (h < ih + ph && w < iw + pw) ++padded;
                if (h >= 0 && h < ih && w >= 0 && w < iw) taps.push_back(x(b, h, w, k));
              }
            visit(y(b, i, j, k), taps, padded);
          }
  }
};

Pool random_pool() {
  Pool p{};
  p.n = random_int(1, 3), p.ih = random_int(1, 12), p.iw = random_int(1, 12);
  p.c = random_int(0, 3) ? random_int(1, 20) : random_int(60, 140);
  p.kh = random_int(1, 3), p.kw = random_int(1, 3), p.sh = random_int(1, 3), p.sw = random_int(1, 3);
  p.ph = random_int(0, p.kh / 2), p.pw = random_int(0, p.kw / 2), p.dh = random_int(1, 2), p.dw = random_int(1, 2);
  const auto out = [](int64_t size, int64_t kernel, int64_t stride, int64_t pad, int64_t dil) {
    return (size + 2 * pad - dil * (kernel - 1) - 1) / stride + 1;
  };
  p.oh = out(p.ih, p.kh, p.sh, p.ph, p.dh), p.ow = out(p.iw, p.kw, p.sw, p.pw, p.dw);
  if (p.ih + 2 * p.ph < p.dh * (p.kh - 1) + 1 || p.iw + 2 * p.pw < p.dw * (p.kw - 1) + 1) return random_pool();
  return p;
}

void pools(Engine& engine) {
  for (int round = 0; round < 60; ++round) {
    const Pool p = random_pool();
    Floats x = random_floats(p.x_size()), gy = random_floats(p.y_size());
    if (round % 4 == 0) x[static_cast<size_t>(random_int(0, p.x_size() - 1))] = std::numeric_limits<float>::quiet_NaN();
    const bool include = round % 2;
    const int64_t divisor = round % 5 == 0 ? 7 : 0;
    Floats most(gy.size(), -std::numeric_limits<float>::infinity()), most_grad(x.size(), 0), mean(gy.size(), 0), mean_grad(x.size(), 0);
    p.windows([&](size_t y, const std::vector<size_t>& taps, int64_t padded) {
      size_t best = taps.empty() ? 0 : taps[0];
      float sum = 0;
      for (const size_t tap : taps) {
        if (x[tap] > x[best] || (std::isnan(x[tap]) && !std::isnan(x[best]))) best = tap;
        sum += x[tap];
      }
      const auto count = static_cast<float>(divisor ? divisor : std::max<int64_t>(1, include ? padded : static_cast<int64_t>(taps.size())));
      mean[y] = sum / count;
      for (const size_t tap : taps) mean_grad[tap] += gy[y] / count;
      if (taps.empty()) return;
      most[y] = x[best];
      most_grad[best] += gy[y];
    });
    auto averaged = p.attrs();
    averaged.push_back({"countIncludePad", include});
    averaged.push_back({"divisor", static_cast<double>(divisor)});
    std::vector<Floats> arrays = {x, random_floats(p.y_size())};
    check(engine, "max-pool", one_step("max-pool", {0}, {1}, p.attrs(), arrays), arrays, 1, most);
    check(engine, "avg-pool", one_step("avg-pool", {0}, {1}, averaged, arrays), arrays, 1, mean);
    arrays = {x, gy, random_floats(p.x_size())};
    check(engine, "max-pool-grad", one_step("max-pool-grad", {0, 1}, {2}, p.attrs(), arrays), arrays, 2, most_grad);
    check(engine, "avg-pool-grad", one_step("avg-pool-grad", {1}, {2}, averaged, arrays), arrays, 2, mean_grad);
  }
}

void adaptive(Engine& engine) {
  for (int round = 0; round < 30; ++round) {
    Pool p{};
    p.n = random_int(1, 3), p.ih = random_int(1, 12), p.iw = random_int(1, 12), p.c = random_int(1, 90);
    p.oh = random_int(1, 9), p.ow = random_int(1, 9);
    const Floats x = random_floats(p.x_size()), gy = random_floats(p.y_size());
    Floats mean(gy.size(), 0), grad(x.size(), 0);
    for (int64_t b = 0; b < p.n; ++b)
      for (int64_t i = 0; i < p.oh; ++i)
        for (int64_t j = 0; j < p.ow; ++j)
          for (int64_t k = 0; k < p.c; ++k) {
            const int64_t top = i * p.ih / p.oh, bottom = ((i + 1) * p.ih + p.oh - 1) / p.oh;
            const int64_t left = j * p.iw / p.ow, right = ((j + 1) * p.iw + p.ow - 1) / p.ow;
            const auto count = static_cast<float>((bottom - top) * (right - left));
            for (int64_t h = top; h < bottom; ++h)
              for (int64_t w = left; w < right; ++w) {
                mean[p.y(b, i, j, k)] += x[p.x(b, h, w, k)] / count;
                grad[p.x(b, h, w, k)] += gy[p.y(b, i, j, k)] / count;
              }
          }
    std::vector<Floats> arrays = {x, gy};
    arrays[1] = random_floats(p.y_size());
    check(engine, "adaptive-avg-pool", one_step("adaptive-avg-pool", {0}, {1}, p.attrs(), arrays), arrays, 1, mean);
    arrays = {gy, random_floats(p.x_size())};
    check(engine, "adaptive-avg-pool-grad", one_step("adaptive-avg-pool-grad", {0}, {1}, p.attrs(), arrays), arrays, 1, grad);
  }
}

void indexing(Engine& engine) {
  for (int round = 0; round < 30; ++round) {
    const int64_t outer = random_int(1, 6), axis = random_int(1, 30), picked = random_int(1, 40), inner = random_int(1, 70);
    const std::vector<std::pair<std::string, double>> attrs = {
        {"outer", outer}, {"axis", axis}, {"indexAxis", picked}, {"inner", inner}};
    const Floats x = random_floats(outer * axis * inner), index = indices(outer * picked * inner, axis);
    const Floats source = random_floats(outer * picked * inner);
    Floats gathered(source.size()), scattered(x.size(), 0);
    for (int64_t o = 0; o < outer; ++o)
      for (int64_t j = 0; j < picked; ++j)
        for (int64_t i = 0; i < inner; ++i) {
          const auto at = static_cast<size_t>((o * picked + j) * inner + i);
          const auto whole = static_cast<size_t>((o * axis + as_index(index[at])) * inner + i);
          gathered[at] = x[whole];
          scattered[whole] += source[at];
        }
    std::vector<Floats> arrays = {x, index, source, random_floats(outer * axis * inner)};
    check(engine, "gather", one_step("gather", {0, 1}, {2}, attrs, arrays), arrays, 2, gathered, 0);
    arrays[2] = source;
    check(engine, "scatter-add", one_step("scatter-add", {1, 2}, {3}, attrs, arrays), arrays, 3, scattered, 0);

    const int64_t rows = random_int(1, 200), width = random_int(1, 100), count = random_int(1, 500);
    const std::vector<std::pair<std::string, double>> table_attrs = {{"rows", rows}, {"width", width}, {"count", count}};
    const Floats table = random_floats(rows * width), words = indices(count, rows), grad = random_floats(count * width);
    Floats looked_up(grad.size()), table_grad(table.size(), 0);
    for (int64_t i = 0; i < count; ++i)
      for (int64_t j = 0; j < width; ++j) {
        const auto at = static_cast<size_t>(as_index(words[static_cast<size_t>(i)]) * width + j);
        looked_up[static_cast<size_t>(i * width + j)] = table[at];
        table_grad[at] += grad[static_cast<size_t>(i * width + j)];
      }
    arrays = {table, words, grad, table};
    check(engine, "embedding", one_step("embedding", {0, 1}, {2}, table_attrs, arrays), arrays, 2, looked_up, 0);
    arrays[2] = grad;
    check(engine, "embedding-grad", one_step("embedding-grad", {1, 2}, {3}, table_attrs, arrays), arrays, 3, table_grad, 0);

    for (const int32_t bad : {-1, static_cast<int32_t>(rows), INT32_MIN, INT32_MAX}) {
      arrays = {table, words, grad};
      std::memcpy(&arrays[1][static_cast<size_t>(count / 2)], &bad, 4);
      Program program = one_step("embedding", {0, 1}, {2}, table_attrs, arrays);
      try {
        run(engine, program, arrays);
        expect(false, "an index outside the table is refused");
      } catch (const Error& error) {
        expect(error.code == "INDEX_OUT_OF_RANGE" && std::string(error.what()).find("index[" + std::to_string(count / 2) + "] is " + std::to_string(bad)) != std::string::npos,
               std::string("the index error says where: ") + error.what());
      }
    }
  }
}

void argmax_and_checks(Engine& engine) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::vector<Floats> arrays = {{1, 5, 5, 2, nan, 9, 3, nan, 0, 0, 0, -1}, Floats(4)};
  std::vector<std::pair<std::string, double>> attrs = {{"outer", 4}, {"count", 3}, {"inner", 1}};
  Program program = one_step("argmax", {0}, {1}, attrs, arrays);
  run(engine, program, arrays);
  expect(as_index(arrays[1][0]) == 1 && as_index(arrays[1][1]) == 1 && as_index(arrays[1][2]) == 1 && as_index(arrays[1][3]) == 0,
         "argmax: the first maximum, NaN wins");

  for (const int64_t size : {1, 15, 17, 100000}) {
    for (const float bad : {0.0f, nan, std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity()}) {
      arrays = {random_floats(size)};
      arrays[0][static_cast<size_t>(size - 1)] += bad;
      program = one_step("check-finite", {0}, {}, {{"id", 3}, {"length", static_cast<double>(size)}}, arrays);
      expect(run(engine, program, arrays) == (bad == 0.0f ? -1 : 3), "check-finite");
    }
  }
  arrays = {{1e20f, -1}, {2, -1e18f}};
  const auto product = [&](double terms) {
    program = one_step("check-product", {0, 1}, {}, {{"id", 5}, {"lengthA", 2}, {"lengthB", 2}, {"terms", terms}}, arrays);
    return run(engine, program, arrays);
  };
  expect(product(1) == -1 && product(3) == -1 && product(4) == 5, "check-product");
}

/** y = relu(a b + bias), and the sum of each column of it, which needs more than one tile. */
void epilogues(Engine& engine) {
  for (int round = 0; round < 40; ++round) {
    const int64_t batch = random_int(1, 2), m = random_int(1, 90), n = random_int(1, 150), k = random_int(1, 60);
    const bool sums = round % 2;
    std::vector<Floats> arrays = {random_floats(batch * m * k), random_floats(batch * k * n), random_floats(n),
                                  random_floats(batch * m * n), random_floats(n)};
    Floats want(arrays[3].size()), columns(arrays[4].size(), 0);
    for (int64_t b = 0; b < batch; ++b)
      for (int64_t i = 0; i < m; ++i)
        for (int64_t j = 0; j < n; ++j) {
          double sum = arrays[2][static_cast<size_t>(j)];
          for (int64_t q = 0; q < k; ++q)
            sum += static_cast<double>(arrays[0][static_cast<size_t>((b * m + i) * k + q)]) * static_cast<double>(arrays[1][static_cast<size_t>((b * k + q) * n + j)]);
          want[static_cast<size_t>((b * m + i) * n + j)] = std::max(0.0f, static_cast<float>(sum));
          columns[static_cast<size_t>(j)] += std::max(0.0f, static_cast<float>(sum));
        }
    auto fused = std::make_unique<Fused>();
    fused->dims = {batch * m, n};
    Operand bias, y;
    bias.buffer = 2, bias.strides = {0, 1};
    y.buffer = 3, y.strides = {n, 1}, y.reg = 3;
    fused->inputs = {bias};
    fused->outputs = {y};
    fused->row.assign(4, false);
    const auto instruction = [](VmOp op, int dst, int a = 0, int b = 0) {
      Instruction result;
      result.op = op, result.dst = dst, result.operands[0] = a, result.operands[1] = b;
      return result;
    };
    fused->code = {instruction(VmOp::acc, 0), instruction(VmOp::load, 1, 0), instruction(VmOp::add, 2, 0, 1),
                   instruction(VmOp::relu, 3, 2)};
    if (sums) fused->terminals = {{3, ReduceOp::sum, 4, 1, batch * m, n}};
    const std::vector<std::pair<std::string, double>> attrs = {
        {"batch", batch}, {"M", m}, {"N", n}, {"K", k}, {"transA", 0}, {"transB", 0}, {"lda", k}, {"ldb", n}, {"ldc", n},
        {"strideA", m * k}, {"strideB", k * n}, {"strideC", m * n}, {"offsetA", 0}, {"offsetB", 0}, {"bf16", 0}};
    Program program = one_step("gemm", {0, 1}, {}, attrs, arrays, std::move(fused));
    if (sums) check(engine, "gemm with column sums", std::move(program), arrays, 4, columns, 1e-3f);
    else check(engine, "gemm with bias and relu", std::move(program), arrays, 3, want, 1e-3f);
  }
}

using Attrs = std::vector<std::pair<std::string, double>>;

struct Heads {
  int64_t batch, heads, tq, tk, d, dv;
  bool causal;
  Attrs attrs() const {
    const auto x = [](int64_t v) { return static_cast<double>(v); };
    Attrs all = {{"batch", x(batch)}, {"heads", x(heads)}, {"tq", x(tq)}, {"tk", x(tk)}, {"d", x(d)}, {"dv", x(dv)},
                 {"scale", 0.5}, {"causal", x(causal)}, {"masked", 0}, {"dropout", 0}, {"maskOffset", 0},
                 {"maskBatch", 0}, {"maskHead", 0}, {"maskRow", 0}, {"maskCol", 0}};
    const auto place = [&](const std::string& name, int64_t steps, int64_t width, int64_t offset) {
      all.push_back({name + "Offset", x(offset)});
      all.push_back({name + "Batch", x(steps * heads * width)});
      all.push_back({name + "Step", x(heads * width)});
      all.push_back({name + "Head", x(width)});
    };
    const int64_t q = batch * tq * heads * d, k = batch * tk * heads * d;
    place("q", tq, d, 0), place("k", tk, d, 0), place("v", tk, dv, 0), place("grad", tq, dv, 0);
    place("gradQ", tq, d, 0), place("gradK", tk, d, q), place("gradV", tk, dv, q + k);
    return all;
  }
};

/** Attention and its gradients against plain loops in double. */
void attention(Engine& engine) {
  for (int round = 0; round < 60; ++round) {
    const int64_t long_keys = round % 10 == 0 ? 150 : 30;
    const Heads s{random_int(1, 3), random_int(1, 3), random_int(1, long_keys), random_int(1, long_keys),
                  random_int(1, 40), random_int(1, 40), random_int(0, 1) == 1};
    const int64_t nq = s.batch * s.tq * s.heads * s.d, nk = s.batch * s.tk * s.heads * s.d;
    const int64_t nv = s.batch * s.tk * s.heads * s.dv, ny = s.batch * s.tq * s.heads * s.dv;
    std::vector<Floats> arrays = {random_floats(nq), random_floats(nk), random_floats(nv), random_floats(ny),
                                  Floats(static_cast<size_t>(ny)), Floats(static_cast<size_t>(nq + nk + nv))};
    for (int i = 0; i < 4; ++i)
      for (float& v : arrays[static_cast<size_t>(i)]) v *= 0.25f;
    const auto at = [&](size_t array, int64_t index) { return static_cast<double>(arrays[array][static_cast<size_t>(index)]); };
    std::vector<double> y(static_cast<size_t>(ny)), g(static_cast<size_t>(nq + nk + nv));
    std::vector<double> w(static_cast<size_t>(s.tk)), slope(static_cast<size_t>(s.tk));
    for (int64_t b = 0; b < s.batch; ++b)
      for (int64_t h = 0; h < s.heads; ++h)
        for (int64_t i = 0; i < s.tq; ++i) {
          const int64_t seen = s.causal ? std::min(s.tk, i + 1) : s.tk, q = (b * s.tq + i) * s.heads + h;
          const auto key = [&](int64_t j) { return (b * s.tk + j) * s.heads + h; };
          double total = 0, mean = 0;
          for (int64_t j = 0; j < seen; ++j) {
            double score = 0;
            for (int64_t c = 0; c < s.d; ++c) score += at(0, q * s.d + c) * at(1, key(j) * s.d + c);
            total += w[static_cast<size_t>(j)] = std::exp(0.5 * score);
          }
          for (int64_t j = 0; j < seen; ++j) {
            const double weight = w[static_cast<size_t>(j)] /= total;
            double& to = slope[static_cast<size_t>(j)] = 0;
            for (int64_t c = 0; c < s.dv; ++c) {
              y[static_cast<size_t>(q * s.dv + c)] += weight * at(2, key(j) * s.dv + c);
              to += at(3, q * s.dv + c) * at(2, key(j) * s.dv + c);
              g[static_cast<size_t>(nq + nk + key(j) * s.dv + c)] += weight * at(3, q * s.dv + c);
            }
            mean += weight * to;
          }
          for (int64_t j = 0; j < seen; ++j) {
            const double ds = 0.5 * w[static_cast<size_t>(j)] * (slope[static_cast<size_t>(j)] - mean);
            for (int64_t c = 0; c < s.d; ++c) {
              g[static_cast<size_t>(q * s.d + c)] += ds * at(1, key(j) * s.d + c);
              g[static_cast<size_t>(nq + key(j) * s.d + c)] += ds * at(0, q * s.d + c);
            }
          }
        }
    check(engine, "attention", one_step("attention", {0, 1, 2, 0, 0}, {4}, s.attrs(), arrays), arrays, 4,
          Floats(y.begin(), y.end()), 1e-4f);
    check(engine, "attention-grad", one_step("attention-grad", {0, 1, 2, 4, 3, 0, 0}, {5}, s.attrs(), arrays), arrays, 5,
          Floats(g.begin(), g.end()), 1e-4f);
  }
}

void malformed() {
  const std::vector<Floats> arrays = {Floats(10), Floats(10)};
  const auto refused = [&](const char* what, const std::function<void()>& build) {
    try {
      build();
      expect(false, what);
    } catch (const Error& error) {
      expect(error.code == "BAD_PROGRAM", what);
    }
  };
  refused("unknown kernel", [&] { one_step("nonsense", {}, {}, {}, arrays); });
  refused("too short an array", [&] { one_step("check-finite", {0}, {}, {{"id", 0}, {"length", 11}}, arrays); });
  refused("overflowing sizes", [&] {
    one_step("embedding", {0, 0}, {1}, {{"rows", 4294967296.0}, {"width", 4294967296.0}, {"count", 1}}, arrays);
  });
  refused("no such buffer", [&] { one_step("check-finite", {2}, {}, {{"id", 0}, {"length", 1}}, arrays); });
  const Heads heads{1, 1, 2, 2, 5, 5, false};
  const std::vector<Floats> four(4, Floats(10));
  one_step("attention", {0, 1, 2, 0, 0}, {3}, heads.attrs(), four);
  for (const char* name : {"tq", "tk", "d", "qOffset", "kStep", "vStep", "masked", "dropout"})
    refused(name, [&] {
      Attrs attrs = heads.attrs();
      for (auto& [key, value] : attrs)
        if (key == name) value = value + 7;
      for (auto& [key, value] : attrs)
        if (std::string(name) == "masked" && key == "maskCol") value = 2;
      one_step("attention", {0, 1, 2, 0, 0}, {3}, attrs, four);
    });
  refused("a missing attribute", [&] { one_step("check-finite", {0}, {}, {{"id", 0}}, arrays); });
  for (const int64_t stride : {-1, 2}) {
    refused("strides outside the buffer", [&] {
      auto fused = std::make_unique<Fused>();
      fused->dims = {10};
      Operand x;
      x.strides = {stride};
      fused->inputs = {x};
      fused->row = {false};
      Instruction load;
      load.op = VmOp::load;
      fused->code = {load};
      one_step("fused", {}, {}, {}, arrays, std::move(fused));
    });
  }
}

}  // namespace

int main() {
  Engine engine;
  std::printf("%s\n", engine.isa().c_str());
  pools(engine);
  adaptive(engine);
  indexing(engine);
  argmax_and_checks(engine);
  epilogues(engine);
  attention(engine);
  malformed();
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed > 0;
}
