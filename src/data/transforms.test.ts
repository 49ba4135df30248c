import { expect, test } from 'vitest';
import { ArgumentError, ConfigError } from '../base/errors.ts';
import { affine, asImage, fitImage, type ImageU8, resize, toChannels } from './image.ts';
import { HostPipeline, rotation } from './pipeline.ts';
import { imageClassSchema } from './schema.ts';
import { parseTransforms, splitPipeline, type Transform, validateTransforms, withoutRandom } from './transforms.ts';

const image = (height: number, width: number, data: number[], channels = 1): ImageU8 => ({
  data: Uint8Array.from(data),
  height,
  width,
  channels,
});
const ramp = (height: number, width: number, channels = 1): ImageU8 =>
  image(
    height,
    width,
    Array.from({ length: height * width * channels }, (_, i) => (i * 37) % 256),
    channels,
  );
const grey28 = imageClassSchema(28, 28, 1, ['a']);

const tutorial: Transform[] = [
  { kind: 'randomAffine', degrees: 10, translate: 0.1 },
  { kind: 'pad', height: 32, width: 32 },
  { kind: 'channels', channels: 3 },
  { kind: 'normalize', mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] },
];

test('a pipeline is inferred through its sizes and divided into host and graph', () => {
  const checked = validateTransforms(JSON.parse(JSON.stringify(tutorial)), grey28);
  expect(checked.hostSize).toEqual({ height: 32, width: 32, channels: 1 });
  expect(checked.modelSize).toEqual({ height: 32, width: 32, channels: 3 });
  expect(checked.host).toEqual(tutorial.slice(0, 2));
  expect(checked.graph).toEqual(tutorial.slice(2));
  expect(splitPipeline(withoutRandom(tutorial)).host).toEqual([tutorial[1]]);
});

test.each<[unknown, RegExp, ReturnType<typeof imageClassSchema>?]>([
  ['pad', /^transforms: expected a list/],
  [[null], /^transforms\[0\]: expected \{ kind/],
  [[{ kind: 'rezise', height: 1, width: 1 }], /^transforms\[0\]\.kind: expected one of resize, resizeShorter/],
  [[{ kind: 'constructor' }], /^transforms\[0\]\.kind/],
  [[{ kind: 'resize', height: 32 }], /^transforms\[0\]\.width: expected an integer/],
  [[{ kind: 'resize', height: 32, width: -1 }], /^transforms\[0\]\.width/],
  [
    [{ kind: 'resize', height: 32, width: 32, mode: 'cubic' }],
    /^transforms\[0\]\.mode: resize has no such option; it has height, width/,
  ],
  [
    [{ kind: 'pad', height: 20, width: 32 }],
    /^transforms\[0\]: pad: cannot pad 28x28 to the smaller 20x32; use resize/,
  ],
  [
    [{ kind: 'normalize', mean: [0.5, 0.5, 0.5], std: [1, 1, 1] }],
    /it has 3 means, the picture has 1 channel\(s\) here; put \{ kind: 'channels', channels: 3 \} before it/,
  ],
  [[{ kind: 'normalize', mean: [0.5], std: [1, 1] }], /1 means and 2 deviations/],
  [[{ kind: 'normalize', mean: [0.5], std: [0] }], /^transforms\[0\]\.std: expected a list of numbers above 0/],
  [[{ kind: 'normalize', mean: [128], std: [64] }], /^transforms\[0\]\.mean: expected a list of numbers from 0 to 1/],
  [
    [
      { kind: 'normalize', mean: [0.5], std: [1] },
      { kind: 'pad', height: 32, width: 32 },
    ],
    /^transforms\[1\]: pad stands after normalize/,
  ],
  [[{ kind: 'channels', channels: 2 }], /^transforms\[0\]\.channels: expected 1 or 3/],
  [[{ kind: 'randomAffine', scale: [1.2, 0.8] }], /^transforms\[0\]\.scale/],
  [[{ kind: 'randomErase', probability: Number.NaN }], /^transforms\[0\]\.probability/],
  [[], /differ in size \(\?x\?\)/, imageClassSchema(null, null, 3, ['a'])],
])('%j is refused', (transforms, message, schema = grey28) => {
  const error = (() => {
    try {
      return validateTransforms(transforms, schema);
    } catch (e) {
      return e as Error;
    }
  })();
  expect(error).toBeInstanceOf(ConfigError);
  expect(error).toMatchObject({ code: 'TRANSFORM_INVALID', exitCode: 2, message: expect.stringMatching(message) });
});

test('the nearest kind is suggested', () => {
  expect(() => parseTransforms([{ kind: 'normalise', mean: [0], std: [1] }])).toThrow(
    expect.objectContaining({ details: expect.objectContaining({ hint: "did you mean 'normalize'?" }) }),
  );
});

test.each<[string, ImageU8, number, number, number[]]>([
  ['twice as large: half-pixel centres, clamped edges', image(1, 2, [0, 100]), 1, 4, [0, 25, 75, 100]],
  ['half as large: the triangle covers four pixels', image(1, 4, [0, 80, 160, 240]), 1, 2, [57, 183]],
  ['a constant stays', image(5, 7, new Array(35).fill(93)), 3, 11, new Array(33).fill(93)],
  ['columns as rows', image(2, 1, [0, 100]), 4, 1, [0, 25, 75, 100]],
  ['from one pixel', image(1, 1, [7]), 2, 2, [7, 7, 7, 7]],
])('resize %s', (_, input, height, width, expected) => {
  expect([...resize(input, height, width).data]).toEqual(expected);
});

test('resize works on each channel alone', () => {
  const colour = ramp(6, 5, 3);
  const resized = resize(colour, 4, 9);
  for (const c of [0, 1, 2]) {
    const plane = image(6, 5, [...colour.data.filter((_, i) => i % 3 === c)]);
    expect([...resized.data.filter((_, i) => i % 3 === c)]).toEqual([...resize(plane, 4, 9).data]);
  }
});

test('pad centres, an odd rest goes right and down', () => {
  const run = new HostPipeline([{ kind: 'pad', height: 3, width: 4, value: 9 }]);
  expect([...run.run(image(2, 1, [1, 2]), 0, 0, 0).data]).toEqual([9, 1, 9, 9, 9, 2, 9, 9, 9, 9, 9, 9]);
});

test.each<[string, Parameters<typeof affine>[1], (y: number, x: number) => [number, number]]>([
  ['identity', [1, 0, 0, 0, 1, 0], (y, x) => [y, x]],
  ['shift', [1, 0, 2, 0, 1, -1], (y, x) => [y - 1, x + 2]],
  ['mirror', [-1, 0, 4, 0, 1, 0], (y, x) => [y, 4 - x]],
  ['quarter turn', [0, 1, 0, -1, 0, 4], (y, x) => [4 - x, y]],
])('affine %s moves pixels exactly', (_, matrix, source) => {
  for (const channels of [1, 3]) {
    const input = ramp(5, 5, channels);
    const { data } = affine(input, matrix, 9, new Uint8Array(25 * channels));
    for (let y = 0; y < 5; y++)
      for (let x = 0; x < 5; x++) {
        const [sy, sx] = source(y, x);
        const inside = sy >= 0 && sx >= 0 && sy < 5 && sx < 5;
        expect(data[(y * 5 + x) * channels]).toBe(inside ? input.data[(sy * 5 + sx) * channels] : 9);
      }
  }
});

test('affine between pixels is the weighted mean', () => {
  const { data } = affine(image(1, 2, [100, 200]), [1, 0, 0.25, 0, 1, 0], 0, new Uint8Array(2));
  expect([...data]).toEqual([125, 150]);
});

const random: Transform[] = [
  { kind: 'randomAffine', degrees: 15, translate: 0.1, scale: [0.8, 1.2], shear: 10 },
  { kind: 'randomErase', probability: 0.7 },
  { kind: 'randomFlip' },
];

test('what happens to a sample depends on seed, epoch, id and place, not on its turn', () => {
  const input = ramp(12, 12);
  const once = (seed: number, epoch: number, id: number) => [
    ...new HostPipeline(random).run(input, seed, epoch, id).data,
  ];
  const shared = new HostPipeline(random);
  for (const id of [7, 3, 7, 1_000_000]) expect([...shared.run(input, 1, 2, id).data]).toEqual(once(1, 2, id));
  const different = [once(1, 2, 3), once(2, 2, 3), once(1, 3, 3), once(1, 2, 4), once(2 ** 40 + 1, 2, 3)].map(String);
  expect(new Set(different).size).toBe(5);
  expect([...input.data]).toEqual([...ramp(12, 12).data]);
});

test('random transforms that can do nothing change nothing', () => {
  const idle: Transform[] = [
    { kind: 'randomAffine' },
    { kind: 'randomErase', probability: 0 },
    { kind: 'randomFlip', probability: 0 },
  ];
  expect([...new HostPipeline(idle).run(ramp(9, 8, 3), 1, 1, 1).data]).toEqual([...ramp(9, 8, 3).data]);
});

test.each([0, 1, -30, 90, 180, -180, 60])('the series of sine and cosine at %s degrees', (degrees) => {
  const { sin, cos } = rotation(degrees);
  expect(sin).toBeCloseTo(Math.sin((degrees * Math.PI) / 180), 13);
  expect(cos).toBeCloseTo(Math.cos((degrees * Math.PI) / 180), 13);
});

test('erase fills one rectangle of the asked area, flip mirrors', () => {
  const erase = new HostPipeline([{ kind: 'randomErase', probability: 1, area: [0.25, 0.25], value: 5 }]);
  const white = image(20, 20, new Array(400).fill(200));
  for (let id = 0; id < 50; id++) {
    const { data } = erase.run(white, 0, 0, id);
    const hit = [...data.keys()].filter((p) => data[p] === 5);
    const rows = new Set(hit.map((p) => Math.floor(p / 20)));
    const columns = new Set(hit.map((p) => p % 20));
    expect(hit.length).toBe(rows.size * columns.size);
    expect(Math.abs(hit.length - 100)).toBeLessThan(25);
  }
  const flip = new HostPipeline([{ kind: 'randomFlip', probability: 1 }]);
  expect([...flip.run(image(1, 2, [1, 2, 3, 4, 5, 6], 3), 0, 0, 0).data]).toEqual([4, 5, 6, 1, 2, 3]);
});

test('images are taken from what callers hold', () => {
  const clamped = { data: Uint8ClampedArray.of(10, 20, 30, 255, 0, 0, 0, 0), height: 1, width: 2 };
  expect(asImage(clamped)).toEqual(image(1, 2, [10, 20, 30, 255, 255, 255], 3));
  expect(asImage([1, 2, 3, 4], { height: 2, width: 2, channels: 1 })).toEqual(image(2, 2, [1, 2, 3, 4]));
  expect(asImage(Buffer.from([1, 2]), { height: 1, width: 2, channels: 1 }).data).toHaveLength(2);
  expect(asImage(ramp(2, 2))).toEqual(ramp(2, 2));
});

test.each<[unknown, Parameters<typeof asImage>[1]?]>([
  [null],
  ['picture.png'],
  [{}],
  [[1, 2, 3], { height: 2, width: 2, channels: 1 }],
  [[0.5], { height: 1, width: 1, channels: 1 }],
  [[256], { height: 1, width: 1, channels: 1 }],
  [Uint8Array.of(1)],
  [{ data: Uint8Array.of(1), height: 1, width: 1, channels: 3 }],
])('%j is not an image', (value, size) => {
  expect(() => asImage(value, size)).toThrow(ArgumentError);
});

test('a picture from outside is fitted to the data set', () => {
  const fitted = fitImage(ramp(10, 6, 3), { kind: 'image', height: 4, width: 4, channels: 1 });
  expect([fitted.height, fitted.width, fitted.channels]).toEqual([4, 4, 1]);
  expect([...toChannels(image(1, 1, [255, 0, 0], 3), 1).data]).toEqual([76]);
  expect([...toChannels(image(1, 1, [9]), 3).data]).toEqual([9, 9, 9]);
});

test('crops and the shorter side as torchvision cuts them', () => {
  const picture = ramp(4, 6, 1);
  const run = (transform: Transform, id = 0): ImageU8 => new HostPipeline([transform]).run(picture, 1, 0, id);
  const middle = run({ kind: 'centerCrop', height: 2, width: 3 });
  const row = (y: number): number[] => [...picture.data.subarray(y * 6 + 1, y * 6 + 4)];
  expect([...middle.data]).toEqual([...row(1), ...row(2)]);
  expect(run({ kind: 'resizeShorter', size: 3 })).toMatchObject({ height: 3, width: 4 });
  expect(new HostPipeline([{ kind: 'resizeShorter', size: 2 }]).run(ramp(7, 3), 1, 0, 0)).toMatchObject({
    height: 4,
    width: 2,
  });
  expect(() => run({ kind: 'centerCrop', height: 5, width: 3 })).toThrow(/cannot be cropped/);
  const whole = run({ kind: 'randomResizedCrop', height: 4, width: 6, scale: [1, 1], ratio: [1.5, 1.5] });
  expect([...whole.data]).toEqual([...picture.data]);
  const parts = Array.from({ length: 50 }, (_, id) => run({ kind: 'randomResizedCrop', height: 2, width: 2 }, id));
  expect(new Set(parts.map(({ data }) => String(data))).size).toBeGreaterThan(20);
  expect(parts.every(({ height, width }) => height === 2 && width === 2)).toBe(true);
});

test('pictures of any size become equal by the shorter side and a crop, in training and evaluation', () => {
  const folder = imageClassSchema(null, null, 3, ['a']);
  const pipeline: Transform[] = [
    { kind: 'resizeShorter', size: 256 },
    { kind: 'randomResizedCrop', height: 227, width: 227 },
    { kind: 'centerCrop', height: 227, width: 227 },
    { kind: 'bgr' },
    { kind: 'normalize', mean: [0.4, 0.4, 0.4], std: [0.004, 0.004, 0.004] },
  ];
  expect(validateTransforms(pipeline, folder).modelSize).toEqual({ height: 227, width: 227, channels: 3 });
  expect(validateTransforms(withoutRandom(pipeline), folder).hostSize).toEqual({
    height: 227,
    width: 227,
    channels: 3,
  });
  expect(() => validateTransforms([{ kind: 'bgr' }], grey28)).toThrow(/needs 3 channels/);
  expect(() => validateTransforms([{ kind: 'centerCrop', height: 30, width: 3 }], grey28)).toThrow(/cannot crop/);
  expect(() => validateTransforms([{ kind: 'resizeShorter', size: 256 }], folder)).toThrow(
    /no transform makes them equal/,
  );
});
