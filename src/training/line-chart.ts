/** Lines over training steps as an SVG picture with axes, for pages without scripts. */
import { escapeHtml } from './html-page.ts';

export interface Line {
  readonly name: string;
  /** (x, y), in order. */
  readonly points: readonly (readonly [number, number])[];
}

export interface LineChartOptions {
  readonly title: string;
  /** What the axes count. */
  readonly x?: string;
  readonly width?: number;
  readonly height?: number;
  /** How y is written at the ticks. */
  readonly format?: (y: number) => string;
}

const COLOURS = ['#1f6feb', '#d1242f', '#1a7f37', '#8250df', '#bf8700', '#0a7ea4'];
// Room for the ticks' texts.
const [LEFT, RIGHT, TOP, BOTTOM] = [58, 14, 10, 34];

/** Both axes span the values there are. A line of one point is a dot. @example lineChart([{ name: 'loss', points }], { title: 'Loss' }) */
export function lineChart(lines: readonly Line[], options: LineChartOptions): string {
  const { title, x = 'steps', width = 480, height = 230, format = significant } = options;
  const shown = lines
    .map(({ name, points }) => ({ name, points: points.filter(([, y]) => Number.isFinite(y)) }))
    .filter(({ points }) => points.length > 0);
  if (shown.length === 0)
    return `<figure><figcaption>${escapeHtml(title)}</figcaption><p>Nothing was recorded.</p></figure>`;
  const all = shown.flatMap(({ points }) => points);
  const xTicks = ticks(range(all.map(([at]) => at)), 5, true);
  const yTicks = ticks(range(all.map(([, at]) => at)), 4, false);
  const [plotWidth, plotHeight] = [width - LEFT - RIGHT, height - TOP - BOTTOM];
  const place = (values: readonly number[], at: number): number => {
    const [low, high] = [values[0] as number, values.at(-1) as number];
    return (at - low) / (high - low);
  };
  const px = (at: number): string => (LEFT + place(xTicks, at) * plotWidth).toFixed(1);
  const py = (at: number): string => (TOP + (1 - place(yTicks, at)) * plotHeight).toFixed(1);
  const right = LEFT + plotWidth;
  const bottom = TOP + plotHeight;
  const grid = yTicks.map(
    (at) =>
      `<path class="grid" d="M${LEFT} ${py(at)}H${right}"/><text x="${LEFT - 6}" y="${py(at)}" text-anchor="end" dominant-baseline="middle">${escapeHtml(format(at))}</text>`,
  );
  const steps = xTicks.map(
    (at) => `<text x="${px(at)}" y="${bottom + 16}" text-anchor="middle">${significant(at)}</text>`,
  );
  const drawn = shown.map(({ points }, i) => {
    const colour = COLOURS[i % COLOURS.length];
    const path = points.map(([at, y]) => `${px(at)},${py(y)}`);
    const dots =
      points.length > 1
        ? ''
        : `<circle cx="${px(points[0]?.[0] ?? 0)}" cy="${py(points[0]?.[1] ?? 0)}" r="${4 + 2 * (shown.length - 1 - i)}" fill="none" stroke="${colour}" stroke-width="2"/>`;
    return `<polyline fill="none" stroke="${colour}" stroke-width="1.6" points="${path.join(' ')}"/>${dots}`;
  });
  const legend =
    shown.length === 1
      ? ''
      : `<br>${shown.map(({ name }, i) => `<span style="color:${COLOURS[i % COLOURS.length]}">&#9644;</span> ${escapeHtml(name)}`).join('&ensp;')}`;
  return (
    `<figure><figcaption>${escapeHtml(title)}</figcaption>` +
    `<svg viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${escapeHtml(title)}">` +
    `${grid.join('')}<path class="axis" d="M${LEFT} ${TOP}V${bottom}H${right}"/>${steps.join('')}` +
    `<text x="${right}" y="${height - 3}" text-anchor="end">${escapeHtml(x)}</text>${drawn.join('')}</svg>${legend}</figure>`
  );
}

function range(values: readonly number[]): readonly [number, number] {
  const [low, high] = values.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, -Infinity] as [
    number,
    number,
  ]);
  return low === high ? [low - (Math.abs(low) || 1) / 2, high + (Math.abs(high) || 1) / 2] : [low, high];
}

/** Round numbers from at most `low` to at least `high`, about `count` steps; of whole numbers only, if `whole`. */
function ticks([low, high]: readonly [number, number], count: number, whole: boolean): number[] {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const found = ([1, 2, 2.5, 5].find((m) => m * power >= rough) ?? 10) * power;
  const step = whole ? Math.max(1, Math.ceil(found)) : found;
  const first = Math.floor(low / step);
  const last = Math.max(first + 1, Math.ceil(high / step));
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

const significant = (value: number): string =>
  Math.abs(value) >= 1000 ? value.toLocaleString('en') : String(Number(value.toPrecision(4)));
