// Backward through a whole sequence, last processed step first: gradients of the gates before their activations, and of the
// initial states. Those of the weights are products over all steps, made outside.
#pragma once

#include "../simd/math.h"
#include "recurrent.h"

namespace cambium::CAMBIUM_ISA {
namespace cells_backward {

/** One row at one step. dh arrives as the gradient from later steps and leaves as what does not pass the product. */
struct Line {
  const float *before, *after;  // slots of the states
  const float* arriving;        // gradient of the step's output
  float *grads, *dh, *dc;
  int64_t hidden;
};

inline void lstm(const Line& l) {
  const int64_t H = l.hidden;
  const Vec one = Vec::set1(1.0f);
  for (int64_t u = 0; u < H; u += Vec::size) {
    const int64_t n = H - u;
    const auto at = [&](int64_t k) { return load_lanes(l.after + k * H + u, n); };
    const Vec i = at(2), f = at(3), g = at(4), o = at(5), t = tanh(at(1));
    const Vec dh = load_lanes(l.arriving + u, n) + load_lanes(l.dh + u, n);
    const Vec dc = fma(dh * o, fnma(t, t, one), load_lanes(l.dc + u, n));
    store_lanes(dc * g * i * (one - i), l.grads + u, n);
    store_lanes(dc * load_lanes(l.before + H + u, n) * f * (one - f), l.grads + H + u, n);
    store_lanes(dc * i * fnma(g, g, one), l.grads + 2 * H + u, n);
    store_lanes(dh * t * o * (one - o), l.grads + 3 * H + u, n);
    store_lanes(dc * f, l.dc + u, n);
    store_lanes(Vec::zero(), l.dh + u, n);
  }
}

inline void gru(const Line& l) {
  const int64_t H = l.hidden;
  const Vec one = Vec::set1(1.0f);
  for (int64_t u = 0; u < H; u += Vec::size) {
    const int64_t n = H - u;
    const auto at = [&](int64_t k) { return load_lanes(l.after + k * H + u, n); };
    const Vec r = at(1), z = at(2), fresh = at(3), hn = at(4);
    const Vec dh = load_lanes(l.arriving + u, n) + load_lanes(l.dh + u, n);
    const Vec dn = dh * (one - z) * fnma(fresh, fresh, one);
    store_lanes(dn * r, l.grads + u, n);
    store_lanes(dn * hn * r * (one - r), l.grads + H + u, n);
    store_lanes(dh * (load_lanes(l.before + u, n) - fresh) * z * (one - z), l.grads + 2 * H + u, n);
    store_lanes(dn, l.grads + 3 * H + u, n);
    store_lanes(dh * z, l.dh + u, n);
  }
}

inline void plain(const Line& l, bool relu) {
  const int64_t H = l.hidden;
  for (int64_t u = 0; u < H; u += Vec::size) {
    const int64_t n = H - u;
    const Vec h = load_lanes(l.after + u, n), dh = load_lanes(l.arriving + u, n) + load_lanes(l.dh + u, n);
    store_lanes(relu ? select(gt(h, Vec::zero()), dh, Vec::zero()) : dh * fnma(h, h, Vec::set1(1.0f)), l.grads + u, n);
    store_lanes(Vec::zero(), l.dh + u, n);
  }
}

}  // namespace cells_backward

template <class Product>
void recurrent_backward(Call& call) {
  using namespace cells_backward;
  using Lane = typename Product::Lane;
  const Recurrent r(call);
  const float *states = call.in<float>(0), *w = call.in<float>(1), *gh = call.in<float>(2), *gc = call.in<float>(3);
  const int32_t* lengths = call.in<int32_t>(4);
  float* grads = call.out<float>(0);
  const int64_t H = r.hidden, K = r.gates() * H, line = r.slots() * H, grad_line = r.grad_slots() * H;
  if (r.batch * H == 0) return;

  const int64_t panels = ceil_div(H, kNR), depth = Product::depth(K);
  Lane* packed = reinterpret_cast<Lane*>(
      call.parallel.shared_scratch(static_cast<size_t>(depth * round_up(H, Vec::size)) * sizeof(Lane)));
  call.parallel.run(panels, [&](int64_t p, int) {
    const int64_t n = p * kNR, width = panel_width(n, H);
    Lane* to = packed + n * depth;
    // A GRU's gradients lie in the order hn r z.
    const int64_t moved = r.cell == Cell::gru ? H : 0;
    if (moved) Product::pack(w, H, n, H, K - moved, moved, to);
    Product::pack(w, H, n, H, 0, K - moved, to + Product::depth(moved) * width);
  });

  r.for_rows(call.parallel, [&](int64_t first, int64_t end, int thread) {
    const int64_t count = end - first;
    float* dh = call.parallel.scratch(thread, static_cast<size_t>(count * (2 * H + Product::room(K))) * sizeof(float));
    float* dc = dh + count * H;
    clear_lanes(dh, count * H);
    if (r.cell == Cell::lstm) copy_lanes(gc + first * H, dc, count * H);
    for (int64_t s = r.steps - 1; s >= 0; --s) {
      const int64_t t = r.step(s);
      float* out = grads + t * r.batch * grad_line;
      for (int64_t b = first; b < end; ++b) {
        const int64_t i = b - first;
        const Line l{states + (r.before(t) * r.batch + b) * line, states + (r.after(t) * r.batch + b) * line,
                     gh + (t * r.batch + b) * H, out + b * grad_line, dh + i * H, dc + i * H, H};
        if (r.masked && t >= lengths[b]) {
          for (int64_t u = 0; u < H; ++u) l.dh[u] += l.arriving[u];
          clear_lanes(l.grads, grad_line);
        } else if (r.cell == Cell::lstm) {
          lstm(l);
        } else if (r.cell == Cell::gru) {
          gru(l);
        } else {
          plain(l, r.cell == Cell::relu);
        }
      }
      int64_t ld = grad_line;
      const Lane* grad = Product::rows(out + first * grad_line, ld, count, K, reinterpret_cast<Lane*>(dc + count * H));
      for (int64_t p = 0; p < panels; ++p)
        for_tiles(first, end, [&](int64_t from, int64_t to) {
          const Lane* rows[kMR] = {};
          for (int64_t b = from; b < to; ++b) rows[b - from] = grad + (b - first) * ld;
          const int64_t n = p * kNR;
          Product::product(rows, to - from, depth, packed + n * depth, panel_width(n, H),
                           {dh + (from - first) * H + n, H, least(kNR, H - n), Store::add});
        });
    }
    for (int64_t b = first; b < end; ++b) {
      float* to = grads + (r.steps * r.batch + b) * grad_line;
      copy_lanes(dh + (b - first) * H, to, H);
      if (r.cell == Cell::lstm) copy_lanes(dc + (b - first) * H, to + H, H);
      const int64_t held = r.cell == Cell::lstm ? 2 : 1;
      clear_lanes(to + held * H, grad_line - held * H);
    }
  });
}

}  // namespace cambium::CAMBIUM_ISA
