/** More to say of a digit than which it is: labels of every kind, so that several heads can be tried offline. */
import type { Dataset, ImageSample, Sample } from '../dataset.ts';
import type { ImageU8 } from '../image.ts';
import type { Schema } from '../schema.ts';

const properties = ['even', 'loop', 'prime', 'above four'] as const;
const has: Readonly<Record<(typeof properties)[number], readonly number[]>> = {
  even: [0, 2, 4, 6, 8],
  loop: [0, 6, 8, 9],
  prime: [2, 3, 5, 7],
  'above four': [5, 6, 7, 8, 9],
};

/**
 * Pictures of digits with three labels: `digit` (class), `properties` (even, loop, prime, above four) and `slant`, the angle in degrees
 * by which the strokes lean to the right, from the second moments of the ink.
 */
export function digitAttributes(digits: Dataset<ImageSample>): Dataset {
  const { features, labels } = digits.schema;
  const names = labels.label?.kind === 'class' ? labels.label.names : [];
  const schema: Schema = {
    features,
    labels: {
      digit: { kind: 'class', names },
      properties: { kind: 'classes', names: [...properties] },
      slant: { kind: 'number' },
    },
  };
  const sample = ({ image, label }: ImageSample): Sample => ({
    image,
    digit: label,
    properties: Float32Array.from(properties, (name) => Number(has[name].includes(label))),
    slant: slantOf(image),
  });
  return {
    name: digits.name,
    length: digits.length,
    schema,
    get: (index) => {
      const found = digits.get(index);
      return found instanceof Promise ? found.then(sample) : sample(found);
    },
    ...(digits.id && { id: (index: number) => digits.id?.(index) ?? index }),
    describe: (index) => digits.describe?.(index) ?? `${digits.name} sample ${index}`,
  };
}

/** atan(-mu11 / mu02) in degrees: the shear that deskewing takes out (LeCun et al. 1998). 0 for an empty picture. */
function slantOf({ data, height, width, channels }: ImageU8): number {
  let [mass, mx, my] = [0, 0, 0];
  const each = (use: (ink: number, x: number, y: number) => void): void => {
    for (let y = 0; y < height; y++)
      for (let x = 0; x < width; x++) use(data[(y * width + x) * channels] as number, x, y);
  };
  each((ink, x, y) => {
    [mass, mx, my] = [mass + ink, mx + ink * x, my + ink * y];
  });
  if (mass === 0) return 0;
  let [xy, yy] = [0, 0];
  each((ink, x, y) => {
    xy += ink * (x - mx / mass) * (y - my / mass);
    yy += ink * (y - my / mass) ** 2;
  });
  return yy === 0 ? 0 : (Math.atan(-xy / yy) * 180) / Math.PI;
}
