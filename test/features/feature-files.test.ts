/** Files of features: what lies beside vectors is theirs or gone, where they come from is told, damage is refused. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { CambiumError } from '../../src/base/index.ts';
import { classNames, digits, subset } from '../../src/data/index.ts';
import { featureFormat, readFeatures, writeFeatures } from '../../src/features/index.ts';
import { MnistCnn } from '../../src/models/index.ts';
import { manualSeed } from '../../src/tensor/index.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'cambium-feature-files-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

manualSeed(3);
const module = new MnistCnn({});
const model = { module, model: { name: 'mnist-cnn' }, weightsHash: 'a'.repeat(64) };
const data = digits({ split: 'test', size: 12 });
const unlabelled = {
  name: 'pictures',
  length: 5,
  schema: { features: data.schema.features, labels: {} },
  get: (i: number) => ({ image: data.get(i).image }),
};

test.each(['npy', 'safetensors', 'parquet'])(
  '.%s tells the names of classes and samples, and where the vectors come from',
  async (kind) => {
    const path = join(dir, `v.${kind}`);
    const part = subset(data, [7, 2, 9]);
    const { origin } = await writeFeatures(path, model, part, {
      pooling: 'mean',
      layer: 'conv2',
      nameOf: (id) => `${id}.png`,
    });
    expect(origin).toEqual({ model: 'mnist-cnn', weights: 'a'.repeat(64), layer: 'conv2', pooling: 'mean' });
    const found = await readFeatures(path);
    expect(found).toMatchObject({
      origin,
      classes: classNames(data.schema),
      names: ['7.png', '2.png', '9.png'],
    });
    expect([...found.ids]).toEqual([7, 2, 9]);
    // A model alone has neither a name nor a file.
    await writeFeatures(path, module, unlabelled);
    const plain = await readFeatures(path);
    expect(plain.origin).toEqual({ layer: 'input of fc2', pooling: 'auto' });
    expect([plain.labels, plain.classes, plain.names]).toEqual([undefined, undefined, undefined]);
  },
);

test('labels of the vectors before do not stay beside new ones without labels', async () => {
  const path = join(dir, 'v.npy');
  await writeFeatures(path, model, data);
  expect((await readFeatures(path)).labels).toHaveLength(12);
  await writeFeatures(path, model, unlabelled);
  expect(readdirSync(dir).sort()).toEqual(['v.ids.npy', 'v.meta.json', 'v.npy']);
  expect(await readFeatures(path)).toMatchObject({ shape: [5, 128] });
});

test('what cannot be written whole leaves the old files, all of them', async () => {
  const path = join(dir, 'v.npy');
  await writeFeatures(path, model, data);
  const before = new Map(readdirSync(dir).map((name) => [name, readFileSync(join(dir, name), 'hex')]));
  const broken = {
    ...unlabelled,
    get: (i: number) => {
      if (i < 3) return unlabelled.get(i);
      throw new Error('gone');
    },
  };
  await expect(writeFeatures(path, model, broken, { batchSize: 2 })).rejects.toThrow();
  // Found out before the vectors are replaced.
  rmSync(join(dir, 'v.meta.json'));
  mkdirSync(join(dir, 'v.meta.json'));
  await expect(writeFeatures(path, model, unlabelled)).rejects.toMatchObject({ code: 'IS_A_DIRECTORY', exitCode: 4 });
  rmSync(join(dir, 'v.meta.json'), { recursive: true });
  writeFileSync(join(dir, 'v.meta.json'), Buffer.from(before.get('v.meta.json') as string, 'hex'));
  expect(new Map(readdirSync(dir).map((name) => [name, readFileSync(join(dir, name), 'hex')]))).toEqual(before);
});

test('a Parquet file with any byte changed is read or refused at once', async () => {
  const path = join(dir, 'v.parquet');
  await writeFeatures(path, model, data);
  const whole = readFileSync(path);
  const codes = new Set<string>();
  // The page headers and levels of the first columns, a part of the footer, some values.
  const places = [...whole.keys()].filter(
    (at) => (at < 220 && at % 2 === 1) || (at > whole.length - 700 && at % 11 === 0) || at % 499 === 0,
  );
  for (const at of places) {
    const bytes = Buffer.from(whole);
    bytes[at] = 0x7f;
    writeFileSync(path, bytes);
    const begun = performance.now();
    const error = await readFeatures(path).then(
      () => undefined,
      (cause: unknown) => cause,
    );
    expect(performance.now() - begun, `byte ${at}`).toBeLessThan(5000);
    if (error === undefined) continue;
    expect(error, `byte ${at}`).toBeInstanceOf(CambiumError);
    codes.add((error as CambiumError).code);
  }
  expect(codes).toContain('PARQUET_INVALID');
});

test.each([
  ['v.meta.json', '[]', 'FEATURES_INVALID'],
  ['v.meta.json', '{"classes":[1]}', 'FEATURES_INVALID'],
  ['v.meta.json', '{"names":["a"]}', 'FEATURES_INVALID'],
  ['v.meta.json', '{"layer":3}', 'FEATURES_INVALID'],
  ['v.meta.json', '{', 'JSON_INVALID'],
])('%s of %s is refused', async (name, text, code) => {
  await writeFeatures(join(dir, 'v.npy'), model, data);
  writeFileSync(join(dir, name), text);
  await expect(readFeatures(join(dir, 'v.npy'))).rejects.toMatchObject({ code, exitCode: 3 });
});

test('a name that is no file of features says so of reading and of writing', async () => {
  await expect(readFeatures(join(dir, 'map.csv'))).rejects.toThrow(/are not read from/);
  expect(() => featureFormat('map.csv')).toThrow(/cannot be written/);
  expect(existsSync(join(dir, 'map.csv'))).toBe(false);
});
