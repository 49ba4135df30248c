// A fused step made ready to run: strides collapsed, dead code gone, values placed, tiles and blocks sized.
// Depends on shapes only: the same plan, hence the same order of additions, for any number of threads.
#pragma once

#include <cstdint>
#include <memory>
#include <numeric>
#include <vector>

#include "program.h"

namespace cambium {

constexpr int kMaxRank = 16;
constexpr int kMaxTerminals = 32;

/** An operand's walk through a linear index space, adjacent dims merged. Contiguous: one dim of stride 1. */
struct View {
  int rank = 0;
  int64_t dims[kMaxRank] = {};
  int64_t strides[kMaxRank] = {};
  int64_t offset = 0;
  int64_t period = 1;  // offsets repeat after this many linear indices

  bool contiguous() const { return rank == 1 && strides[0] == 1; }
  bool scalar() const { return rank == 0 || (rank == 1 && strides[0] == 0); }
};

enum class Extent : uint8_t { scalar, row, full };  // lanes of a value in one tile: 1, one per row, all

struct PlanValue {
  Extent extent = Extent::full;
  int32_t slot = -1;       // first float in the thread's scratch; -1: lives in a buffer
  int16_t input = -1;      // read in place from this input
  int16_t output = -1;     // computed in place into this output
};

enum class PlanKind : uint8_t { compute, load, iota, random, acc, reduce, spread, store };

struct PlanInstruction {
  PlanKind kind = PlanKind::compute;
  VmOp op{};
  // Operand i: bit i of `repeated` = one lane stands for all; of `per_row` = one lane for each row.
  uint8_t repeated = 0, per_row = 0;
  int16_t dst = -1;
  int16_t operand[3] = {-1, -1, -1};
  int16_t index = -1;      // input (load, random), output (store) or entry of `iotas`
  bool copy = false;       // load: into a slot even if the lanes could be read where they lie
  bool stream = false;     // store: past the cache
};

struct PlanOperand {
  int buffer = 0;
  DType dtype = DType::f32;
  View view;
};

struct PlanTerminal {
  int16_t value = -1;
  ReduceOp op{};
  int buffer = 0;
  int64_t inner = 0;       // lanes kept, of this value (full: all lanes, row: one per row)
  int64_t slot = 0;        // accumulators in the thread's scratch
  int64_t partial = 0;     // first float of its partial results in the shared scratch
};

/** Lanes accumulated side by side to keep `kept`: a multiple of it when it is small, so that vectors are full. */
inline int64_t accumulator_width(int64_t kept) { return kept < 64 ? std::lcm(kept, int64_t{64}) : kept; }

/** How tiles walk the domain; the last two when there are terminals, seen as [outer, count, inner] lanes. */
enum class Walk : uint8_t {
  linear,  // tiles of `tile` lanes
  groups,  // tiles of whole outers
  blocks,  // (outer, columns chunk, block of counts) units, then a pairwise combination of blocks
};

struct FusedPlan {
  std::shared_ptr<const FusedPlan> before;  // terminals of another shape, reduced first
  std::shared_ptr<const FusedPlan> lines;   // epilogue: the same for tiles that are one line, which can work in place

  int64_t total = 0, cols = 0;
  bool streaming = false;                   // some store goes past the cache
  std::vector<PlanOperand> inputs, outputs;
  std::vector<View> iotas;
  std::vector<PlanValue> values;
  std::vector<int16_t> direct;                          // values that live in a buffer
  std::vector<int16_t> read_ahead;                      // those of them worth fetching a tile early
  std::vector<std::pair<int16_t, uint32_t>> constants;  // value, bits
  // Run once per task; when a longer tile than before comes; for each tile.
  std::vector<PlanInstruction> once, invariant, code;
  std::vector<PlanTerminal> terminals;

  Walk walk = Walk::linear;
  int64_t tile = 0;                        // most lanes in one tile
  int64_t outer = 1, count = 1, inner = 1; // in full lanes
  int64_t chunk = 0;                       // blocks: lanes of `inner` per unit
  int64_t tile_counts = 0;                 // blocks: counts per tile
  int64_t block_counts = 0, blocks = 0;    // blocks: counts per unit, units per outer and chunk

  int64_t pointer_bytes = 0;               // a thread's table of addresses, at the head of its scratch
  int64_t thread_bytes = 0;                // scratch of one thread
  int64_t partial_bytes = 0;               // partial results
};

/** `epilogue`: tiles are rectangles handed over by a GEMM or convolution, and `acc` is their content. */
std::shared_ptr<const FusedPlan> plan_fused(const Fused& fused, const Program& program, bool epilogue);

}  // namespace cambium
