/** Beam search and the filters of sampling against transformers' generate and its logits processors. */
import { expect, test } from 'vitest';
import { beamSearch, GPT2, generate, tokenProbabilities } from '../../src/models/index.ts';
import { expectClose, golden, integers, uniformData } from './streams.ts';

interface Beams {
  scale: number;
  stream: number;
  eos: number | null;
  beams: number;
  penalty: number;
  early: boolean | 'never';
  tokens: number[][];
  scores: number[];
}
interface Sampling {
  stream: number;
  width: number;
  temperature: number;
  topK: number | null;
  topP: number | null;
  kept: number[];
  probabilities: number[];
}
const { beams, sampling } = golden<{ beams: Beams[]; sampling: Sampling[] }>('generation');

const small = { vocabSize: 40, nPositions: 24, nEmbd: 16, nLayer: 2, nHead: 2 };
/** As `fill` in the script; the table of tokens times `scale`. */
function model(scale: number): GPT2 {
  const made = new GPT2({ ...small, residPdrop: 0.5, embdPdrop: 0.5, attnPdrop: 0.5 });
  const entries = made.namedParameters().map(({ name, variable: { shape, dtype, size } }, i) => {
    const data = uniformData(100 + i, size, -0.4, 0.4).map((v) => (i === 0 ? v * Math.fround(scale) : v));
    return [name, { shape, dtype, data }] as const;
  });
  made.loadStateDict(new Map(entries));
  return made;
}
const promptOf = async (stream: number): Promise<number[]> => [
  ...((await integers(stream, [1, 4], 40).data()) as Int32Array),
];

test.each([1, 0.3])('beam search finds the texts and scores of transformers, tokens scaled by %d', async (scale) => {
  const gpt = model(scale);
  for (const wanted of beams.filter((b) => b.scale === scale)) {
    const { stream, eos, beams: numBeams, penalty: lengthPenalty, early: earlyStopping } = wanted;
    const options = {
      maxNewTokens: 14,
      numBeams,
      lengthPenalty,
      earlyStopping,
      ...(eos !== null && { eosTokenId: eos }),
    };
    const found = await beamSearch(gpt, await promptOf(stream), options);
    const what = JSON.stringify({ ...options, stream });
    expect(
      found.map(({ tokens }) => tokens),
      what,
    ).toEqual(wanted.tokens);
    expectClose(
      found.map(({ score }) => score),
      wanted.scores,
      1e-5,
      what,
    );
  }
});

test('generate gives the best of the beams, with cache or without, and leaves the mode alone', async () => {
  const gpt = model(0.3);
  const { stream, eos, tokens } = beams.find((b) => b.scale === 0.3 && b.beams === 4 && b.eos !== null) as Beams;
  const options = {
    maxNewTokens: 14,
    numBeams: 4,
    lengthPenalty: 0,
    earlyStopping: 'never',
    eosTokenId: eos ?? 0,
  } as const;
  for (const useCache of [true, false])
    expect(await generate(gpt, await promptOf(stream), { ...options, useCache })).toEqual(tokens[0]);
  expect(gpt.training).toBe(true);
});

test('options that would be ignored or are out of range are refused', async () => {
  const gpt = model(1);
  for (const wrong of [
    { numBeams: 0 },
    { numBeams: 21 },
    { numBeams: 2.5 },
    { numBeams: 2, temperature: 0.5 },
    { numBeams: 2, topK: 3 },
    { numBeams: 2, seed: 3 },
    { numBeams: 2, lengthPenalty: Number.NaN },
    { numBeams: 2, earlyStopping: 'soon' as 'never' },
    { lengthPenalty: 2 },
    { earlyStopping: true },
  ])
    await expect(generate(gpt, [1], wrong), JSON.stringify(wrong)).rejects.toMatchObject({ code: 'OPTION_INVALID' });
  await expect(generate(gpt, [1], { numBeams: 2, maxNewTokens: 24 })).rejects.toMatchObject({
    code: 'SEQUENCE_TOO_LONG',
  });
});

test.each(sampling)('draws by the distribution of transformers: $width, $temperature, $topK, $topP', (wanted) => {
  const { stream, width, temperature, topK, topP, kept, probabilities } = wanted;
  const logits = uniformData(stream, 60, -width, width);
  const options = { temperature, ...(topK !== null && { topK }), ...(topP !== null && { topP }) };
  const p = tokenProbabilities(logits, options);
  expect([...p.keys()].filter((i) => (p[i] as number) > 0)).toEqual(kept);
  expectClose(
    kept.map((i) => p[i] as number),
    probabilities,
    1e-6,
    'probability',
  );
});
