// Places the values of a FusedPlan in scratch memory, and sizes its tiles and blocks of work.
#pragma once

#include <vector>

#include "fused_plan.h"

namespace cambium {

/** The most lanes of one tile, unless a row is longer. */
constexpr int64_t kTileMost = 2048;

/**
 * `invariant`: per value, whether it keeps its slot from tile to tile; `period`: tiles must be multiples of it for
 * those to stay right. False if `hoist` (values kept over tiles) does not fit the shape and must be given up.
 */
bool place(FusedPlan& plan, const std::vector<bool>& invariant, int64_t period, bool hoist);

}  // namespace cambium
