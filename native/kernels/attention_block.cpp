// The steps of attention on one block of queries, shared by the forward and the gradient kernel.
#include <limits>

#include "../simd/math.h"
#include "attention.h"
#include "vm.h"

namespace cambium::CAMBIUM_ISA {
namespace {

constexpr int64_t kDepth = 128;  // rows of B that stay in the first cache while the rows of a block pass
constexpr float kNever = -std::numeric_limits<float>::infinity();

}  // namespace

Attention::Attention(const Call& call, size_t first)
    : batch(call.attr(0)), heads(call.attr(1)), tq(call.attr(2)), tk(call.attr(3)), d(call.attr(4)), dv(call.attr(5)),
      scale(static_cast<float>(call.step.attrs[6])), causal(call.attr(7) != 0),
      dropout(static_cast<float>(call.step.attrs[9])), q(heads_at(call, call.in<const float>(0), 10)),
      k(heads_at(call, call.in<const float>(1), 14)), v(heads_at(call, call.in<const float>(2), 18)),
      mask(call.attr(8) ? call.in<const float>(first) + call.attr(22) : nullptr), mask_batch(call.attr(23)),
      mask_head(call.attr(24)), mask_row(call.attr(25)), mask_col(call.attr(26)),
      key(call.in<const int32_t>(first + 1)) {}

Blocks::Blocks(const Attention& a, int64_t most_rows, int64_t floats, int64_t tasks) {
  const int64_t limit = most(4 * kMR, least(least(most_rows, kMostRows), floats / a.ld() / kMR * kMR));
  rows = round_up(ceil_div(most(1, a.tq), ceil_div(most(1, a.tq), limit)), kMR);
  count = ceil_div(a.tq, rows);
  segments = most(1, least(count, ceil_div(tasks, a.batch * a.heads)));
}

void pack_transposed(const float* x, int64_t step, int64_t count, int64_t width, float* panels) {
  for (int64_t n = 0; n < count; n += kNR) pack_panel(x, step, true, n, count, 0, width, panels + n * width);
}

void pack_rows(const float* x, int64_t step, int64_t rows, int64_t width, float factor, float* to, int64_t ld) {
  const Vec f = Vec::set1(factor);
  for (int64_t r = 0; r < rows; ++r) {
    const float* from = x + r * step;
    float* row = to + r * ld;
    int64_t j = 0;
    for (; j + Vec::size <= width; j += Vec::size) (Vec::load(from + j) * f).store(row + j);
    if (j < width) (Vec::load_partial(from + j, width - j) * f).store(row + j);
  }
}

void scores(const Block& block, const float* a, int64_t lda, const float* panels, int64_t depth, float* s, int64_t ld,
            Ahead& ahead) {
  const float* rows[kMR];
  for (int64_t n = 0; n < block.keys; n += kNR) {
    for (int64_t m = 0; m < block.rows; m += kMR) {
      const int64_t count = least(kMR, block.rows - m), cols = least(kNR, block.seen(m + count) - n);
      if (cols <= 0) continue;
      for (int64_t r = 0; r < count; ++r) rows[r] = a + (m + r) * lda;
      ahead.few(2);
      const int64_t vectors = ceil_div(cols, Vec::size);
      rows_kernel(count, vectors)(
          MicroRows{1, rows, nullptr, 0, depth, panels + n * depth, 0, panel_width(n, block.tk)},
          MicroC{s + m * ld + n, ld, vectors * Vec::size, Store::set});
    }
  }
}

void scores_in_place(const Block& block, const float* a, int64_t lda, const float* x, int64_t step, int64_t depth,
                     float* s, int64_t ld) {
  for (int64_t r = 0; r < block.rows; ++r)
    for (int64_t j = 0, seen = block.seen(r + 1); j < seen; ++j) {
      const float *row = a + r * lda, *key = x + j * step;
      Vec sum = Vec::zero();
      int64_t c = 0;
      for (; c + Vec::size <= depth; c += Vec::size) sum = fma(Vec::load(row + c), Vec::load(key + c), sum);
      if (c < depth) sum = fma(Vec::load_partial(row + c, depth - c), Vec::load_partial(key + c, depth - c), sum);
      s[r * ld + j] = reduce_add(sum);
    }
}

void weighted_sums(const Block& block, const float* w, int64_t ld, const float* b, int64_t ldb, int64_t width,
                   float* c, Ahead& ahead) {
  const float* rows[kMR];
  for (int64_t from = 0; from < block.keys; from += kDepth)
    for (int64_t n = 0; n < width; n += kNR)
      for (int64_t m = 0; m < block.rows; m += kMR) {
        const int64_t count = least(kMR, block.rows - m), depth = least(kDepth, block.seen(m + count) - from);
        if (depth <= 0) continue;
        for (int64_t r = 0; r < count; ++r) rows[r] = w + (m + r) * ld;
        ahead.few(2);
        const int64_t cols = least(kNR, width - n);
        rows_kernel(count, cols / Vec::size)(
            MicroRows{1, rows, nullptr, from, depth, b + from * ldb + n, 0, ldb},
            MicroC{c + m * width + n, width, cols, from ? Store::add : Store::set});
      }
}

void add_transposed(const Block& block, const float* w, int64_t ld, const float* b, int64_t width, float* c,
                    Ahead& ahead) {
  const float* rows[kMostRows];
  int32_t index[kMostRows];
  for (int64_t r = 0; r < block.rows; ++r) rows[r] = w + r * ld, index[r] = static_cast<int32_t>(r);
  for (int64_t n = 0; n < width; n += kNR)
    for (int64_t j = 0; j < block.keys; j += kMR) {
      const int64_t count = least(kMR, block.keys - j), since = block.since(j), cols = least(kNR, width - n);
      ahead.few(2);
      steps_kernel(count, cols / Vec::size)(
          MicroSteps{block.rows - since, rows + since, j, b + n, index + since, width},
          MicroC{c + j * width + n, width, cols, Store::add});
    }
}

void exponentials(const Attention& a, int64_t b, int64_t h, const Block& block, float* s, float* inverse) {
  const int64_t ld = a.ld();
  for (int64_t r = 0; r < block.rows; ++r) {
    float* row = s + r * ld;
    const int64_t n = block.seen(r + 1), end = round_up(n, Vec::size);
    if (n < end) Vec::set1(kNever).store_partial(row + n, end - n);
    Vec top = Vec::set1(kNever);
    if (a.mask) {
      const float* mask = a.mask + b * a.mask_batch + h * a.mask_head + (block.first + r) * a.mask_row;
      for (int64_t j = 0; j < end; j += Vec::size) {
        const Vec m = a.mask_col ? Vec::load_partial(mask + j, least(Vec::size, n - j)) : Vec::set1(*mask);
        const Vec x = Vec::load(row + j) + m;
        x.store(row + j);
        top = max(top, x);
      }
    } else {
      for (int64_t j = 0; j < end; j += Vec::size) top = max(top, Vec::load(row + j));
    }
    const float highest = reduce_max(top);
    const Vec limit = Vec::set1(highest == kNever ? 0.0f : highest);
    Vec sum = Vec::zero();
    for (int64_t j = 0; j < end; j += Vec::size) {
      const Vec e = exp_weight(Vec::load(row + j) - limit);
      e.store(row + j);
      sum = sum + e;
    }
    const float total = reduce_add(sum);
    inverse[r] = total == 0.0f ? 0.0f : 1.0f / total;
    // Products take keys in groups that may end after the row's last one.
    for (int64_t j = end; j < least(a.ld(), n + kMR); ++j) row[j] = 0.0f;
  }
}

void draw_dropout(const Attention& a, int64_t b, int64_t h, int64_t query, int64_t keys, float* kept) {
  random_lanes(a.key, ((b * a.heads + h) * a.tq + query) * a.tk, keys, kept);
  const Vec limit = Vec::set1(a.dropout), factor = Vec::set1(1.0f / (1.0f - a.dropout));
  for (int64_t j = 0; j < keys; j += Vec::size)
    select(ge(Vec::load(kept + j), limit), factor, Vec::zero()).store(kept + j);
}

}  // namespace cambium::CAMBIUM_ISA
