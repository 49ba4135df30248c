// The instructions of the fused VM, by name, number of register operands and how their lanes may be computed.
#pragma once

#include <cstdint>

namespace cambium {

// X(enumerator, name, register operands)
#define CAMBIUM_VM_OPS(X)                                                                                   \
  X(load, "load", 0) X(acc, "acc", 0) X(constf, "const", 0) X(consti, "consti", 0) X(iota, "iota", 0)       \
  X(random, "random", 0)                                                                                    \
  X(neg, "neg", 1) X(abs, "abs", 1) X(sign, "sign", 1) X(exp, "exp", 1) X(log, "log", 1)                    \
  X(log1p, "log1p", 1) X(expm1, "expm1", 1) X(sqrt, "sqrt", 1) X(rsqrt, "rsqrt", 1)                         \
  X(reciprocal, "reciprocal", 1) X(sin, "sin", 1) X(cos, "cos", 1) X(tanh, "tanh", 1)                       \
  X(sigmoid, "sigmoid", 1) X(erf, "erf", 1) X(relu, "relu", 1) X(floor, "floor", 1) X(ceil, "ceil", 1)      \
  X(round, "round", 1) X(not_, "not", 1)                                                                    \
  X(add, "add", 2) X(sub, "sub", 2) X(mul, "mul", 2) X(div, "div", 2) X(pow, "pow", 2)                      \
  X(maximum, "maximum", 2) X(minimum, "minimum", 2) X(eq, "eq", 2) X(lt, "lt", 2) X(le, "le", 2)            \
  X(and_, "and", 2) X(or_, "or", 2) X(where, "where", 3)                                                    \
  X(addi, "addi", 2) X(subi, "subi", 2) X(muli, "muli", 2) X(maximumi, "maximumi", 2)                       \
  X(minimumi, "minimumi", 2) X(negi, "negi", 1) X(absi, "absi", 1) X(signi, "signi", 1)                     \
  X(eqi, "eqi", 2) X(lti, "lti", 2) X(lei, "lei", 2) X(f2i, "f2i", 1) X(i2f, "i2f", 1)                      \
  X(row_sum, "row.sum", 1) X(row_max, "row.max", 1) X(row_min, "row.min", 1) X(spread, "spread", 1)

enum class VmOp : uint8_t {
#define X(id, name, arity) id,
  CAMBIUM_VM_OPS(X)
#undef X
      count
};

constexpr int kVmOps = static_cast<int>(VmOp::count);

constexpr int vm_arity(VmOp op) {
  constexpr int8_t arity[] = {
#define X(id, name, arity) arity,
      CAMBIUM_VM_OPS(X)
#undef X
  };
  return arity[static_cast<int>(op)];
}

}  // namespace cambium
