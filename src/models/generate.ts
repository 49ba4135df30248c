/** Continuing texts with a causal language model: tokens drawn one at a time, or the likeliest text by beam search. */
import { Philox } from '../base/index.ts';
import { type BeamOptions, beamSearch, type Hypothesis } from './beam-search.ts';
import type { GPT2 } from './gpt2.ts';
import { cached, checkPrompt, uncached, wrongOption } from './next-logits.ts';

export interface GenerateOptions extends BeamOptions {
  /** Divides the logits; 0 takes the likeliest token. Default 1. */
  temperature?: number;
  /** Draw among the k likeliest only. */
  topK?: number;
  /** Draw among the likeliest that together have this probability (Holtzman et al. 2020). */
  topP?: number;
  /** Same seed, same text. Default 0. */
  seed?: number;
  /** Above 1: nothing is drawn, the best of so many texts is sought (see beamSearch). Default 1. */
  numBeams?: number;
}

/**
 * Token ids that follow `prompt`, drawn from `model` in evaluation mode, or found by beam search. Throws ArgumentError for an
 * empty prompt, options out of range or of the other way, or more tokens than the model has positions.
 */
export async function generate(
  model: GPT2,
  prompt: readonly number[],
  options: GenerateOptions = {},
): Promise<number[]> {
  const { maxNewTokens = 20, seed = 0, eosTokenId, useCache = true, numBeams = 1 } = options;
  check(options);
  if (numBeams > 1) return [...((await beamSearch(model, prompt, options))[0] as Hypothesis).tokens];
  checkPrompt(model, prompt, maxNewTokens);
  const training = model.training;
  model.eval();
  try {
    const random = new Philox(seed);
    const next = useCache ? cached(model, prompt.length + maxNewTokens) : uncached(model);
    const tokens: number[] = [];
    let fresh: readonly number[] = prompt;
    while (tokens.length < maxNewTokens) {
      const token = sampleToken(await next([fresh]), random, options);
      tokens.push(token);
      fresh = [token];
      if (token === eosTokenId) break;
    }
    return tokens;
  } finally {
    model.train(training);
  }
}

/**
 * One index drawn from softmax(logits / temperature), restricted to the topK likeliest and to the likeliest that make up
 * topP; the likeliest (the first of equals) for temperature 0.
 */
export function sampleToken(logits: Float32Array, random: Philox, options: SamplingOptions): number {
  if (options.temperature === 0) return argmax(logits);
  const { kept, weights } = weigh(logits, options);
  let left = random.uniform() * sum(kept, weights);
  for (let i = 0; i < kept.length; i++) {
    left -= weights[kept[i] as number] as number;
    if (left < 0) return kept[i] as number;
  }
  return kept[kept.length - 1] as number;
}

export type SamplingOptions = Pick<GenerateOptions, 'temperature' | 'topK' | 'topP'>;

/** The probabilities that `sampleToken` draws by, 0 for what the options leave out. */
export function tokenProbabilities(logits: Float32Array, options: SamplingOptions): Float64Array {
  const out = new Float64Array(logits.length);
  if (options.temperature === 0) {
    out[argmax(logits)] = 1;
    return out;
  }
  const { kept, weights } = weigh(logits, options);
  const total = sum(kept, weights);
  for (let i = 0; i < kept.length; i++) out[kept[i] as number] = (weights[kept[i] as number] as number) / total;
  return out;
}

/** The first of the largest. */
function argmax(logits: Float32Array): number {
  let best = 0;
  for (let i = 1; i < logits.length; i++) if ((logits[i] as number) > (logits[best] as number)) best = i;
  return best;
}

/** What may be drawn, and each token's weight. */
function weigh(
  logits: Float32Array,
  { temperature = 1, topK, topP }: SamplingOptions,
): { kept: ArrayLike<number>; weights: Float64Array } {
  const top = logits[argmax(logits)] as number;
  const weights = Float64Array.from(logits, (x) => Math.exp((x - top) / temperature));
  if (topK === undefined && topP === undefined) return { kept: weights.map((_, i) => i), weights };
  const order = Int32Array.from(weights, (_, i) => i).sort(
    (a, b) => (weights[b] as number) - (weights[a] as number) || a - b,
  );
  return { kept: nucleus(order.subarray(0, topK ?? order.length), weights, topP ?? 1), weights };
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

function check(options: GenerateOptions): void {
  const { temperature = 1, topK, topP = 1, numBeams = 1 } = options;
  if (!(temperature >= 0)) wrongOption('temperature', 'at least 0', temperature);
  if (topK !== undefined && !(Number.isInteger(topK) && topK >= 1)) wrongOption('topK', 'a whole number above 0', topK);
  if (!(topP > 0 && topP <= 1)) wrongOption('topP', 'in (0, 1]', topP);
  if (!(Number.isInteger(numBeams) && numBeams >= 1)) wrongOption('numBeams', 'a whole number above 0', numBeams);
  // What would be ignored was meant otherwise.
  const beams = numBeams > 1;
  for (const field of beams
    ? (['temperature', 'topK', 'topP', 'seed'] as const)
    : (['lengthPenalty', 'earlyStopping'] as const))
    if (options[field] !== undefined)
      wrongOption(
        field,
        beams ? 'left out: beam search draws nothing' : 'left out unless numBeams is above 1',
        options[field],
      );
}
