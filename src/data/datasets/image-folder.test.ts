import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { DataError, IoError } from '../../base/errors.ts';
import { decodeImage, decodeImageFile } from '../decode.ts';
import { DataLoader } from '../loader.ts';
import { imageFolder } from './image-folder.ts';

let dir: string;
const png = (width: number, height: number, background: string | object): Promise<Buffer> =>
  sharp({ create: { width, height, channels: 4, background: background as string } })
    .png()
    .toBuffer();

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'cambium-folder-'));
  for (const name of ['good/b', 'good/a', 'good/Z', 'empty/a', 'bad/a'])
    mkdirSync(join(dir, name), { recursive: true });
  writeFileSync(join(dir, 'good/a/2.png'), await png(4, 3, '#ff0000'));
  writeFileSync(join(dir, 'good/a/10.png'), await png(5, 3, '#00ff00'));
  writeFileSync(
    join(dir, 'good/b/x.JPG'),
    await sharp(await png(6, 6, '#808080'))
      .jpeg()
      .toBuffer(),
  );
  writeFileSync(join(dir, 'good/Z/y.png'), await png(2, 2, { r: 0, g: 0, b: 0, alpha: 0 }));
  writeFileSync(join(dir, 'good/b/notes.txt'), 'hello');
  writeFileSync(join(dir, 'good/b/.DS_Store'), '');
  writeFileSync(join(dir, 'good/readme.md'), '');
  writeFileSync(join(dir, 'bad/a/1.png'), 'this is text');
});
afterAll(() => rmSync(dir, { recursive: true }));

test('classes and files are in the order of their bytes; what is no picture is named', async () => {
  const dataset = await imageFolder(join(dir, 'good'));
  expect(dataset.schema.labels).toEqual({ label: { kind: 'class', names: ['Z', 'a', 'b'] } });
  expect(dataset.files.map((f) => f.slice(join(dir, 'good').length + 1))).toEqual([
    'Z/y.png',
    'a/10.png',
    'a/2.png',
    'b/x.JPG',
  ]);
  expect([...dataset.labels]).toEqual([0, 1, 1, 2]);
  expect(dataset.skipped).toEqual(['readme.md', 'b/notes.txt']);
  const { image } = await dataset.get(2);
  expect([image.height, image.width, image.channels, ...image.data.subarray(0, 3)]).toEqual([3, 4, 3, 255, 0, 0]);
});

test('pictures of different sizes are batched after a resize, in grey if asked', async () => {
  const dataset = await imageFolder(join(dir, 'good'), { channels: 1 });
  const loader = new DataLoader(dataset, { batchSize: 4, transforms: [{ kind: 'resize', height: 2, width: 2 }] });
  const { image, label } = await loader.batch(0, 0);
  expect(image.shape).toEqual([4, 1, 2, 2]);
  expect([...label.data]).toEqual([0, 1, 1, 2]);
  // Transparent is white; green and red by their luminance; grey stays.
  const [z, green, red, grey] = [0, 4, 8, 12].map((i) => image.data[i]) as [number, number, number, number];
  expect(z).toBe(255);
  expect(green).toBeGreaterThan(red);
  expect(Math.abs(grey - 128)).toBeLessThan(3);
});

test.each([
  ['empty', 'FOLDER_NO_IMAGES', DataError],
  ['good/a', 'FOLDER_NO_CLASSES', DataError],
  ['none', 'FILE_NOT_FOUND', IoError],
])('folder %s is refused: %s', async (name, code, type) => {
  const error = await imageFolder(join(dir, name)).catch((e) => e);
  expect(error).toBeInstanceOf(type);
  expect(error.code).toBe(code);
});

test('a class the model does not know is refused', async () => {
  await expect(imageFolder(join(dir, 'good'), { classes: ['a', 'b'] })).rejects.toMatchObject({
    code: 'FOLDER_CLASS_UNKNOWN',
  });
});

test('a file that is not a picture is an error with its path, in the loader too', async () => {
  const path = join(dir, 'bad/a/1.png');
  await expect(decodeImageFile(path)).rejects.toMatchObject({
    code: 'IMAGE_INVALID',
    exitCode: 3,
    details: { file: path },
  });
  const dataset = await imageFolder(join(dir, 'bad'));
  const loader = new DataLoader(dataset, { batchSize: 1, transforms: [{ kind: 'resize', height: 2, width: 2 }] });
  await expect(loader.epoch(0).next()).rejects.toMatchObject({ code: 'IMAGE_INVALID', details: { file: path } });
});

test('the pixel budget is kept', async () => {
  const bytes = await png(20, 20, '#fff');
  await expect(decodeImage(bytes, 'f', { maxPixels: 399 })).rejects.toMatchObject({
    code: 'IMAGE_TOO_LARGE',
    exitCode: 3,
  });
  expect((await decodeImage(bytes, 'f', { maxPixels: 400 })).width).toBe(20);
});

test('cut and damaged pictures: decoded, or a DataError with the file', async () => {
  const noise = Buffer.from(new Uint8Array(16 * 16 * 3).map((_, i) => (i * 2654435761) >>> 13));
  const raw = sharp(noise, { raw: { width: 16, height: 16, channels: 3 } });
  for (const seed of [await raw.clone().png().toBuffer(), await raw.clone().jpeg().toBuffer()]) {
    const cases = [
      Buffer.alloc(0),
      ...Array.from({ length: 40 }, (_, i) => seed.subarray(0, Math.floor((i * seed.length) / 40))),
    ];
    for (let i = 0; i < seed.length; i += 7) cases.push(Buffer.from(seed.map((b, j) => (j === i ? b ^ 0xff : b))));
    for (const bytes of cases) {
      const error = await decodeImage(bytes, 'f').then(
        () => undefined,
        (e) => e,
      );
      if (error === undefined) continue;
      expect(error).toBeInstanceOf(DataError);
      expect(error.details.file).toBe('f');
    }
  }
});

test('camera orientation is applied', async () => {
  const bytes = await sharp(await png(4, 2, '#fff'))
    .jpeg()
    .withMetadata({ orientation: 6 })
    .toBuffer();
  const { height, width } = await decodeImage(bytes, 'f');
  expect([height, width]).toEqual([4, 2]);
});
