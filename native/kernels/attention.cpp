// Scaled dot-product attention, forward.
#include "attention.h"

namespace cambium::CAMBIUM_ISA {
namespace {

struct Scratch {
  float *k, *v, *q, *s, *y, *inverse, *kept;
  size_t bytes;
  Scratch(const Attention& a, int64_t rows, float* base) {
    Pieces pieces(base);
    k = pieces.take(a.tkp() * a.d);
    v = pieces.take(a.tk * a.dvp());
    q = pieces.take(rows * a.d);
    s = pieces.take(rows * a.ld());
    y = pieces.take(rows * a.dvp());
    inverse = pieces.take(rows);
    kept = pieces.take(a.dropout > 0 ? a.tkp() : 0);
    bytes = pieces.bytes();
  }
};

void store_rows(const float* y, int64_t ld, int64_t rows, int64_t width, const float* factor, float* out, int64_t step) {
  for (int64_t r = 0; r < rows; ++r) {
    const Vec f = Vec::set1(factor[r]);
    const float* from = y + r * ld;
    float* to = out + r * step;
    int64_t j = 0;
    for (; j + Vec::size <= width; j += Vec::size) (Vec::load(from + j) * f).store(to + j);
    if (j < width) (Vec::load(from + j) * f).store_partial(to + j, width - j);
  }
}

}  // namespace

void attention(Call& call) {
  const Attention a(call, 3);
  float* y = call.out<float>(0);
  if (a.batch * a.heads * a.tq * a.dv == 0) return;
  const int64_t step = a.heads * a.dv;
  if (a.tk == 0) {
    for (int64_t i = 0; i < a.batch * a.tq * step; ++i) y[i] = 0.0f;
    return;
  }
  const Blocks blocks(a, 96, 64 << 10, 32);
  const bool few = a.tq < kMR / 2, in_place = few && a.dv % Vec::size == 0;
  const int64_t tasks = a.batch * a.heads * blocks.segments;
  call.parallel.run(tasks, [&](int64_t task, int thread) {
    const int64_t segment = task % blocks.segments, h = task / blocks.segments % a.heads;
    const int64_t b = task / blocks.segments / a.heads;
    Ahead ahead;
    if (const int64_t next = task + call.parallel.threads(); !few && blocks.segments == 1 && next < tasks) {
      const int64_t head = next % a.heads, batch = next / a.heads;
      ahead.add(a.k.at(batch, head), a.k.step, a.tk, a.d);
      ahead.add(a.v.at(batch, head), a.v.step, a.tk, a.dv);
      ahead.add(a.q.at(batch, head), a.q.step, a.tq, a.d);
    }
    const size_t bytes = Scratch(a, blocks.rows, nullptr).bytes;
    const Scratch own(a, blocks.rows, call.parallel.scratch(thread, bytes));
    const int64_t begin = blocks.first(segment) * blocks.rows;
    const int64_t end = least(a.tq, blocks.first(segment + 1) * blocks.rows), keys = a.keys(end);
    if (!few) pack_transposed(a.k.at(b, h), a.k.step, a.tk, a.d, own.k);
    if (!in_place) pack_rows(a.v.at(b, h), a.v.step, keys, a.dv, 1.0f, own.v, a.dvp());
    for (int64_t first = begin; first < end; first += blocks.rows) {
      const int64_t rows = least(blocks.rows, end - first);
      const Block block{first, rows, a.keys(first + rows), a.tk, a.causal};
      pack_rows(a.q.at(b, h) + first * a.q.step, a.q.step, rows, a.d, a.scale, own.q, a.d);
      if (few) scores_in_place(block, own.q, a.d, a.k.at(b, h), a.k.step, a.d, own.s, a.ld());
      else scores(block, own.q, a.d, own.k, a.d, own.s, a.ld(), ahead);
      exponentials(a, b, h, block, own.s, own.inverse);
      if (a.dropout > 0)
        for (int64_t r = 0; r < rows; ++r) {
          const int64_t seen = block.seen(r + 1);
          draw_dropout(a, b, h, first + r, seen, own.kept);
          float* row = own.s + r * a.ld();
          for (int64_t j = 0; j < seen; j += Vec::size) (Vec::load(row + j) * Vec::load(own.kept + j)).store(row + j);
        }
      const float* v = in_place ? a.v.at(b, h) : own.v;
      weighted_sums(block, own.s, a.ld(), v, in_place ? a.v.step : a.dvp(), a.dvp(), own.y, ahead);
      store_rows(own.y, a.dvp(), rows, a.dv, own.inverse, y + (b * a.tq + first) * step + h * a.dv, step);
    }
  });
}

}  // namespace cambium::CAMBIUM_ISA
