/** Rows of tokens and what is hidden in them: nothing lost, special tokens kept, the same for the same seed. */
import { beforeAll, describe, expect, test } from 'vitest';
import type { CambiumError } from '../../base/index.ts';
import { BlockLoader, type LanguageBatch } from '../block-loader.ts';
import { phrases } from '../datasets/phrases.ts';
import { SampleRandom } from '../random.ts';
import { Masking } from './masking.ts';
import { packTexts, TokenBlocks } from './token-blocks.ts';
import type { Tokenizer } from './tokenizer.ts';
import { trainBpe, trainWordPiece } from './train-tokenizer.ts';

const { texts } = phrases({ split: 'train', size: 300 });
let tokenizer: Tokenizer;
beforeAll(async () => {
  tokenizer = await trainWordPiece(texts, { vocabSize: 300 });
});
const rowsOf = async (list: readonly string[], length: number): Promise<Int32Array[]> => {
  const rows: Int32Array[] = [];
  for await (const row of packTexts(list, { tokenizer, length, style: 'bert' })) rows.push(row);
  return rows;
};
const codeOf = async (body: () => unknown): Promise<[string, unknown]> => {
  try {
    await body();
  } catch (error) {
    const { code, details } = error as CambiumError;
    return [code, details.field];
  }
  return expect.fail('nothing was thrown');
};

describe('packing', () => {
  test('texts run on from row to row: every token but the last few, in order', async () => {
    const rows = await rowsOf(texts, 20);
    const [cls, sep] = [tokenizer.specialId('cls'), tokenizer.specialId('sep')];
    expect(rows.every((row) => row.length === 20 && row[0] === cls && !row.includes(tokenizer.padId))).toBe(true);
    const packed = rows.flatMap((row) => [...row.subarray(1)].filter((id) => id !== sep));
    const all = texts.flatMap((text) => [...tokenizer.ids(text)]);
    expect(packed).toEqual(all.slice(0, packed.length));
    expect(all.length - packed.length).toBeLessThan(20);
    expect(rows.every((row) => row[1] !== sep)).toBe(true);
  });

  test('a tokenizer of GPT ends texts by its end token and begins rows with text', async () => {
    const bpe = await trainBpe(['to be or not to be'], { vocabSize: 260 });
    const blocks = await TokenBlocks.from(['to be', 'or not'], { tokenizer: bpe, length: 4, style: 'gpt' });
    const ids = [...bpe.ids('to be'), bpe.specialId('eos'), ...bpe.ids('or not'), bpe.specialId('eos')];
    const packed = Array.from({ length: blocks.length }, (_, i) => [...blocks.block(i)]).flat();
    expect(packed).toEqual(ids.slice(0, packed.length));
  });

  test('what has less than a row is refused, and rows without room', async () => {
    const options = { tokenizer, length: 64, style: 'bert' } as const;
    expect(await codeOf(() => TokenBlocks.from(['good'], options))).toEqual(['DATASET_EMPTY', undefined]);
    expect(await codeOf(() => TokenBlocks.from(texts, { ...options, length: 2 }))).toEqual([
      'OPTION_INVALID',
      'length',
    ]);
    expect(await codeOf(() => TokenBlocks.from(texts, { ...options, maxTokens: 640 }))).toEqual([
      'DATASET_TOO_LARGE',
      undefined,
    ]);
  });
});

describe('masking', () => {
  const hide = (row: Int32Array, options = {}, seed = 1, epoch = 0, id = 0) => {
    const masking = new Masking(tokenizer, row.length, options);
    const out = { places: new Int32Array(masking.most), targets: new Int32Array(masking.most) };
    const changed = Int32Array.from(row);
    const count = masking.apply(changed, new SampleRandom().start(seed, epoch, id, 7), out);
    return { changed, count, places: [...out.places.subarray(0, count)], targets: [...out.targets.subarray(0, count)] };
  };

  test('15 % of the tokens, 80 / 10 / 10, no special token hidden or put in', async () => {
    const rows = await rowsOf(texts, 64);
    let [tokens, hidden, masks, kept] = [0, 0, 0, 0];
    rows.forEach((row, id) => {
      const { changed, places, targets } = hide(row, {}, 3, 1, id);
      expect(targets).toEqual(places.map((at) => row[at]));
      expect(new Set(places).size).toBe(places.length);
      const special = (i: number): boolean => tokenizer.specialIds.has(row[i] as number);
      expect(places.some(special)).toBe(false);
      row.forEach((token, i) => {
        if (!special(i)) tokens++;
        if (!places.includes(i)) expect(changed[i]).toBe(token);
        else if (changed[i] === tokenizer.specialId('mask')) masks++;
        else {
          expect(tokenizer.specialIds.has(changed[i] as number)).toBe(false);
          if (changed[i] === token) kept++;
        }
      });
      hidden += places.length;
    });
    expect(hidden / tokens).toBeCloseTo(0.15, 1);
    expect(Math.abs(hidden / tokens - 0.15)).toBeLessThan(0.01);
    expect(masks / hidden).toBeGreaterThan(0.74);
    expect(masks / hidden).toBeLessThan(0.86);
    expect(kept / hidden).toBeGreaterThan(0.06);
    expect(kept / hidden).toBeLessThan(0.15);
  });

  test('is a function of seed, epoch and row; spans lie side by side', async () => {
    const [row] = (await rowsOf(texts, 64)) as [Int32Array];
    expect(hide(row)).toEqual(hide(row));
    const draws = [hide(row), hide(row, {}, 2), hide(row, {}, 1, 1), hide(row, {}, 1, 0, 1)];
    expect(new Set(draws.map(({ places }) => places.join())).size).toBe(4);
    const neighbours = (maxSpan: number): number => {
      let n = 0;
      for (let id = 0; id < 40; id++) {
        const { places } = hide(row, { maxSpan }, 5, 0, id);
        n += places.filter((at, i) => i > 0 && at === (places[i - 1] as number) + 1).length;
      }
      return n;
    };
    expect(neighbours(4)).toBeGreaterThan(1.5 * neighbours(1));
  });

  test('wrong shares and a tokenizer without [MASK] are refused', async () => {
    const make = (options: object) => () => new Masking(tokenizer, 16, options);
    expect(await codeOf(make({ probability: 0 }))).toEqual(['OPTION_INVALID', 'probability']);
    expect(await codeOf(make({ mask: 1.5 }))).toEqual(['OPTION_INVALID', 'mask']);
    expect(await codeOf(make({ mask: 0.9, random: 0.2 }))).toEqual(['OPTION_INVALID', 'random']);
    expect(await codeOf(make({ maxSpan: 0 }))).toEqual(['OPTION_INVALID', 'maxSpan']);
    const bpe = await trainBpe(['to be'], { vocabSize: 260 });
    expect((await codeOf(() => new Masking(bpe, 16)))[0]).toMatch(/TOKEN/);
  });
});

describe('batches', () => {
  const all = async (loader: BlockLoader, epoch: number, startBatch = 0): Promise<LanguageBatch[]> => {
    const batches: LanguageBatch[] = [];
    for await (const batch of loader.epoch(epoch, { startBatch })) batches.push(batch);
    return batches;
  };

  test('an epoch entered in the middle goes on as if it had been run', async () => {
    const options = { tokenizer, length: 16, style: 'bert' } as const;
    const memory = await TokenBlocks.from(texts, options);
    {
      const loader = new BlockLoader(memory, { batchSize: 8, shuffle: true, seed: 4, masking: {} });
      const batches = await all(loader, 2);
      expect(batches.length).toBe(loader.length);
      expect(await all(loader, 2, 3)).toEqual(batches.slice(3));
      expect((await all(loader, 3))[0]?.ids).not.toEqual(batches[0]?.ids);
      expect(batches.flatMap(({ ids }) => [...ids]).sort((a, b) => a - b)).toEqual(
        Array.from({ length: memory.length }, (_, i) => i),
      );
      for (const { inputIds, positions, label, targets, size } of batches) {
        expect(positions?.shape).toEqual([2 * size]);
        expect(label.data.filter((id) => id !== -100).length).toBe(targets);
        expect(inputIds.shape).toEqual([size, 16]);
      }
    }
  });

  test('without masks the label of every token is the next', async () => {
    const blocks = await TokenBlocks.from(texts, { tokenizer, length: 9, style: 'bert' });
    const [batch] = await all(new BlockLoader(blocks, { batchSize: 4 }), 0);
    expect(batch?.inputIds.shape).toEqual([4, 8]);
    expect([...(batch?.label.data.slice(0, 7) ?? [])]).toEqual([...(batch?.inputIds.data.slice(1, 8) ?? [])]);
    expect(batch?.label.data[7]).toBe(blocks.block(0)[8]);
    expect(await codeOf(() => new BlockLoader(blocks, { batchSize: 0 }))).toEqual(['LOADER_OPTION', 'batchSize']);
  });
});
