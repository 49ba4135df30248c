// Pooling over channels-last maps and its gradients; vectors run along the channels.
// A task owns the elements it adds to, and adds in window order: the same sums for any number of threads.
#include <algorithm>
#include <cstring>
#include <limits>

#include "../runtime/kernel_table.h"

namespace cambium::CAMBIUM_ISA {
namespace {

constexpr int64_t kLanes = 64;                  // channels handled together: accumulators stay in registers or L1
constexpr int64_t kTaskElements = 32 << 10;

struct Shape {
  int64_t n, ih, iw, c, oh, ow, kh, kw, stride_h, stride_w, pad_h, pad_w, dil_h, dil_w;

  explicit Shape(const Call& call)
      : n(call.attr(0)), ih(call.attr(1)), iw(call.attr(2)), c(call.attr(3)), oh(call.attr(4)), ow(call.attr(5)),
        kh(call.attr(6)), kw(call.attr(7)), stride_h(call.attr(8)), stride_w(call.attr(9)), pad_h(call.attr(10)),
        pad_w(call.attr(11)), dil_h(call.attr(12)), dil_w(call.attr(13)) {}

  bool rows_apart() const { return stride_h >= (kh - 1) * dil_h + 1; }
  bool empty() const { return n * c * oh * ow == 0; }
};

/** The taps of one axis that fall inside the image: first, past the last, and where tap 0 would lie. */
struct Taps {
  int64_t begin, end, origin;
  Taps(int64_t out, int64_t stride, int64_t pad, int64_t dil, int64_t kernel, int64_t size) {
    origin = out * stride - pad;
    begin = origin < 0 ? (-origin + dil - 1) / dil : 0;
    end = std::min(kernel, size <= origin ? 0 : (size - origin + dil - 1) / dil);
    end = std::max(end, begin);
  }
};

/** body(image, first output row, past the last) over bands of about kTaskElements outputs. */
template <class Body>
void by_output_rows(const Call& call, int64_t n, int64_t oh, int64_t row_elements, Body body) {
  const int64_t rows = std::clamp<int64_t>(kTaskElements / std::max<int64_t>(1, row_elements), 1, std::max<int64_t>(1, oh));
  const int64_t bands = (oh + rows - 1) / rows;
  call.parallel.run(n * bands, [&](int64_t task, int) {
    const int64_t begin = task % bands * rows;
    body(task / bands, begin, std::min(oh, begin + rows));
  });
}

/**
 * body(image, rows begin, end, channels begin, end) with exclusive ownership of the input rows those windows touch:
 * bands of rows where windows do not overlap, else all rows of a slice of channels. The input is zeroed before.
 */
template <class Body>
void by_owned_inputs(const Call& call, const Shape& s, float* gx, Body body) {
  if (s.rows_apart()) {
    const int64_t rows = std::clamp<int64_t>(kTaskElements / (s.ow * s.c), 1, s.oh);
    const int64_t bands = (s.oh + rows - 1) / rows;
    call.parallel.run(s.n * bands, [&](int64_t task, int) {
      const int64_t image = task / bands, begin = task % bands * rows, end = std::min(s.oh, begin + rows);
      const int64_t first = begin == 0 ? 0 : std::clamp<int64_t>(begin * s.stride_h - s.pad_h, 0, s.ih);
      const int64_t last = end == s.oh ? s.ih : std::clamp<int64_t>(end * s.stride_h - s.pad_h, 0, s.ih);
      std::memset(gx + (image * s.ih + first) * s.iw * s.c, 0, static_cast<size_t>((last - first) * s.iw * s.c) * 4);
      body(image, begin, end, int64_t{0}, s.c);
    });
    return;
  }
  const int64_t slices = (s.c + kLanes - 1) / kLanes;
  call.parallel.run(s.n * slices, [&](int64_t task, int) {
    const int64_t image = task / slices, begin = task % slices * kLanes, end = std::min(s.c, begin + kLanes);
    for (int64_t i = 0; i < s.ih * s.iw; ++i)
      std::memset(gx + (image * s.ih * s.iw + i) * s.c + begin, 0, static_cast<size_t>(end - begin) * 4);
    body(image, int64_t{0}, s.oh, begin, end);
  });
}

inline void add_lanes(float* to, const float* from, int64_t lanes) {
  for (int64_t j = 0; j < lanes; ++j) to[j] += from[j];
}

// NaN wins, and the first of equals stays.
inline bool beats(float value, float best) { return value > best || (value != value && best == best); }

inline void max_lanes(float* __restrict best, const float* __restrict x, int64_t lanes) {
  for (int64_t j = 0; j < lanes; ++j) best[j] = beats(x[j], best[j]) ? x[j] : best[j];
}

inline void argmax_lanes(float* __restrict best, int32_t* __restrict at, int32_t tap, const float* __restrict x,
                         int64_t lanes) {
  for (int64_t j = 0; j < lanes; ++j) {
    const bool better = beats(x[j], best[j]);
    best[j] = better ? x[j] : best[j];
    at[j] = better ? tap : at[j];
  }
}

inline void add_where(float* __restrict gx, const int32_t* __restrict at, int32_t tap, const float* __restrict gy,
                      int64_t lanes) {
  for (int64_t j = 0; j < lanes; ++j) gx[j] += at[j] == tap ? gy[j] : 0.0f;
}

}  // namespace

void max_pool(Call& call) {
  const Shape s(call);
  const float* x = call.in<float>(0);
  float* y = call.out<float>(0);
  if (s.empty()) return;
  by_output_rows(call, s.n, s.oh, s.ow * s.c, [&](int64_t image, int64_t row_begin, int64_t row_end) {
    for (int64_t oh = row_begin; oh < row_end; ++oh) {
      const Taps h(oh, s.stride_h, s.pad_h, s.dil_h, s.kh, s.ih);
      for (int64_t ow = 0; ow < s.ow; ++ow) {
        const Taps w(ow, s.stride_w, s.pad_w, s.dil_w, s.kw, s.iw);
        float* to = y + ((image * s.oh + oh) * s.ow + ow) * s.c;
        for (int64_t c = 0; c < s.c; c += kLanes) {
          const int64_t lanes = std::min(kLanes, s.c - c);
          float best[kLanes];
          std::fill(best, best + kLanes, -std::numeric_limits<float>::infinity());
          for (int64_t i = h.begin; i < h.end; ++i)
            for (int64_t j = w.begin; j < w.end; ++j) {
              const float* from = x + ((image * s.ih + h.origin + i * s.dil_h) * s.iw + w.origin + j * s.dil_w) * s.c + c;
              if (lanes == kLanes) max_lanes(best, from, kLanes);
              else max_lanes(best, from, lanes);
            }
          std::memcpy(to + c, best, static_cast<size_t>(lanes) * 4);
        }
      }
    }
  });
}

void max_pool_grad(Call& call) {
  const Shape s(call);
  const float* x = call.in<float>(0);
  const float* gy = call.in<float>(1);
  float* gx = call.out<float>(0);
  if (s.empty()) {
    std::memset(gx, 0, static_cast<size_t>(s.n * s.ih * s.iw * s.c) * 4);
    return;
  }
  by_owned_inputs(call, s, gx, [&](int64_t image, int64_t row_begin, int64_t row_end, int64_t c_begin, int64_t c_end) {
    for (int64_t oh = row_begin; oh < row_end; ++oh) {
      const Taps h(oh, s.stride_h, s.pad_h, s.dil_h, s.kh, s.ih);
      for (int64_t ow = 0; ow < s.ow; ++ow) {
        const Taps w(ow, s.stride_w, s.pad_w, s.dil_w, s.kw, s.iw);
        if (h.begin == h.end || w.begin == w.end) continue;
        const float* from = gy + ((image * s.oh + oh) * s.ow + ow) * s.c;
        const auto input = [&](int64_t i, int64_t j, int64_t c) {
          return ((image * s.ih + h.origin + i * s.dil_h) * s.iw + w.origin + j * s.dil_w) * s.c + c;
        };
        for (int64_t c = c_begin; c < c_end; c += kLanes) {
          const int64_t lanes = std::min(kLanes, c_end - c);
          float best[kLanes];
          int32_t at[kLanes];
          std::memcpy(best, x + input(h.begin, w.begin, c), static_cast<size_t>(lanes) * 4);
          std::fill(at, at + kLanes, 0);
          int32_t tap = 0;
          for (int64_t i = h.begin; i < h.end; ++i)
            for (int64_t j = w.begin; j < w.end; ++j, ++tap) {
              if (tap == 0) continue;
              if (lanes == kLanes) argmax_lanes(best, at, tap, x + input(i, j, c), kLanes);
              else argmax_lanes(best, at, tap, x + input(i, j, c), lanes);
            }
          tap = 0;
          for (int64_t i = h.begin; i < h.end; ++i)
            for (int64_t j = w.begin; j < w.end; ++j, ++tap) {
              if (lanes == kLanes) add_where(gx + input(i, j, c), at, tap, from + c, kLanes);
              else add_where(gx + input(i, j, c), at, tap, from + c, lanes);
            }
        }
      }
    }
  });
}

namespace {

/** 1 / number of elements averaged, by PyTorch's rules. */
float average_scale(const Shape& s, const Taps& h, const Taps& w, bool include_pad, int64_t divisor) {
  if (divisor > 0) return 1.0f / static_cast<float>(divisor);
  if (!include_pad) return 1.0f / static_cast<float>(std::max<int64_t>(1, (h.end - h.begin) * (w.end - w.begin)));
  // Padding counts, but not what a ceil-mode window reaches beyond it.
  const auto padded = [](int64_t origin, int64_t dil, int64_t kernel, int64_t limit) {
    return std::min(kernel, std::max<int64_t>(1, (limit - origin + dil - 1) / dil));
  };
  return 1.0f / static_cast<float>(padded(h.origin, s.dil_h, s.kh, s.ih + s.pad_h) *
                                   padded(w.origin, s.dil_w, s.kw, s.iw + s.pad_w));
}

}  // namespace

void avg_pool(Call& call) {
  const Shape s(call);
  const bool include_pad = call.attr(14) != 0;
  const int64_t divisor = call.attr(15);
  const float* x = call.in<float>(0);
  float* y = call.out<float>(0);
  if (s.empty()) return;
  by_output_rows(call, s.n, s.oh, s.ow * s.c, [&](int64_t image, int64_t row_begin, int64_t row_end) {
    for (int64_t oh = row_begin; oh < row_end; ++oh) {
      const Taps h(oh, s.stride_h, s.pad_h, s.dil_h, s.kh, s.ih);
      for (int64_t ow = 0; ow < s.ow; ++ow) {
        const Taps w(ow, s.stride_w, s.pad_w, s.dil_w, s.kw, s.iw);
        const float scale = average_scale(s, h, w, include_pad, divisor);
        float* to = y + ((image * s.oh + oh) * s.ow + ow) * s.c;
        std::fill(to, to + s.c, 0.0f);
        for (int64_t i = h.begin; i < h.end; ++i)
          for (int64_t j = w.begin; j < w.end; ++j)
            add_lanes(to, x + ((image * s.ih + h.origin + i * s.dil_h) * s.iw + w.origin + j * s.dil_w) * s.c, s.c);
        for (int64_t c = 0; c < s.c; ++c) to[c] *= scale;
      }
    }
  });
}

void avg_pool_grad(Call& call) {
  const Shape s(call);
  const bool include_pad = call.attr(14) != 0;
  const int64_t divisor = call.attr(15);
  const float* gy = call.in<float>(0);
  float* gx = call.out<float>(0);
  if (s.empty()) {
    std::memset(gx, 0, static_cast<size_t>(s.n * s.ih * s.iw * s.c) * 4);
    return;
  }
  by_owned_inputs(call, s, gx, [&](int64_t image, int64_t row_begin, int64_t row_end, int64_t c_begin, int64_t c_end) {
    for (int64_t oh = row_begin; oh < row_end; ++oh) {
      const Taps h(oh, s.stride_h, s.pad_h, s.dil_h, s.kh, s.ih);
      for (int64_t ow = 0; ow < s.ow; ++ow) {
        const Taps w(ow, s.stride_w, s.pad_w, s.dil_w, s.kw, s.iw);
        const float scale = average_scale(s, h, w, include_pad, divisor);
        const float* from = gy + ((image * s.oh + oh) * s.ow + ow) * s.c;
        for (int64_t i = h.begin; i < h.end; ++i)
          for (int64_t j = w.begin; j < w.end; ++j) {
            float* to = gx + ((image * s.ih + h.origin + i * s.dil_h) * s.iw + w.origin + j * s.dil_w) * s.c;
            for (int64_t c = c_begin; c < c_end; ++c) to[c] += from[c] * scale;
          }
      }
    }
  });
}

void adaptive_avg_pool(Call& call) {
  const int64_t n = call.attr(0), ih = call.attr(1), iw = call.attr(2), c = call.attr(3), oh = call.attr(4),
                ow = call.attr(5);
  const float* x = call.in<float>(0);
  float* y = call.out<float>(0);
  if (n * c * oh * ow == 0) return;
  by_output_rows(call, n, oh, std::max(ow, iw * ih / oh) * c, [&](int64_t image, int64_t row_begin, int64_t row_end) {
    for (int64_t i = row_begin; i < row_end; ++i) {
      const int64_t top = i * ih / oh, bottom = ((i + 1) * ih + oh - 1) / oh;
      for (int64_t j = 0; j < ow; ++j) {
        const int64_t left = j * iw / ow, right = ((j + 1) * iw + ow - 1) / ow;
        float* to = y + ((image * oh + i) * ow + j) * c;
        std::fill(to, to + c, 0.0f);
        for (int64_t h = top; h < bottom; ++h)
          for (int64_t w = left; w < right; ++w) add_lanes(to, x + ((image * ih + h) * iw + w) * c, c);
        const float scale = 1.0f / static_cast<float>((bottom - top) * (right - left));
        for (int64_t k = 0; k < c; ++k) to[k] *= scale;
      }
    }
  });
}

void adaptive_avg_pool_grad(Call& call) {
  const int64_t n = call.attr(0), ih = call.attr(1), iw = call.attr(2), c = call.attr(3), oh = call.attr(4),
                ow = call.attr(5);
  const float* gy = call.in<float>(0);
  float* gx = call.out<float>(0);
  if (n * c * ih * iw == 0) return;
  const int64_t slices = (c + kLanes - 1) / kLanes;
  call.parallel.run(n * slices, [&](int64_t task, int) {
    const int64_t image = task / slices, begin = task % slices * kLanes, end = std::min(c, begin + kLanes);
    for (int64_t i = 0; i < ih * iw; ++i)
      std::fill(gx + (image * ih * iw + i) * c + begin, gx + (image * ih * iw + i) * c + end, 0.0f);
    for (int64_t i = 0; i < oh; ++i) {
      const int64_t top = i * ih / oh, bottom = ((i + 1) * ih + oh - 1) / oh;
      for (int64_t j = 0; j < ow; ++j) {
        const int64_t left = j * iw / ow, right = ((j + 1) * iw + ow - 1) / ow;
        const float scale = 1.0f / static_cast<float>((bottom - top) * (right - left));
        const float* from = gy + ((image * oh + i) * ow + j) * c;
        for (int64_t h = top; h < bottom; ++h)
          for (int64_t w = left; w < right; ++w) {
            float* to = gx + ((image * ih + h) * iw + w) * c;
            for (int64_t k = begin; k < end; ++k) to[k] += from[k] * scale;
          }
      }
    }
  });
}

}  // namespace cambium::CAMBIUM_ISA
