/** Attention as torch.nn.functional names it. */
import { type AttentionOptions, attention, type Tensor } from '../tensor/index.ts';

/**
 * softmax(q k' scale + mask) v (Vaswani et al. 2017), as F.scaled_dot_product_attention: q (..., Tq, D), k (..., Tk, D),
 * v (..., Tk, Dv) -> (..., Tq, Dv). `dropout` applies whenever it is given: pass 0 in evaluation. See `attention` for
 * masks and errors.
 */
export const scaledDotProductAttention = (q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions = {}): Tensor =>
  attention(q, k, v, options);
