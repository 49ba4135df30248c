/** Gradient accumulation that means the same as one big batch. */
import { ArgumentError } from '../base/index.ts';
import { scalar, type Tensor } from '../tensor/index.ts';

/**
 * The mean loss of `items` samples as its part of the mean over `totalItems`: gradients of the parts then add up to the
 * gradient of the whole, also when the last part is shorter.
 *
 *     optimizer.zeroGrad();
 *     for (const part of parts) partOfBatch(crossEntropy(model.forward(part.x), part.y), part.size, total).backward();
 *     optimizer.step();
 *
 * Exact where samples do not meet in the model: batch norm still sees each part alone.
 */
export function partOfBatch(meanLoss: Tensor, items: number, totalItems: number): Tensor {
  if (!(items > 0 && items <= totalItems))
    throw new ArgumentError('OPTION_INVALID', `${items} of ${totalItems} items are not a part of a batch`, {
      field: 'items',
      expected: `1 .. ${totalItems}`,
      got: items,
    });
  // An input of the program: a shorter last part compiles nothing for its share.
  return items === totalItems ? meanLoss : meanLoss.mul(scalar(items / totalItems));
}
