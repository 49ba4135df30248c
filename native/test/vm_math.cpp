// Sweeps simd/math.h against the double-precision C library: largest error in units of the last place, special values.
// `vm_math all` visits every float instead of every 61st.
#include <bit>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <initializer_list>
#include <limits>

#include "../simd/math.h"

using namespace cambium::CAMBIUM_ISA;

namespace {

int passed = 0, failed = 0;

void expect(bool ok, const char* what, double value = 0) {
  ok ? ++passed : ++failed;
  if (!ok) std::printf("FAILED %s (%g)\n", what, value);
}

/** Distance to the exact value in units of the float's last place; subnormals count in units of the smallest. */
double ulps(float got, double exact) {
  if (std::isnan(exact)) return std::isnan(got) ? 0 : 1e9;
  const auto rounded = static_cast<float>(exact);
  if (std::isinf(rounded) || rounded == got) return got == rounded ? 0 : std::isinf(got) || std::fabs(got) > 3.4e38f ? 1 : 1e9;
  if (std::isnan(got) || std::isinf(got)) return std::fabs(exact) > 3.4028e38 ? 1 : 1e9;
  const int exponent = std::max(-126, std::ilogb(exact));
  return std::fabs(static_cast<double>(got) - exact) / std::ldexp(1.0, exponent - 23);
}

using Function = Vec (*)(Vec);
using Exact = double (*)(double);

double sigmoid_exact(double x) { return 1 / (1 + std::exp(-x)); }

void sweep(const char* name, Function function, Exact exact, double limit, uint32_t step) {
  double worst = 0;
  float at = 0;
  float in[Vec::size], out[Vec::size];
  for (uint64_t bits = 0; bits < (uint64_t{1} << 32); bits += static_cast<uint64_t>(step) * Vec::size) {
    for (int i = 0; i < Vec::size; ++i) in[i] = std::bit_cast<float>(static_cast<uint32_t>(bits + static_cast<uint64_t>(i) * step));
    function(Vec::load(in)).store(out);
    for (int i = 0; i < Vec::size; ++i) {
      const double error = ulps(out[i], exact(in[i]));
      if (error > worst) worst = error, at = in[i];
    }
  }
  std::printf("%-8s %6.3f ulp at %.9g\n", name, worst, static_cast<double>(at));
  expect(worst <= limit, name, worst);
}

void special(const char* name, Function function, Exact exact) {
  const float infinity = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  for (const float x : {0.0f, -0.0f, 1.0f, -1.0f, infinity, -infinity, nan, 1e-45f, -1e-45f, 1e-38f, 3.4028235e38f, -3.4028235e38f}) {
    float got;
    function(Vec::set1(x)).store_partial(&got, 1);
    const auto want = static_cast<float>(exact(x));
    const bool same = std::isnan(want) ? std::isnan(got)
                                       : ulps(got, exact(x)) <= 4 && std::signbit(got) == std::signbit(want);
    if (!same) std::printf("%s(%g) = %g, expected %g\n", name, static_cast<double>(x), static_cast<double>(got), static_cast<double>(want));
    expect(same, name, x);
  }
}

void power() {
  double worst = 0;
  float a[Vec::size], b[Vec::size], out[Vec::size];
  uint32_t state = 1;
  const auto random = [&] { return state = state * 1664525u + 1013904223u; };
  for (int round = 0; round < 400000; ++round) {
    for (int i = 0; i < Vec::size; ++i) {
      a[i] = round % 2 ? std::bit_cast<float>(random()) : std::ldexp(static_cast<float>(random() >> 8), -22);
      b[i] = round % 3 ? static_cast<float>(static_cast<int32_t>(random())) * 0x1p-26f : std::bit_cast<float>(random());
      if (round % 5 == 0) b[i] = std::round(b[i]);
    }
    pow(Vec::load(a), Vec::load(b)).store(out);
    for (int i = 0; i < Vec::size; ++i) {
      const double error = ulps(out[i], std::pow(static_cast<double>(a[i]), static_cast<double>(b[i])));
      if (error > worst) worst = error, std::printf("pow(%g, %g) = %g: %.3f ulp\n", a[i], b[i], out[i], error);
    }
  }
  expect(worst <= 4, "pow", worst);
  const float infinity = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  const float values[] = {0.0f, -0.0f, 1.0f, -1.0f, 2.0f, -2.0f, 0.5f, -0.5f, 3.0f, -3.0f, 1e-45f, 1e38f, -1e38f, infinity, -infinity, nan};
  for (const float x : values)
    for (const float y : values) {
      float got;
      pow(Vec::set1(x), Vec::set1(y)).store_partial(&got, 1);
      const float want = static_cast<float>(std::pow(static_cast<double>(x), static_cast<double>(y)));
      const bool same = std::isnan(want) ? std::isnan(got) : ulps(got, want) <= 4 && std::signbit(got) == std::signbit(want);
      if (!same) std::printf("pow(%g, %g) = %g, expected %g\n", x, y, got, want);
      expect(same, "pow special", x);
    }
}

}  // namespace

int main(int count, char** arguments) {
  const uint32_t step = count > 1 && !std::strcmp(arguments[1], "all") ? 1 : 61;
  const struct {
    const char* name;
    Function function;
    Exact exact;
    double limit;
  } functions[] = {
      {"exp", exp, std::exp, 2},       {"log", log, std::log, 2},     {"log1p", log1p, std::log1p, 4},
      {"expm1", expm1, std::expm1, 4}, {"tanh", tanh, std::tanh, 4},  {"sigmoid", sigmoid, sigmoid_exact, 4},
      {"erf", erf, std::erf, 4},       {"sin", sin, std::sin, 4},     {"cos", cos, std::cos, 4},
  };
  for (const auto& f : functions) {
    sweep(f.name, f.function, f.exact, f.limit, step);
    special(f.name, f.function, f.exact);
  }
  power();
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed > 0;
}
