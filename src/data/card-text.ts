/** A data card for the terminal: tables, and pictures drawn in half blocks or letters. */
import { printable } from '../base/errors.ts';
import type { DataCard, PartCard, Picture } from './card.ts';
import { resize, toChannels } from './image.ts';
import type { DuplicateGroup } from './split.ts';

export interface CardTextOptions {
  /** Half blocks instead of ASCII; by the locale unless told. */
  unicode?: boolean;
  /** Width of the terminal; 80. */
  columns?: number;
}

/** Whether the environment's locale says that the terminal shows UTF-8. */
export const speaksUnicode = (env: NodeJS.ProcessEnv = process.env): boolean =>
  /utf-?8/i.test(env.LC_ALL || env.LC_CTYPE || env.LANG || '') || env.WT_SESSION !== undefined;

export function cardText(card: DataCard, { unicode = speaksUnicode(), columns = 80 }: CardTextOptions = {}): string {
  const { height, width, channels } = card.image;
  const pixels = height === null || width === null ? '' : ` = ${height * width * channels} values`;
  const lines = [
    `${plain(card.name)}: ${card.classes.length} classes, images ${height ?? '?'}x${width ?? '?'}x${channels}${pixels}`,
    '',
    ...statistics(card),
    '',
    ...countTable(card),
    '',
    ...duplicateLines(card),
  ];
  const part = Object.values(card.parts)[0];
  if (part) {
    lines.push('', ...suspectLines(card));
    lines.push('', 'first sample of each class', '', ...gallery(card.classes, part.examples, unicode, columns));
    lines.push('', 'mean image of each class', '', ...gallery(card.classes, part.meanImages, unicode, columns));
  }
  return `${lines.join('\n').trimEnd()}\n`;
}

// Names come from files: escaped, without the quotes that would spoil a table.
const plain = (name: string): string => printable(name).slice(1, -1);
const fixed = (values: readonly number[]): string => values.map((v) => v.toFixed(4)).join(' ');

function table(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, c) => Math.max(...rows.map((row) => (row[c] ?? '').length)));
  return rows.map((row) =>
    row
      .map((cell, c) => (c === 0 ? cell.padEnd(widths[c] as number) : cell.padStart(widths[c] as number)))
      .join('  ')
      .trimEnd(),
  );
}

function statistics(card: DataCard): string[] {
  const rows = Object.entries(card.parts).map(([name, part]) => [
    plain(name),
    String(part.samples),
    fixed(part.mean),
    fixed(part.std),
    `${part.range.min}..${part.range.max}`,
    `${(100 * part.majority.accuracy).toFixed(2)} % (${plain(part.majority.label)})`,
    part.contentHash.slice(0, 12),
  ]);
  return table([['part', 'samples', 'mean', 'std', 'range', 'majority baseline', 'sha256'], ...rows]);
}

function countTable(card: DataCard): string[] {
  const parts = Object.entries(card.parts);
  const rows = card.classes.map((label) => [plain(label), ...parts.map(([, part]) => String(part.counts[label]))]);
  return table([['class', ...parts.map(([name]) => plain(name))], ...rows]);
}

function duplicateLines({ duplicates: { within, across, conflicting } }: DataCard): string[] {
  return [
    `duplicates within a part: ${groups(within)}`,
    `duplicates across parts: ${groups(across)}${across.length ? '  <- leaks: the model is tested on what it learned' : ''}`,
    `equal images, different labels: ${groups(conflicting)}`,
  ];
}

function groups(list: readonly DuplicateGroup[]): string {
  if (list.length === 0) return 'none';
  const shown = list.slice(0, 3).map(({ members }) => members.map((m) => `${plain(m.part)} ${m.id}`).join(' = '));
  return `${list.length} (${shown.join('; ')}${list.length > 3 ? '; ...' : ''})`;
}

function suspectLines(card: DataCard): string[] {
  const lines = ['suspect labels (nearer to the mean image of another class), worst first'];
  for (const [name, part] of Object.entries(card.parts)) lines.push(`  ${plain(name)}: ${suspectsOf(part)}`);
  return lines;
}

const suspectsOf = ({ suspects }: PartCard): string =>
  suspects
    .slice(0, 5)
    .map((s) => `${s.id} (${plain(s.label)}, like ${plain(s.resembles)}, ${s.ratio.toFixed(2)})`)
    .join(', ') || 'none';

const CELL = 14;

// Pictures side by side, as many as fit, each under its class's name.
function gallery(
  classes: readonly string[],
  pictures: Readonly<Record<string, Picture | null>>,
  unicode: boolean,
  columns: number,
): string[] {
  const known = classes.flatMap((label) => (pictures[label] ? [{ label, picture: pictures[label] }] : []));
  const perRow = Math.max(1, Math.floor((columns + 2) / (CELL + 2)));
  const lines: string[] = [];
  for (let i = 0; i < Math.min(known.length, 4 * perRow); i += perRow) {
    const row = known.slice(i, i + perRow);
    const drawn = row.map(({ picture }) => draw(picture, CELL, unicode));
    lines.push(
      row
        .map(({ label }) => plain(label).slice(0, CELL).padEnd(CELL))
        .join('  ')
        .trimEnd(),
    );
    const height = Math.max(...drawn.map((d) => d.length));
    for (let y = 0; y < height; y++)
      lines.push(
        drawn
          .map((d) => (d[y] ?? '').padEnd(CELL))
          .join('  ')
          .trimEnd(),
      );
  }
  return lines;
}

const SHADES = ' .:-=+*#%@';
const HALVES = [' ', '▀', '▄', '█'];

/** A picture as lines of `cells` characters; one character covers two pixels in height. */
export function draw(picture: Picture, cells: number, unicode: boolean): string[] {
  const whole = toChannels({ ...picture, data: Uint8Array.from(picture.pixels) }, 1);
  const rows = 2 * Math.max(1, Math.round((cells * picture.height) / picture.width / 2));
  const { data } = resize(whole, rows, cells);
  const lines: string[] = [];
  for (let y = 0; y < rows; y += 2) {
    let line = '';
    for (let x = 0; x < cells; x++) {
      const upper = data[y * cells + x] as number;
      const lower = data[(y + 1) * cells + x] as number;
      line += unicode
        ? HALVES[(upper > 96 ? 1 : 0) + (lower > 96 ? 2 : 0)]
        : SHADES[Math.floor(((upper + lower) / 2 / 256) * SHADES.length)];
    }
    lines.push(line.trimEnd());
  }
  return lines;
}
