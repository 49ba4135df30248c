/** Lines over training steps as an SVG picture with axes, for pages without scripts. */
import { escapeHtml } from './html-page.ts';

export interface Line {
  readonly name: string;
  /** (x, y), in order. */
  readonly points: readonly (readonly [number, number])[];
  /** (x, low, high) around the line, drawn as far as the axis of the lines reaches. */
  readonly band?: readonly (readonly [number, number, number])[];
}

export interface LineChartOptions {
  readonly title: string;
  /** What the axes count. */
  readonly x?: string;
  readonly width?: number;
  readonly height?: number;
  /** How y is written at the ticks. */
  readonly format?: (y: number) => string;
  /** A place on the x axis to point out. */
  readonly mark?: { readonly x: number; readonly name: string } | undefined;
}

const COLOURS = ['#1f6feb', '#d1242f', '#1a7f37', '#8250df', '#bf8700', '#0a7ea4'];
// Room for the ticks' texts.
const [LEFT, RIGHT, TOP, BOTTOM] = [58, 14, 18, 34];

/** Both axes span the values there are; what is not finite is left out. A line of one point is a dot. @example lineChart([{ name: 'loss', points }], { title: 'Loss' }) */
export function lineChart(lines: readonly Line[], options: LineChartOptions): string {
  const { title, x = 'steps', width = 480, height = 230, format = significant, mark } = options;
  const shown = lines
    .map(({ points, ...line }) => ({ ...line, points: points.filter(([, y]) => Number.isFinite(y)) }))
    .filter(({ points }) => points.length > 0);
  if (shown.length === 0)
    return `<figure><figcaption>${escapeHtml(title)}</figcaption><p>Nothing was recorded.</p></figure>`;
  const all = shown.flatMap(({ points }) => points);
  const xRange = range(all.map(([at]) => at));
  // Time ends where it ends, values at a round number.
  const xTicks = ticks(xRange, 5, true).filter((at) => at >= xRange[0] && at <= xRange[1]);
  const yTicks = ticks(range(all.map(([, at]) => at)), 4, false);
  const yRange = [yTicks[0] as number, yTicks.at(-1) as number] as const;
  const [plotWidth, plotHeight] = [width - LEFT - RIGHT, height - TOP - BOTTOM];
  const place = ([low, high]: readonly [number, number], at: number): number =>
    Math.min(1, Math.max(0, (at - low) / (high - low)));
  const px = (at: number): string => (LEFT + place(xRange, at) * plotWidth).toFixed(1);
  const py = (at: number): string => (TOP + (1 - place(yRange, at)) * plotHeight).toFixed(1);
  const right = LEFT + plotWidth;
  const bottom = TOP + plotHeight;
  const grid = yTicks.map(
    (at) =>
      `<path class="grid" d="M${LEFT} ${py(at)}H${right}"/><text x="${LEFT - 6}" y="${py(at)}" text-anchor="end" dominant-baseline="middle">${escapeHtml(format(at))}</text>`,
  );
  const steps = xTicks.map(
    (at) => `<text x="${px(at)}" y="${bottom + 16}" text-anchor="middle">${significant(at)}</text>`,
  );
  const drawn = shown.map(({ points, band = [] }, i) => {
    const colour = COLOURS[i % COLOURS.length];
    const around = band.length > 1 ? `<path fill="${colour}" fill-opacity=".18" d="M${edges(band, px, py)}Z"/>` : '';
    const path = points.map(([at, y]) => `${px(at)},${py(y)}`);
    const dots =
      points.length > 1
        ? ''
        : `<circle cx="${px(points[0]?.[0] ?? 0)}" cy="${py(points[0]?.[1] ?? 0)}" r="${4 + 2 * (shown.length - 1 - i)}" fill="none" stroke="${colour}" stroke-width="2"/>`;
    return `${around}<polyline fill="none" stroke="${colour}" stroke-width="1.6" points="${path.join(' ')}"/>${dots}`;
  });
  const marked =
    mark && mark.x >= xRange[0] && mark.x <= xRange[1]
      ? `<path class="mark" d="M${px(mark.x)} ${TOP}V${bottom}"/>${markText(mark.name, px(mark.x), right)}`
      : '';
  const legend =
    shown.length === 1
      ? ''
      : `<br>${shown.map(({ name }, i) => `<span style="color:${COLOURS[i % COLOURS.length]}">&#9644;</span> ${escapeHtml(name)}`).join('&ensp;')}`;
  return (
    `<figure><figcaption>${escapeHtml(title)}</figcaption>` +
    `<svg viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${escapeHtml(title)}">` +
    `${grid.join('')}<path class="axis" d="M${LEFT} ${TOP}V${bottom}H${right}"/>${steps.join('')}` +
    `<text x="${right}" y="${height - 3}" text-anchor="end">${escapeHtml(x)}</text>${marked}${drawn.join('')}</svg>${legend}</figure>`
  );
}

function markText(name: string, x: string, right: number): string {
  // On the side where there is room.
  const left = Number(x) > (LEFT + right) / 2;
  return `<text x="${Number(x) + (left ? 4 : -4)}" y="${TOP - 5}" text-anchor="${left ? 'end' : 'start'}">${escapeHtml(name)}</text>`;
}

/** There along the upper edge, back along the lower one. */
function edges(band: NonNullable<Line['band']>, px: (at: number) => string, py: (at: number) => string): string {
  const upper = band.map(([at, , high]) => `${px(at)} ${py(high)}`);
  const lower = band.map(([at, low]) => `${px(at)} ${py(low)}`).reverse();
  return [...upper, ...lower].join('L');
}

function range(values: readonly number[]): readonly [number, number] {
  const [low, high] = values.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, -Infinity] as [
    number,
    number,
  ]);
  // Of one value both sides are shown.
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
