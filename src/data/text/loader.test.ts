/** Batches of texts: tokens, padding, buckets by length, resuming, and what is refused. */
import { describe, expect, test } from 'vitest';
import {
  bucketedOrder,
  DataLoader,
  type Dataset,
  InMemoryTextDataset,
  plainTexts,
  StreamLoader,
  subset,
  trainWordPiece,
} from '../index.ts';

const classes = ['short', 'long'];
const words = (n: number): string => Array.from({ length: n }, (_, i) => ['low', 'new', 'wide', '中'][i % 4]).join(' ');
const lengths = Array.from({ length: 57 }, (_, i) => 1 + ((i * 7) % 23));
const dataset = new InMemoryTextDataset({
  name: 'texts',
  texts: lengths.map(words),
  labels: Int32Array.from(lengths, (n) => Number(n > 11)),
  classes,
});
const tokenizer = await trainWordPiece(dataset.texts, { vocabSize: 40 });
const all = async <T>(batches: AsyncIterable<T>): Promise<T[]> => {
  const out: T[] = [];
  for await (const batch of batches) out.push(batch);
  return out;
};

describe('batches of tokens', () => {
  test('three arrays, padded to a multiple, never above maxLength', async () => {
    const loader = new DataLoader(dataset, { batchSize: 4, text: { tokenizer, maxLength: 20, padToMultipleOf: 8 } });
    const batches = await all(loader.epoch(0));
    expect(batches).toHaveLength(15);
    for (const { inputIds, attentionMask, tokenTypeIds, label, ids, size } of batches) {
      const steps = inputIds.shape[1] as number;
      expect([8, 16, 20]).toContain(steps);
      expect(attentionMask.shape).toEqual([size, steps]);
      expect(tokenTypeIds.data.every((t) => t === 0)).toBe(true);
      ids.forEach((id, row) => {
        const tokens = Math.min(20, (lengths[id] as number) + 2);
        const mask = attentionMask.data.subarray(row * steps, (row + 1) * steps);
        expect(Array.from(mask).filter((m) => m === 1)).toHaveLength(tokens);
        expect(inputIds.data[row * steps + tokens - 1]).toBe(tokenizer.specialId('sep'));
        expect(label.data[row]).toBe(dataset.labels[id]);
      });
    }
  });

  test('buckets: every sample once, little padding, another order each epoch, the last batch last', async () => {
    const make = (bucketed: boolean) =>
      new DataLoader(dataset, {
        batchSize: 4,
        shuffle: true,
        seed: 3,
        text: { tokenizer, bucketed, padToMultipleOf: 1 },
      });
    const padding = (batches: { attentionMask: { data: ArrayLike<number> } }[]): number =>
      batches.reduce((sum, { attentionMask: { data } }) => sum + Array.from(data).filter((m) => m === 0).length, 0);
    const [plain, bucketed] = [await all(make(false).epoch(0)), await all(make(true).epoch(0))];
    const seen = bucketed.flatMap(({ ids }) => [...ids]);
    expect([...seen].sort((a, b) => a - b)).toEqual(lengths.map((_, i) => i));
    expect(padding(bucketed)).toBeLessThan(padding(plain) / 5);
    expect(bucketed.at(-1)?.size).toBe(1);
    expect((await all(make(true).epoch(1))).flatMap(({ ids }) => [...ids])).not.toEqual(seen);
    const inOrder = bucketed.map(({ inputIds }) => inputIds.shape[1] as number);
    expect(inOrder).not.toEqual([...inOrder].sort((a, b) => a - b));
  });

  test('an epoch entered in the middle gives the same batches, as does one asked for alone', async () => {
    const options = { batchSize: 5, shuffle: true, seed: 9, text: { tokenizer, bucketed: true } };
    const whole = await all(new DataLoader(dataset, options).epoch(2));
    expect(await all(new DataLoader(dataset, options).epoch(2, { startBatch: 4 }))).toEqual(whole.slice(4));
    expect(await new DataLoader(dataset, options).batch(2, 7)).toEqual(whole[7]);
  });

  test('without shuffling, buckets are all samples by length', () => {
    const order = bucketedOrder([3, 1, 2, 1], 2, { shuffle: false });
    expect([...order]).toEqual([1, 3, 2, 0]);
    expect([...bucketedOrder([], 2)]).toEqual([]);
  });

  test('texts without labels', async () => {
    const plain = plainTexts(['low', 'new wide']);
    const batch = await new DataLoader(plain, { batchSize: 2, text: { tokenizer, padToMultipleOf: 1 } }).batch(0, 0);
    expect(Object.keys(batch).sort()).toEqual([
      'attentionMask',
      'epoch',
      'ids',
      'index',
      'inputIds',
      'size',
      'tokenTypeIds',
    ]);
    expect(batch.inputIds.shape).toEqual([2, 4]);
    expect(() => plain.get(2)).toThrowError(expect.objectContaining({ code: 'INDEX_OUTSIDE' }));
  });

  test('a view keeps the ids of its source; pairs have types', async () => {
    const pairs = new InMemoryTextDataset({
      name: 'pairs',
      texts: ['low', 'new'],
      pairs: ['wide 中', '中'],
      labels: Int32Array.of(0, 1),
      classes,
    });
    const batch = await new DataLoader(subset(pairs, [1]), {
      batchSize: 1,
      text: { tokenizer, padToMultipleOf: 1 },
    }).batch(0, 0);
    expect([...batch.ids]).toEqual([1]);
    expect([...batch.tokenTypeIds.data]).toEqual([0, 0, 0, 1, 1]);
  });
});

describe('streams', () => {
  const stream = {
    name: 'stream',
    schema: dataset.schema,
    async *samples() {
      for (let i = 0; i < dataset.length; i++) yield dataset.get(i);
    },
  };
  const options = { batchSize: 8, seed: 4, shuffleBuffer: 20, text: { tokenizer } };

  test('batches as from memory: every sample once, an order of seed and epoch, entered anywhere', async () => {
    const loader = new StreamLoader(stream, options);
    const whole = await all(loader.epoch(1));
    expect(whole.map(({ size }) => size)).toEqual([8, 8, 8, 8, 8, 8, 8, 1]);
    const tokens = whole.flatMap(({ attentionMask: { data } }) => Array.from(data)).filter((m) => m === 1).length;
    expect(tokens).toBe(lengths.reduce((sum, n) => sum + n + 2, 0));
    expect(await all(new StreamLoader(stream, options).epoch(1, { startBatch: 3 }))).toEqual(whole.slice(3));
    expect(await all(loader.epoch(2))).not.toEqual(whole);
    expect((await all(new StreamLoader(stream, { ...options, dropLast: true }).epoch(0))).length).toBe(7);
    const plain = new StreamLoader(stream, { ...options, shuffleBuffer: 0 });
    const [first] = await all(plain.epoch(0));
    expect(first).toEqual(await new DataLoader(dataset, { batchSize: 8, text: { tokenizer } }).batch(0, 0));
  });

  test('wrong options are found before anything is read', () => {
    expect(() => new StreamLoader(stream, { ...options, text: { tokenizer, bucketed: true } })).toThrow('buckets');
    expect(() => new StreamLoader(stream, { ...options, shuffleBuffer: -1 })).toThrow('shuffleBuffer');
    expect(() => new StreamLoader(stream, { batchSize: 8 })).toThrow('text');
  });
});

describe('refusals', () => {
  const codeOf = (body: () => unknown): string => {
    try {
      body();
    } catch (error) {
      return (error as { code: string }).code;
    }
    return 'none';
  };
  test('texts without a tokenizer, no room, nonsense', async () => {
    expect(codeOf(() => new DataLoader(dataset, { batchSize: 2 }))).toBe('FIELD_UNSUPPORTED');
    expect(codeOf(() => new DataLoader(dataset, { batchSize: 2, text: { tokenizer, maxLength: 2 } }))).toBe(
      'MAX_LENGTH',
    );
    expect(codeOf(() => new DataLoader(dataset, { batchSize: 2, text: { tokenizer, padToMultipleOf: 0 } }))).toBe(
      'OPTION_INVALID',
    );
    const bad = {
      ...dataset,
      length: 1,
      schema: dataset.schema,
      get: () => ({ text: 7, label: 0 }),
    } as unknown as Dataset;
    await expect(new DataLoader(bad, { batchSize: 1, text: { tokenizer } }).batch(0, 0)).rejects.toMatchObject({
      code: 'FIELD_INVALID',
    });
    const extra = {
      ...dataset,
      length: 1,
      schema: dataset.schema,
      get: () => ({ text: 'a', label: 0, more: 1 }),
    } as unknown as Dataset;
    await expect(new DataLoader(extra, { batchSize: 1, text: { tokenizer } }).batch(0, 0)).rejects.toMatchObject({
      code: 'FIELD_UNKNOWN',
    });
  });
});
