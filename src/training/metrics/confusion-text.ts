/** A confusion matrix for the terminal: a table where it fits, else the pairs of classes most often mixed up. */
import { printable } from '../../base/errors.ts';
import type { ConfusionMatrix } from './confusion-matrix.ts';

export interface Confusion {
  readonly label: string;
  readonly prediction: string;
  readonly count: number;
  /** Share of the label's samples. */
  readonly share: number;
}

/** Pairs of different classes by how often the first was taken for the second, most often first. */
export function worstConfusions(matrix: ConfusionMatrix, limit = 10): Confusion[] {
  const size = matrix.classes.length;
  const { counts } = matrix;
  const wrong: number[] = [];
  for (let cell = 0; cell < counts.length; cell++)
    if (counts[cell] && Math.floor(cell / size) !== cell % size) wrong.push(cell);
  const count = (cell: number): number => counts[cell] as number;
  wrong.sort((a, b) => count(b) - count(a) || a - b);
  return wrong.slice(0, limit).map((cell) => {
    const label = Math.floor(cell / size);
    return {
      label: matrix.classes[label] as string,
      prediction: matrix.classes[cell % size] as string,
      count: count(cell),
      share: count(cell) / matrix.support(label),
    };
  });
}

export interface ConfusionTextOptions {
  /** Width of the terminal; 80. A table that is wider becomes a list. */
  readonly columns?: number;
  /** Length of the list; 10. */
  readonly pairs?: number;
}

/** One row a true class, one column a predicted one; zeros are dots, so that what went wrong stands out. */
export function formatConfusion(
  matrix: ConfusionMatrix,
  { columns = 80, pairs = 10 }: ConfusionTextOptions = {},
): string {
  const counts = matrix.toJSON().counts;
  const names = matrix.classes.map(shown);
  const heads = names.map((name) => cut(name, 8));
  const rowNames = ['true \\ predicted', ...names.map((name) => cut(name, 24))];
  const widest = Math.max(...heads.map(cells), ...counts.map((row) => String(Math.max(...row)).length));
  const first = Math.max(...rowNames.map(cells));
  if (first + names.length * (widest + 2) > columns) return list(matrix, pairs);
  const line = (name: string, row: readonly string[]): string =>
    `${left(name, first)}${row.map((cell) => `  ${right(cell, widest)}`).join('')}\n`;
  let text = line(rowNames[0] as string, heads);
  counts.forEach((row, k) => {
    text += line(
      rowNames[k + 1] as string,
      row.map((count) => (count === 0 ? '.' : String(count))),
    );
  });
  return text;
}

function list(matrix: ConfusionMatrix, limit: number): string {
  const rows = worstConfusions(matrix, limit);
  if (rows.length === 0) return 'no confusions\n';
  const width = String(rows[0]?.count).length;
  const of = matrix.total - matrix.correct;
  const lines = rows.map(({ label, prediction, count, share }) => {
    const percent = `${(share * 100).toFixed(1)} %`.padStart(7);
    return `${String(count).padStart(width)}  ${percent}  ${cut(shown(label), 24)} -> ${cut(shown(prediction), 24)}\n`;
  });
  return `most frequent confusions (of ${of}), true -> predicted\n${lines.join('')}`;
}

// Names come from data sets: what could steer a terminal is escaped.
const shown = (name: string): string => printable(name).slice(1, -1);

const wide =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Emoji_Presentation}\uff01-\uff60]/u;
const width = (character: string): number => (wide.test(character) ? 2 : /\p{Mn}/u.test(character) ? 0 : 1);
/** Cells a text takes in a terminal. */
const cells = (text: string): number => [...text].reduce((sum, character) => sum + width(character), 0);
const left = (text: string, size: number): string => text + ' '.repeat(Math.max(0, size - cells(text)));
const right = (text: string, size: number): string => ' '.repeat(Math.max(0, size - cells(text))) + text;

function cut(text: string, size: number): string {
  if (cells(text) <= size) return text;
  let kept = '';
  for (const character of text) {
    if (cells(kept) + width(character) > size - 1) break;
    kept += character;
  }
  return `${kept}…`;
}
