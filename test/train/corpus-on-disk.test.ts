/** Corpora that memory does not hold: read as streams and packed into a file, with the same bits as in memory. */
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  phrases,
  plainTexts,
  StreamedTexts,
  samplesOf,
  splitDataset,
  subset,
  type Tokenizer,
  trainBpe,
  trainWordPiece,
  unlabelledTexts,
} from '../../src/data/index.ts';
import { BertForMaskedLM, GPT2 } from '../../src/models/index.ts';
import { manualSeed } from '../../src/tensor/index.ts';
import {
  type Listener,
  type PretrainOptions,
  parseRecipe,
  pretrain,
  type RecipeInput,
  resumeRun,
  runRecipe,
} from '../../src/training/index.ts';
import { errorOf } from '../error-of.ts';

let dir: string;
let before: string | undefined;
const { texts } = phrases({ split: 'train', size: 500 });
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'cambium-corpus-'));
  before = process.env.CAMBIUM_CACHE;
  await writeFile(join(dir, 'lines.txt'), `${texts.slice(0, 300).join('\n')}\n`);
  await writeFile(join(dir, 'more.txt'), `${texts.slice(300).join('\n')}\n`);
});
afterAll(async () => {
  if (before === undefined) delete process.env.CAMBIUM_CACHE;
  else process.env.CAMBIUM_CACHE = before;
  await rm(dir, { recursive: true, force: true });
});
const useCache = (name: string): string => {
  process.env.CAMBIUM_CACHE = join(dir, name);
  return join(dir, name, 'tokens');
};

const small = { hiddenSize: 16, numHiddenLayers: 1, numAttentionHeads: 2, intermediateSize: 32 };
const onDisk = { inMemory: { characters: 0, tokens: 0 } };
const recipe = (changes: Partial<RecipeInput> = {}) =>
  parseRecipe({
    name: 'words',
    seed: 3,
    data: { name: 'texts', corpora: [{ file: 'lines.txt' }, { file: 'more.txt', document: true }], validation: 0.1 },
    task: 'masked-lm',
    tokenizer: { train: 'wordpiece', vocabSize: 300 },
    maxLength: 24,
    model: { name: 'bert', ...small, dropout: 0.1, maxPositionEmbeddings: 32 },
    optimizer: { name: 'adamw', lr: 5e-3 },
    batchSize: 16,
    epochs: 2,
    ...changes,
  });
const listen = () => {
  const notices: string[] = [];
  const listener: Listener = (event) => void (event.type === 'notice' && notices.push(event.text));
  return { notices, listeners: [listener] };
};
describe('a recipe', () => {
  test.each(['random', 'last'] as const)('the same split (%s), order and weights as in memory', async (split) => {
    const cache = useCache(`split-${split}`);
    const { data } = recipe();
    const wanted = recipe({ data: { ...data, split }, limit: { train: 200 } });
    const memory = await runRecipe(wanted, { dataDir: dir, out: join(dir, `memory-${split}`) });
    expect(await readdir(cache).catch(() => [])).toEqual([]);
    const { notices, listeners } = listen();
    const disk = await runRecipe(wanted, { dataDir: dir, out: join(dir, `disk-${split}`), listeners, ...onDisk });
    expect(disk.result.weightsHash).toBe(memory.result.weightsHash);
    expect(disk.result.history).toEqual(memory.result.history);
    expect((await readdir(cache)).length).toBe(2);
    expect(notices.filter((text) => text.includes('once')).length).toBe(2);
    const head = async (run: string) => JSON.parse(await readFile(join(dir, run, 'recipe.json'), 'utf8')).data;
    expect(await head(`disk-${split}`)).toEqual(await head(`memory-${split}`));
  });

  test('stopped within an epoch and resumed from the file, it ends with the same weights', async () => {
    useCache('resumed');
    const wanted = await runRecipe(recipe(), { dataDir: dir, out: join(dir, 'whole') });
    const out = join(dir, 'broken');
    const stopAt: Listener = (event) => {
      if (event.type === 'checkpoint' && event.reason === 'steps' && event.step === 10) throw new Error('killed');
    };
    const broken = recipe({ checkpoint: { everySteps: 5 } });
    await errorOf(() => runRecipe(broken, { dataDir: dir, out, listeners: [stopAt], ...onDisk }));
    const { notices, listeners } = listen();
    const resumed = await resumeRun(out, { dataDir: dir, listeners, ...onDisk });
    expect(notices.filter((text) => text.endsWith('from the cache')).length).toBe(2);
    expect(resumed.result.weightsHash).toBe(wanted.result.weightsHash);
  });
});

describe('pretrain', () => {
  let tokenizer: Tokenizer;
  beforeAll(async () => {
    tokenizer = await trainWordPiece(texts, { vocabSize: 300 });
  });
  const run = async (changes: Partial<PretrainOptions>) => {
    manualSeed(1);
    const { notices, listeners } = listen();
    const { history } = await pretrain({
      objective: 'masked-lm',
      model: new BertForMaskedLM({ vocabSize: tokenizer.vocabSize, ...small, maxPositionEmbeddings: 32 }),
      data: { train: unlabelledTexts(join(dir, 'lines.txt'), { textColumn: 0, delimiter: '\u0001' }) },
      text: { tokenizer, maxLength: 24 },
      batchSize: 16,
      listeners,
      ...changes,
    });
    return { losses: history.map(({ trainLoss }) => trainLoss), notices: notices.join('\n') };
  };

  test('a stream, in memory or in a file, is shuffled as the texts in memory', async () => {
    useCache('stream');
    const data = { train: plainTexts(texts.slice(0, 300)) };
    const wanted = (await run({ data, epochs: 2 })).losses;
    expect((await run({ epochs: 2 })).losses).toEqual(wanted);
    expect((await run({ epochs: 2, tokensInMemory: 500 })).losses).toEqual(wanted);
    const again = await run({ data, epochs: 2, tokensInMemory: 500 });
    expect(again.losses).toEqual(wanted);
    expect(again.notices).toContain('from the cache');
  });

  test('the next token from a file as from memory; another length is another file', async () => {
    const cache = useCache('gpt');
    const bpe = await trainBpe(texts, { vocabSize: 300 });
    const causal = (tokensInMemory: number, maxLength: number) => {
      manualSeed(2);
      const model = new GPT2({ vocabSize: bpe.vocabSize, nPositions: 32, nEmbd: 16, nLayer: 1, nHead: 2 });
      return run({ objective: 'causal-lm', model, text: { tokenizer: bpe, maxLength }, tokensInMemory });
    };
    expect((await causal(0, 24)).losses).toEqual((await causal(1e6, 24)).losses);
    await causal(0, 16);
    expect((await readdir(cache)).length).toBe(2);
  });

  test('a damaged file is made again; where there is no folder, memory has to do', async () => {
    const cache = useCache('damaged');
    const wanted = (await run({ tokensInMemory: 0 })).losses;
    const [name] = await readdir(cache);
    const file = join(cache, name as string, 'tokens.bin');
    const bytes = await readFile(file);
    bytes[100] = (bytes[100] as number) ^ 1;
    await writeFile(file, bytes);
    const { losses, notices } = await run({ tokensInMemory: 0 });
    expect(losses).toEqual(wanted);
    expect(notices).toContain('packed again');
    await writeFile(join(dir, 'no-folder'), '');
    useCache('no-folder');
    const without = await run({ tokensInMemory: 0 });
    expect(without.losses).toEqual(wanted);
    expect(without.notices).toContain('kept in memory');
  });

  test('two at once share one file; no draft is left', async () => {
    const cache = useCache('two');
    const both = await Promise.all([run({ tokensInMemory: 0 }), run({ tokensInMemory: 0 })]);
    expect(both[0]?.losses.length).toBe(1);
    const names = await readdir(cache);
    expect(names.length).toBe(1);
    expect(names[0]).toMatch(/^[0-9a-f]{64}$/);
  });

  test('a stream of other texts every time is refused', async () => {
    useCache('changing');
    let pass = 0;
    const changing = {
      ...unlabelledTexts('x.txt'),
      async *samples() {
        pass++;
        for (const text of texts) yield { text: `${text} ${pass}` };
      },
    };
    expect((await errorOf(() => run({ data: { train: changing }, tokensInMemory: 0 }))).code).toBe('STREAM_CHANGED');
  });
});

describe('streamed texts', () => {
  const all = async (set: Parameters<typeof samplesOf<{ readonly text: string }>>[0]): Promise<string[]> => {
    const out: string[] = [];
    for await (const { text } of samplesOf(set)) out.push(text);
    return out;
  };
  const stream = (list: readonly string[], total = list.length) =>
    new StreamedTexts('lines', total, async function* () {
      yield* list;
    });

  test('parts, and parts of parts, are those of texts in memory', async () => {
    const parts = { train: 'rest', validation: 0.2 } as const;
    const options = { seed: 5, stratify: false } as const;
    const memory = await splitDataset(plainTexts(texts), parts, options);
    const streamed = await splitDataset(stream(texts), parts, options);
    for (const part of ['train', 'validation'] as const) {
      expect(await all(streamed[part])).toEqual(await all(memory[part]));
      const inner = await splitDataset(streamed[part], { chosen: 30 }, options);
      const wanted = await splitDataset(memory[part], { chosen: 30 }, options);
      expect(await all(inner.chosen)).toEqual(await all(wanted.chosen));
    }
  });

  test('what a stream cannot do', async () => {
    expect((await errorOf(async () => stream(texts).get())).code).toBe('STREAM_NO_INDEX');
    expect((await errorOf(async () => subset(stream(texts), [3, 1]))).code).toBe('STREAM_NO_INDEX');
    expect((await errorOf(() => all(stream(texts, texts.length + 1)))).code).toBe('STREAM_CHANGED');
  });
});
