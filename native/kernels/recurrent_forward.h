// A whole sequence of LSTM, GRU or plain cells: the recurrent weight is packed once; each step is one small product per run
// of rows with the gates applied to its tiles while they are in the first-level cache.
#pragma once

#include <string>

#include "../runtime/error.h"
#include "../simd/math.h"
#include "recurrent.h"

namespace cambium::CAMBIUM_ISA {
namespace cells_forward {

/** One row's units [u, u + n) at one step. raw: the product, gate by gate, `width` apart. */
struct Line {
  const float* x;       // projections of the input, gate by gate, hidden apart
  const float* raw;
  const float* before;  // slots before the step
  float* after;         // slots after it
  const float* bias;    // GRU: of the hidden part of n
  int64_t u, n, hidden, width;
};

inline void lstm(const Line& l) {
  const int64_t H = l.hidden;
  for (int64_t j = 0; j < l.n; j += Vec::size) {
    const int64_t n = l.n - j, u = l.u + j;
    const auto gate = [&](int64_t k) { return load_lanes(l.x + k * H + u, n) + Vec::load(l.raw + k * l.width + j); };
    const Vec i = sigmoid(gate(0)), f = sigmoid(gate(1)), g = tanh(gate(2)), o = sigmoid(gate(3));
    const Vec c = fma(f, load_lanes(l.before + H + u, n), i * g);
    store_lanes(o * tanh(c), l.after + u, n);
    store_lanes(c, l.after + H + u, n);
    store_lanes(i, l.after + 2 * H + u, n);
    store_lanes(f, l.after + 3 * H + u, n);
    store_lanes(g, l.after + 4 * H + u, n);
    store_lanes(o, l.after + 5 * H + u, n);
  }
}

inline void gru(const Line& l) {
  const int64_t H = l.hidden;
  for (int64_t j = 0; j < l.n; j += Vec::size) {
    const int64_t n = l.n - j, u = l.u + j;
    const auto x = [&](int64_t k) { return load_lanes(l.x + k * H + u, n); };
    const auto raw = [&](int64_t k) { return Vec::load(l.raw + k * l.width + j); };
    const Vec r = sigmoid(x(0) + raw(0)), z = sigmoid(x(1) + raw(1));
    const Vec hn = raw(2) + load_lanes(l.bias + u, n), fresh = tanh(fma(r, hn, x(2)));
    store_lanes(fma(z, load_lanes(l.before + u, n) - fresh, fresh), l.after + u, n);
    store_lanes(r, l.after + H + u, n);
    store_lanes(z, l.after + 2 * H + u, n);
    store_lanes(fresh, l.after + 3 * H + u, n);
    store_lanes(hn, l.after + 4 * H + u, n);
  }
}

inline void plain(const Line& l, bool relu) {
  for (int64_t j = 0; j < l.n; j += Vec::size) {
    const int64_t n = l.n - j, u = l.u + j;
    const Vec a = load_lanes(l.x + u, n) + Vec::load(l.raw + j);
    // NaN passes max(limit, x).
    store_lanes(relu ? max(Vec::zero(), a) : tanh(a), l.after + u, n);
  }
}

inline void check_lengths(const int32_t* lengths, int64_t batch, int64_t steps) {
  for (int64_t b = 0; b < batch; ++b)
    if (lengths[b] < 1 || lengths[b] > steps)
      throw Error("INDEX_OUT_OF_RANGE", "lengths[" + std::to_string(b) + "] is " + std::to_string(lengths[b]) +
                                            ", outside 1.." + std::to_string(steps));
}

}  // namespace cells_forward

template <class Product>
void recurrent_forward(Call& call) {
  using namespace cells_forward;
  using Lane = typename Product::Lane;
  const Recurrent r(call);
  const float *x = call.in<float>(0), *w = call.in<float>(1), *h0 = call.in<float>(2), *extra = call.in<float>(3);
  const int32_t* lengths = call.in<int32_t>(4);
  float* states = call.out<float>(0);
  const int64_t H = r.hidden, G = r.gates(), line = r.slots() * H;
  if (r.batch * H == 0) return;
  if (r.masked) check_lengths(lengths, r.batch, r.steps);

  // Panels hold every gate of their units: [k][gate][unit].
  const int64_t units = most(1, kNV / G) * Vec::size, width = G * units, panels = ceil_div(H, units);
  const int64_t depth = Product::depth(H);
  Lane* packed = reinterpret_cast<Lane*>(call.parallel.shared_scratch(static_cast<size_t>(panels * depth * width) * sizeof(Lane)));
  call.parallel.run(panels, [&](int64_t p, int) {
    for (int64_t g = 0; g < G; ++g)
      Product::pack_transposed(w + (g * H + p * units) * H, H, packed + p * depth * width + g * units, width, H,
                               least(units, H - p * units), units);
  });

  r.for_rows(call.parallel, [&](int64_t first, int64_t end, int thread) {
    float* raw = call.parallel.scratch(
        thread, static_cast<size_t>(kMR * width + (end - first) * Product::room(H)) * sizeof(float));
    for (int64_t b = first; b < end; ++b) {
      float* to = states + (r.initial() * r.batch + b) * line;
      copy_lanes(h0 + b * H, to, H);
      if (r.cell == Cell::lstm) copy_lanes(extra + b * H, to + H, H);
      const int64_t held = r.cell == Cell::lstm ? 2 : 1;
      clear_lanes(to + held * H, line - held * H);
    }
    for (int64_t s = 0; s < r.steps; ++s) {
      const int64_t t = r.step(s);
      const float* before = states + r.before(t) * r.batch * line;
      float* after = states + r.after(t) * r.batch * line;
      int64_t ld = line;
      const Lane* h = Product::rows(before + first * line, ld, end - first, H, reinterpret_cast<Lane*>(raw + kMR * width));
      for (int64_t p = 0; p < panels; ++p)
        for_tiles(first, end, [&](int64_t from, int64_t to) {
          const Lane* rows[kMR] = {};
          for (int64_t b = from; b < to; ++b) rows[b - from] = h + (b - first) * ld;
          for (int64_t j = 0; j < width; j += kNR)
            Product::product(rows, to - from, depth, packed + p * depth * width + j, width,
                             {raw + j, width, least(kNR, width - j), Store::set});
          for (int64_t b = from; b < to; ++b) {
            const int64_t u = p * units, n = least(units, H - u);
            const Line l{x + (t * r.batch + b) * G * H, raw + (b - from) * width, before + b * line, after + b * line,
                         extra, u, n, H, units};
            if (r.masked && t >= lengths[b]) {
              // The state is held; no gate opens.
              const int64_t held = r.cell == Cell::lstm ? 2 : 1;
              for (int64_t k = 0; k < held; ++k) copy_lanes(l.before + k * H + u, l.after + k * H + u, n);
              for (int64_t k = held; k < r.slots(); ++k) clear_lanes(l.after + k * H + u, n);
            } else if (r.cell == Cell::lstm) {
              lstm(l);
            } else if (r.cell == Cell::gru) {
              gru(l);
            } else {
              plain(l, r.cell == Cell::relu);
            }
          }
        });
    }
  });
}

}  // namespace cambium::CAMBIUM_ISA
