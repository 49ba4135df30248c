/** What a causal language model says comes next, for rows of tokens of one length, keys and values of earlier steps kept. */
import { ArgumentError } from '../base/index.ts';
import { embedding, type Tensor, tensor, Variable, where, zeros } from '../tensor/index.ts';
import type { GPT2, Remember } from './gpt2.ts';

/**
 * Logits (rows, vocabSize) after reading more tokens in every row. The first call reads one row, the prompt, which all rows
 * share; later ones read one token a row. `from` says which earlier row each row goes on from; as they were unless given.
 */
export type Next = (fresh: readonly (readonly number[])[], from?: readonly number[]) => Promise<Float32Array>;

const batch = (rows: readonly (readonly number[])[]): Tensor =>
  tensor(Int32Array.from(rows.flat()), { shape: [rows.length, (rows[0] as readonly number[]).length] });

const lastLogits = async (model: GPT2, features: Tensor): Promise<Float32Array> =>
  (await model.logits(features.slice(1, -1)).data()) as Float32Array;

/** Computes keys and values of all tokens again for every new one. */
export function uncached(model: GPT2): Next {
  let all: number[][] = [];
  return (fresh, from) => {
    all = fresh.map((tokens, row) => [...(all[from?.[row] ?? row] ?? []), ...tokens]);
    return lastLogits(model, model.transformer.forward(batch(all)));
  };
}

/**
 * Keys and values live in variables as long as the whole text, so that every token runs the same compiled program:
 * where a step writes, and what it may look at, are inputs.
 */
export function cached(model: GPT2, steps: number, rows = 1): Next {
  const { nHead, nEmbd, nLayer } = model.options;
  const shape = [rows, nHead, steps, nEmbd / nHead];
  const empty = (): Variable => new Variable(zeros(shape));
  const cache = Array.from({ length: nLayer }, () => ({ key: empty(), value: empty() }));
  const places = tensor(
    Int32Array.from({ length: steps }, (_, i) => i),
    { shape: [steps] },
  );
  let seen = 0;
  return (fresh, from) => {
    const count = (fresh[0] as readonly number[]).length;
    const positions = tensor(Int32Array.from({ length: count }, (_, i) => seen + i));
    const isPrompt = seen === 0;
    seen += count;
    const at = positions.reshape([1, 1, -1, 1]); // (1, 1, Tq, 1)
    const mask = places.le(at); // (1, 1, Tq, steps)
    // Which new step, if any, belongs in each place: the prompt fills the first ones, a token its own.
    const first = positions.slice(0, 0, 1);
    const order = from && tensor(Int32Array.from(from));
    const earlier = (variable: Variable): Tensor =>
      order ? embedding(variable.reshape([rows, -1]), order).reshape(shape) : variable;
    const remember: Remember = (layer, kv) => {
      const entry = cache[layer] as (typeof cache)[number];
      const filled = (part: 'key' | 'value'): Tensor =>
        isPrompt
          ? kv[part].pad([
              [0, 0],
              [0, 0],
              [0, steps - count],
              [0, 0],
            ])
          : where(places.eq(first).reshape([1, 1, -1, 1]), kv[part], earlier(entry[part]));
      const both = { key: filled('key'), value: filled('value') };
      for (const part of ['key', 'value'] as const)
        entry[part].assign(isPrompt && rows > 1 ? both[part].expand(shape) : both[part]);
      return { kv: isPrompt && rows > 1 ? both : entry, mask };
    };
    return lastLogits(model, model.transformer.forward(batch(fresh), positions, remember));
  };
}

export function wrongOption(field: string, expected: string, got: unknown): never {
  throw new ArgumentError('OPTION_INVALID', `[generate] ${field} must be ${expected}, got ${String(got)}`, {
    op: 'generate',
    field,
    expected,
    got,
  });
}

/** @throws ArgumentError OPTION_INVALID; SEQUENCE_TOO_LONG for more tokens than positions. */
export function checkPrompt(model: GPT2, prompt: readonly number[], maxNewTokens: number): void {
  const { vocabSize, nPositions } = model.options;
  if (prompt.length === 0) wrongOption('prompt', 'at least one token', 'none');
  for (const id of prompt)
    if (!(Number.isInteger(id) && id >= 0 && id < vocabSize)) wrongOption('prompt', `ids below ${vocabSize}`, id);
  if (!Number.isInteger(maxNewTokens) || maxNewTokens < 1)
    wrongOption('maxNewTokens', 'a whole number above 0', maxNewTokens);
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
