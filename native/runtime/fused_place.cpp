// Places the values of a FusedPlan in scratch memory, and sizes its tiles and blocks of work.
#include "fused_place.h"

#include <algorithm>
#include <climits>
#include <numeric>

#include "error.h"

namespace cambium {
namespace {

// A tile's registers and the lines it streams through share the first-level cache with everything else.
constexpr int64_t kTileBytes = 24 << 10;
constexpr int64_t kTileLeast = 256;
// Lanes per unit of work in a reduction: part of the result's definition, so fixed.
constexpr int64_t kBlockLanes = 32 << 10;
constexpr int64_t kBlockCounts = 64;

/** `most`: the lanes that fit the cache; `period`: tiles must be multiples of it for hoisted values to stay right. */
bool size_tiles(FusedPlan& p, int64_t most, int64_t period, bool hoist) {
  int64_t unit = std::lcm(period, std::max<int64_t>(1, p.cols));
  if (hoist && period > 1 && unit > std::max(most, p.cols)) return false;
  p.tile = std::max(unit, most / unit * unit);
  if (p.terminals.empty() || p.total == 0) return true;
  const int64_t per_outer = p.count * p.inner;
  const bool within_row = p.cols > 0 && p.cols % per_outer == 0;
  if (within_row || (per_outer <= most && (p.cols == 0 || per_outer % p.cols == 0))) {
    p.walk = Walk::groups;
    unit = std::lcm(unit, per_outer);
    if (hoist && period > 1 && unit > std::max(most, p.cols)) return false;
    p.tile = std::max(unit, most / unit * unit);
    return true;
  }
  p.walk = Walk::blocks;
  if (p.outer > 1 && hoist && per_outer % period != 0) return false;  // each outer starts elsewhere in the period
  if (p.cols > 0 && per_outer % p.cols != 0) throw Error("BAD_PROGRAM", "a terminal reduces across row boundaries");
  const int64_t row_unit = std::max<int64_t>(1, p.cols);
  if (p.inner <= most || p.inner <= row_unit) {
    p.chunk = p.inner;
    const int64_t step = std::lcm(unit, p.inner) / p.inner;  // counts after which rows and periods begin anew
    if (hoist && period > 1 && step * p.inner > std::max(most, p.cols)) return false;
    p.tile_counts = std::max(step, most / p.inner / step * step);
  } else {
    // Columns are chunked: a tile's place within a period varies, so nothing is invariant.
    if (hoist && period > 1) return false;
    p.chunk = std::max<int64_t>(most / std::lcm(row_unit, int64_t{16}) * std::lcm(row_unit, int64_t{16}), row_unit);
    p.chunk = std::min(p.chunk, p.inner);
    if (p.inner % row_unit != 0) throw Error("BAD_PROGRAM", "a terminal reduces across row boundaries");
    p.tile_counts = 1;
  }
  p.tile = p.tile_counts * p.chunk;
  const int64_t least = std::max(kBlockCounts, kBlockLanes / p.inner);
  p.block_counts = (least + p.tile_counts - 1) / p.tile_counts * p.tile_counts;
  p.blocks = (p.count + p.block_counts - 1) / p.block_counts;
  return true;
}

}  // namespace

bool place(FusedPlan& plan, const std::vector<bool>& invariant, int64_t period, bool hoist) {
  const auto extent = [&](int16_t value) { return plan.values[static_cast<size_t>(value)].extent; };
  // Slots of the tile code are shared as values die; the others are kept.
  const size_t count = plan.values.size();
  std::vector<int> last(count, -1), slot(count, -1);
  for (size_t i = 0; i < plan.code.size(); ++i)
    for (const int16_t operand : plan.code[i].operand)
      if (operand >= 0) last[static_cast<size_t>(operand)] = static_cast<int>(i);
  for (const PlanTerminal& terminal : plan.terminals) last[static_cast<size_t>(terminal.value)] = INT_MAX;

  int slots[3] = {0, 0, 0};  // by extent
  const auto index_of = [](Extent extent) { return static_cast<size_t>(extent); };
  for (size_t v = 0; v < count; ++v) {
    const PlanValue& value = plan.values[v];
    if (value.input < 0 && value.output < 0 && invariant[v]) slot[v] = slots[index_of(value.extent)]++;
  }
  std::vector<int> free[3];
  for (size_t i = 0; i < plan.code.size(); ++i) {
    const PlanInstruction& instruction = plan.code[i];
    for (int k = 0; k < 3; ++k) {
      const int16_t operand = instruction.operand[k];
      if (operand < 0 || last[static_cast<size_t>(operand)] != static_cast<int>(i)) continue;
      const auto v = static_cast<size_t>(operand);
      const bool twice = (k > 0 && instruction.operand[0] == operand) || (k > 1 && instruction.operand[1] == operand);
      if (!invariant[v] && slot[v] >= 0 && !twice) free[index_of(plan.values[v].extent)].push_back(slot[v]);
    }
    if (instruction.dst < 0) continue;
    const auto v = static_cast<size_t>(instruction.dst);
    const PlanValue& value = plan.values[v];
    if (value.output >= 0) continue;
    auto& pool = free[index_of(value.extent)];
    if (pool.empty()) slot[v] = slots[index_of(value.extent)]++;
    else {
      slot[v] = pool.back();
      pool.pop_back();
    }
    if (last[v] < 0) pool.push_back(slot[v]);
  }

  int streams = 0;
  for (const PlanValue& value : plan.values)
    if (value.extent == Extent::full && (value.input >= 0 || value.output >= 0)) ++streams;
  const int64_t full = std::max(1, slots[2] + streams);
  if (!size_tiles(plan, std::clamp(kTileBytes / 4 / full / 64 * 64, kTileLeast, kTileMost), period, hoist)) return false;

  // One line more than a multiple of 4 KiB apart, or loads would wait on stores of equal low address bits.
  const int64_t rows = plan.cols > 0 ? plan.tile / plan.cols : 1;
  const int64_t full_stride = (plan.tile + 15) / 16 * 16 + 16, row_stride = (rows + 15) / 16 * 16 + 16;
  const int64_t row_base = 16 + slots[0] * 16, full_base = row_base + slots[1] * row_stride;
  for (size_t v = 0; v < count; ++v) {
    if (slot[v] < 0) continue;
    const Extent extent = plan.values[v].extent;
    const int64_t at = extent == Extent::scalar ? 16 + slot[v] * 16
                       : extent == Extent::row  ? row_base + slot[v] * row_stride
                                                : full_base + slot[v] * full_stride;
    if (at > INT_MAX) throw Error("BAD_PROGRAM", "rows of a fused step are too long");
    plan.values[v].slot = static_cast<int32_t>(at);
  }
  int64_t end = full_base + slots[2] * full_stride;
  int64_t partial = 0;
  for (PlanTerminal& terminal : plan.terminals) {
    // The last chunk of columns is narrower, yet may need the wider accumulator.
    const int64_t lanes = extent(terminal.value) == Extent::row ? std::max<int64_t>(1, plan.cols) : 1;
    const int64_t last = plan.chunk > 0 ? plan.inner % plan.chunk / lanes : 0;
    const int64_t width = std::max(accumulator_width(std::max<int64_t>(1, plan.chunk / lanes)),
                                   accumulator_width(std::max<int64_t>(1, last)));
    terminal.slot = end;
    end += (width + 15) / 16 * 16 + 16;
    terminal.partial = partial;
    if (plan.walk == Walk::blocks && plan.blocks > 1)
      partial += (plan.outer * plan.blocks * terminal.inner + 15) / 16 * 16;
  }
  plan.partial_bytes = partial * 4;
  for (size_t v = 0; v < count; ++v)
    if (plan.values[v].input >= 0 || plan.values[v].output >= 0) plan.direct.push_back(static_cast<int16_t>(v));
  for (const int16_t v : plan.direct)
    if (plan.values[static_cast<size_t>(v)].input >= 0 && extent(v) == Extent::full) plan.read_ahead.push_back(v);
  plan.pointer_bytes = (static_cast<int64_t>(count) * 8 + 63) / 64 * 64;
  plan.thread_bytes = plan.pointer_bytes + (end * 4 + 127) / 64 * 64;
  return true;
}

}  // namespace cambium
