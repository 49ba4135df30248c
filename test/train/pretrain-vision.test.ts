/** Pre-training on pictures: the objectives are what the papers say, a trunk learns, is resumed bit for bit, and fits its classifier again. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DataLoader, digits, PatchMasking, pictures, type Transform } from '../../src/data/index.ts';
import { readSafetensors } from '../../src/io/index.ts';
import {
  MaskedAutoencoder,
  MnistCnn,
  patchify,
  resnet20,
  rotationModel,
  ViT,
  vgg11Bn,
} from '../../src/models/index.ts';
import { crossEntropy, Linear, type Module } from '../../src/nn/index.ts';
import {
  type MaskedPictureBatch,
  maskedAutoencoder,
  ntXent,
  type PictureBatch,
  rotationPrediction,
} from '../../src/tasks/index.ts';
import { iota, manualSeed, normal, type Tensor, tensor } from '../../src/tensor/index.ts';
import {
  fineTune,
  type Listener,
  type ObjectiveOptions,
  parseRecipe,
  pretrain,
  type RecipeInput,
  resumeRun,
  runRecipe,
} from '../../src/training/index.ts';
import { errorOf } from '../error-of.ts';

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'cambium-pictures-'));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

const train = digits({ split: 'train', size: 240 });
const validation = digits({ split: 'test', size: 60 });
const augmented: Transform[] = [
  { kind: 'randomAffine', degrees: 15, translate: 0.1 },
  { kind: 'normalize', mean: [0.13], std: [0.31] },
];
const tinyViT = (): ViT =>
  new ViT({ inChannels: 1, imageSize: 28, patchSize: 7, hiddenSize: 32, numLayers: 2, numHeads: 2 });

describe('objectives', () => {
  test('NT-Xent is the paper’s formula', async () => {
    manualSeed(4);
    const z = await normal([6, 5]).realize();
    const rows = (await z.toArray()) as number[][];
    const norm = (a: number[]): number => Math.hypot(...a);
    const dot = (a: number[], b: number[]): number => a.reduce((sum, v, i) => sum + v * (b[i] as number), 0);
    const sim = (i: number, k: number): number => {
      const [a, b] = [rows[i] as number[], rows[k] as number[]];
      return dot(a, b) / norm(a) / norm(b) / 0.2;
    };
    let expected = 0;
    for (let i = 0; i < 6; i++) {
      const others = [0, 1, 2, 3, 4, 5].filter((k) => k !== i);
      const all = others.reduce((sum, k) => sum + Math.exp(sim(i, k)), 0);
      expected -= Math.log(Math.exp(sim(i, (i + 3) % 6)) / all) / 6;
    }
    expect(await crossEntropy(...ntXent(z, 0.2)).item()).toBeCloseTo(expected, 5);
  });

  test('rotation: four classes, each picture turned counter-clockwise by 0, 90, 180 and 270 degrees', async () => {
    const seen: Tensor[] = [];
    const model = new MnistCnn();
    const wrapped = rotationModel(model, [1, 28, 28]);
    wrapped.trunk.forward = (x: Tensor) => {
      seen.push(x);
      return iota([x.shape[0] as number, 128], 1).cast('f32');
    };
    const [batch] = await batches(train, 3);
    const { weight } = rotationPrediction([]).measure(wrapped, batch as unknown as PictureBatch);
    expect(weight).toBe(12);
    const x = await (seen[0] as Tensor).data();
    const at = (n: number, r: number, c: number): number => x[n * 784 + r * 28 + c] as number;
    for (let n = 0; n < 3; n++)
      for (const [r, c] of [
        [3, 9],
        [14, 20],
        [10, 10],
      ] as const) {
        // numpy.rot90(m)[r][c] = m[c][S - 1 - r].
        expect(at(3 + n, r, c)).toBe(at(n, c, 27 - r));
        expect(at(6 + n, r, c)).toBe(at(n, 27 - r, 27 - c));
        expect(at(9 + n, r, c)).toBe(at(n, 27 - c, r));
      }
  });

  test('patches and their masks: nothing lost, K kept, each found again; a function of seed, epoch and picture', async () => {
    const x = tensor(Float32Array.from({ length: 2 * 16 }, (_, i) => i)).reshape(2, 1, 4, 4);
    expect(await patchify(x, 2).toArray()).toEqual([
      [
        [0, 1, 4, 5],
        [2, 3, 6, 7],
        [8, 9, 12, 13],
        [10, 11, 14, 15],
      ],
      [
        [16, 17, 20, 21],
        [18, 19, 22, 23],
        [24, 25, 28, 29],
        [26, 27, 30, 31],
      ],
    ]);
    const masking = new PatchMasking(16, 0.75);
    const [batch] = await batches(train, 5);
    const { kept, hidden, restore } = masking.of(batch as never, 9);
    expect([kept.shape, hidden.shape, restore.shape]).toEqual([[20], [60], [80]]);
    expect([...kept.data, ...hidden.data].sort((a, b) => Number(a) - Number(b))).toEqual([...Array(80).keys()]);
    [...restore.data].forEach((row, at) => {
      if (Number(row) < 20) expect(kept.data[Number(row)]).toBe(at);
      else expect([...hidden.data]).toContain(at);
    });
    expect(masking.of(batch as never, 9)).toEqual({ kept, hidden, restore });
    expect(masking.of(batch as never, 10)).not.toEqual({ kept, hidden, restore });
    expect((await errorOf(() => new PatchMasking(4, 0.01))).details.field).toBe('maskRatio');
  });

  test('a masked autoencoder never sees what is hidden, and is measured on that alone', async () => {
    manualSeed(5);
    const model = new MaskedAutoencoder(tinyViT(), [1, 28, 28], { decoderSize: 32, decoderLayers: 1 }).eval();
    const [batch] = await batches(train, 4);
    const masks = new PatchMasking(16, 0.75).of(batch as never, 1);
    const objective = maskedAutoencoder([], { normalizePixels: false });
    const rows = (data: ArrayLike<number>): Tensor => tensor(Int32Array.from(data), { dtype: 'i32' });
    const drawn = async (image: PictureBatch['image']): Promise<number[]> => {
      const x = tensor(image.data, { shape: image.shape, dtype: 'u8' }).cast('f32').div(255);
      const [kept, restore] = [rows(masks.kept.data as Int32Array), rows(masks.restore.data as Int32Array)];
      return [...(await model.reconstruct(x, { kept, restore }).data())] as number[];
    };
    const image = (batch as unknown as PictureBatch).image;
    const before = await drawn(image);
    const other = { ...image, data: Uint8Array.from(image.data as Uint8Array) };
    for (const row of masks.hidden.data as Int32Array)
      for (let y = 0; y < 7; y++)
        for (let c = 0; c < 7; c++) {
          const [n, p] = [row >> 4, row & 15];
          other.data[n * 784 + ((p >> 2) * 7 + y) * 28 + (p & 3) * 7 + c] = 77;
        }
    expect(await drawn(other)).toEqual(before);
    const full = { ...batch, ...masks } as unknown as MaskedPictureBatch;
    const patches = await patchify(
      tensor(image.data, { shape: image.shape, dtype: 'u8' }).cast('f32').div(255),
      7,
    ).data();
    let sum = 0;
    for (const row of masks.hidden.data as Int32Array)
      for (let i = 0; i < 49; i++) sum += ((before[row * 49 + i] as number) - (patches[row * 49 + i] as number)) ** 2;
    expect(await objective.measure(model, full).loss.item()).toBeCloseTo(sum / (48 * 49), 5);
  });
});

async function batches(data: typeof train, batchSize: number) {
  const all = [];
  for await (const batch of new DataLoader(data, { batchSize, seed: 1 }).epoch(0)) all.push(batch);
  return all;
}

describe('pretrain()', () => {
  const models: [string, () => Module, string, ObjectiveOptions][] = [
    ['rotation', () => resnet20({ inChannels: 1 }), 'accuracy', {}],
    ['contrastive', () => new MnistCnn({ dropout: 0 }), 'accuracy', { temperature: 0.2, projectionSize: 32 }],
    ['denoising-autoencoder', () => new MnistCnn({ dropout: 0 }), 'loss', { noise: 0.3, maskRatio: 0.3 }],
    ['masked-autoencoder', tinyViT, 'loss', { decoderSize: 32, decoderLayers: 1 }],
  ];
  test.each(models)(
    '%s: validation improves, and the classifier gets its head back',
    async (objective, make, metric, objectiveOptions) => {
      manualSeed(2);
      const model = make();
      const names = [...model.stateDict().keys()];
      const head = model.namedParameters().at(-1)?.variable;
      const result = await pretrain({
        objective: objective as 'rotation',
        model,
        data: { train, validation },
        transforms: objective === 'contrastive' ? augmented : augmented.slice(1),
        objectiveOptions,
        optimizer: { name: 'adamw', lr: 3e-3 },
        batchSize: 24,
        epochs: 3,
        seed: 7,
      });
      const of = (epoch: number): number =>
        result.history[epoch - 1]?.validation?.[metric as 'loss' | 'accuracy'] as number;
      if (metric === 'accuracy') expect(of(3)).toBeGreaterThan(objective === 'rotation' ? 0.4 : 0.3);
      else expect(of(3)).toBeLessThan(0.97 * of(1));
      expect(result.model).toBe(model);
      expect([...model.stateDict().keys()]).toEqual(names);
      expect(model.namedParameters().at(-1)?.variable).toBe(head);
      const tuned = await fineTune({ model, data: { train }, transforms: augmented.slice(1), epochs: 1 });
      expect(tuned.history[0]?.trainLoss).toBeLessThan(2.5);
    },
  );

  test('what does not fit is refused, and the model keeps its head', async () => {
    const model = new MnistCnn();
    const code = async (objective: string, options: object = {}, m: Module = model, transforms = augmented) => {
      const { code: found, details } = await errorOf(() =>
        pretrain({
          objective: objective as 'rotation',
          model: m,
          data: { train },
          transforms,
          objectiveOptions: options,
        }),
      );
      return [found, details.field];
    };
    expect(await code('contrastive', {}, model, augmented.slice(1))).toEqual(['OBJECTIVE_TRANSFORMS', 'transforms']);
    expect(await code('rotation', { temperature: 1 })).toEqual(['OPTION_INVALID', 'objective.temperature']);
    expect(await code('rotation', { masking: {} })).toEqual(['OPTION_INVALID', 'objective.masking']);
    expect(await code('contrastive', { temperature: 0 })).toEqual(['OPTION_INVALID', 'temperature']);
    expect(await code('denoising-autoencoder', { maskRatio: 1 })).toEqual(['OPTION_INVALID', 'maskRatio']);
    expect(await code('denoising-autoencoder', {}, tinyViT())).toEqual(['MODEL_OBJECTIVE', undefined]);
    expect(await code('masked-autoencoder')).toEqual(['MODEL_OBJECTIVE', undefined]);
    expect(await code('rotation', {}, vgg11Bn({ inChannels: 1 }))).toEqual(['INPUT_TOO_SMALL', undefined]);
    const wide: Transform[] = [{ kind: 'resize', height: 28, width: 32 }];
    expect(await code('rotation', {}, model, wide)).toEqual(['OBJECTIVE_TRANSFORMS', 'transforms']);
    expect(model.fc2).toBeInstanceOf(Linear);
    const vit = tinyViT();
    expect(await code('masked-autoencoder', { maskRatio: 0.01 }, vit)).toEqual(['OPTION_INVALID', 'maskRatio']);
    expect(vit.classifier).toBeInstanceOf(Linear);
  });
});

describe('recipes', () => {
  const recipe = (changes: Partial<RecipeInput> = {}): RecipeInput => ({
    name: 'views',
    seed: 3,
    data: { name: 'digits', validation: 60, digits: { train: 300, test: 50 } },
    task: 'contrastive',
    objective: { temperature: 0.2, projectionSize: 16 },
    transforms: augmented,
    model: { name: 'resnet20', shortcut: 'pad' },
    optimizer: { name: 'adamw', lr: 2e-3 },
    batchSize: 24,
    epochs: 2,
    ...changes,
  });

  test.each([
    ['contrastive', {}],
    ['denoising-autoencoder', { objective: {}, task: 'denoising-autoencoder' as const }],
  ])('%s: an interrupted run goes on bit for bit', async (name, changes) => {
    const parsed = parseRecipe(recipe(changes));
    const whole = await runRecipe(parsed, { out: join(dir, `${name}-whole`) });
    const out = join(dir, `${name}-cut`);
    const cut = parseRecipe(recipe({ ...changes, checkpoint: { everySteps: 4 } }));
    const stop: Listener = (event) => {
      if (event.type === 'checkpoint' && event.step === 8) throw new Error('pulled the plug');
    };
    expect(String(await errorOf(() => runRecipe(cut, { out, listeners: [stop] })))).toContain('plug');
    const again = await resumeRun(out);
    expect(again.result.weightsHash).toBe(whole.result.weightsHash);
    expect(again.result.history).toEqual(whole.result.history);
    expect(whole.reportText).toContain(`pre-training by ${name}`);
  });

  test('fine-tuning starts from the trunk; the head is new and nothing else', async () => {
    const out = join(dir, 'contrastive-whole');
    const { tensors } = await readSafetensors(join(out, 'model', 'model.safetensors'));
    expect([...tensors.keys()].some((name) => name.startsWith('linear.'))).toBe(false);
    const tuned = await runRecipe(
      parseRecipe({
        ...recipe(),
        task: undefined,
        objective: undefined,
        init: { weights: out },
        transforms: augmented.slice(1),
        limit: { train: 48 },
        epochs: 1,
      }),
      { out: join(dir, 'tuned') },
    );
    expect(tuned.result.init?.new).toEqual(['linear.weight', 'linear.bias']);
    expect(tuned.result.init?.unused.every((name) => name.startsWith('pretraining.'))).toBe(true);
    expect(tuned.report).toBeDefined();
  });

  test('a folder of pictures without labels, in any depth', async () => {
    const folder = join(dir, 'pictures');
    await mkdir(join(folder, 'a', 'b'), { recursive: true });
    await mkdir(join(folder, '.hidden'));
    for (let i = 0; i < 30; i++) {
      const at = i % 3 === 0 ? folder : join(folder, 'a', i % 3 === 1 ? '' : 'b');
      const { image } = train.get(i);
      const raw = { width: 28, height: 28, channels: 1 as const };
      await sharp(image.data, { raw })
        .png()
        .toFile(join(at, `${i}.png`));
    }
    await writeFile(join(folder, '.hidden', 'x.png'), 'no picture');
    await writeFile(join(folder, 'notes.txt'), 'text');
    const set = await pictures(folder, { channels: 1 });
    expect(set.length).toBe(30);
    expect(await set.get(0)).toHaveProperty('image.height', 28);
    const run = parseRecipe({
      ...recipe({ data: { name: 'pictures', dir: folder, channels: 1, validation: 6 } }),
      transforms: [{ kind: 'resize', height: 28, width: 28 }, ...augmented],
      epochs: 1,
      batchSize: 8,
    });
    const { result } = await runRecipe(run, { out: join(dir, 'from-pictures') });
    expect(result.steps).toBe(3);
    expect(JSON.parse(await readFile(join(dir, 'from-pictures', 'model', 'config.json'), 'utf8')).pretraining).toBe(
      'contrastive',
    );
    const bad = join(dir, 'empty');
    await mkdir(bad);
    expect((await errorOf(() => pictures(bad))).code).toBe('FOLDER_NO_IMAGES');
    expect((await errorOf(() => pictures(join(bad, 'no')))).code).toMatch(/NOT_FOUND|FILE/);
    const unlabelled = parseRecipe({
      ...recipe({ data: { name: 'pictures', dir: folder } }),
      task: undefined,
      objective: undefined,
    });
    expect((await errorOf(() => runRecipe(unlabelled, { out: join(dir, 'x') }))).code).toBe('RECIPE_INVALID');
  });
});
