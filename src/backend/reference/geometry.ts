/** Where the elements of an image batch are, in either layout. */
import type { Shape } from '../../base/index.ts';
import { imageSizes } from '../../graph/index.ts';

/** Sizes and strides: element (n, c, y, x) is at n * image + c * channel + (y * w + x) * pixel. */
export interface Geometry {
  readonly n: number;
  readonly c: number;
  readonly h: number;
  readonly w: number;
  readonly image: number;
  readonly channel: number;
  readonly pixel: number;
}

export function geometry(shape: Shape, channelsLast: boolean): Geometry {
  const { n, c, h, w } = imageSizes(shape, channelsLast);
  return { n, c, h, w, image: c * h * w, channel: channelsLast ? 1 : h * w, pixel: channelsLast ? c : 1 };
}
