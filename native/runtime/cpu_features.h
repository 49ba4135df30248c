// What this processor can run, asked once.
#pragma once

#include <string>
#include <vector>

namespace cambium {

/** Names of the instruction sets both compiled in and supported here, best first; never empty. */
const std::vector<std::string>& available_isas();

}  // namespace cambium
