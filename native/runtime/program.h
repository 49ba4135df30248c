// A program as the compiler wrote it (docs/native-program.md), with names resolved; plain data, no Node-API.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "fused_ops.h"
#include "kernel_list.h"

namespace cambium {

enum class DType : uint8_t { f32, i32, u8, boolean };

constexpr int64_t byte_size(DType dtype) { return dtype == DType::f32 || dtype == DType::i32 ? 4 : 1; }

enum class ReduceOp : uint8_t { sum, max, min };

struct Operand {
  int buffer = 0;
  DType dtype = DType::f32;
  int64_t offset = 0;             // elements
  std::vector<int64_t> strides;   // elements, one per dim of the domain; 0 repeats
  int reg = -1;                   // outputs only
};

struct Instruction {
  VmOp op{};
  int dst = 0;
  int operands[3] = {0, 0, 0};    // registers; or the input (load, random), or the dim (iota)
  double value = 0;               // const, consti
};

struct Terminal {
  int reg = 0;
  ReduceOp op{};
  int buffer = 0;
  int64_t outer = 0, count = 0, inner = 0;
};

struct Fused {
  std::vector<int64_t> dims;
  int64_t cols = 0;
  std::vector<Operand> inputs, outputs;
  std::vector<bool> row;          // per register
  std::vector<Instruction> code;
  std::vector<Terminal> terminals;
};

struct FusedPlan;

struct Step {
  Kernel kernel{};
  std::string name;
  std::vector<int> in, out;
  std::vector<double> attrs;      // in the order of kernel_list.h; integers below 2^53 are exact
  std::unique_ptr<Fused> fused;
  std::shared_ptr<const FusedPlan> plan;       // compiled by prepare()
  std::shared_ptr<const FusedPlan> tail_plan;  // the part of an epilogue that needs the whole result first
  int raw = -1;                   // buffer for the raw result when tail_plan reads it

  int64_t integer(int attribute) const { return static_cast<int64_t>(attrs[static_cast<size_t>(attribute)]); }
};

struct Buffer {
  bool input = false;
  int64_t place = 0;              // index into the arrays, or byte offset in the arena
};

struct Program {
  int64_t arena_bytes = 0;
  std::vector<Buffer> buffers;
  std::vector<int64_t> lengths;   // bytes
  std::vector<Step> steps;
  int arrays = 0;                 // arrays run() must be given
  std::vector<int64_t> array_bytes;  // least bytes of each array

  bool profiled = false;
  std::vector<double> nanoseconds;  // per step, of the last run
};

/** Names -> enumerators; throws Error(BAD_PROGRAM). */
Kernel kernel_named(const std::string& name);
VmOp vm_op_named(const std::string& name);
DType dtype_named(const std::string& name);
ReduceOp reduce_op_named(const std::string& name);
/** The attribute names of a kernel, in order. */
const std::vector<std::string>& kernel_attributes(Kernel kernel);
const char* kernel_name(Kernel kernel);

/** Checks every number a kernel will trust (registers, buffers, reach of strides) and plans the fused steps. */
void prepare(Program& program);

}  // namespace cambium
