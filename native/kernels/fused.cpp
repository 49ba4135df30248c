// The fused VM's driver: shares tiles out to threads, and reduces terminals in an order set by the shape alone.
#include "fused.h"

#include <algorithm>

#include "fused_tile.h"

namespace cambium::CAMBIUM_ISA {
namespace {

// A step below this many lane-instructions is done before a second thread would have woken.
constexpr int64_t kParallelWork = 48 << 10;
constexpr int64_t kTaskLanes = 64 << 10;
constexpr int64_t kCombineLanes = 1024;
// Lines of an epilogue's tiles this long are worth a call per instruction.
constexpr int64_t kLineLanes = 64;

struct Run {
  const Call& call;
  const FusedPlan& plan;
  std::byte* scratch;
  float* partials;

  float* out(const PlanTerminal& terminal) const { return reinterpret_cast<float*>(call.buffers[terminal.buffer]); }

  TileRunner runner(int thread) const {
    TileRunner runner(plan, call.buffers, scratch + thread * plan.thread_bytes);
    runner.begin();
    return runner;
  }

  /** Splits `units` of `lanes` each into tasks; how is free, since no result depends on it. */
  template <class Body>
  void share(int64_t units, int64_t lanes, Body body) const {
    const auto cost = static_cast<int64_t>(plan.code.size() + plan.terminals.size() + 1);
    const int64_t threads = call.parallel.threads();
    int64_t tasks = 1;
    if (threads > 1 && plan.total * cost >= kParallelWork)
      tasks = std::clamp<int64_t>(units * lanes / kTaskLanes, std::min(units, threads * 4), units);
    call.parallel.run(tasks, [&](int64_t task, int thread) {
      TileRunner tile_runner = runner(thread);
      for (int64_t unit = units * task / tasks, end = units * (task + 1) / tasks; unit < end; ++unit)
        body(unit, tile_runner);
      if (plan.streaming) finish_streams();
    });
  }

  void linear() const {
    share((plan.total + plan.tile - 1) / plan.tile, plan.tile, [&](int64_t unit, TileRunner& runner) {
      Tile tile;
      tile.start = unit * plan.tile;
      tile.lanes = tile.ahead = std::min(plan.tile, plan.total - tile.start);
      runner.run(tile);
    });
  }

  int64_t value_lanes(const PlanTerminal& terminal, int64_t lanes) const {
    return plan.values[static_cast<size_t>(terminal.value)].extent == Extent::row ? lanes / plan.cols : lanes;
  }

  /** Each tile holds whole outers: their results are final. */
  void groups() const {
    const int64_t per_outer = plan.count * plan.inner;
    share((plan.total + plan.tile - 1) / plan.tile, plan.tile, [&](int64_t unit, TileRunner& runner) {
      Tile tile;
      tile.start = unit * plan.tile;
      tile.lanes = tile.ahead = std::min(plan.tile, plan.total - tile.start);
      runner.run(tile);
      for (const PlanTerminal& terminal : plan.terminals) {
        const int64_t lanes = value_lanes(terminal, per_outer), inner = terminal.inner;
        const float* x = runner.lanes(terminal.value);
        float* to = out(terminal) + tile.start / per_outer * inner;
        for (int64_t o = 0; o < tile.lanes / per_outer; ++o, x += lanes, to += inner) {
          if (inner == 1) {
            *to = reduce_lanes(terminal.op, x, lanes);
            continue;
          }
          std::memcpy(to, x, static_cast<size_t>(inner) * 4);
          for (int64_t k = 1; k < plan.count; ++k) combine_lanes(terminal.op, to, x + k * inner, inner);
        }
      }
    });
  }

  /** A unit reduces a block of counts for a chunk of columns of one outer. */
  void blocks() const {
    const int64_t chunks = (plan.inner + plan.chunk - 1) / plan.chunk;
    const int64_t unit_lanes = std::min(plan.block_counts, plan.count) * plan.chunk;
    share(plan.outer * chunks * plan.blocks, unit_lanes, [&](int64_t unit, TileRunner& runner) {
      const int64_t block = unit % plan.blocks, chunk = unit / plan.blocks % chunks, o = unit / plan.blocks / chunks;
      const int64_t first = chunk * plan.chunk, columns = std::min(plan.chunk, plan.inner - first);
      const int64_t end = std::min(plan.count, (block + 1) * plan.block_counts);
      for (const PlanTerminal& terminal : plan.terminals)
        fill_lanes(runner.slots() + terminal.slot, reduce_identity(terminal.op), width(terminal, columns));
      int64_t phases[kMaxTerminals] = {};
      for (int64_t k = block * plan.block_counts; k < end; k += plan.tile_counts) {
        Tile tile;
        tile.start = (o * plan.count + k) * plan.inner + first;
        tile.lanes = std::min(plan.tile_counts, end - k) * columns;
        tile.ahead = plan.chunk < plan.inner ? plan.inner : tile.lanes;
        runner.run(tile);
        for (size_t t = 0; t < plan.terminals.size(); ++t) {
          const PlanTerminal& terminal = plan.terminals[t];
          phases[t] = accumulate_lanes(terminal.op, runner.slots() + terminal.slot, width(terminal, columns), phases[t],
                                       runner.lanes(terminal.value), value_lanes(terminal, tile.lanes));
        }
      }
      for (const PlanTerminal& terminal : plan.terminals) {
        float* to = plan.blocks == 1
                        ? out(terminal) + o * terminal.inner
                        : partials + terminal.partial + (o * plan.blocks + block) * terminal.inner;
        fold_lanes(terminal.op, runner.slots() + terminal.slot, width(terminal, columns),
                   value_lanes(terminal, columns), to + value_lanes(terminal, first));
      }
    });
    if (plan.blocks > 1) combine();
  }

  int64_t width(const PlanTerminal& terminal, int64_t columns) const {
    return accumulator_width(value_lanes(terminal, columns));
  }

  /** Partial results of the blocks, pairwise: 0+1, 2+3, then 0+2 ... */
  void combine() const {
    for (const PlanTerminal& terminal : plan.terminals) {
      const int64_t inner = terminal.inner, slices = (inner + kCombineLanes - 1) / kCombineLanes;
      call.parallel.run(plan.outer * slices, [&](int64_t task, int) {
        const int64_t o = task / slices, first = task % slices * kCombineLanes;
        const int64_t lanes = std::min(kCombineLanes, inner - first);
        float* rows = partials + terminal.partial + o * plan.blocks * inner + first;
        for (int64_t step = 1; step < plan.blocks; step *= 2)
          for (int64_t b = 0; b + step < plan.blocks; b += 2 * step)
            combine_lanes(terminal.op, rows + b * inner, rows + (b + step) * inner, lanes);
        std::memcpy(out(terminal) + o * inner + first, rows, static_cast<size_t>(lanes) * 4);
      });
    }
  }
};

}  // namespace

void run_plan(const Call& call, const FusedPlan& plan) {
  if (plan.before) run_plan(call, *plan.before);
  if (plan.total == 0) {
    for (const PlanTerminal& terminal : plan.terminals)
      fill_lanes(reinterpret_cast<float*>(call.buffers[terminal.buffer]), reduce_identity(terminal.op),
                 plan.outer * terminal.inner);
    return;
  }
  const int64_t threads = call.parallel.threads();
  std::byte* scratch = call.vm_scratch.reserve(static_cast<size_t>(threads * plan.thread_bytes + plan.partial_bytes));
  const Run run{call, plan, scratch, reinterpret_cast<float*>(scratch + threads * plan.thread_bytes)};
  switch (plan.walk) {
    case Walk::linear: return run.linear();
    case Walk::groups: return run.groups();
    case Walk::blocks: return run.blocks();
  }
}

void fused(Call& call) { run_plan(call, *call.step.plan); }

Epilogue::Epilogue(const Call& call, const FusedPlan& plan, int64_t columns)
    : call_(call), plan_(plan), columns_(columns), thread_bytes_(64 + plan.thread_bytes + plan.lines->thread_bytes) {
  const int64_t threads = call.parallel.threads();
  scratch_ = call.vm_scratch.reserve(static_cast<size_t>(threads * thread_bytes_));
  for (int64_t thread = 0; thread < threads; ++thread) std::memset(scratch_ + thread * thread_bytes_, 0, 64);
}

/** Each thread's scratch: whether its scalars are there for either plan, then the room of both. */
TileRunner Epilogue::runner(const FusedPlan& plan, int thread) const {
  const bool lines = &plan != &plan_;
  std::byte* own = scratch_ + thread * thread_bytes_;
  TileRunner runner(plan, call_.buffers, own + 64 + (lines ? plan_.thread_bytes : 0));
  std::byte& begun = own[lines];
  if (begun == std::byte{0}) {
    runner.begin();
    begun = std::byte{1};
  }
  return runner;
}

void Epilogue::tile(void* self, int thread, int64_t row0, int64_t row_stride, int64_t rows, int64_t col0, int64_t cols,
                    const float* tile, int64_t ld) {
  const Epilogue& e = *static_cast<const Epilogue*>(self);
  const int64_t pitch = row_stride * e.columns_;
  int64_t start = row0 * e.columns_ + col0;
  // Whole rows one after the other are one line.
  if (cols == pitch && ld == cols) {
    cols *= rows;
    ld = cols;
    rows = 1;
  }
  const bool long_lines = rows == 1 || cols >= kLineLanes;
  const FusedPlan& plan = long_lines ? *e.plan_.lines : e.plan_;
  TileRunner runner = e.runner(plan, thread);
  // Pieces of about equal width, in whole cache lines.
  const int64_t pieces = (cols + plan.tile - 1) / plan.tile;
  const int64_t width = std::min(cols, ((cols + pieces - 1) / pieces + 15) / 16 * 16);
  const int64_t height = long_lines ? 1 : std::max<int64_t>(1, plan.tile / width);
  for (int64_t row = 0; row < rows; row += height, start += height * pitch)
    for (int64_t col = 0; col < cols; col += width) {
      Tile part;
      part.start = start + col;
      part.lanes = std::min(width, cols - col);
      part.lines = std::min(height, rows - row);
      part.pitch = pitch;
      part.acc = tile + row * ld + col;
      part.acc_pitch = ld;
      if (long_lines) part.ahead = col + width < cols ? width : rows > 1 ? pitch - col : 0;
      runner.run(part);
    }
}

}  // namespace cambium::CAMBIUM_ISA
