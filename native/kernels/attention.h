// Scaled dot-product attention: softmax(scale q k' + mask) v, a block of query rows at a time, and its gradient.
//
// A block's scores stay in the cache of the core that makes them: K' and V are packed once a head, a block of queries
// is multiplied with all of K', its rows become weights in place, and are multiplied with V. No (tq, tk) matrix is kept;
// backward makes the weights again from q and k. (Dao et al. 2022 walk blocks of keys and rescale; here a core's second
// cache holds a whole row, so that each row is summed once, in one order.)
#pragma once

#include "../runtime/kernel_table.h"
#include "gemm_pack.h"

namespace cambium::CAMBIUM_ISA {

/** [batch, step, head, feature] elements; features are 1 apart. */
template <class T>
struct Heads {
  T* data;
  int64_t batch, step, head;
  T* at(int64_t b, int64_t h) const { return data + b * batch + h * head; }
};

/**
 * The rows of a head lie far apart, out of reach of the processor's own prefetching: those of the next task are asked
 * for a few at a time between the tiles of this one.
 */
class Ahead {
 public:
  void add(const float* rows, int64_t step, int64_t count, int64_t width) {
    streams_[streams++] = {rows, step, count, width};
    end_ = most(end_, count);
  }
  void few(int64_t count) {
    for (const int64_t end = least(end_, row_ + count); row_ < end; ++row_)
      for (int i = 0; i < streams; ++i) {
        const Stream& s = streams_[i];
        if (row_ < s.count)
          for (int64_t j = 0; j < s.width; j += 16) __builtin_prefetch(s.rows + row_ * s.step + j, 0, 2);
      }
  }

 private:
  struct Stream {
    const float* rows;
    int64_t step, count, width;
  };
  Stream streams_[5];
  int streams = 0;
  int64_t row_ = 0, end_ = 0;
};

struct Attention {
  int64_t batch, heads, tq, tk, d, dv;
  float scale;
  bool causal;
  float dropout;
  Heads<const float> q, k, v;
  const float* mask;  // null without one
  int64_t mask_batch, mask_head, mask_row, mask_col;
  const int32_t* key;  // of dropout's stream

  /** `first`: which input of the step is the mask. */
  Attention(const Call& call, size_t first);

  int64_t dp() const { return round_up(d, Vec::size); }
  int64_t dvp() const { return round_up(dv, Vec::size); }
  int64_t tkp() const { return round_up(tk, Vec::size); }
  /** Floats from one row of scores to the next: rows of a block do not meet in one set of the cache. */
  int64_t ld() const { return tkp() + Vec::size; }
  /** Keys that queries before `end` see. */
  int64_t keys(int64_t end) const { return causal ? least(tk, end) : tk; }
};

template <class T>
Heads<T> heads_at(const Call& call, T* data, int first) {
  return {data + call.attr(first), call.attr(first + 1), call.attr(first + 2), call.attr(first + 3)};
}

constexpr int64_t kMostRows = 96;

/** Queries [0, tq) in blocks of at most kMostRows, and blocks in segments that are tasks; by shape only. */
struct Blocks {
  int64_t rows, count, segments;
  Blocks(const Attention& a, int64_t most_rows, int64_t floats, int64_t tasks);
  int64_t first(int64_t segment) const { return segment * count / segments; }
};

/** Hands out aligned pieces of a scratch; with a null base it only counts. */
class Pieces {
 public:
  explicit Pieces(float* base) : base_(base) {}
  float* take(int64_t floats) {
    float* piece = base_ ? base_ + used_ : nullptr;
    used_ += round_up(floats, 16);
    return piece;
  }
  size_t bytes() const { return static_cast<size_t>(used_) * sizeof(float); }

 private:
  float* base_;
  int64_t used_ = 0;
};

/** x (count, width), rows `step` apart, as panels of its transpose: what scores() multiplies with. */
void pack_transposed(const float* x, int64_t step, int64_t count, int64_t width, float* panels);

/** rows x width times `factor`, each row padded with zeros to `ld`. */
void pack_rows(const float* x, int64_t step, int64_t rows, int64_t width, float factor, float* to, int64_t ld);

/** A block of queries: the rows that products and softmax see. */
struct Block {
  int64_t first, rows, keys;  // query of the first row; keys the last row sees
  int64_t tk;                 // of all keys
  bool causal;
  /** Keys that rows before `end` of the block see. */
  int64_t seen(int64_t end) const { return causal ? least(keys, first + end) : keys; }
  /** The first row that sees key `j`. */
  int64_t since(int64_t j) const { return causal ? most(0, j - first) : 0; }
};

/** s[r][j] = a[r] . x[j] for the keys a row sees, and some after them. */
void scores(const Block& block, const float* a, int64_t lda, const float* panels, int64_t depth, float* s, int64_t ld,
            Ahead& ahead);

/** The same for a few rows, with the keys where they lie: packing them would take longer than reading them. */
void scores_in_place(const Block& block, const float* a, int64_t lda, const float* x, int64_t step, int64_t depth,
                     float* s, int64_t ld);

/** c[r] = sum over keys of w[r][j] b[j]. b has rows of `width`, a multiple of the vector, as has c. */
void weighted_sums(const Block& block, const float* w, int64_t ld, const float* b, int64_t ldb, int64_t width,
                   float* c, Ahead& ahead);

/** c[j] += sum over rows of w[r][j] b[r]. */
void add_transposed(const Block& block, const float* w, int64_t ld, const float* b, int64_t width, float* c,
                    Ahead& ahead);

/**
 * Scores to exp(score + mask - maximum), 0 past the keys a row sees; inverse[r] is 1 / sum, or 0 where every score is
 * -infinity.
 */
void exponentials(const Attention& a, int64_t b, int64_t h, const Block& block, float* s, float* inverse);

/** kept[j] = 0 or 1 / (1 - dropout) for the weights of a query. */
void draw_dropout(const Attention& a, int64_t b, int64_t h, int64_t query, int64_t keys, float* kept);

}  // namespace cambium::CAMBIUM_ISA
