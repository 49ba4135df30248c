// The arithmetic of the fused VM: one functor per instruction, one loop per arrangement of repeated operands.
#include <algorithm>

#include "../simd/math.h"
#include "vm.h"

namespace cambium::CAMBIUM_ISA {
namespace {

constexpr int64_t kSize = Vec::size;

inline Vec one_where(Mask mask) { return select(mask, Vec::set1(1.0f), Vec::zero()); }
inline Mask truth(Vec x) { return ne(x, Vec::zero()); }

// NaN of either side passes: max and min of vec.h give their second operand then.
inline Vec maximum(Vec a, Vec b) { return select(ne(a, a), a, max(a, b)); }
inline Vec minimum(Vec a, Vec b) { return select(ne(a, a), a, min(a, b)); }

inline Vec sign(Vec x) {
  const Vec one = as_float((as_int(x) & VecI::set1(INT32_MIN)) | as_int(Vec::set1(1.0f)));
  return select(gt(abs(x), Vec::zero()), one, x);  // zeros and NaN stay
}

inline VecI f2i(Vec x) {
  const Mask above = ge(x, Vec::set1(2147483648.0f)), below = lt(x, Vec::set1(-2147483648.0f));
  const Vec safe = select(above | below | ne(x, x), Vec::zero(), x);
  return select(above, VecI::set1(INT32_MAX), select(below, VecI::set1(INT32_MIN), to_int_trunc(safe)));
}

inline VecI signi(VecI x) {
  const VecI zero = VecI::zero();
  return select(gt(x, zero), VecI::set1(1), select(lt(x, zero), VecI::set1(-1), zero));
}

#define UNARY(name, expression)                                    \
  struct Op_##name {                                               \
    static Vec apply(Vec a, Vec, Vec) { return expression; }       \
  };
#define BINARY(name, expression)                                   \
  struct Op_##name {                                               \
    static Vec apply(Vec a, Vec b, Vec) { return expression; }     \
  };

UNARY(neg, -a)
UNARY(abs, abs(a))
UNARY(sign, sign(a))
UNARY(exp, exp(a))
UNARY(log, log(a))
UNARY(log1p, log1p(a))
UNARY(expm1, expm1(a))
UNARY(sqrt, sqrt(a))
UNARY(rsqrt, Vec::set1(1.0f) / sqrt(a))
UNARY(reciprocal, Vec::set1(1.0f) / a)
UNARY(sin, sin(a))
UNARY(cos, cos(a))
UNARY(tanh, tanh(a))
UNARY(sigmoid, sigmoid(a))
UNARY(erf, erf(a))
UNARY(relu, max(Vec::zero(), a))
UNARY(floor, floor(a))
UNARY(ceil, -floor(-a))
UNARY(round, round(a))
UNARY(not_, one_where(~truth(a)))
BINARY(add, a + b)
BINARY(sub, a - b)
BINARY(mul, a * b)
BINARY(div, a / b)
BINARY(pow, pow(a, b))
BINARY(maximum, maximum(a, b))
BINARY(minimum, minimum(a, b))
BINARY(eq, one_where(eq(a, b)))
BINARY(lt, one_where(lt(a, b)))
BINARY(le, one_where(le(a, b)))
BINARY(and_, one_where(truth(a) & truth(b)))
BINARY(or_, one_where(truth(a) | truth(b)))
BINARY(addi, as_float(as_int(a) + as_int(b)))
BINARY(subi, as_float(as_int(a) - as_int(b)))
BINARY(muli, as_float(as_int(a) * as_int(b)))
BINARY(maximumi, as_float(max(as_int(a), as_int(b))))
BINARY(minimumi, as_float(min(as_int(a), as_int(b))))
UNARY(negi, as_float(VecI::zero() - as_int(a)))
UNARY(absi, as_float(select(lt(as_int(a), VecI::zero()), VecI::zero() - as_int(a), as_int(a))))
UNARY(signi, as_float(signi(as_int(a))))
BINARY(eqi, one_where(eq(as_int(a), as_int(b))))
BINARY(lti, one_where(lt(as_int(a), as_int(b))))
BINARY(lei, one_where(~gt(as_int(a), as_int(b))))
UNARY(f2i, as_float(f2i(a)))
UNARY(i2f, to_float(as_int(a)))

struct Op_where {
  static Vec apply(Vec a, Vec b, Vec c) { return select(truth(a), b, c); }
};

#undef UNARY
#undef BINARY

template <class Op, int arity, unsigned repeated>
void body(int64_t n, float* dst, const float* a, const float* b, const float* c) {
  constexpr bool va = !(repeated & 1), vb = arity > 1 && !(repeated & 2), vc = arity > 2 && !(repeated & 4);
  const Vec a0 = Vec::set1(*a), b0 = arity > 1 ? Vec::set1(*b) : Vec::zero(), c0 = arity > 2 ? Vec::set1(*c) : Vec::zero();
  int64_t i = 0;
  for (; i + kSize <= n; i += kSize)
    Op::apply(va ? Vec::load(a + i) : a0, vb ? Vec::load(b + i) : b0, vc ? Vec::load(c + i) : c0).store(dst + i);
  if (i < n) {
    const int64_t left = n - i;
    Op::apply(va ? Vec::load_partial(a + i, left) : a0, vb ? Vec::load_partial(b + i, left) : b0,
              vc ? Vec::load_partial(c + i, left) : c0)
        .store_partial(dst + i, left);
  }
}

struct Bodies {
  ComputeFn of[kVmOps][8] = {};
};

template <class Op>
void add_unary(Bodies& bodies, VmOp op) {
  for (ComputeFn& entry : bodies.of[static_cast<int>(op)]) entry = body<Op, 1, 0>;
}

template <class Op>
void add_binary(Bodies& bodies, VmOp op) {
  ComputeFn* row = bodies.of[static_cast<int>(op)];
  row[0] = body<Op, 2, 0>, row[1] = body<Op, 2, 1>, row[2] = body<Op, 2, 2>, row[3] = body<Op, 2, 3>;
}

Bodies make_bodies() {
  Bodies bodies;
#define UNARY(name) add_unary<Op_##name>(bodies, VmOp::name);
#define BINARY(name) add_binary<Op_##name>(bodies, VmOp::name);
  UNARY(neg) UNARY(abs) UNARY(sign) UNARY(exp) UNARY(log) UNARY(log1p) UNARY(expm1) UNARY(sqrt) UNARY(rsqrt)
  UNARY(reciprocal) UNARY(sin) UNARY(cos) UNARY(tanh) UNARY(sigmoid) UNARY(erf) UNARY(relu) UNARY(floor) UNARY(ceil)
  UNARY(round) UNARY(not_) UNARY(negi) UNARY(absi) UNARY(signi) UNARY(f2i) UNARY(i2f)
  BINARY(add) BINARY(sub) BINARY(mul) BINARY(div) BINARY(pow) BINARY(maximum) BINARY(minimum) BINARY(eq) BINARY(lt)
  BINARY(le) BINARY(and_) BINARY(or_) BINARY(addi) BINARY(subi) BINARY(muli) BINARY(maximumi) BINARY(minimumi)
  BINARY(eqi) BINARY(lti) BINARY(lei)
#undef UNARY
#undef BINARY
  ComputeFn* where = bodies.of[static_cast<int>(VmOp::where)];
  where[0] = body<Op_where, 3, 0>, where[1] = body<Op_where, 3, 1>, where[2] = body<Op_where, 3, 2>;
  where[3] = body<Op_where, 3, 3>, where[4] = body<Op_where, 3, 4>, where[5] = body<Op_where, 3, 5>;
  where[6] = body<Op_where, 3, 6>, where[7] = body<Op_where, 3, 7>;
  return bodies;
}

}  // namespace

ComputeFn compute_body(VmOp op, unsigned repeated) {
  static const Bodies bodies = make_bodies();
  return bodies.of[static_cast<int>(op)][repeated];
}

void fill_lanes(float* dst, float value, int64_t n) {
  const Vec x = Vec::set1(value);
  int64_t i = 0;
  for (; i + kSize <= n; i += kSize) x.store(dst + i);
  if (i < n) x.store_partial(dst + i, n - i);
}

void stream_lanes(float* dst, const float* src, int64_t n) {
  // Streaming stores are aligned: up to the first boundary, and for what is left, ordinary ones.
  const auto past = static_cast<int64_t>(reinterpret_cast<uintptr_t>(dst) / 4 % kSize);
  int64_t i = past == 0 ? 0 : std::min(n, kSize - past);
  if (i > 0) Vec::load_partial(src, i).store_partial(dst, i);
  for (; i + kSize <= n; i += kSize) Vec::load(src + i).store_stream(dst + i);
  if (i < n) Vec::load_partial(src + i, n - i).store_partial(dst + i, n - i);
}

void finish_streams() { stream_fence(); }

}  // namespace cambium::CAMBIUM_ISA
