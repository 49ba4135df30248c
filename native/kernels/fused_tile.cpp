// Runs a plan's instructions on one tile with one thread's scratch.
#include "fused_tile.h"

#include <algorithm>

namespace cambium::CAMBIUM_ISA {

void TileRunner::begin() {
  for (size_t v = 0; v < plan_.values.size(); ++v)
    if (plan_.values[v].slot >= 0) pointers_[v] = slots_ + plan_.values[v].slot;
  for (const auto& [value, bits] : plan_.constants) std::memcpy(pointers_[value], &bits, 4);
  Tile one;
  one.lanes = 1;
  for (const PlanInstruction& instruction : plan_.once) execute(instruction, one);
  invariant_lanes_ = 0;
}

/** Fetches a part of what the next tile reads in place: memory works while the instructions run from the cache. */
// Always inlined: GCC takes a function that only prefetches for one without effects and drops the call.
inline __attribute__((always_inline)) void TileRunner::prefetch_next(const Tile& tile, int64_t begin,
                                                                     int64_t end) const {
  for (const int16_t v : plan_.read_ahead)
    for (int64_t lane = (begin + 15) & ~15; lane < end; lane += 16)
      __builtin_prefetch(pointers_[v] + tile.ahead + lane);
}

void TileRunner::run(const Tile& tile) {
  const int64_t first_row = plan_.cols > 0 ? tile.start / plan_.cols : 0;
  for (const int16_t v : plan_.direct) {
    const PlanValue& value = plan_.values[static_cast<size_t>(v)];
    const PlanOperand& operand =
        value.input >= 0 ? plan_.inputs[static_cast<size_t>(value.input)] : plan_.outputs[static_cast<size_t>(value.output)];
    pointers_[v] = reinterpret_cast<float*>(buffers_[operand.buffer]) + operand.view.offset +
                   (value.extent == Extent::row ? first_row : tile.start);
  }
  if (tile.lanes > invariant_lanes_) {
    for (const PlanInstruction& instruction : plan_.invariant) execute(instruction, tile);
    invariant_lanes_ = tile.lanes;
  }
  const auto steps = static_cast<int64_t>(plan_.code.size());
  const bool fetch = tile.ahead != 0;
  if (steps == 0 && fetch) prefetch_next(tile, 0, tile.lanes);
  for (int64_t i = 0; i < steps; ++i) {
    if (fetch) prefetch_next(tile, tile.lanes * i / steps, tile.lanes * (i + 1) / steps);
    execute(plan_.code[static_cast<size_t>(i)], tile);
  }
}

void TileRunner::compute(const PlanInstruction& instruction, int64_t lanes, int64_t rows) {
  float* dst = pointers_[instruction.dst];
  const float* operands[3] = {nullptr, nullptr, nullptr};
  for (int i = 0; i < 3; ++i)
    if (instruction.operand[i] >= 0) operands[i] = pointers_[instruction.operand[i]];
  const ComputeFn body = compute_body(instruction.op, instruction.repeated | instruction.per_row);
  if (!instruction.per_row) return body(lanes, dst, operands[0], operands[1], operands[2]);
  int64_t step[3];
  for (int i = 0; i < 3; ++i)
    step[i] = instruction.repeated >> i & 1 ? 0 : instruction.per_row >> i & 1 ? 1 : plan_.cols;
  for (int64_t row = 0; row < rows; ++row)
    body(plan_.cols, dst + row * plan_.cols, operands[0] + row * step[0],
         operands[1] ? operands[1] + row * step[1] : nullptr, operands[2] ? operands[2] + row * step[2] : nullptr);
}

void TileRunner::execute(const PlanInstruction& instruction, const Tile& tile) {
  const int64_t all = tile.lanes * tile.lines;
  const int64_t rows = plan_.cols > 0 ? tile.lanes / plan_.cols : 0;
  const auto extent = [&](int16_t value) { return plan_.values[static_cast<size_t>(value)].extent; };
  const Extent of = extent(instruction.dst >= 0 ? instruction.dst : instruction.operand[0]);
  // Where this value's lanes start and how many there are: in elements, in rows, or just one.
  const int64_t start = of == Extent::full ? tile.start : of == Extent::row ? tile.start / plan_.cols : 0;
  const int64_t lanes = of == Extent::full ? tile.lanes : of == Extent::row ? rows : 1;
  const int64_t lines = of == Extent::full ? tile.lines : 1;

  switch (instruction.kind) {
    case PlanKind::compute:
      return compute(instruction, of == Extent::full ? all : lanes, rows);
    case PlanKind::load: {
      const PlanOperand& input = plan_.inputs[static_cast<size_t>(instruction.index)];
      const std::byte* base = buffers_[input.buffer];
      float*& dst = pointers_[instruction.dst];
      if (lines == 1 && of != Extent::scalar && !instruction.copy) {
        const float* there = lanes_in_place(input, base, start, lanes);
        if (there) {
          dst = const_cast<float*>(there);
          return;
        }
      }
      dst = slots_ + plan_.values[static_cast<size_t>(instruction.dst)].slot;
      // When a line is a whole number of periods, every line holds the same.
      const bool same = lines > 1 && tile.pitch % input.view.period == 0;
      for (int64_t line = 0; line < lines; ++line) {
        if (line > 0 && same) std::memcpy(dst + line * lanes, dst, static_cast<size_t>(lanes) * 4);
        else load_lanes(input, base, start + line * tile.pitch, lanes, dst + line * lanes);
      }
      return;
    }
    case PlanKind::iota: {
      auto* dst = reinterpret_cast<int32_t*>(pointers_[instruction.dst]);
      for (int64_t line = 0; line < lines; ++line)
        iota_lanes(plan_.iotas[static_cast<size_t>(instruction.index)], start + line * tile.pitch, lanes, dst + line * lanes);
      return;
    }
    case PlanKind::random: {
      const PlanOperand& key = plan_.inputs[static_cast<size_t>(instruction.index)];
      const auto* words = reinterpret_cast<const int32_t*>(buffers_[key.buffer]) + key.view.offset;
      for (int64_t line = 0; line < lines; ++line)
        random_lanes(words, start + line * tile.pitch, lanes, pointers_[instruction.dst] + line * lanes);
      return;
    }
    case PlanKind::acc: {
      float*& dst = pointers_[instruction.dst];
      if (lines == 1 || tile.acc_pitch == lanes) {
        dst = const_cast<float*>(tile.acc);
        return;
      }
      dst = slots_ + plan_.values[static_cast<size_t>(instruction.dst)].slot;
      for (int64_t line = 0; line < lines; ++line)
        std::memcpy(dst + line * lanes, tile.acc + line * tile.acc_pitch, static_cast<size_t>(lanes) * 4);
      return;
    }
    case PlanKind::reduce: {
      const ReduceOp op = instruction.op == VmOp::row_sum   ? ReduceOp::sum
                          : instruction.op == VmOp::row_max ? ReduceOp::max
                                                            : ReduceOp::min;
      const float* x = pointers_[instruction.operand[0]];
      float* dst = pointers_[instruction.dst];
      for (int64_t row = 0; row < rows; ++row) dst[row] = reduce_lanes(op, x + row * plan_.cols, plan_.cols);
      return;
    }
    case PlanKind::spread: {
      const float* from = pointers_[instruction.operand[0]];
      float* dst = pointers_[instruction.dst];
      if (instruction.repeated) return fill_lanes(dst, *from, of == Extent::full ? all : lanes);
      for (int64_t row = 0; row < rows; ++row) fill_lanes(dst + row * plan_.cols, from[row], plan_.cols);
      return;
    }
    case PlanKind::store: {
      const PlanOperand& output = plan_.outputs[static_cast<size_t>(instruction.index)];
      const float* src = pointers_[instruction.operand[0]];
      if (instruction.stream) {
        auto* to = reinterpret_cast<float*>(buffers_[output.buffer]) + output.view.offset + start;
        return stream_lanes(to, src, lanes);
      }
      for (int64_t line = 0; line < lines; ++line)
        store_lanes(output, buffers_[output.buffer], start + line * tile.pitch, lanes, src + line * lanes);
      return;
    }
  }
}

}  // namespace cambium::CAMBIUM_ISA
