// The GEMM and convolution steps of a program: attributes -> shapes, fused epilogues -> tile sinks.
#include <initializer_list>

#include "../runtime/cpu_features.h"
#include "conv2d.h"
#include "conv2d_bf16.h"
#include "fused.h"
#include "gemm.h"
#include "gemm_bf16.h"

namespace cambium::CAMBIUM_ISA {
namespace {

/** Calls kernel(output, sink): plain, with the epilogue tile by tile, or stored aside and finished by a second pass. */
template <class Kernel>
void with_epilogue(Call& call, int64_t columns, Kernel kernel) {
  const Step& step = call.step;
  if (step.tail_plan) {
    kernel(reinterpret_cast<float*>(call.buffers[step.raw]), nullptr);
    run_plan(call, *step.tail_plan);
  } else if (step.plan) {
    Epilogue epilogue(call, *step.plan, columns);
    const TileSink sink = epilogue.sink();
    kernel(nullptr, &sink);
  } else {
    kernel(call.out<float>(0), nullptr);
  }
}

struct Bf16Kernels {
  decltype(&gemm_bf16) product;
  decltype(&conv2d_forward_bf16) forward;
  decltype(&conv2d_input_grad_bf16) input_grad;
  decltype(&conv2d_weight_grad_bf16) weight_grad;
};

/** The kernels that round their operands to bf16: by the instructions made for it where there are some. */
Bf16Kernels bf16_kernels() {
#if defined(CAMBIUM_ISA_AVX512) && defined(CAMBIUM_HAS_AVX512BF16)
  if (has_avx512_bf16())
    return {avx512bf16::gemm_bf16, avx512bf16::conv2d_forward_bf16, avx512bf16::conv2d_input_grad_bf16,
            avx512bf16::conv2d_weight_grad_bf16};
#endif
  return {gemm_bf16, conv2d_forward_bf16, conv2d_input_grad_bf16, conv2d_weight_grad_bf16};
}

// An empty sum has nothing to round.
bool rounds(const Call& call, const Conv2dArgs& a) {
  return call.attr(16) != 0 && a.ic * a.oc * a.kh * a.kw > 0;
}

Conv2dArgs conv2d_args(const Call& call) {
  Conv2dArgs args;
  int i = 0;
  for (int64_t* field : {&args.n, &args.ih, &args.iw, &args.ic, &args.oh, &args.ow, &args.oc, &args.kh, &args.kw,
                         &args.stride_h, &args.stride_w, &args.pad_h, &args.pad_w, &args.dil_h, &args.dil_w, &args.groups})
    *field = call.attr(i++);
  args.algorithm = conv_algorithm();
  return args;
}

}  // namespace

void gemm(Call& call) {
  GemmArgs args;
  args.batch = call.attr(0), args.M = call.attr(1), args.N = call.attr(2), args.K = call.attr(3);
  args.trans_a = call.attr(4) != 0, args.trans_b = call.attr(5) != 0;
  args.lda = call.attr(6), args.ldb = call.attr(7), args.ldc = call.attr(8);
  args.stride_a = call.attr(9), args.stride_b = call.attr(10), args.stride_c = call.attr(11);
  args.a = call.in<const float>(0) + call.attr(12);
  args.b = call.in<const float>(1) + call.attr(13);
  if (args.batch * args.M * args.N == 0) return;
  if (call.step.fused) args.ldc = args.N, args.stride_c = args.M * args.N;
  with_epilogue(call, args.N, [&](float* c, const TileSink* sink) {
    args.c = c;
    // An empty sum has nothing to round.
    if (call.attr(14) && args.K > 0) bf16_kernels().product(args, call.parallel, sink);
    else gemm(args, call.parallel, sink);
  });
}

void conv2d(Call& call) {
  const Conv2dArgs args = conv2d_args(call);
  if (args.n * args.oh * args.ow * args.oc == 0) return;
  with_epilogue(call, args.oc, [&](float* y, const TileSink* sink) {
    (rounds(call, args) ? bf16_kernels().forward : &conv2d_forward)(
        args, call.in<const float>(0), call.in<const float>(1), y, call.parallel, sink);
  });
}

void conv2d_input_grad(Call& call) {
  const Conv2dArgs args = conv2d_args(call);
  if (args.n * args.ih * args.iw * args.ic == 0) return;
  with_epilogue(call, args.ic, [&](float* gx, const TileSink* sink) {
    (rounds(call, args) ? bf16_kernels().input_grad : static_cast<decltype(&conv2d_input_grad_bf16)>(conv2d_input_grad))(
        args, call.in<const float>(0), call.in<const float>(1), gx, call.parallel, sink);
  });
}

void conv2d_weight_grad(Call& call) {
  const Conv2dArgs args = conv2d_args(call);
  const auto kernel = rounds(call, args) ? bf16_kernels().weight_grad
                                         : static_cast<decltype(&conv2d_weight_grad_bf16)>(conv2d_weight_grad);
  kernel(args, call.in<const float>(0), call.in<const float>(1), call.out<float>(0), call.parallel);
}

}  // namespace cambium::CAMBIUM_ISA
