/** A running mean weighted by items, so that a smaller last batch counts for what it holds. */
import { ArgumentError } from '../../base/errors.ts';

export class Mean {
  #sum = 0;
  #lost = 0;
  #items = 0;

  /** Adds a value that is itself the mean over `items` items, e.g. a batch's loss. */
  add(value: number, items = 1): this {
    if (!(items >= 0 && Number.isFinite(items)))
      throw new ArgumentError('ITEMS_INVALID', `a number of items is 0 or more, got ${items}`, {
        field: 'items',
        got: items,
      });
    if (items === 0) return this;
    const term = value * items;
    const sum = this.#sum + term;
    // Neumaier's compensation: a long epoch's mean does not depend on how it was cut into batches.
    const lost = Math.abs(this.#sum) >= Math.abs(term) ? this.#sum - sum + term : term - sum + this.#sum;
    if (Number.isFinite(lost)) this.#lost += lost;
    this.#sum = sum;
    this.#items += items;
    return this;
  }

  merge(other: Mean): this {
    this.add(other.#sum + other.#lost, other.#items > 0 ? 1 : 0);
    if (other.#items > 0) this.#items += other.#items - 1;
    return this;
  }

  get items(): number {
    return this.#items;
  }
  /** NaN before the first item. */
  get value(): number {
    return (this.#sum + this.#lost) / this.#items;
  }
}
