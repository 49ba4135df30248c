// What this processor can run, asked once.
#pragma once

#include <string>
#include <vector>

namespace cambium {

/** Names of the instruction sets both compiled in and supported here, best first; never empty. */
const std::vector<std::string>& available_isas();

/** Whether this processor has AVX-512's dot product of bf16 pairs, and the kernels were compiled for it. */
bool has_avx512_bf16();

}  // namespace cambium
