/** Hiding tokens for masked language modelling (Devlin et al. 2019, section 3.1). */
import { ArgumentError, DataError } from '../../base/errors.ts';
import type { SampleRandom } from '../random.ts';
import type { Tokenizer } from './tokenizer.ts';

export interface MaskingOptions {
  /** Share of a row's tokens to predict; 0.15 unless told. */
  readonly probability?: number;
  /** Of those, the share that becomes [MASK] (0.8) and the share that becomes a random token (0.1); the rest stays. */
  readonly mask?: number;
  readonly random?: number;
  /**
   * Tokens hidden side by side at most: n with weight `maxSpan` + 1 - n (4 gives the 40, 30, 20, 10 % of Cui et al. 2020,
   * "Revisiting pre-trained models for Chinese NLP"). 1 unless told.
   */
  readonly maxSpan?: number;
}

/** What was hidden of a row: places and the tokens that stood there. Both have room for `Masking.most`. */
export interface Masked {
  readonly places: Int32Array;
  readonly targets: Int32Array;
  readonly count: number;
}

/** The rule for one tokenizer and one length of row. Special tokens are neither hidden nor put in. */
export class Masking {
  /** Hidden tokens of a row at most. */
  readonly most: number;
  readonly #options: Required<MaskingOptions>;
  readonly #special: ReadonlySet<number>;
  readonly #maskId: number;
  readonly #vocabSize: number;
  readonly #order: Int32Array;
  readonly #taken: Uint8Array;

  /** @throws ArgumentError for shares outside [0, 1]; DataError for a tokenizer without [MASK]. */
  constructor(tokenizer: Tokenizer, length: number, options: MaskingOptions = {}) {
    const { probability = 0.15, mask = 0.8, random = 0.1, maxSpan = 1 } = options;
    const wrong = (field: string, expected: string, got: number): never => {
      throw new ArgumentError('OPTION_INVALID', `${field}: expected ${expected}, found ${got}`, {
        field,
        expected,
        got,
      });
    };
    if (!(probability > 0 && probability < 1)) wrong('probability', 'a number between 0 and 1', probability);
    if (!(mask >= 0 && mask <= 1)) wrong('mask', 'a share in [0, 1]', mask);
    if (!(random >= 0 && mask + random <= 1 + 1e-9)) wrong('random', 'a share of what mask leaves', random);
    if (!(Number.isInteger(maxSpan) && maxSpan >= 1 && maxSpan <= 64))
      wrong('maxSpan', 'a whole number 1..64', maxSpan);
    this.#options = { probability, mask, random, maxSpan };
    this.#special = tokenizer.specialIds;
    this.#maskId = tokenizer.specialId('mask');
    this.#vocabSize = tokenizer.vocabSize;
    if (this.#special.size >= this.#vocabSize)
      throw new DataError('TOKENIZER_INVALID', 'the tokenizer has special tokens only', { got: this.#vocabSize });
    this.most = Math.max(1, Math.round(probability * length));
    this.#order = new Int32Array(length);
    this.#taken = new Uint8Array(length);
  }

  /** Hides tokens of `row`, which is changed; what happens depends on the row and `draw` alone. */
  apply(row: Int32Array, draw: SampleRandom, out: Pick<Masked, 'places' | 'targets'>): number {
    const order = this.#order;
    let n = 0;
    for (let i = 0; i < row.length; i++) if (!this.#special.has(row[i] as number)) order[n++] = i;
    if (n === 0) return 0;
    const { probability, mask, random, maxSpan } = this.#options;
    const wanted = Math.min(this.most, Math.max(1, Math.round(probability * n)));
    const taken = this.#taken.fill(0);
    let count = 0;
    // A shuffle as far as it is needed: starts of spans.
    for (let i = 0; i < n && count < wanted; i++) {
      const j = i + (draw.u32() % (n - i));
      const start = order[j] as number;
      order[j] = order[i] as number;
      order[i] = start;
      const end = Math.min(row.length, start + (maxSpan === 1 ? 1 : spanOf(maxSpan, draw)));
      for (let at = start; at < end && count < wanted; at++) {
        if (taken[at] || this.#special.has(row[at] as number)) continue;
        taken[at] = 1;
        count++;
      }
    }
    let k = 0;
    for (let at = 0; at < row.length; at++) {
      if (!taken[at]) continue;
      out.places[k] = at;
      out.targets[k++] = row[at] as number;
      const chance = draw.uniform();
      if (chance < mask) row[at] = this.#maskId;
      else if (chance < mask + random) row[at] = this.#randomToken(draw);
    }
    return count;
  }

  #randomToken(draw: SampleRandom): number {
    for (;;) {
      const id = draw.u32() % this.#vocabSize;
      if (!this.#special.has(id)) return id;
    }
  }
}

function spanOf(maxSpan: number, draw: SampleRandom): number {
  let left = draw.uniform() * ((maxSpan * (maxSpan + 1)) / 2);
  for (let n = 1; n < maxSpan; n++) {
    left -= maxSpan + 1 - n;
    if (left < 0) return n;
  }
  return maxSpan;
}
