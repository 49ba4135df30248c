// Which algorithm convolutions use: chosen per shape, or forced for tests and measurements.
#pragma once

namespace cambium {

/** winograd: with the better tile wherever it applies (3 x 3, stride 1); winograd2, winograd4: with that tile. */
enum class ConvAlgorithm { automatic, direct, winograd, winograd2, winograd4 };

/** What CAMBIUM_CONV says, read once; automatic when unset. Throws Error(BAD_CONV). */
ConvAlgorithm conv_algorithm();

}  // namespace cambium
