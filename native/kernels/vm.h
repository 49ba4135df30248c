// The parts of the fused VM: instruction bodies, memory access, reductions. Lanes are 32 bits, f32 unless said.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../runtime/fused_plan.h"

namespace cambium::CAMBIUM_ISA {

/** dst[i] = op(a[i], b[i], c[i]); dst may be an operand. Unused operands are ignored. */
using ComputeFn = void (*)(int64_t n, float* dst, const float* a, const float* b, const float* c);

/** The body for an op whose operands with a bit set in `repeated` have one lane that stands for all n. */
ComputeFn compute_body(VmOp op, unsigned repeated);

void fill_lanes(float* dst, float value, int64_t n);

// vm_memory.cpp: linear indices start .. start + n of an operand's view.
/** Where the lanes lie in memory side by side already, else nullptr. */
const float* lanes_in_place(const PlanOperand& operand, const std::byte* base, int64_t start, int64_t n);
void load_lanes(const PlanOperand& operand, const std::byte* base, int64_t start, int64_t n, float* dst);
void store_lanes(const PlanOperand& operand, std::byte* base, int64_t start, int64_t n, const float* src);
/** Copies past the cache; finish_streams() makes it visible to other threads. */
void stream_lanes(float* dst, const float* src, int64_t n);
void finish_streams();
void iota_lanes(const View& view, int64_t start, int64_t n, int32_t* dst);
void random_lanes(const int32_t* key, int64_t start, int64_t n, float* dst);

// vm_reduce.cpp: fixed lanes, fixed trees.
float reduce_identity(ReduceOp op);
float reduce_lanes(ReduceOp op, const float* x, int64_t n);
/** acc[i] = acc[i] op x[i] */
void combine_lanes(ReduceOp op, float* acc, const float* x, int64_t n);
/** acc[(phase + i) % width] op= x[i] for i < n; returns the next phase. */
int64_t accumulate_lanes(ReduceOp op, float* acc, int64_t width, int64_t phase, const float* x, int64_t n);
/** acc[width] -> dst[inner], pairwise; width is a multiple of inner. Overwrites acc. */
void fold_lanes(ReduceOp op, float* acc, int64_t width, int64_t inner, float* dst);

}  // namespace cambium::CAMBIUM_ISA
