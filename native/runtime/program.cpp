// Checks a program once, when it is created, so that kernels may trust every number they read.
#include "program.h"

#include <algorithm>
#include <climits>

#include "error.h"
#include "fused_plan.h"

namespace cambium {
namespace {

constexpr int64_t kMaxElements = int64_t{1} << 48;

class Checker {
 public:
  explicit Checker(Program& program) : program_(program) {}

  void run() {
    check_buffers();
    for (size_t i = 0; i < program_.steps.size(); ++i) {
      Step& step = program_.steps[i];
      where_ = "program.steps[" + std::to_string(i) + "] (" + kernel_name(step.kernel) + " " + step.name + ")";
      check_arity(step);
      check_kernel(step);
      if (step.fused) {
        check_fused(*step.fused, step);
        plan(step);
      } else if (step.kernel == Kernel::fused) {
        fail("a fused step without `fused`");
      }
    }
    program_.nanoseconds.assign(program_.steps.size(), 0);
  }

 private:
  [[noreturn]] void fail(const std::string& message) const { throw Error("BAD_PROGRAM", where_ + ": " + message); }

  void require(bool condition, const char* message) const {
    if (!condition) fail(message);
  }

  /** Product of sizes; refuses negatives and overflow, so later arithmetic on it is safe. */
  int64_t product(std::initializer_list<int64_t> sizes) const {
    int64_t result = 1;
    for (const int64_t size : sizes) {
      if (size < 0) fail("negative size " + std::to_string(size));
      if (size != 0 && result > kMaxElements / size) fail("size overflow");
      result *= size;
    }
    return result;
  }

  void check_buffers() {
    where_ = "program";
    Program& p = program_;
    require(p.arena_bytes >= 0 && p.arena_bytes <= kMaxElements, "arenaBytes out of range");
    require(p.buffers.size() == p.lengths.size(), "buffers and lengths differ in number");
    for (size_t i = 0; i < p.buffers.size(); ++i) {
      where_ = "program.buffers[" + std::to_string(i) + "]";
      const Buffer& buffer = p.buffers[i];
      const int64_t bytes = p.lengths[i];
      require(bytes >= 0 && bytes <= kMaxElements, "length out of range");
      if (buffer.input) {
        require(buffer.place >= 0 && buffer.place < 1'000'000, "array index out of range");
        p.arrays = std::max(p.arrays, static_cast<int>(buffer.place) + 1);
        p.array_bytes.resize(static_cast<size_t>(p.arrays), 0);
        auto& least = p.array_bytes[static_cast<size_t>(buffer.place)];
        least = std::max(least, bytes);
      } else {
        require(buffer.place >= 0 && buffer.place % 64 == 0, "arena offset is not a multiple of 64");
        require(buffer.place <= p.arena_bytes && bytes <= p.arena_bytes - buffer.place, "reaches past the arena");
      }
    }
  }

  void check_arity(const Step& step) const {
    static constexpr struct {
      size_t in, out;
      bool epilogue;
    } arities[] = {
#define X(id, name, in, out, epilogue, attrs) {in, out, epilogue},
        CAMBIUM_KERNELS(X)
#undef X
    };
    const auto& arity = arities[static_cast<int>(step.kernel)];
    if (step.kernel != Kernel::fused) {
      if (step.in.size() != arity.in) fail("expected " + std::to_string(arity.in) + " inputs");
      // With an epilogue the raw result need not be stored, so it need not have a buffer.
      if (step.out.size() != arity.out && !(step.fused && step.out.empty()))
        fail("expected " + std::to_string(arity.out) + " outputs");
    }
    require(step.attrs.size() == kernel_attributes(step.kernel).size(), "attributes are missing");
    require(!step.fused || arity.epilogue, "this kernel takes no epilogue");
    for (const int buffer : step.in) check_buffer(buffer);
    for (const int buffer : step.out) check_buffer(buffer);
  }

  void check_buffer(int buffer) const {
    if (buffer < 0 || static_cast<size_t>(buffer) >= program_.buffers.size())
      fail("no buffer number " + std::to_string(buffer));
  }

  /** The buffer holds at least `count` elements of `bytes` each. */
  void needs(int buffer, int64_t count, int64_t bytes = 4) const {
    if (count > program_.lengths[static_cast<size_t>(buffer)] / bytes)
      fail("buffer " + std::to_string(buffer) + " holds " +
           std::to_string(program_.lengths[static_cast<size_t>(buffer)]) + " bytes, " + std::to_string(count) +
           " elements of " + std::to_string(bytes) + " bytes are needed");
  }

  void check_kernel(const Step& step) const {
    const auto a = [&](int i) { return step.integer(i); };
    const auto in = [&](size_t i) { return step.in[i]; };
    const auto output = [&](int64_t count, int64_t bytes = 4) {
      if (!step.out.empty()) needs(step.out[0], count, bytes);
    };
    switch (step.kernel) {
      case Kernel::fused:
      case Kernel::count:
        break;
      case Kernel::gemm: {
        const int64_t batch = a(0), m = a(1), n = a(2), k = a(3);
        product({batch, m, n}), product({batch, m, k}), product({batch, k, n});
        const auto reach = [&](int64_t rows, int64_t cols, int64_t ld, int64_t stride) {
          require(ld >= 0 && stride >= 0, "negative leading dimension or stride");
          if (batch == 0 || rows == 0 || cols == 0) return int64_t{0};
          return product({batch - 1, stride}) + product({rows - 1, ld}) + cols;
        };
        require(a(12) >= 0 && a(12) <= kMaxElements && a(13) >= 0 && a(13) <= kMaxElements, "offset out of range");
        needs(in(0), a(12) + (a(4) ? reach(k, m, a(6), a(9)) : reach(m, k, a(6), a(9))));
        needs(in(1), a(13) + (a(5) ? reach(n, k, a(7), a(10)) : reach(k, n, a(7), a(10))));
        output(reach(m, n, a(8), a(11)));
        require(a(8) >= n, "ldc below N");
        break;
      }
      case Kernel::conv2d:
      case Kernel::conv2d_input_grad:
      case Kernel::conv2d_weight_grad: {
        const int64_t groups = a(15);
        require(groups >= 1 && a(3) % groups == 0 && a(6) % groups == 0, "channels do not divide into groups");
        check_window(a(7), a(8), a(9), a(10), a(11), a(12), a(13), a(14));
        const int64_t x = product({a(0), a(1), a(2), a(3)}), y = product({a(0), a(4), a(5), a(6)});
        const int64_t w = product({a(6), a(3) / groups, a(7), a(8)});
        const bool forward = step.kernel == Kernel::conv2d, data = step.kernel == Kernel::conv2d_input_grad;
        needs(in(0), data ? y : x);
        needs(in(1), forward || data ? w : y);
        output(forward ? y : data ? x : w);
        break;
      }
      case Kernel::max_pool:
      case Kernel::max_pool_grad:
      case Kernel::avg_pool:
      case Kernel::avg_pool_grad: {
        check_window(a(6), a(7), a(8), a(9), a(10), a(11), a(12), a(13));
        const int64_t x = product({a(0), a(1), a(2), a(3)}), y = product({a(0), a(4), a(5), a(3)});
        const bool grad = step.kernel == Kernel::max_pool_grad || step.kernel == Kernel::avg_pool_grad;
        needs(in(0), step.kernel == Kernel::avg_pool_grad ? y : x);
        if (step.kernel == Kernel::max_pool_grad) needs(in(1), y);
        output(grad ? x : y);
        break;
      }
      case Kernel::adaptive_avg_pool:
      case Kernel::adaptive_avg_pool_grad: {
        const int64_t x = product({a(0), a(1), a(2), a(3)}), y = product({a(0), a(4), a(5), a(3)});
        require(y == 0 || x > 0, "pooling of an empty image");
        needs(in(0), step.kernel == Kernel::adaptive_avg_pool ? x : y);
        output(step.kernel == Kernel::adaptive_avg_pool ? y : x);
        break;
      }
      case Kernel::attention:
      case Kernel::attention_grad:
        check_attention(step);
        break;
      case Kernel::recurrent:
      case Kernel::recurrent_grad:
        check_recurrent(step);
        break;
      case Kernel::gather:
      case Kernel::scatter_add: {
        const int64_t whole = product({a(0), a(1), a(3)}), picked = product({a(0), a(2), a(3)});
        const bool gather = step.kernel == Kernel::gather;
        needs(in(0), gather ? whole : picked);
        needs(in(1), picked);
        output(gather ? picked : whole);
        break;
      }
      case Kernel::embedding:
      case Kernel::embedding_grad: {
        const int64_t table = product({a(0), a(1)}), picked = product({a(2), a(1)});
        const bool forward = step.kernel == Kernel::embedding;
        needs(in(0), forward ? table : a(2));
        needs(in(1), forward ? a(2) : picked);
        output(forward ? picked : table);
        break;
      }
      case Kernel::argmax:
        require(a(1) > 0 || product({a(0), a(2)}) == 0, "argmax over nothing");
        require(a(1) <= INT_MAX, "argmax over more than 2^31 elements");
        needs(in(0), product({a(0), a(1), a(2)}));
        output(product({a(0), a(2)}));
        break;
      case Kernel::sum_i32:
      case Kernel::max_i32:
        needs(in(0), product({a(0), a(1), a(2)}));
        output(product({a(0), a(2)}));
        break;
      case Kernel::log_sum_exp:
        needs(in(0), product({a(0), a(1)}));
        output(a(0));
        break;
      case Kernel::check_finite:
        needs(in(0), product({a(1)}));
        break;
      case Kernel::check_product:
        needs(in(0), product({a(1)}));
        needs(in(1), product({a(2)}));
        break;
      case Kernel::fill:
        output(product({a(1)}));
        break;
      case Kernel::copy:
        needs(in(0), product({a(0)}), 1);
        output(product({a(0)}), 1);
        break;
    }
  }

  void check_recurrent(const Step& step) const {
    const auto a = [&](int i) { return step.integer(i); };
    const int64_t cell = a(0), steps = a(3), batch = a(4), hidden = a(5);
    require(cell >= 0 && cell <= 3, "the cell is 0 (lstm), 1 (gru), 2 (tanh) or 3 (relu)");
    require(steps >= 1 && steps < kMaxElements, "a sequence has at least one step");
    const bool lstm = cell == 0, gru = cell == 1, grad = step.kernel == Kernel::recurrent_grad;
    const int64_t gates = lstm ? 4 : gru ? 3 : 1, slots = lstm ? 6 : gru ? 5 : 1;
    const int64_t states = product({steps + 1, batch, slots, hidden}), row = product({batch, hidden});
    needs(step.in[0], grad ? states : product({steps, batch, gates, hidden}));
    needs(step.in[1], product({gates, hidden, hidden}));
    needs(step.in[2], grad ? product({steps, batch, hidden}) : row);
    if (lstm) needs(step.in[3], row);
    else if (gru && !grad) needs(step.in[3], hidden);
    if (a(2)) needs(step.in[4], batch);
    needs(step.out[0], grad ? product({steps + 1, batch, lstm || gru ? 4 : 1, hidden}) : states);
  }

  void check_attention(const Step& step) const {
    const auto a = [&](int i) { return step.integer(i); };
    const int64_t batch = a(0), heads = a(1), tq = a(2), tk = a(3), d = a(4), dv = a(5);
    const bool grad = step.kernel == Kernel::attention_grad;
    product({batch, heads, tq, tk}), product({batch, heads, tq, dv});
    require(step.attrs[9] >= 0 && step.attrs[9] < 1, "dropout is a probability below 1");
    // An offset and three strides from attribute `at`; the elements they reach.
    const auto reach = [&](int at, int64_t outer, int64_t middle, int64_t inner, int64_t width) {
      for (int i = at; i < at + 4; ++i) require(a(i) >= 0 && a(i) <= kMaxElements, "offset or stride out of range");
      if (product({outer, middle, inner, width}) == 0) return int64_t{0};
      return a(at) + product({outer - 1, a(at + 1)}) + product({middle - 1, a(at + 2)}) +
             product({inner - 1, a(at + 3)}) + width;
    };
    needs(step.in[0], reach(10, batch, tq, heads, d));
    needs(step.in[1], reach(14, batch, tk, heads, d));
    needs(step.in[2], reach(18, batch, tk, heads, dv));
    const size_t rest = grad ? 5 : 3;
    if (a(8) != 0) {
      require(a(26) == 0 || a(26) == 1, "a mask's columns are 0 or 1 apart");
      needs(step.in[rest], reach(22, batch, heads, tq, a(26) ? tk : least(tk, 1)));
    }
    if (step.attrs[9] > 0) needs(step.in[rest + 1], 4);
    if (!grad) {
      if (!step.out.empty()) needs(step.out[0], product({batch, heads, tq, dv}));
      return;
    }
    needs(step.in[3], product({batch, heads, tq, dv}));
    needs(step.in[4], reach(27, batch, tq, heads, dv));
    needs(step.out[0], reach(31, batch, tq, heads, d));
    needs(step.out[0], reach(35, batch, tk, heads, d));
    needs(step.out[0], reach(39, batch, tk, heads, dv));
  }

  static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

  void check_window(int64_t kh, int64_t kw, int64_t sh, int64_t sw, int64_t ph, int64_t pw, int64_t dh,
                    int64_t dw) const {
    require(kh > 0 && kw > 0 && sh > 0 && sw > 0 && dh > 0 && dw > 0, "kernel, stride and dilation are at least 1");
    require(ph >= 0 && pw >= 0, "negative padding");
    const int64_t limit = int64_t{1} << 30;
    require(kh < limit && kw < limit && sh < limit && sw < limit && ph < limit && pw < limit && dh < limit &&
                dw < limit, "window too large");
  }

  void check_fused(const Fused& fused, const Step& step) const {
    int64_t total = 1;
    require(fused.dims.size() <= 16, "more than 16 dims");
    for (const int64_t dim : fused.dims) total = product({total, dim});
    if (step.kernel != Kernel::fused) {
      const auto a = [&](int i) { return step.integer(i); };
      const int64_t domain = step.kernel == Kernel::gemm     ? product({a(0), a(1), a(2)})
                             : step.kernel == Kernel::conv2d ? product({a(0), a(4), a(5), a(6)})
                                                             : product({a(0), a(1), a(2), a(3)});
      require(total == domain, "the epilogue's dims do not multiply to the kernel's output");
    }
    int64_t suffix = 1;
    size_t row_dims = fused.dims.size();
    if (fused.cols > 0)
      while (row_dims > 0 && suffix < fused.cols) suffix *= fused.dims[--row_dims];
    require(fused.cols >= 0 && (fused.cols == 0 || suffix == fused.cols || total == 0), "dims do not end in `cols`");

    const int inputs = static_cast<int>(fused.inputs.size()), registers = static_cast<int>(fused.row.size());
    for (const Operand& input : fused.inputs) check_operand(input, fused, total);
    for (const Operand& output : fused.outputs) {
      check_operand(output, fused, total);
      check_register(output.reg, registers);
    }
    std::vector<bool> written(static_cast<size_t>(registers), false);
    for (const Instruction& instruction : fused.code) {
      check_register(instruction.dst, registers);
      const bool row = fused.row[static_cast<size_t>(instruction.dst)];
      require(!row || fused.cols > 0, "a row register without `cols`");
      const int first = instruction.operands[0];
      if (instruction.op == VmOp::load || instruction.op == VmOp::random)
        require(first >= 0 && first < inputs, "no such input");
      if (instruction.op == VmOp::random) {
        const Operand& key = fused.inputs[static_cast<size_t>(first)];
        require(key.dtype == DType::i32 && key.offset >= 0, "the key of `random` is i32");
        needs(key.buffer, key.offset + 4);
        require(!row, "`random` fills full registers");
      }
      if (instruction.op == VmOp::iota) {
        require(first >= 0 && static_cast<size_t>(first) < fused.dims.size(), "no such dim");
        require(fused.dims[static_cast<size_t>(first)] <= INT_MAX, "iota beyond 2^31");
        require(!row || static_cast<size_t>(first) < row_dims, "iota along a row into a row register");
      }
      require(instruction.op != VmOp::acc || (step.kernel != Kernel::fused && !row), "`acc` outside an epilogue");
      const bool reduces = instruction.op == VmOp::row_sum || instruction.op == VmOp::row_max ||
                           instruction.op == VmOp::row_min;
      for (int i = 0; i < vm_arity(instruction.op); ++i) {
        check_register(instruction.operands[i], registers);
        require(written[static_cast<size_t>(instruction.operands[i])], "a register is read before it is written");
        const bool operand_row = fused.row[static_cast<size_t>(instruction.operands[i])];
        if (reduces) require(row && !operand_row, "row reductions take a full and give a row register");
        else if (instruction.op == VmOp::spread) require(!row && operand_row, "spread takes a row register");
        else require(row == operand_row, "row and full registers mixed");
      }
      if (instruction.op == VmOp::load && row)
        check_row_strides(fused.inputs[static_cast<size_t>(first)], fused, row_dims);
      written[static_cast<size_t>(instruction.dst)] = true;
    }
    for (const Operand& output : fused.outputs) {
      require(written[static_cast<size_t>(output.reg)], "an output register is never written");
      if (fused.row[static_cast<size_t>(output.reg)]) check_row_strides(output, fused, row_dims);
    }
    require(fused.terminals.size() <= kMaxTerminals, "too many terminals");
    for (const Terminal& terminal : fused.terminals) {
      check_register(terminal.reg, registers);
      require(written[static_cast<size_t>(terminal.reg)], "a terminal register is never written");
      const bool row = fused.row[static_cast<size_t>(terminal.reg)];
      const int64_t domain = row ? total / fused.cols : total;
      require(product({terminal.outer, terminal.count, terminal.inner}) == domain,
              "outer * count * inner of a terminal is not the domain");
      check_buffer(terminal.buffer);
      needs(terminal.buffer, product({terminal.outer, terminal.inner}));
    }
  }

  void check_register(int reg, int registers) const {
    if (reg < 0 || reg >= registers) fail("no register " + std::to_string(reg));
  }

  void check_row_strides(const Operand& operand, const Fused& fused, size_t row_dims) const {
    for (size_t i = row_dims; i < fused.dims.size(); ++i)
      require(operand.strides[i] == 0 || fused.dims[i] == 1, "one element per row needs stride 0 along the row");
  }

  /** Every element the strides can reach lies in the buffer. */
  void check_operand(const Operand& operand, const Fused& fused, int64_t total) const {
    check_buffer(operand.buffer);
    require(operand.strides.size() == fused.dims.size(), "strides and dims differ in number");
    if (total == 0) return;
    __extension__ typedef __int128 wide;
    wide lowest = operand.offset, highest = operand.offset;
    for (size_t i = 0; i < fused.dims.size(); ++i) {
      const wide reach = static_cast<wide>(fused.dims[i] - 1) * operand.strides[i];
      (reach < 0 ? lowest : highest) += reach;
    }
    const int64_t elements = program_.lengths[static_cast<size_t>(operand.buffer)] / byte_size(operand.dtype);
    if (lowest < 0 || highest >= elements)
      fail("an operand reaches elements outside buffer " + std::to_string(operand.buffer) + " of " +
           std::to_string(elements) + " elements");
  }

  void plan(Step& step);

  Program& program_;
  std::string where_;
};

void Checker::plan(Step& step) {
  const bool epilogue = step.kernel != Kernel::fused;
  const bool whole = step.fused->cols > 0 || !step.fused->terminals.empty();
  if (!epilogue || !whole) {
    step.plan = plan_fused(*step.fused, program_, epilogue);
    return;
  }
  // Rows and reductions need more than one tile: store the raw result, then run the rest as a step of its own.
  int64_t total = 1;
  for (const int64_t dim : step.fused->dims) total *= dim;
  step.raw = static_cast<int>(program_.buffers.size());
  program_.buffers.push_back({false, (program_.arena_bytes + 63) / 64 * 64});
  program_.lengths.push_back(total * 4);
  program_.arena_bytes = program_.buffers.back().place + total * 4;
  Fused tail = *step.fused;
  Operand raw;
  raw.buffer = step.raw;
  raw.strides.assign(tail.dims.size(), 0);
  int64_t stride = 1;
  for (size_t i = tail.dims.size(); i-- > 0; stride *= tail.dims[i]) raw.strides[i] = stride;
  for (Instruction& instruction : tail.code) {
    if (instruction.op != VmOp::acc) continue;
    instruction.op = VmOp::load;
    instruction.operands[0] = static_cast<int>(tail.inputs.size());
  }
  tail.inputs.push_back(raw);
  step.tail_plan = plan_fused(tail, program_, false);
}

}  // namespace

void prepare(Program& program) { Checker(program).run(); }

}  // namespace cambium
