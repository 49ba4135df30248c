/** Tables whose rows have labels of any kind: of texts, or of pictures named by file. */
import { basename, dirname } from 'node:path';
import { DataError, printable } from '../base/errors.ts';
import { resolveUnder } from '../io/paths.ts';
import type { Dataset, FieldValue, Sample } from './dataset.ts';
import { decodeImageFile } from './decode.ts';
import { indexOutside } from './index-outside.ts';
import { LabelColumns, type LabelSpec, type TableLabels } from './label-columns.ts';
import type { Feature } from './schema.ts';
import { type Column, readTable, type TableOptions } from './text/table.ts';

export interface LabelledTableOptions extends TableOptions {
  /** By name: class, classes, number or numbers, and the columns they stand in. */
  readonly labels: LabelSpec;
  readonly name?: string;
}

export interface LabelledTextOptions extends LabelledTableOptions {
  /** Default `text`. */
  readonly textColumn?: Column;
  readonly pairColumn?: Column;
  /** Texts that are missing or blank: an error (default), or the row is left out. */
  readonly emptyText?: 'error' | 'skip';
}

export interface PictureTableOptions extends LabelledTableOptions {
  /** Names of picture files relative to the table's folder, or to `imageDir`. Default `file`. */
  readonly imageColumn?: Column;
  readonly imageDir?: string;
  /** 3 unless told; 1 makes them grey. */
  readonly channels?: 1 | 3;
}

const MAX_CHARACTERS = 2 ** 30;

/**
 * Texts in memory with labels of any kind.
 * @throws DataError with file and line: COLUMN_MISSING, TEXT_MISSING, LABEL_MISSING, LABEL_UNKNOWN, LABEL_INVALID, CLASSES_TOO_FEW,
 * DATASET_EMPTY, DATASET_TOO_LARGE, and those of the formats; ConfigError LABELS_INVALID; IoError.
 */
export async function readLabelledTexts(file: string, options: LabelledTextOptions): Promise<Dataset> {
  const { textColumn = 'text', pairColumn, emptyText = 'error' } = options;
  const texts: string[] = [];
  const pairs: string[] = [];
  let characters = 0;
  const wanted = pairColumn === undefined ? [textColumn] : [textColumn, pairColumn];
  const table = await readRows(file, options, wanted, (cells, line) => {
    const blank = cells.findIndex((cell) => cell === undefined || cell.trim() === '');
    if (blank >= 0) {
      if (emptyText === 'skip') return false;
      cellMissing('TEXT_MISSING', file, line, wanted[blank] as Column, 'pass emptyText: skip');
    }
    const [text, pair] = cells as [string, string?];
    characters += text.length + (pair?.length ?? 0);
    if (characters > MAX_CHARACTERS)
      throw new DataError('DATASET_TOO_LARGE', `${printable(file)} has more than ${MAX_CHARACTERS} characters`, {
        file,
        line,
        expected: MAX_CHARACTERS,
      });
    texts.push(text);
    if (pair !== undefined) pairs.push(pair);
    return true;
  });
  const features: Record<string, Feature> = {
    text: { kind: 'text' },
    ...(pairColumn !== undefined && { pair: { kind: 'text' } }),
  };
  return tableDataset(file, options, features, table, (row) => ({
    text: texts[row] as string,
    ...(pairColumn !== undefined && { pair: pairs[row] as string }),
  }));
}

/**
 * Pictures decoded when asked for, with labels of any kind. Height and width of the schema are null: a resize transform makes the
 * sizes equal.
 * @throws DataError as readLabelledTexts, PATH_UNSAFE for names that leave the folder; of the decoder when a picture is asked for.
 */
export async function readPictureTable(file: string, options: PictureTableOptions): Promise<Dataset> {
  const { imageColumn = 'file', imageDir = dirname(file), channels = 3 } = options;
  const names: string[] = [];
  const table = await readRows(file, options, [imageColumn], ([cell], line) => {
    if (cell === undefined || cell.trim() === '')
      cellMissing('IMAGE_MISSING', file, line, imageColumn, 'delete the row');
    names.push((cell as string).trim());
    return true;
  });
  const paths: string[] = [];
  for (const name of names) paths.push(await resolveUnder(imageDir, name));
  const features: Record<string, Feature> = { image: { kind: 'image', height: null, width: null, channels } };
  return tableDataset(file, options, features, table, async (row) => ({
    image: await decodeImageFile(paths[row] as string, { channels }),
  }));
}

interface Rows {
  readonly labels: TableLabels;
  readonly lines: Int32Array;
}

/** `take` says whether a row is kept. */
async function readRows(
  file: string,
  options: LabelledTableOptions,
  wanted: readonly Column[],
  take: (cells: readonly (string | undefined)[], line: number) => boolean,
): Promise<Rows> {
  const columns = new LabelColumns(options.labels);
  const lines: number[] = [];
  for await (const { values, line } of readTable(file, [...wanted, ...columns.columns], options)) {
    if (!take(values.slice(0, wanted.length), line)) continue;
    columns.add(values.slice(wanted.length), line);
    lines.push(line);
  }
  if (lines.length === 0) throw new DataError('DATASET_EMPTY', `${printable(file)} has no rows`, { file, got: 0 });
  return { labels: columns.finish(file), lines: Int32Array.from(lines) };
}

function tableDataset(
  file: string,
  { name = basename(file) }: LabelledTableOptions,
  features: Readonly<Record<string, Feature>>,
  { labels, lines }: Rows,
  read: (row: number) => Sample | Promise<Sample>,
): Dataset {
  const check = (index: number): number => {
    if (Number.isInteger(index) && index >= 0 && index < lines.length) return index;
    indexOutside(name, index, lines.length);
  };
  return {
    name,
    length: lines.length,
    schema: { features, labels: labels.labels },
    get: (index) => {
      const own = read(check(index));
      const targets = labels.at(index);
      return own instanceof Promise ? own.then((found) => ({ ...found, ...targets })) : { ...own, ...targets };
    },
    targets: (index): Readonly<Record<string, FieldValue>> => labels.at(check(index)),
    describe: (index) => `${file} line ${lines[check(index)]}`,
  };
}

function cellMissing(code: string, file: string, line: number, column: Column, hint: string): never {
  throw new DataError(code, `${printable(file)}: line ${line} has nothing in column ${printable(column)}`, {
    file,
    line,
    field: String(column),
    expected: code === 'TEXT_MISSING' ? 'a text' : 'the name of a picture',
    hint,
  });
}
