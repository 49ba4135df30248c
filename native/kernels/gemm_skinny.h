// Products with few rows, bounded by reading B once: entry points and when they apply.
#pragma once

#include "gemm.h"
#include "gemm_micro.h"

namespace cambium::CAMBIUM_ISA {

constexpr int64_t kSkinny = 64;  // rows of A

/** B stored N x K: dot products along K, B is never packed. */
inline bool use_dot(const GemmArgs& g) { return g.trans_b && g.M <= kSkinny && g.K >= 8 * Vec::size; }
void gemm_dot(const GemmArgs& args, const Parallel& par, const TileSink* sink);

/** B stored K x N and too large to pack for so few rows: streamed in long runs, C accumulates in cache. */
inline bool use_stream(const GemmArgs& g) {
  return !g.trans_b && g.M <= kSkinny && g.N >= 8 * kNR && g.K >= 32 && g.N * g.K >= (1 << 18);
}
void gemm_stream(const GemmArgs& args, const Parallel& par, const TileSink* sink);

}  // namespace cambium::CAMBIUM_ISA
