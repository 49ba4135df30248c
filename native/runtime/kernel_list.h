// Every kernel a program may name: its arity, its attributes in the order the kernel reads them, its epilogue.
#pragma once

namespace cambium {

#define CAMBIUM_CONV_ATTRS \
  "n ih iw ic oh ow oc kh kw strideH strideW padH padW dilH dilW groups bf16"
#define CAMBIUM_POOL_ATTRS "n ih iw c oh ow kh kw strideH strideW padH padW dilH dilW"

// Offset and strides of [batch, step, head, feature] operands; features are 1 apart.
#define CAMBIUM_HEADS(name) " " name "Offset " name "Batch " name "Step " name "Head"
#define CAMBIUM_ATTENTION_ATTRS                                                                              \
  "batch heads tq tk d dv scale causal masked dropout" CAMBIUM_HEADS("q") CAMBIUM_HEADS("k") CAMBIUM_HEADS("v") \
      " maskOffset maskBatch maskHead maskRow maskCol"

// X(enumerator, name, inputs, outputs, may carry a fused epilogue, attributes)
#define CAMBIUM_KERNELS(X)                                                                                  \
  X(fused, "fused", 0, 0, true, "")                                                                         \
  X(gemm, "gemm", 2, 1, true, "batch M N K transA transB lda ldb ldc strideA strideB strideC offsetA offsetB bf16") \
  X(conv2d, "conv2d", 2, 1, true, CAMBIUM_CONV_ATTRS)                                                       \
  X(conv2d_input_grad, "conv2d-input-grad", 2, 1, true, CAMBIUM_CONV_ATTRS)                                 \
  X(conv2d_weight_grad, "conv2d-weight-grad", 2, 1, false, CAMBIUM_CONV_ATTRS)                              \
  X(max_pool, "max-pool", 1, 1, false, CAMBIUM_POOL_ATTRS)                                                  \
  X(max_pool_grad, "max-pool-grad", 2, 1, false, CAMBIUM_POOL_ATTRS)                                        \
  X(avg_pool, "avg-pool", 1, 1, false, CAMBIUM_POOL_ATTRS " countIncludePad divisor")                       \
  X(avg_pool_grad, "avg-pool-grad", 1, 1, false, CAMBIUM_POOL_ATTRS " countIncludePad divisor")             \
  X(adaptive_avg_pool, "adaptive-avg-pool", 1, 1, false, "n ih iw c oh ow")                                 \
  X(adaptive_avg_pool_grad, "adaptive-avg-pool-grad", 1, 1, false, "n ih iw c oh ow")                       \
  X(attention, "attention", 5, 1, false, CAMBIUM_ATTENTION_ATTRS)                                           \
  X(attention_grad, "attention-grad", 7, 1, false,                                                          \
    CAMBIUM_ATTENTION_ATTRS CAMBIUM_HEADS("grad") CAMBIUM_HEADS("gradQ") CAMBIUM_HEADS("gradK") CAMBIUM_HEADS("gradV")) \
  X(recurrent, "recurrent", 5, 1, false, "cell reverse masked steps batch hidden bf16")                     \
  X(recurrent_grad, "recurrent-grad", 5, 1, false, "cell reverse masked steps batch hidden bf16")           \
  X(gather, "gather", 2, 1, false, "outer axis indexAxis inner")                                            \
  X(scatter_add, "scatter-add", 2, 1, false, "outer axis indexAxis inner")                                  \
  X(embedding, "embedding", 2, 1, false, "rows width count")                                                \
  X(embedding_grad, "embedding-grad", 2, 1, false, "rows width count")                                      \
  X(argmax, "argmax", 1, 1, false, "outer count inner")                                                     \
  X(log_sum_exp, "log-sum-exp", 1, 1, false, "outer count")                                                 \
  X(sum_i32, "sum-i32", 1, 1, false, "outer count inner")                                                   \
  X(max_i32, "max-i32", 1, 1, false, "outer count inner")                                                   \
  X(check_finite, "check-finite", 1, 0, false, "id length")                                                 \
  X(check_product, "check-product", 2, 0, false, "id lengthA lengthB terms")                                \
  X(fill, "fill", 0, 1, false, "value length")                                                              \
  X(copy, "copy", 1, 1, false, "bytes")

enum class Kernel {
#define X(id, name, in, out, epilogue, attrs) id,
  CAMBIUM_KERNELS(X)
#undef X
      count
};

constexpr int kKernels = static_cast<int>(Kernel::count);

}  // namespace cambium
