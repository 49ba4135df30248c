/** Knowledge distillation: PyTorch's loss and gradient, a run with a teacher, resume, classes in another order, and what is refused. */
import { cp, mkdir, mkdtemp, readFile, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { digits, InMemoryImageDataset } from '../../src/data/index.ts';
import { crossEntropy } from '../../src/nn/index.ts';
import { distillationLoss, withTeacher } from '../../src/tasks/index.ts';
import { tensor, Variable } from '../../src/tensor/index.ts';
import {
  fineTune,
  type LoadedModel,
  loadModelFolder,
  parseRecipe,
  planRecipe,
  type RecipeInput,
  type ResumeRequest,
  resumeRun,
  runRecipe,
} from '../../src/training/index.ts';
import { mlp, options, train, transforms, weightsOf } from './tiny.ts';

interface Case {
  temperature: number;
  alpha: number;
  student: number[][];
  teacher: number[][];
  labels: number[];
  loss: number;
  gradient: number[];
}
const golden: Case[] = JSON.parse(
  await readFile(new URL('../golden/metrics/distillation.json', import.meta.url), 'utf8'),
);

let dir: string;
let teacher: LoadedModel;
const recipe = (changes: Partial<RecipeInput> = {}) =>
  parseRecipe({
    name: 'small',
    data: { name: 'digits', digits: { train: 120, test: 40 }, validation: 20 },
    transforms,
    model: { name: 'mlp', hidden: 8 },
    optimizer: { name: 'adamw', lr: 5e-3 },
    batchSize: 25,
    epochs: 2,
    ...changes,
  });
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'cambium-distill-'));
  await runRecipe(recipe({ model: { name: 'mlp', hidden: 32 }, epochs: 3 }), { out: join(dir, 'teacher') });
  teacher = await loadModelFolder(join(dir, 'teacher', 'model'));
}, 60_000);
afterAll(() => rm(dir, { recursive: true, force: true }));

test.each(golden)("PyTorch's loss and gradient at temperature $temperature", async (own) => {
  const student = new Variable(tensor(own.student.flat(), { shape: [5, 4] }), { requiresGrad: true });
  const soft = tensor(own.teacher.flat(), { shape: [5, 4] });
  const { temperature, alpha } = own;
  const labels = crossEntropy(student, tensor(Int32Array.from(own.labels)));
  const batch = {} as Parameters<typeof withTeacher>[3];
  const loss = withTeacher(labels, student, { temperature, alpha, logits: () => soft }, batch);
  loss.backward();
  expect(await loss.item()).toBeCloseTo(own.loss, 4);
  const gradient = await (student.grad as NonNullable<typeof student.grad>).data();
  for (const [i, value] of own.gradient.entries()) expect(gradient[i]).toBeCloseTo(value, 5);
});

test('a loss that cannot be is refused', () => {
  const y = tensor([1, 2], { shape: [1, 2] });
  expect(() => distillationLoss(y, y, 0)).toThrowError(expect.objectContaining({ code: 'OPTION_INVALID' }));
  expect(() => distillationLoss(y, y.reshape(2, 1), 1)).toThrowError(
    expect.objectContaining({ code: 'SHAPE_MISMATCH' }),
  );
});

describe('a run with a teacher', () => {
  const distill = () => ({ teacher: join(dir, 'teacher'), temperature: 2, alpha: 0.7 });

  test('says so in its plan, leaves the teacher as it is, and resumes bit for bit', { timeout: 60_000 }, async () => {
    const whole = await runRecipe(recipe({ distill: distill() }), { out: join(dir, 'whole') });
    const { plan } = whole.result;
    expect(plan.settings).toContain('teacher mlp (temperature 2, 0.7 of the loss)');
    const plain = await runRecipe(recipe(), { out: join(dir, 'plain') });
    expect(whole.result.weightsHash).not.toBe(plain.result.weightsHash);
    expect((await loadModelFolder(teacher.dir)).weightsHash).toBe(teacher.weightsHash);
    const stop = (event: { type: string; epoch?: number }) => {
      if (event.type === 'epoch-end' && event.epoch === 1) throw new Error('pulled the plug');
    };
    const half = join(dir, 'half');
    await expect(runRecipe(recipe({ distill: distill() }), { out: half, listeners: [stop] })).rejects.toThrow('pulled');
    expect((await resumeRun(half)).result.weightsHash).toBe(whole.result.weightsHash);
  });

  test('is resumed from elsewhere; a moved teacher is named anew, another one is refused', async () => {
    const [root, away] = [join(dir, 'root'), join(dir, 'away')];
    await mkdir(away, { recursive: true });
    await cp(join(dir, 'teacher', 'model'), join(root, 'big'), { recursive: true });
    const run = join(dir, 'moved');
    const wanted = recipe({ distill: { ...distill(), teacher: 'big' } });
    const missing = expect.objectContaining({ field: 'distill.teacher', expected: [resolve('big')] });
    await expect(runRecipe(wanted, { out: run })).rejects.toMatchObject({
      code: 'TEACHER_NOT_FOUND',
      details: missing,
    });
    // Under --data-dir, as the weights of init.
    const { result } = await runRecipe(wanted, { out: run, dataDir: root });
    expect(JSON.parse(await readFile(join(run, 'recipe.json'), 'utf8')).teacher).toBe(join(root, 'big'));
    const again = async (request: ResumeRequest = {}) => (await resumeRun(run, request)).result.weightsHash;
    // As from another working directory: neither there nor under the data folder.
    expect(await again({ dataDir: away })).toBe(result.weightsHash);
    await rename(join(root, 'big'), join(root, 'gone'));
    await expect(again({ dataDir: away })).rejects.toMatchObject({ code: 'TEACHER_NOT_FOUND' });
    expect(await again({ set: [`distill.teacher=${join(root, 'gone')}`] })).toBe(result.weightsHash);

    await cp(join(run, 'model'), join(root, 'other'), { recursive: true });
    const set = [`distill.teacher=${join(root, 'other')}`];
    const changed = { field: 'distill.teacher', expected: teacher.weightsHash, got: result.weightsHash };
    for (const allowChange of [[], ['data']])
      await expect(again({ set, allowChange })).rejects.toMatchObject({
        code: 'RESUME_CHANGED',
        message: expect.stringContaining('is not the teacher the run began with'),
        details: expect.objectContaining(changed),
      });
    expect(await again({ set, allowChange: ['distill.teacher'] })).toBe(result.weightsHash);
  });

  test('classes in another order are put in order', async () => {
    const of = (classes: readonly string[]) =>
      new InMemoryImageDataset({
        name: 'd',
        pixels: train.pixels,
        labels: train.labels,
        height: 28,
        width: 28,
        classes,
      });
    const names = teacher.classes;
    const reversed = {
      ...teacher,
      heads: [{ kind: 'class', field: 'label', names: [...names].reverse() }],
    } as LoadedModel;
    const weights = async (own: LoadedModel, classes: readonly string[]) => {
      const model = mlp();
      await fineTune(options({ model, data: { train: of(classes) }, epochs: 1, distill: { teacher: own } }));
      return weightsOf(model);
    };
    const straight = await weights(teacher, names);
    expect(await weights(reversed, [...names].reverse())).toEqual(straight);
    expect(await weights(reversed, names)).not.toEqual(straight);
  });

  test('a teacher with too few positions for the texts is refused', async () => {
    const texts = (maxLength: number, more: Partial<RecipeInput> = {}) =>
      parseRecipe({
        name: 'short',
        data: { name: 'phrases', phrases: { train: 60, test: 20 }, validation: 10 },
        tokenizer: { train: 'wordpiece', vocabSize: 60 },
        model: {
          name: 'bert',
          hiddenSize: 8,
          numHiddenLayers: 1,
          numAttentionHeads: 2,
          maxPositionEmbeddings: maxLength,
        },
        optimizer: { name: 'adamw', lr: 1e-3 },
        batchSize: 25,
        epochs: 1,
        ...more,
      });
    const out = join(dir, 'short');
    await runRecipe(texts(16), { out });
    const details = expect.objectContaining({ field: 'distill.teacher', got: 24 });
    await expect(planRecipe(texts(24, { distill: { teacher: out } }))).rejects.toMatchObject({
      code: 'DISTILL_INPUTS',
      message: expect.stringContaining('has 16 positions'),
      details,
    });
    const fits = await planRecipe(texts(24, { maxLength: 16, distill: { teacher: out } }));
    expect(fits.settings).toContain('teacher bert');
  });

  test('what does not fit is refused by name', async () => {
    const refused = (more: object) =>
      fineTune(options({ data: { train }, ...more })).then(
        () => expect.fail('nothing was thrown'),
        (e) => e.code,
      );
    const other = { ...teacher, heads: [{ kind: 'class', field: 'label', names: ['a', 'b'] }] } as LoadedModel;
    expect(await refused({ distill: { teacher: other } })).toBe('DISTILL_CLASSES');
    expect(await refused({ distill: { teacher }, transforms: [] })).toBe('DISTILL_INPUTS');
    const small = digits({ split: 'train', size: 20 });
    const pictures = new InMemoryImageDataset({
      name: 's',
      pixels: small.pixels,
      labels: new Int32Array(80),
      height: 14,
      width: 14,
      classes: teacher.classes,
    });
    expect(await refused({ data: { train: pictures }, distill: { teacher } })).toBe('DISTILL_INPUTS');
    expect(await refused({ distill: { teacher, alpha: 2 } })).toBe('OPTION_INVALID');
    expect(await refused({ distill: { teacher }, mixup: {} })).toBe('OPTION_INVALID');
  });
});
