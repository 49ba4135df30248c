/** Annotations of objects: what is read, counted, and refused with its line. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseVoc, vocArchive } from '../index.ts';

const object = (name: string, box: string): string => {
  const [xmin, ymin, xmax, ymax] = box.split(' ');
  return `<object><name>${name}</name><difficult>1</difficult><part><name>head</name></part>
<bndbox><xmin>${xmin}</xmin><ymin>${ymin}</ymin><xmax>${xmax}</xmax><ymax>${ymax}</ymax></bndbox></object>`;
};
const annotation = (...objects: string[]): string =>
  `<?xml version="1.0"?><annotation><filename>a.jpg</filename><size><width>6</width><height>4</height></size>
${objects.join('\n')}</annotation>`;

describe('an annotation', () => {
  test('objects with their boxes; what it does not know is passed over', () => {
    expect(parseVoc(annotation(object('R&amp;B', '1 2 3 4'), object('cat', '0 0 6 4')), 'a.xml')).toEqual({
      filename: 'a.jpg',
      width: 6,
      height: 4,
      objects: [
        { name: 'R&B', box: [1, 2, 3, 4], difficult: true },
        { name: 'cat', box: [0, 0, 6, 4], difficult: true },
      ],
    });
  });

  test.each([
    ['torn', annotation().slice(0, 90)],
    ['not XML', 'hello'],
    ['of another kind', '<html></html>'],
    ['an entity of its own', annotation(object('&boom;', '1 2 3 4'))],
    ['a box inside out', annotation(object('cat', '3 2 1 4'))],
    ['a box without numbers', annotation(object('cat', 'x 2 3 4'))],
    ['no name', annotation(object('', '1 2 3 4'))],
    ['no size', '<annotation></annotation>'],
    ['deep', `<annotation>${'<a>'.repeat(100)}`],
  ])('%s is refused', (_, xml) => {
    expect(() => parseVoc(xml, 'a.xml')).toThrow(expect.objectContaining({ code: 'VOC_INVALID' }));
  });

  test('an object does not inherit the box of the one before', () => {
    const bare = '<object><name>cat</name></object>';
    expect(() => parseVoc(annotation(object('cat', '1 2 3 4'), bare), 'a.xml')).toThrow(/bndbox\/xmin/);
  });
});

describe('an archive', () => {
  let dir: string;
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'cambium-voc-'));
    for (const folder of ['Annotations', 'JPEGImages', 'ImageSets/Main'])
      await mkdir(join(dir, 'VOC', folder), { recursive: true });
    for (const [name, ...objects] of [['a', 'dog', 'cat', 'dog'], ['b', 'cat'], ['c']] as const) {
      await writeFile(
        join(dir, 'VOC/Annotations', `${name}.xml`),
        annotation(...objects.map((n) => object(n, '1 1 2 2'))),
      );
      await sharp({ create: { width: 6, height: 4, channels: 3, background: 'red' } })
        .jpeg()
        .toFile(join(dir, 'VOC/JPEGImages', `${name}.jpg`));
    }
    await writeFile(join(dir, 'VOC/ImageSets/Main/train.txt'), 'a\nc\n');
    await writeFile(join(dir, 'VOC/ImageSets/Main/test.txt'), 'b -1\r\n');
    execFileSync('tar', ['czf', 'voc.tar.gz', 'VOC'], { cwd: dir });
  });
  afterAll(() => rm(dir, { recursive: true, force: true }));

  test('counts of each class, by part', async () => {
    const archive = await vocArchive(join(dir, 'voc.tar.gz'));
    expect([archive.parts, archive.classes]).toEqual([
      ['test', 'train'],
      ['cat', 'dog'],
    ]);
    const train = archive.counts('train');
    expect(train.schema.labels).toEqual({ counts: { kind: 'numbers', names: ['cat', 'dog'] } });
    expect([train.targets?.(0), train.targets?.(1)]).toEqual([
      { counts: Float32Array.of(1, 2) },
      { counts: Float32Array.of(0, 0) },
    ]);
    expect(await archive.counts('test').get(0)).toMatchObject({
      image: { width: 6, height: 4 },
      counts: Float32Array.of(1, 0),
    });
    expect(() => archive.counts('val')).toThrow(expect.objectContaining({ code: 'VOC_PART' }));
  });

  test('a list that names what is not there', async () => {
    await writeFile(join(dir, 'VOC/ImageSets/Main/val.txt'), 'gone\n');
    execFileSync('tar', ['cf', 'bad.tar', 'VOC'], { cwd: dir });
    await expect(vocArchive(join(dir, 'bad.tar'))).rejects.toMatchObject({ code: 'VOC_LAYOUT' });
  });
});

const real = new URL('../../../../shared/data/bccd/bccd.tar.gz', import.meta.url).pathname;
test.skipIf(!existsSync(real))('blood cells: the boxes their publishers count', async () => {
  const archive = await vocArchive(real);
  expect(archive.classes).toEqual(['Platelets', 'RBC', 'WBC']);
  const totals = [0, 0, 0];
  for (const part of ['train', 'val', 'test']) {
    const set = archive.counts(part);
    for (let i = 0; i < set.length; i++)
      for (const [k, n] of ((set.targets?.(i)?.counts ?? []) as Float32Array).entries())
        totals[k] = (totals[k] as number) + n;
  }
  expect(totals).toEqual([361, 4155, 372]);
});
