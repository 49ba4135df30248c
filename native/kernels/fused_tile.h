// Runs a plan's instructions on one tile with one thread's scratch.
#pragma once

#include <cstring>

#include "vm.h"

namespace cambium::CAMBIUM_ISA {

/** `lines` stretches of `lanes` linear indices, `pitch` apart; a plain tile is one line. */
struct Tile {
  int64_t start = 0, lanes = 0, lines = 1, pitch = 0;
  const float* acc = nullptr;  // epilogue: line i begins at acc + i * acc_pitch
  int64_t acc_pitch = 0;
  int64_t ahead = 0;  // from here to where the next tile begins, if known: what is read there is fetched early
};

class TileRunner {
 public:
  /** `scratch` is plan.thread_bytes long, 64-byte aligned. */
  TileRunner(const FusedPlan& plan, std::byte* const* buffers, std::byte* scratch)
      : plan_(plan), buffers_(buffers), pointers_(reinterpret_cast<float**>(scratch)),
        slots_(reinterpret_cast<float*>(scratch + plan.pointer_bytes)) {}

  /** Scalars, once per task (or once per thread and step, for an epilogue). */
  void begin();
  /** For a runner made anew over scratch that has seen begin(). */
  void run(const Tile& tile);

  const float* lanes(int16_t value) const { return pointers_[value]; }
  float* slots() const { return slots_; }

 private:
  void execute(const PlanInstruction& instruction, const Tile& tile);
  void compute(const PlanInstruction& instruction, int64_t lanes, int64_t rows);
  void prefetch_next(const Tile& tile, int64_t begin, int64_t end) const;

  const FusedPlan& plan_;
  std::byte* const* buffers_;
  float** pointers_;
  float* slots_;
  int64_t invariant_lanes_ = 0;
};

}  // namespace cambium::CAMBIUM_ISA
