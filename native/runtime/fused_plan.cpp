// Turns the compiler's code for a fused step into a FusedPlan: values, places, tiles.
#include "fused_plan.h"

#include <algorithm>
#include <climits>
#include <cstring>
#include <map>
#include <numeric>

#include "error.h"
#include "fused_place.h"

namespace cambium {
namespace {

// Outputs of this size will not be in the cache when the next step comes to read them.
constexpr int64_t kStreamBytes = int64_t{32} << 20;
// Below this many columns a call per row costs more than spreading the row register first.
constexpr int64_t kSpreadCols = 24;

View collapse(const std::vector<int64_t>& dims, const std::vector<int64_t>& strides, size_t count, int64_t offset) {
  View view;
  view.offset = offset;
  for (size_t i = 0; i < count; ++i) {
    if (dims[i] == 1) continue;
    const int last = view.rank - 1;
    if (view.rank > 0 && view.strides[last] == strides[i] * dims[i]) {
      view.dims[last] *= dims[i];
      view.strides[last] = strides[i];
    } else {
      view.dims[view.rank] = dims[i];
      view.strides[view.rank++] = strides[i];
    }
  }
  for (int i = view.rank - 1; i >= 0; --i)
    if (i > 0 || view.strides[0] != 0) view.period *= view.dims[i];
  // A single element reads as contiguous, so that one-element tensors need no path of their own.
  if (view.rank == 0) view.period = 1;
  return view;
}

/** A register's current value: `spread` is a row value standing for a full one without being written out. */
struct Ref {
  int16_t value = -1;
  bool spread = false;
};

/** Where tiles come from: cut from the domain at will, or handed over by another kernel in one or several lines. */
enum class Tiles : uint8_t { own, lines, rectangles };

class Planner {
 public:
  Planner(const Fused& fused, const Program& program, Tiles tiles, bool hoist)
      : fused_(fused), program_(program), tiles_(tiles), hoist_(hoist), plan_(std::make_shared<FusedPlan>()) {}

  std::shared_ptr<FusedPlan> run(const std::vector<Terminal>& terminals, bool with_outputs) {
    plan_->total = 1;
    for (const int64_t dim : fused_.dims) plan_->total *= dim;
    plan_->cols = fused_.cols;
    int64_t suffix = 1;
    row_dims_ = fused_.dims.size();
    if (fused_.cols > 0)
      while (row_dims_ > 0 && suffix < fused_.cols) suffix *= fused_.dims[--row_dims_];

    registers_.resize(fused_.row.size());
    const std::vector<bool> needed = live_code(terminals, with_outputs);
    for (size_t i = 0; i < fused_.code.size(); ++i)
      if (needed[i]) translate(fused_.code[i]);
    for (const Terminal& terminal : terminals) {
      const bool row = fused_.row[static_cast<size_t>(terminal.reg)];
      PlanTerminal planned;
      planned.value = lanes_of(registers_[static_cast<size_t>(terminal.reg)], row);
      planned.op = terminal.op;
      planned.buffer = terminal.buffer;
      planned.inner = terminal.inner;
      plan_->terminals.push_back(planned);
      plan_->outer = terminal.outer;
      plan_->count = terminal.count;
      plan_->inner = row ? terminal.inner * fused_.cols : terminal.inner;
    }
    if (with_outputs) add_outputs();
    if (!place(*plan_, invariant_, unit_, hoist_)) return nullptr;
    return plan_;
  }

 private:
  std::vector<bool> live_code(const std::vector<Terminal>& terminals, bool with_outputs) const {
    std::vector<bool> wanted(fused_.row.size(), false), needed(fused_.code.size(), false);
    for (const Terminal& terminal : terminals) wanted[static_cast<size_t>(terminal.reg)] = true;
    if (with_outputs)
      for (const Operand& output : fused_.outputs) wanted[static_cast<size_t>(output.reg)] = true;
    for (size_t i = fused_.code.size(); i-- > 0;) {
      const Instruction& instruction = fused_.code[i];
      const auto dst = static_cast<size_t>(instruction.dst);
      if (!wanted[dst]) continue;
      needed[i] = true;
      wanted[dst] = false;
      for (int k = 0; k < vm_arity(instruction.op); ++k) wanted[static_cast<size_t>(instruction.operands[k])] = true;
    }
    return needed;
  }

  int16_t new_value(Extent extent, bool invariant) {
    if (plan_->values.size() >= SHRT_MAX) throw Error("BAD_PROGRAM", "too many instructions in a fused step");
    PlanValue value;
    value.extent = extent;
    plan_->values.push_back(value);
    invariant_.push_back(invariant || extent == Extent::scalar);
    return static_cast<int16_t>(plan_->values.size() - 1);
  }

  Extent extent(int16_t value) const { return plan_->values[static_cast<size_t>(value)].extent; }

  void emit(const PlanInstruction& instruction) {
    const PlanValue& dst = plan_->values[static_cast<size_t>(instruction.dst)];
    if (dst.extent == Extent::scalar) plan_->once.push_back(instruction);
    else if (invariant_[static_cast<size_t>(instruction.dst)]) plan_->invariant.push_back(instruction);
    else plan_->code.push_back(instruction);
  }

  void translate(const Instruction& instruction) {
    const bool row = fused_.row[static_cast<size_t>(instruction.dst)];
    Ref& dst = registers_[static_cast<size_t>(instruction.dst)];
    switch (instruction.op) {
      case VmOp::constf:
      case VmOp::consti: {
        uint32_t bits;
        const auto number = static_cast<float>(instruction.value);
        const auto integer = static_cast<int32_t>(static_cast<int64_t>(instruction.value));
        if (instruction.op == VmOp::constf) std::memcpy(&bits, &number, 4);
        else std::memcpy(&bits, &integer, 4);
        dst = {new_value(Extent::scalar, true), false};
        plan_->constants.push_back({dst.value, bits});
        return;
      }
      case VmOp::load: return translate_load(instruction, row, dst);
      case VmOp::iota: {
        std::vector<int64_t> strides(fused_.dims.size(), 0);
        strides[static_cast<size_t>(instruction.operands[0])] = 1;
        const View view = collapse(fused_.dims, strides, row ? row_dims_ : fused_.dims.size(), 0);
        PlanInstruction planned;
        planned.kind = PlanKind::iota;
        planned.index = static_cast<int16_t>(plan_->iotas.size());
        plan_->iotas.push_back(view);
        planned.dst = new_value(view.scalar() ? Extent::scalar : row ? Extent::row : Extent::full, hoistable(view, row));
        emit(planned);
        dst = {planned.dst, false};
        return;
      }
      case VmOp::random:
      case VmOp::acc: {
        PlanInstruction planned;
        planned.kind = instruction.op == VmOp::acc ? PlanKind::acc : PlanKind::random;
        if (instruction.op == VmOp::random)
          planned.index = add_input(fused_.inputs[static_cast<size_t>(instruction.operands[0])], View{});
        planned.dst = new_value(Extent::full, false);
        emit(planned);
        dst = {planned.dst, false};
        return;
      }
      case VmOp::row_sum:
      case VmOp::row_max:
      case VmOp::row_min: {
        PlanInstruction planned;
        planned.kind = PlanKind::reduce;
        planned.op = instruction.op;
        planned.operand[0] = lanes_of(registers_[static_cast<size_t>(instruction.operands[0])], false);
        planned.dst = new_value(Extent::row, false);
        emit(planned);
        dst = {planned.dst, false};
        return;
      }
      case VmOp::spread: {
        const Ref source = registers_[static_cast<size_t>(instruction.operands[0])];
        if (extent(source.value) == Extent::scalar) dst = source;
        else dst = {source.value, true};
        return;
      }
      default: return translate_compute(instruction, row, dst);
    }
  }

  void translate_load(const Instruction& instruction, bool row, Ref& dst) {
    const Operand& input = fused_.inputs[static_cast<size_t>(instruction.operands[0])];
    const View view = collapse(fused_.dims, input.strides, row ? row_dims_ : fused_.dims.size(), input.offset);
    const bool scalar = view.scalar();
    PlanInstruction planned;
    planned.kind = PlanKind::load;
    planned.index = add_input(input, view);
    planned.dst = new_value(scalar ? Extent::scalar : row ? Extent::row : Extent::full, hoistable(view, row));
    dst = {planned.dst, false};
    if (!scalar && tiles_ != Tiles::rectangles && view.contiguous() && byte_size(input.dtype) == 4) {
      plan_->values[static_cast<size_t>(planned.dst)].input = planned.index;  // read where it lies
      return;
    }
    emit(planned);
  }

  void translate_compute(const Instruction& instruction, bool row, Ref& dst) {
    const int arity = vm_arity(instruction.op);
    Ref operands[3];
    bool all_scalar = true, all_rows = true, invariant = true;
    for (int i = 0; i < arity; ++i) {
      operands[i] = registers_[static_cast<size_t>(instruction.operands[i])];
      const bool scalar = extent(operands[i].value) == Extent::scalar;
      all_scalar = all_scalar && scalar;
      all_rows = all_rows && (scalar || operands[i].spread);
      invariant = invariant && invariant_[static_cast<size_t>(operands[i].value)];
    }
    // A function of spread rows is the spread of the function: compute it once per row.
    const bool by_row = !row && !all_scalar && all_rows;
    PlanInstruction planned;
    planned.op = instruction.op;
    for (int i = 0; i < arity; ++i) {
      if (operands[i].spread && !by_row && fused_.cols < kSpreadCols) operands[i] = {lanes_of(operands[i], false), false};
      planned.operand[i] = operands[i].value;
      if (extent(operands[i].value) == Extent::scalar) planned.repeated |= static_cast<uint8_t>(1 << i);
      else if (operands[i].spread && !by_row) planned.per_row |= static_cast<uint8_t>(1 << i);
    }
    planned.dst = new_value(all_scalar ? Extent::scalar : row || by_row ? Extent::row : Extent::full, invariant);
    emit(planned);
    dst = {planned.dst, by_row};
  }

  /** The value written out in its own lanes: spreads and scalars become full (or row) registers. */
  int16_t lanes_of(const Ref& ref, bool row) {
    const bool scalar = extent(ref.value) == Extent::scalar;
    if (!ref.spread && !scalar) return ref.value;
    const auto known = written_.find({ref.value, row});
    if (known != written_.end()) return known->second;
    PlanInstruction planned;
    planned.kind = PlanKind::spread;
    planned.operand[0] = ref.value;
    if (scalar) planned.repeated = 1;
    else planned.per_row = 1;
    planned.dst = new_value(row ? Extent::row : Extent::full, false);
    emit(planned);
    written_[{ref.value, row}] = planned.dst;
    return planned.dst;
  }

  int16_t add_input(const Operand& input, const View& view) {
    plan_->inputs.push_back({input.buffer, input.dtype, view});
    plan_->inputs.back().view.offset = input.offset;
    return static_cast<int16_t>(plan_->inputs.size() - 1);
  }

  /** The same lanes in every tile, if tiles are multiples of the period. */
  bool hoistable(const View& view, bool row) {
    if (!hoist_ || row || tiles_ != Tiles::own || view.period >= plan_->total || view.period > kTileMost) return false;
    unit_ = std::lcm(unit_, view.period);
    return true;
  }

  void add_outputs() {
    for (const Operand& output : fused_.outputs) {
      const bool row = fused_.row[static_cast<size_t>(output.reg)];
      PlanOperand planned{output.buffer, output.dtype,
                          collapse(fused_.dims, output.strides, row ? row_dims_ : fused_.dims.size(), output.offset)};
      plan_->outputs.push_back(planned);
      PlanInstruction store;
      store.kind = PlanKind::store;
      store.index = static_cast<int16_t>(plan_->outputs.size() - 1);
      store.operand[0] = lanes_of(registers_[static_cast<size_t>(output.reg)], row);
      stores_.push_back(store);
    }
    read_before_overwriting();
    for (PlanInstruction& store : stores_) store.stream = goes_past_the_cache(store);
    for (const PlanInstruction& store : stores_) {
      plan_->streaming |= store.stream;
      if (store.stream || !computed_in_place(store)) plan_->code.push_back(store);
    }
  }

  /** A large output that overwrites nothing read here would only be fetched to be evicted. */
  bool goes_past_the_cache(const PlanInstruction& store) const {
    const PlanOperand& output = plan_->outputs[static_cast<size_t>(store.index)];
    if (tiles_ != Tiles::own || !output.view.contiguous() || byte_size(output.dtype) != 4) return false;
    if (extent(store.operand[0]) != Extent::full || plan_->total * 4 < kStreamBytes) return false;
    for (const PlanOperand& input : plan_->inputs)
      if (overlap(input.buffer, output.buffer)) return false;
    return std::all_of(plan_->code.begin(), plan_->code.end(), [&](const PlanInstruction& i) { return is_light(i); });
  }

  /** Done at the speed of memory. Beside slower work the bursts of streaming stores cost more than they save. */
  bool is_light(const PlanInstruction& instruction) const {
    if (instruction.kind == PlanKind::load) {
      const View& view = plan_->inputs[static_cast<size_t>(instruction.index)].view;
      return view.rank > 0 && view.strides[view.rank - 1] == 1;
    }
    if (instruction.kind != PlanKind::compute) return instruction.kind == PlanKind::store;
    switch (instruction.op) {
      case VmOp::exp: case VmOp::log: case VmOp::log1p: case VmOp::expm1: case VmOp::sin: case VmOp::cos:
      case VmOp::tanh: case VmOp::sigmoid: case VmOp::erf: case VmOp::pow: return false;
      default: return true;
    }
  }

  /** Stores and terminals come last: what they read where it lies must not be overwritten by then. */
  void read_before_overwriting() {
    const auto overwritten = [&](int16_t input) {
      for (const PlanOperand& output : plan_->outputs)
        if (overlap(plan_->inputs[static_cast<size_t>(input)].buffer, output.buffer)) return true;
      return false;
    };
    for (PlanInstruction& instruction : plan_->code)
      if (instruction.kind == PlanKind::load) instruction.copy = overwritten(instruction.index);
    const auto keep = [&](int16_t operand) {
      PlanValue& value = plan_->values[static_cast<size_t>(operand)];
      if (value.input < 0 || !overwritten(value.input)) return;
      PlanInstruction load;
      load.kind = PlanKind::load;
      load.copy = true;
      load.index = value.input;
      load.dst = operand;
      value.input = -1;
      plan_->code.insert(plan_->code.begin(), load);
    };
    for (const PlanInstruction& store : stores_) keep(store.operand[0]);
    for (const PlanTerminal& terminal : plan_->terminals) keep(terminal.value);
  }

  bool overlap(int a, int b) const {
    const Buffer &x = program_.buffers[static_cast<size_t>(a)], &y = program_.buffers[static_cast<size_t>(b)];
    if (x.input != y.input) return false;
    if (x.input) return x.place == y.place;
    return x.place < y.place + program_.lengths[static_cast<size_t>(b)] &&
           y.place < x.place + program_.lengths[static_cast<size_t>(a)];
  }

  /** Lets the instruction that makes an output write it, unless something later still reads what it overwrites. */
  bool computed_in_place(const PlanInstruction& store) {
    const PlanOperand& output = plan_->outputs[static_cast<size_t>(store.index)];
    PlanValue& value = plan_->values[static_cast<size_t>(store.operand[0])];
    if (tiles_ == Tiles::rectangles || !output.view.contiguous() || byte_size(output.dtype) != 4) return false;
    if (value.input >= 0 || value.output >= 0 || invariant_[static_cast<size_t>(store.operand[0])]) return false;
    const auto reads_overwritten = [&](int16_t operand) {
      if (operand < 0) return false;
      const int16_t input = plan_->values[static_cast<size_t>(operand)].input;
      return input >= 0 && overlap(plan_->inputs[static_cast<size_t>(input)].buffer, output.buffer);
    };
    bool made = false;
    for (const PlanInstruction& instruction : plan_->code) {
      if (instruction.kind == PlanKind::store) continue;
      if (made) {
        for (const int16_t operand : instruction.operand)
          if (reads_overwritten(operand)) return false;
        if (instruction.kind == PlanKind::load &&
            overlap(plan_->inputs[static_cast<size_t>(instruction.index)].buffer, output.buffer))
          return false;
      }
      if (instruction.dst == store.operand[0]) {
        if (instruction.kind != PlanKind::compute && instruction.kind != PlanKind::reduce &&
            instruction.kind != PlanKind::random && instruction.kind != PlanKind::spread)
          return false;  // a load may turn into a pointer
        made = true;
      }
    }
    for (const PlanInstruction& other : stores_)
      if (reads_overwritten(other.operand[0])) return false;
    for (const PlanTerminal& terminal : plan_->terminals)
      if (reads_overwritten(terminal.value)) return false;
    value.output = store.index;
    return made;
  }

  const Fused& fused_;
  const Program& program_;
  const Tiles tiles_;
  const bool hoist_;
  std::shared_ptr<FusedPlan> plan_;
  size_t row_dims_ = 0;
  int64_t unit_ = 1;  // tiles must be a multiple of this for hoisted values to stay right
  std::vector<Ref> registers_;
  std::vector<bool> invariant_;
  std::vector<PlanInstruction> stores_;
  std::map<std::pair<int16_t, bool>, int16_t> written_;
};

std::shared_ptr<FusedPlan> plan_pass(const Fused& fused, const Program& program, Tiles tiles,
                                     const std::vector<Terminal>& terminals, bool with_outputs) {
  auto plan = Planner(fused, program, tiles, true).run(terminals, with_outputs);
  if (!plan) plan = Planner(fused, program, tiles, false).run(terminals, with_outputs);
  return plan;
}

}  // namespace

std::shared_ptr<const FusedPlan> plan_fused(const Fused& fused, const Program& program, bool epilogue) {
  if (epilogue) {
    auto plan = plan_pass(fused, program, Tiles::rectangles, {}, true);
    plan->lines = plan_pass(fused, program, Tiles::lines, {}, true);
    return plan;
  }
  // Terminals that see the domain alike share a pass; outputs belong to the last, since they may overwrite inputs.
  std::map<std::pair<int64_t, int64_t>, std::vector<Terminal>> groups;
  for (const Terminal& terminal : fused.terminals) groups[{terminal.outer, terminal.count}].push_back(terminal);
  if (groups.empty()) return plan_pass(fused, program, Tiles::own, {}, true);
  std::shared_ptr<FusedPlan> plan;
  size_t left = groups.size();
  for (const auto& [shape, terminals] : groups) {
    auto next = plan_pass(fused, program, Tiles::own, terminals, --left == 0);
    next->before = plan;
    plan = next;
  }
  return plan;
}

}  // namespace cambium
