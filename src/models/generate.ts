/** Continuing texts with a causal language model: one step at a time, keys and values of earlier steps kept. */
import { ArgumentError, Philox } from '../base/index.ts';
import { type Tensor, tensor, Variable, where, zeros } from '../tensor/index.ts';
import type { GPT2, Remember } from './gpt2.ts';

export interface GenerateOptions {
  /** Default 20. */
  maxNewTokens?: number;
  /** Divides the logits; 0 takes the likeliest token. Default 1. */
  temperature?: number;
  /** Draw among the k likeliest only. */
  topK?: number;
  /** Draw among the likeliest that together have this probability (Holtzman et al. 2020). */
  topP?: number;
  /** Same seed, same text. Default 0. */
  seed?: number;
  /** Ends the text; it is kept. */
  eosTokenId?: number;
  /** Keep keys and values of earlier steps (default), or compute all of them again for every token. */
  useCache?: boolean;
}

/**
 * Token ids that follow `prompt`, drawn from `model` in evaluation mode. Throws ArgumentError for an empty prompt, options
 * out of range, or more tokens than the model has positions.
 */
export async function generate(
  model: GPT2,
  prompt: readonly number[],
  options: GenerateOptions = {},
): Promise<number[]> {
  const { maxNewTokens = 20, seed = 0, eosTokenId, useCache = true } = options;
  check(model, prompt, options, maxNewTokens);
  const training = model.training;
  model.eval();
  try {
    const random = new Philox(seed);
    const next = useCache ? cached(model, prompt.length + maxNewTokens) : uncached(model);
    const tokens: number[] = [];
    let fresh: readonly number[] = prompt;
    while (tokens.length < maxNewTokens) {
      const token = sampleToken(await next(fresh), random, options);
      tokens.push(token);
      fresh = [token];
      if (token === eosTokenId) break;
    }
    return tokens;
  } finally {
    model.train(training);
  }
}

/** Gives the logits that follow after reading `fresh` more tokens. */
type Next = (fresh: readonly number[]) => Promise<Float32Array>;

const ids = (tokens: readonly number[]): Tensor => tensor(Int32Array.from(tokens), { shape: [1, tokens.length] });

const lastLogits = async (model: GPT2, features: Tensor): Promise<Float32Array> =>
  (await model.logits(features.slice(1, -1)).data()) as Float32Array;

function uncached(model: GPT2): Next {
  const all: number[] = [];
  return (fresh) => {
    all.push(...fresh);
    return lastLogits(model, model.transformer.forward(ids(all)));
  };
}

/**
 * Keys and values live in variables as long as the whole text, so that every token runs the same compiled program:
 * where a step writes, and what it may look at, are inputs.
 */
function cached(model: GPT2, steps: number): Next {
  const { nHead, nEmbd, nLayer } = model.options;
  const shape = [1, nHead, steps, nEmbd / nHead];
  const empty = (): Variable => new Variable(zeros(shape));
  const cache = Array.from({ length: nLayer }, () => ({ key: empty(), value: empty() }));
  const places = tensor(
    Int32Array.from({ length: steps }, (_, i) => i),
    { shape: [steps] },
  );
  let seen = 0;
  return (fresh) => {
    const positions = tensor(Int32Array.from(fresh, (_, i) => seen + i));
    seen += fresh.length;
    const at = positions.reshape([1, 1, -1, 1]); // (1, 1, Tq, 1)
    const mask = places.le(at); // (1, 1, Tq, steps)
    // Which new step, if any, belongs in each place: the prompt fills the first ones, a token its own.
    const first = positions.slice(0, 0, 1);
    const remember: Remember = (layer, kv) => {
      const entry = cache[layer] as (typeof cache)[number];
      for (const part of ['key', 'value'] as const) {
        const [now, variable] = [kv[part], entry[part]];
        const filled =
          fresh.length === 1
            ? where(places.eq(first).reshape([1, 1, -1, 1]), now, variable)
            : now.pad([
                [0, 0],
                [0, 0],
                [0, steps - fresh.length],
                [0, 0],
              ]);
        variable.assign(filled);
      }
      return { kv: entry, mask };
    };
    return lastLogits(model, model.transformer.forward(ids(fresh), positions, remember));
  };
}

/**
 * One index drawn from softmax(logits / temperature), restricted to the topK likeliest and to the likeliest that make up
 * topP; the likeliest (the first of equals) for temperature 0.
 */
export function sampleToken(
  logits: Float32Array,
  random: Philox,
  { temperature = 1, topK, topP }: Pick<GenerateOptions, 'temperature' | 'topK' | 'topP'>,
): number {
  let best = 0;
  for (let i = 1; i < logits.length; i++) if ((logits[i] as number) > (logits[best] as number)) best = i;
  if (temperature === 0) return best;
  const top = logits[best] as number;
  const weights = Float64Array.from(logits, (x) => Math.exp((x - top) / temperature));
  let kept: ArrayLike<number> = weights.map((_, i) => i);
  if (topK !== undefined || topP !== undefined) {
    const order = Int32Array.from(weights, (_, i) => i).sort(
      (a, b) => (weights[b] as number) - (weights[a] as number) || a - b,
    );
    kept = nucleus(order.subarray(0, topK ?? order.length), weights, topP ?? 1);
  }
  let left = random.uniform() * sum(kept, weights);
  for (let i = 0; i < kept.length; i++) {
    left -= weights[kept[i] as number] as number;
    if (left < 0) return kept[i] as number;
  }
  return kept[kept.length - 1] as number;
}

const sum = (kept: ArrayLike<number>, weights: Float64Array): number => {
  let total = 0;
  for (let i = 0; i < kept.length; i++) total += weights[kept[i] as number] as number;
  return total;
};

/** The shortest beginning of `order` that has `share` of its weight; at least one. */
function nucleus(order: Int32Array, weights: Float64Array, share: number): Int32Array {
  const wanted = share * sum(order, weights);
  let had = 0;
  let count = 0;
  while (count < order.length && (count === 0 || had < wanted)) had += weights[order[count++] as number] as number;
  return order.subarray(0, count);
}

function check(model: GPT2, prompt: readonly number[], options: GenerateOptions, maxNewTokens: number): void {
  const wrong = (field: string, expected: string, got: unknown): never => {
    throw new ArgumentError('OPTION_INVALID', `[generate] ${field} must be ${expected}, got ${String(got)}`, {
      op: 'generate',
      field,
      expected,
      got,
    });
  };
  const { temperature = 1, topK, topP = 1 } = options;
  const { vocabSize, nPositions } = model.options;
  if (prompt.length === 0) wrong('prompt', 'at least one token', 'none');
  for (const id of prompt)
    if (!(Number.isInteger(id) && id >= 0 && id < vocabSize)) wrong('prompt', `ids below ${vocabSize}`, id);
  if (!Number.isInteger(maxNewTokens) || maxNewTokens < 1)
    wrong('maxNewTokens', 'a whole number above 0', maxNewTokens);
  if (!(temperature >= 0)) wrong('temperature', 'at least 0', temperature);
  if (topK !== undefined && !(Number.isInteger(topK) && topK >= 1)) wrong('topK', 'a whole number above 0', topK);
  if (!(topP > 0 && topP <= 1)) wrong('topP', 'in (0, 1]', topP);
  if (prompt.length + maxNewTokens > nPositions)
    throw new ArgumentError(
      'SEQUENCE_TOO_LONG',
      `[generate] ${prompt.length} + ${maxNewTokens} tokens, but the model has ${nPositions} positions`,
      {
        op: 'generate',
        expected: nPositions,
        got: prompt.length + maxNewTokens,
        hint: 'shorten the prompt or maxNewTokens',
      },
    );
}
