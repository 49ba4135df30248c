/** Points in the plane coloured by class, as an SVG picture with its legend, for pages without scripts. */
import { escapeHtml } from './html-page.ts';

export interface ScatterPoint {
  readonly x: number;
  readonly y: number;
  /** Shown where the pointer rests. */
  readonly name: string;
  /** Index into the classes; undefined: of none. */
  readonly label?: number | undefined;
}

export interface ScatterOptions {
  readonly classes?: readonly string[];
  readonly width?: number;
  readonly height?: number;
}

const MARGIN = 14;
// Beyond, a page would be slow to draw and a legend longer than the map.
const MOST_CLASSES = 40;

/**
 * Hues far from each other, by the golden angle, in three shades.
 * @example colourOf(0) // 'hsl(210 62% 45%)'
 */
export const colourOf = (index: number): string =>
  `hsl(${Math.round((210 + 137.508 * index) % 360)} 62% ${[45, 32, 60][Math.floor(index / 8) % 3]}%)`;

const GREY = '#777';

/** One scale for both axes: distances mean the same in every direction. Points that are not finite are left out. */
export function scatterChart(points: readonly ScatterPoint[], options: ScatterOptions = {}): string {
  const { classes = [], width = 760, height = 600 } = options;
  const shown = points.filter(({ x, y }) => Number.isFinite(x) && Number.isFinite(y));
  if (shown.length === 0) return '<p>There are no points.</p>';
  const range = (values: readonly number[]): [number, number] => [
    values.reduce((a, b) => Math.min(a, b)),
    values.reduce((a, b) => Math.max(a, b)),
  ];
  const [left, right] = range(shown.map(({ x }) => x));
  const [low, high] = range(shown.map(({ y }) => y));
  const scale = Math.min(
    (width - 2 * MARGIN) / Math.max(right - left, Number.MIN_VALUE),
    (height - 2 * MARGIN) / Math.max(high - low, Number.MIN_VALUE),
  );
  // All at one place: that place is the middle.
  const step = Number.isFinite(scale) && scale < 1e300 ? scale : 0;
  const px = (x: number): string => (width / 2 + (x - (left + right) / 2) * step).toFixed(1);
  const py = (y: number): string => (height / 2 - (y - (low + high) / 2) * step).toFixed(1);
  const radius = shown.length > 2000 ? 2 : shown.length > 300 ? 3 : 4;
  const colour = (label: number | undefined): string => (label === undefined ? GREY : colourOf(label));
  const dots = shown.map(
    ({ x, y, name, label }) =>
      `<circle cx="${px(x)}" cy="${py(y)}" r="${radius}" fill="${colour(label)}"><title>${escapeHtml(name)}</title></circle>`,
  );
  return (
    `<svg viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">` +
    `<rect width="${width}" height="${height}" fill="#fafafa" stroke="#ddd"/><g fill-opacity="0.75">${dots.join('')}</g></svg>` +
    legend(shown, classes)
  );
}

function legend(points: readonly ScatterPoint[], classes: readonly string[]): string {
  const counts = new Map<number, number>();
  for (const { label } of points) if (label !== undefined) counts.set(label, (counts.get(label) ?? 0) + 1);
  if (counts.size === 0) return '';
  const labels = [...counts.keys()].sort((a, b) => a - b);
  const entries = labels
    .slice(0, MOST_CLASSES)
    .map(
      (label) =>
        `<span style="margin-right:1.2em;white-space:nowrap"><span style="display:inline-block;width:.75em;height:.75em;border-radius:50%;` +
        `background:${colourOf(label)};margin-right:.35em"></span>${escapeHtml(classes[label] ?? String(label))} (${counts.get(label)})</span>`,
    );
  const more = labels.length > MOST_CLASSES ? `<span class="note">and ${labels.length - MOST_CLASSES} more</span>` : '';
  return `<p>${entries.join(' ')}${more}</p>`;
}
