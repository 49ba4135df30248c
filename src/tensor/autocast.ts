/** Mixed precision: a scope whose contractions multiply in bf16. */
import { ArgumentError } from '../base/index.ts';
import { type Precision, withPrecision } from '../graph/index.ts';

/**
 * Runs `body` with the matrix products, convolutions and recurrent layers it builds in `precision`, and their gradients with
 * them, as torch.autocast: 'bf16' rounds both operands to bfloat16 and sums in f32. Values in memory stay f32, so weights and
 * optimizer state are f32 masters and no loss scaling is needed; norms, softmax, losses and attention are not touched, nor
 * are products with a side below 32 and convolutions with fewer than 16 channels a group, which gain nothing. Three by
 * three convolutions may round what Winograd's algorithm made of their operands (docs/native-program.md has the bounds). A
 * scope covers what is built in it, wherever it is computed.
 *
 * Throws ArgumentError BAD_PRECISION for a precision that is neither 'fp32' nor 'bf16', ASYNC_SCOPE if `body` returns a
 * promise: what it builds after its first await would be outside the scope.
 */
export function autocast<T>(precision: Precision, body: () => T): T {
  return withPrecision(precision, () => {
    const result = body();
    if (result instanceof Promise) {
      result.catch(() => undefined);
      throw new ArgumentError('ASYNC_SCOPE', '[autocast] the function must not be async', {
        op: 'autocast',
        hint: 'build the tensors inside, and await their data outside',
      });
    }
    return result;
  });
}
