// What a convolution costs by the direct algorithm and by Winograd's, fitted to measurements; from the shape alone.
#pragma once

#include "gemm_micro.h"
#include "winograd.h"

namespace cambium::CAMBIUM_ISA {

/** Pairs of an output position and a tap whose input exists: the direct algorithm skips the others. */
inline double hits(int64_t out, int64_t in, int64_t pad) {
  int64_t count = 0;
  for (int64_t tap = 0; tap < 3; ++tap)
    count += most(0, least(out, in + pad - tap) - most(0, pad - tap));
  return static_cast<double>(count);
}

/**
 * Costs in multiply-adds at the speed of the direct algorithm in f32: a product per point and tile at `speed` times that,
 * and per channel of each tile and per pair of channels the transforms.
 */
inline double direct_cost(const Conv2dArgs& a) {
  return static_cast<double>(a.n * a.ic * a.oc) * hits(a.oh, a.ih, a.pad_h) * hits(a.ow, a.iw, a.pad_w);
}
inline double winograd_cost(const Conv2dArgs& a, ConvPass pass, int m, double speed) {
  const bool backward = pass == ConvPass::input_grad;
  const int64_t h = backward ? a.ih : a.oh, w = backward ? a.iw : a.ow;
  const double tiles = static_cast<double>(a.n * ceil_div(h, m) * ceil_div(w, m));
  const double in = static_cast<double>(round_up(a.ic, Vec::size)), out = static_cast<double>(round_up(a.oc, Vec::size));
  const double points = (m + 2) * (m + 2);
  return points * (tiles * in * out / speed + 9 * tiles * (in + out) + 14 * in * out);
}

/** The side of the tiles; 0 where the direct algorithm does better. Products run at `speed`, the direct one at `direct`. */
inline int cheapest_tile(const Conv2dArgs& a, ConvPass pass, double speed, double direct) {
  const bool possible = a.kh == 3 && a.kw == 3 && a.stride_h == 1 && a.stride_w == 1 && a.dil_h == 1 && a.dil_w == 1 &&
                        a.groups == 1 && a.n > 0 && a.ih > 0 && a.iw > 0 && a.oh > 0 && a.ow > 0 && a.ic > 0 && a.oc > 0;
  if (!possible || a.algorithm == ConvAlgorithm::direct) return 0;
  if (a.algorithm == ConvAlgorithm::winograd2) return 2;
  if (a.algorithm == ConvAlgorithm::winograd4) return 4;
  const double two = winograd_cost(a, pass, 2, speed), four = winograd_cost(a, pass, 4, speed);
  if (a.algorithm == ConvAlgorithm::automatic && direct_cost(a) / direct <= (two < four ? two : four)) return 0;
  return two < four ? 2 : 4;
}

}  // namespace cambium::CAMBIUM_ISA
