/** A stream where samples are read by position is refused, with what to do instead. */
import { expect, test } from 'vitest';
import type { CambiumError } from '../../src/base/index.ts';
import {
  DataLoader,
  type Dataset,
  digits,
  type ImageSample,
  type IterableDataset,
  phrases,
  splitDataset,
  textStream,
  trainWordPiece,
} from '../../src/data/index.ts';
import { BertForMaskedLM, LSTMClassifier, MLP } from '../../src/models/index.ts';
import { fineTune, pretrain } from '../../src/training/index.ts';

const pictures = digits({ split: 'train', size: 20 });
/** As somebody without types would pass it. */
const stream = {
  name: 'shards',
  schema: pictures.schema,
  async *samples() {
    for (let i = 0; i < pictures.length; i++) yield pictures.get(i);
  },
} satisfies IterableDataset<ImageSample> as unknown as Dataset<ImageSample>;
const refused = async (body: () => unknown) => {
  try {
    await body();
  } catch (error) {
    const { code, details } = error as CambiumError;
    return [code, details.field, details.hint];
  }
  return expect.fail('nothing was thrown');
};

test('pictures', async () => {
  const learn = (data: Parameters<typeof fineTune>[0]['data']) => fineTune({ model: new MLP({}), data });
  expect(await refused(() => learn({ train: stream }))).toEqual([
    'STREAM_UNSUPPORTED',
    'data.train',
    expect.stringContaining('imageFolder'),
  ]);
  expect((await refused(() => learn({ train: pictures, test: stream }))).slice(0, 2)).toEqual([
    'STREAM_UNSUPPORTED',
    'data.test',
  ]);
  const objective = 'denoising-autoencoder';
  const unlabelled = () => pretrain({ objective, model: new MLP({}), data: { train: stream } });
  expect((await refused(unlabelled)).slice(0, 2)).toEqual(['STREAM_UNSUPPORTED', 'data.train']);
  expect((await refused(() => new DataLoader(stream, { batchSize: 4 })))[2]).toContain('StreamLoader');
  const split = () => splitDataset(stream, { train: 'rest', test: 4 }, { seed: 1 });
  expect((await refused(split))[0]).toBe('STREAM_UNSUPPORTED');
});

test('texts', async () => {
  const tokenizer = await trainWordPiece(phrases({ split: 'train', size: 50 }).texts, { vocabSize: 200 });
  const train = textStream('rows.csv', { classes: ['bad', 'good'] }) as unknown as Parameters<
    typeof fineTune
  >[0]['data']['train'];
  const model = new LSTMClassifier({ vocabSize: tokenizer.vocabSize });
  expect(await refused(() => fineTune({ model, data: { train }, text: { tokenizer } }))).toEqual([
    'STREAM_UNSUPPORTED',
    'data.train',
    expect.stringContaining('readTextDataset'),
  ]);
  const bert = new BertForMaskedLM({
    ...{ vocabSize: tokenizer.vocabSize, hiddenSize: 16, numHiddenLayers: 1, numAttentionHeads: 2 },
    ...{ intermediateSize: 16, maxPositionEmbeddings: 32 },
  });
  const wrong = { train: stream as unknown as Dataset<{ readonly text: string }> };
  const words = () =>
    pretrain({ objective: 'masked-lm', model: bert, data: wrong, text: { tokenizer, maxLength: 16 } });
  expect((await refused(words)).slice(0, 2)).toEqual(['TEXT_EXPECTED', 'data']);
});
