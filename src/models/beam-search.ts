/** Beam search: the likeliest continuations found by going on with several at once, scored and ended as transformers does. */
import type { GPT2 } from './gpt2.ts';
import { cached, checkPrompt, uncached, wrongOption } from './next-logits.ts';

export interface BeamOptions {
  /** Default 20. */
  maxNewTokens?: number;
  /** Continuations that are followed side by side. */
  numBeams?: number;
  /** A finished text's score is its log probability / length^lengthPenalty: above 0 favours long texts. Default 1. */
  lengthPenalty?: number;
  /**
   * When to end with numBeams texts finished: true at once; false (default) when the likeliest unfinished one would not beat
   * the worst of them at its present length; 'never' when it could not at any length.
   */
  earlyStopping?: boolean | 'never';
  /** Ends a text; it is kept. */
  eosTokenId?: number;
  /** Keep keys and values of earlier steps (default), or compute all of them again for every token. */
  useCache?: boolean;
}

/** A finished continuation. */
export interface Hypothesis {
  readonly tokens: readonly number[];
  /** Log probability of the tokens / length^lengthPenalty. */
  readonly score: number;
}

/**
 * Up to `numBeams` continuations of `prompt` (2 unless told), the best first; nothing is drawn, and the model is in
 * evaluation mode meanwhile.
 * @throws ArgumentError for an empty prompt, options out of range (more beams than half of the vocabulary), and more tokens
 * than the model has positions.
 */
export async function beamSearch(
  model: GPT2,
  prompt: readonly number[],
  options: BeamOptions = {},
): Promise<Hypothesis[]> {
  checkPrompt(model, prompt, options.maxNewTokens ?? 20);
  checkBeams(model, options);
  const training = model.training;
  model.eval();
  try {
    return await search(model, prompt, options);
  } finally {
    model.train(training);
  }
}

async function search(model: GPT2, prompt: readonly number[], options: BeamOptions): Promise<Hypothesis[]> {
  const { maxNewTokens = 20, numBeams = 2, lengthPenalty = 1, earlyStopping = false, eosTokenId } = options;
  const next = options.useCache === false ? uncached(model) : cached(model, prompt.length + maxNewTokens, numBeams);
  let running: Hypothesis[] = [{ tokens: [], score: 0 }];
  let finished: Hypothesis[] = [];
  let logits = await next([prompt]);
  for (let length = 1; ; length++) {
    // Each beam has one way to end at most, so that half of these go on.
    const candidates = likeliest(logits, running, 2 * numBeams);
    const atEnd = length === maxNewTokens;
    const ended = candidates
      .slice(0, numBeams)
      .filter(({ token }) => atEnd || token === eosTokenId)
      .map(({ from, token, score }) => ({
        tokens: [...(running[from] as Hypothesis).tokens, token],
        score: score / length ** lengthPenalty,
      }));
    finished = [...finished, ...ended].sort((a, b) => b.score - a.score).slice(0, numBeams);
    if (atEnd) return finished;
    const open = candidates.filter(({ token }) => token !== eosTokenId).slice(0, numBeams);
    if (finished.length === numBeams) {
      const reach = earlyStopping === 'never' && lengthPenalty > 0 ? maxNewTokens : length;
      const possible = (open[0] as Candidate).score / reach ** lengthPenalty;
      if (earlyStopping === true || !(possible > (finished.at(-1) as Hypothesis).score)) return finished;
    }
    running = open.map(({ from, token, score }) => ({
      tokens: [...(running[from] as Hypothesis).tokens, token],
      score,
    }));
    logits = await next(
      open.map(({ token }) => [token]),
      // After the prompt all rows are its copies.
      length === 1 && options.useCache !== false ? undefined : open.map(({ from }) => from),
    );
  }
}

interface Candidate {
  readonly from: number;
  readonly token: number;
  /** Log probability of the whole continuation. */
  readonly score: number;
}

/** The `count` likeliest continuations by one token, of equals the first. @param logits (rows, vocabulary). */
function likeliest(logits: Float32Array, running: readonly Hypothesis[], count: number): Candidate[] {
  const vocabulary = logits.length / running.length;
  const best: Candidate[] = [];
  running.forEach(({ score: before }, from) => {
    const row = logits.subarray(from * vocabulary, (from + 1) * vocabulary);
    let top = Number.NEGATIVE_INFINITY;
    for (let i = 0; i < vocabulary; i++) top = Math.max(top, row[i] as number);
    let total = 0;
    for (let i = 0; i < vocabulary; i++) total += Math.exp((row[i] as number) - top);
    const shift = before - top - Math.log(total);
    for (let token = 0; token < vocabulary; token++) {
      const score = (row[token] as number) + shift;
      if (best.length === count && !(score > (best[count - 1] as Candidate).score)) continue;
      let at = best.length === count ? count - 1 : best.length;
      for (; at > 0 && (best[at - 1] as Candidate).score < score; at--) best[at] = best[at - 1] as Candidate;
      best[at] = { from, token, score };
    }
  });
  return best;
}

function checkBeams(model: GPT2, { numBeams = 2, lengthPenalty = 1, earlyStopping = false }: BeamOptions): void {
  const most = Math.floor(model.options.vocabSize / 2);
  if (!(Number.isInteger(numBeams) && numBeams >= 1 && numBeams <= most))
    wrongOption('numBeams', `a whole number from 1 to ${most}, half of the vocabulary`, numBeams);
  if (!Number.isFinite(lengthPenalty)) wrongOption('lengthPenalty', 'a number', lengthPenalty);
  if (typeof earlyStopping !== 'boolean' && earlyStopping !== 'never')
    wrongOption('earlyStopping', "true, false or 'never'", earlyStopping);
}
