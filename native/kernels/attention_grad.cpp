// The gradients of scaled dot-product attention: with W the weights, D = rowsum(grad y) and dS = W (grad v' - D),
// dq = scale dS k, dk = scale dS' q, dv = W' grad.
#include "attention.h"

namespace cambium::CAMBIUM_ISA {
namespace {

struct Scratch {
  float *k, *k_rows, *v, *q, *grad, *s, *slopes, *gq, *gk, *gv, *inverse, *means, *kept;
  size_t bytes;
  Scratch(const Attention& a, int64_t rows, float* base) {
    Pieces pieces(base);
    k = pieces.take(a.tkp() * a.d);
    k_rows = pieces.take(a.tk * a.dp());
    v = pieces.take(a.tkp() * a.dv);
    q = pieces.take(rows * a.dp());
    grad = pieces.take(rows * a.dvp());
    s = pieces.take(rows * a.ld());
    slopes = pieces.take(rows * a.ld());
    gq = pieces.take(rows * a.dp());
    gk = pieces.take(a.tk * a.dp());
    gv = pieces.take(a.tk * a.dvp());
    inverse = pieces.take(rows);
    means = pieces.take(rows);
    kept = pieces.take(a.dropout > 0 ? a.tkp() : 0);
    bytes = pieces.bytes();
  }
};

/** means[r] = grad[r] . y[r] */
void row_products(const float* grad, int64_t ld, const float* y, int64_t step, int64_t rows, int64_t width,
                  float* means) {
  for (int64_t r = 0; r < rows; ++r) {
    Vec sum = Vec::zero();
    for (int64_t j = 0; j < width; j += Vec::size)
      sum = fma(Vec::load(grad + r * ld + j), Vec::load_partial(y + r * step + j, least(Vec::size, width - j)), sum);
    means[r] = reduce_add(sum);
  }
}

/** Rows of exponentials to weights, and rows of grad v' to dS; where a row sees nothing both are 0. */
void row_slopes(const Attention& a, int64_t b, int64_t h, const Block& block, const Scratch& own) {
  for (int64_t r = 0; r < block.rows; ++r) {
    const int64_t seen = block.seen(r + 1);
    float* s = own.s + r * a.ld();
    float* slope = own.slopes + r * a.ld();
    const Vec inverse = Vec::set1(own.inverse[r]), mean = Vec::set1(own.means[r]);
    if (a.dropout > 0) {
      draw_dropout(a, b, h, block.first + r, seen, own.kept);
      for (int64_t j = 0; j < seen; j += Vec::size) {
        const Vec w = Vec::load(s + j) * inverse, kept = Vec::load(own.kept + j);
        (w * (Vec::load(slope + j) * kept - mean)).store(slope + j);
        (w * kept).store(s + j);
      }
    } else {
      for (int64_t j = 0; j < seen; j += Vec::size) {
        const Vec w = Vec::load(s + j) * inverse;
        (w * (Vec::load(slope + j) - mean)).store(slope + j);
        w.store(s + j);
      }
    }
    // Products take keys in groups that may end after the row's last one.
    for (int64_t j = seen; j < least(a.ld(), seen + kMR); ++j) slope[j] = 0.0f;
  }
}

void store_scaled(const float* x, int64_t ld, int64_t rows, int64_t width, float factor, float* out, int64_t step) {
  const Vec f = Vec::set1(factor);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t j = 0; j < width; j += Vec::size)
      (Vec::load(x + r * ld + j) * f).store_partial(out + r * step + j, least(Vec::size, width - j));
}

/** Sums the segments' parts in order, as rows of the output. */
void store_sums(const float* parts, int64_t segments, int64_t apart, int64_t ld, int64_t rows, int64_t width,
                float* out, int64_t step) {
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t j = 0; j < width; j += Vec::size) {
      Vec sum = Vec::load(parts + r * ld + j);
      for (int64_t s = 1; s < segments; ++s) sum = sum + Vec::load(parts + s * apart + r * ld + j);
      sum.store_partial(out + r * step + j, least(Vec::size, width - j));
    }
}

void clear(float* x, int64_t count) {
  for (int64_t i = 0; i < count; ++i) x[i] = 0.0f;
}

}  // namespace

void attention_grad(Call& call) {
  const Attention a(call, 5);
  const float* y = call.in<const float>(3);
  const auto grad = heads_at(call, call.in<const float>(4), 27);
  float* out = call.out<float>(0);
  const auto gq = heads_at(call, out, 31), gk = heads_at(call, out, 35), gv = heads_at(call, out, 39);
  if (a.batch * a.heads == 0) return;
  const int64_t dp = a.dp(), dvp = a.dvp(), width = a.heads * a.dv;
  const Blocks blocks(a, 72, 32 << 10, 16);
  const int64_t segments = blocks.segments;
  // Of each segment: its part of the gradients of k and v.
  const int64_t apart = round_up(a.tk * dp, 16) + round_up(a.tk * dvp, 16);
  float* parts = segments > 1 ? call.parallel.shared_scratch(
                                    static_cast<size_t>(a.batch * a.heads * segments * apart) * sizeof(float))
                              : nullptr;
  call.parallel.run(a.batch * a.heads * segments, [&](int64_t task, int thread) {
    const int64_t segment = task % segments, h = task / segments % a.heads, b = task / segments / a.heads;
    Ahead ahead;
    if (const int64_t next = task + call.parallel.threads(); segments == 1 && next < a.batch * a.heads) {
      const int64_t head = next % a.heads, batch = next / a.heads;
      ahead.add(a.k.at(batch, head), a.k.step, a.tk, a.d);
      ahead.add(a.v.at(batch, head), a.v.step, a.tk, a.dv);
      ahead.add(a.q.at(batch, head), a.q.step, a.tq, a.d);
      ahead.add(grad.at(batch, head), grad.step, a.tq, a.dv);
      ahead.add(y + batch * a.tq * width + head * a.dv, width, a.tq, a.dv);
    }
    const size_t bytes = Scratch(a, blocks.rows, nullptr).bytes;
    Scratch own(a, blocks.rows, call.parallel.scratch(thread, bytes));
    if (parts) own.gk = parts + task * apart, own.gv = own.gk + round_up(a.tk * dp, 16);
    clear(own.gk, a.tk * dp);
    clear(own.gv, a.tk * dvp);
    const int64_t begin = blocks.first(segment) * blocks.rows;
    const int64_t end = least(a.tq, blocks.first(segment + 1) * blocks.rows);
    if (a.tk > 0) {
      pack_transposed(a.k.at(b, h), a.k.step, a.tk, a.d, own.k);
      pack_transposed(a.v.at(b, h), a.v.step, a.tk, a.dv, own.v);
      pack_rows(a.k.at(b, h), a.k.step, a.keys(end), a.d, 1.0f, own.k_rows, dp);
    }
    for (int64_t first = begin; first < end; first += blocks.rows) {
      const int64_t rows = least(blocks.rows, end - first);
      const Block block{first, rows, a.keys(first + rows), a.tk, a.causal};
      float* to = gq.at(b, h) + first * gq.step;
      if (a.tk == 0) {
        for (int64_t r = 0; r < rows; ++r) clear(to + r * gq.step, a.d);
        continue;
      }
      pack_rows(a.q.at(b, h) + first * a.q.step, a.q.step, rows, a.d, a.scale, own.q, dp);
      pack_rows(grad.at(b, h) + first * grad.step, grad.step, rows, a.dv, 1.0f, own.grad, dvp);
      row_products(own.grad, dvp, y + (b * a.tq + first) * width + h * a.dv, width, rows, a.dv, own.means);
      scores(block, own.q, dp, own.k, a.d, own.s, a.ld(), ahead);
      exponentials(a, b, h, block, own.s, own.inverse);
      scores(block, own.grad, dvp, own.v, a.dv, own.slopes, a.ld(), ahead);
      row_slopes(a, b, h, block, own);
      weighted_sums(block, own.slopes, a.ld(), own.k_rows, dp, dp, own.gq, ahead);
      store_scaled(own.gq, dp, rows, a.d, a.scale, to, gq.step);
      add_transposed(block, own.slopes, a.ld(), own.q, dp, own.gk, ahead);
      add_transposed(block, own.s, a.ld(), own.grad, dvp, own.gv, ahead);
    }
    if (!parts) {
      store_sums(own.gk, 1, 0, dp, a.tk, a.d, gk.at(b, h), gk.step);
      store_sums(own.gv, 1, 0, dvp, a.tk, a.dv, gv.at(b, h), gv.step);
    }
  });
  if (!parts) return;
  call.parallel.run(a.batch * a.heads, [&](int64_t task, int) {
    const int64_t h = task % a.heads, b = task / a.heads;
    const float* from = parts + task * segments * apart;
    store_sums(from, segments, apart, dp, a.tk, a.d, gk.at(b, h), gk.step);
    store_sums(from + round_up(a.tk * dp, 16), segments, apart, dvp, a.tk, a.dv, gv.at(b, h), gv.step);
  });
}

}  // namespace cambium::CAMBIUM_ISA
