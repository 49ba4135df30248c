// Chooses between the direct algorithm and Winograd's in f32.
#include "winograd.h"
#include "winograd_cost.h"

namespace cambium::CAMBIUM_ISA {

int winograd_tile(const Conv2dArgs& a, ConvPass pass) { return cheapest_tile(a, pass, 1, 1); }

}  // namespace cambium::CAMBIUM_ISA
