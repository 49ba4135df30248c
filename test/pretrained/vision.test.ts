/**
 * Published weights in the models they were trained in, measured on real pictures. The files are not part of the project:
 * without ../shared/data beside it these tests are skipped.
 */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { decodeImage } from '../../src/data/decode.ts';
import type { ImageU8 } from '../../src/data/index.ts';
import { readSafetensors } from '../../src/io/index.ts';
import { resnet20, resnet56, squeezenet11 } from '../../src/models/index.ts';
import type { Module } from '../../src/nn/index.ts';
import { currentBackend, type Tensor, tensor } from '../../src/tensor/index.ts';
import { tarFiles } from './tar.ts';

const data = fileURLToPath(new URL('../../../shared/data/', import.meta.url));
const missing = !existsSync(`${data}weights`)
  ? `${data}weights is not there`
  : currentBackend().name === 'reference'
    ? 'the reference backend would take hours'
    : undefined;

async function load(model: Module, file: string): Promise<string[]> {
  const { tensors } = await readSafetensors(`${data}weights/${file}.safetensors`);
  const { missing, unused, mismatched } = model.loadStateDict(tensors, { strict: false });
  expect({ unused, mismatched }).toEqual({ unused: [], mismatched: [] });
  return missing;
}

interface Labelled {
  readonly image: ImageU8;
  readonly label: number;
}

/** Pictures whose path has `folder`, in archive order; the class is the folder below it. */
async function pictures(archive: string, folder: string, classes: readonly string[]): Promise<Labelled[]> {
  const files = [...tarFiles(`${data}${archive}`)].filter(({ name }) => name.split('/').includes(folder));
  return Promise.all(
    files.map(async ({ name, bytes }) => ({
      image: await decodeImage(bytes, name),
      label: classes.indexOf(name.split('/').at(-2) as string),
    })),
  );
}

/** Rows of logits for all pictures, `batch` at a time. */
async function* answers(
  model: Module,
  images: readonly Labelled[],
  batch: number,
  input: (pixels: Tensor) => Tensor,
): AsyncGenerator<{ label: number; row: Float32Array }> {
  for (let at = 0; at < images.length; at += batch) {
    const part = images.slice(at, at + batch);
    const { height, width } = (part[0] as Labelled).image;
    const pixels = new Uint8Array(part.length * height * width * 3);
    part.forEach(({ image }, i) => {
      pixels.set(image.data, i * height * width * 3);
    });
    const x = tensor(pixels, { shape: [part.length, height, width, 3] })
      .permute(0, 3, 1, 2)
      .cast('f32');
    const logits = model.forward(input(x));
    const values = (await logits.data()) as Float32Array;
    const classes = logits.shape[1] as number;
    for (const [i, { label }] of part.entries()) yield { label, row: values.subarray(i * classes, (i + 1) * classes) };
  }
}

const channels = (values: readonly number[]): Tensor => tensor([...values], { shape: [1, 3, 1, 1] });
const cifar = ['airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck'];

describe.skipIf(missing)(`published weights${missing ? ` (skipped: ${missing})` : ''}`, () => {
  // PyTorch's counts on the same 10,000 re-encoded test pictures.
  test.each([
    ['resnet20', () => resnet20({ shortcut: 'pad' }), 0.8103],
    ['resnet56', () => resnet56({ shortcut: 'pad' }), 0.832],
  ] as const)(
    '%s on the CIFAR-10 test pictures',
    async (name, build, accuracy) => {
      const model = build();
      const left = await load(model, `${name}-cifar10`);
      // The files leave out the one buffer that evaluation does not read.
      expect(left.filter((key) => !key.endsWith('num_batches_tracked'))).toEqual([]);
      model.eval();
      const images = await pictures('cifar10-jpg/cifar10_40k.tar.gz', 'test', cifar);
      expect(images.length).toBe(10_000);
      const input = (x: Tensor): Tensor =>
        x
          .div(255)
          .sub(channels([0.485, 0.456, 0.406]))
          .div(channels([0.229, 0.224, 0.225]));
      let right = 0;
      for await (const { label, row } of answers(model, images, 250, input))
        if (row.indexOf(Math.max(...row)) === label) right++;
      console.log(`${name}: ${right} of 10000 right`);
      expect(right / 10_000).toBeCloseTo(accuracy, 3);
    },
    300_000,
  );

  test('SqueezeNet 1.1 names ants and bees among 1000 classes', async () => {
    const model = squeezenet11({ numClasses: 1000 });
    expect(await load(model, 'squeezenet1_1-caffe-imagenet')).toEqual([]);
    model.eval();
    const images = await pictures('hymenoptera/hymenoptera_256.tar.gz', 'val', ['ants', 'bees']);
    expect(images.length).toBe(153);
    // Centre crop; blue, green, red less their means, as Caffe's models take them.
    const crop = images.map(({ image, label }) => ({ image: centre(image, 227), label }));
    const input = (x: Tensor): Tensor => x.flip(1).sub(channels([104, 117, 123]));
    const synset = [310, 309]; // ant, bee
    let [first, five] = [0, 0];
    for await (const { label, row } of answers(model, crop, 51, input)) {
      const wanted = row[synset[label] as number] as number;
      const better = row.filter((v) => v > wanted).length;
      if (better === 0) first++;
      if (better < 5) five++;
    }
    console.log(`squeezenet1_1: top-1 ${first}, top-5 ${five} of 153`);
    expect(first / 153).toBeCloseTo(0.569, 2);
    expect(five / 153).toBeCloseTo(0.817, 2);
  }, 120_000);
});

function centre({ data: pixels, height, width, channels: depth }: ImageU8, size: number): ImageU8 {
  const [top, left] = [(height - size) >> 1, (width - size) >> 1];
  const out = new Uint8Array(size * size * depth);
  for (let y = 0; y < size; y++) {
    const from = ((top + y) * width + left) * depth;
    out.set(pixels.subarray(from, from + size * depth), y * size * depth);
  }
  return { data: out, height: size, width: size, channels: depth };
}
