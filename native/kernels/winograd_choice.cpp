// Chooses between the direct algorithm and Winograd's, from the shape alone.
#include "gemm_micro.h"
#include "winograd.h"

namespace cambium::CAMBIUM_ISA {
namespace {

/** Pairs of an output position and a tap whose input exists: the direct algorithm skips the others. */
double hits(int64_t out, int64_t in, int64_t pad) {
  int64_t count = 0;
  for (int64_t tap = 0; tap < 3; ++tap)
    count += most(0, least(out, in + pad - tap) - most(0, pad - tap));
  return static_cast<double>(count);
}

/**
 * Costs in multiply-adds at the speed of the direct algorithm: a product per point and tile, and per channel of each
 * tile and per pair of channels the transforms.
 */
double direct_cost(const Conv2dArgs& a) {
  return static_cast<double>(a.n * a.ic * a.oc) * hits(a.oh, a.ih, a.pad_h) * hits(a.ow, a.iw, a.pad_w);
}
double winograd_cost(const Conv2dArgs& a, ConvPass pass, int m) {
  const bool backward = pass == ConvPass::input_grad;
  const int64_t h = backward ? a.ih : a.oh, w = backward ? a.iw : a.ow;
  const double tiles = static_cast<double>(a.n * ceil_div(h, m) * ceil_div(w, m));
  const double in = static_cast<double>(round_up(a.ic, Vec::size)), out = static_cast<double>(round_up(a.oc, Vec::size));
  const double points = (m + 2) * (m + 2);
  return points * (tiles * in * out + 9 * tiles * (in + out) + 14 * in * out);
}

}  // namespace

int winograd_tile(const Conv2dArgs& a, ConvPass pass) {
  const bool possible = a.kh == 3 && a.kw == 3 && a.stride_h == 1 && a.stride_w == 1 && a.dil_h == 1 && a.dil_w == 1 &&
                        a.groups == 1 && a.n > 0 && a.ih > 0 && a.iw > 0 && a.oh > 0 && a.ow > 0 && a.ic > 0 && a.oc > 0;
  if (!possible || a.algorithm == ConvAlgorithm::direct) return 0;
  if (a.algorithm == ConvAlgorithm::winograd2) return 2;
  if (a.algorithm == ConvAlgorithm::winograd4) return 4;
  const double two = winograd_cost(a, pass, 2), four = winograd_cost(a, pass, 4);
  if (a.algorithm == ConvAlgorithm::automatic && direct_cost(a) <= (two < four ? two : four)) return 0;
  return two < four ? 2 : 4;
}

bool rounding_pays(const Conv2dArgs& a, ConvPass pass) {
  const int tile = winograd_tile(a, pass);
  if (!tile) return true;
  if (a.algorithm != ConvAlgorithm::automatic) return false;
  const double gain = pass == ConvPass::weight_grad ? 1.4 : 1.8;  // of the direct algorithm by bf16 dot products
  return direct_cost(a) < gain * winograd_cost(a, pass, tile);
}

}  // namespace cambium::CAMBIUM_ISA
