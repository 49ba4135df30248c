/** Labelled texts: in memory with random access, or as a stream of files larger than memory. */
import { basename } from 'node:path';
import { ArgumentError, DataError, printable } from '../../base/errors.ts';
import { type Dataset, labelOutside } from '../dataset.ts';
import { indexOutside } from '../index-outside.ts';
import type { IterableDataset } from '../iterable.ts';
import { type ClassNames, labelMissing, labelReader, sortedNames } from '../label-reader.ts';
import type { Schema } from '../schema.ts';
import { type Column, readTable, type TableOptions } from './table.ts';

export interface TextSample {
  readonly text: string;
  /** A second text, where the schema has one. */
  readonly pair?: string;
  readonly label: number;
  /** What the sample counts in a training loss, where the schema has it. */
  readonly weight?: number;
}

/** The schema of a text (or two) and its class. */
export const textClassSchema = (names: readonly string[], pair = false, weight = false): Schema => ({
  features: { text: { kind: 'text' }, ...(pair && { pair: { kind: 'text' } }) },
  labels: { label: { kind: 'class', names: [...names] }, ...(weight && { weight: { kind: 'number' } }) },
});

export interface TextTableOptions extends TableOptions {
  /** Default `text`. */
  readonly textColumn?: Column;
  /** A second text of each sample; none unless told. */
  readonly pairColumn?: Column;
  /** Default `label`. */
  readonly labelColumn?: Column;
  /** What each sample counts in the training loss, numbers of at least 0; all the same unless told. Not of streams. */
  readonly weightColumn?: Column;
  /** Those found, sorted, unless told. Streams need them. */
  readonly classes?: ClassNames;
  /** What to do with a text that is missing or blank: an error (default), or leave the row out. */
  readonly emptyText?: 'error' | 'skip';
  readonly name?: string;
}

interface RawRow {
  readonly text: string;
  readonly pair?: string;
  readonly label: string | undefined;
  readonly weight?: string | undefined;
  readonly line: number;
}

/** Texts in memory. */
export class InMemoryTextDataset implements Dataset<TextSample> {
  readonly name: string;
  readonly length: number;
  readonly schema: Schema;
  readonly texts: readonly string[];
  readonly pairs?: readonly string[];
  readonly labels: Int32Array;
  readonly weights?: Float32Array;
  readonly #lines?: Int32Array;
  readonly #file?: string;

  /** @throws DataError for lists of different lengths and labels outside the classes. */
  constructor(options: {
    name: string;
    texts: readonly string[];
    pairs?: readonly string[];
    labels: Int32Array;
    weights?: Float32Array;
    classes: readonly string[];
    /** Where they came from, for messages. */
    origin?: { readonly file: string; readonly lines: Int32Array };
  }) {
    const { name, texts, pairs, labels, weights, classes, origin } = options;
    if ([labels, pairs, weights].some((list) => list && list.length !== texts.length))
      throw new DataError('DATASET_SIZE', `${name}: ${texts.length} texts and ${labels.length} labels`, {
        expected: texts.length,
        got: labels.length,
      });
    const bad = labels.findIndex((label) => label < 0 || label >= classes.length);
    if (bad >= 0) labelOutside(name, bad, labels[bad] as number, classes.length);
    this.name = name;
    this.length = texts.length;
    this.schema = textClassSchema(classes, pairs !== undefined, weights !== undefined);
    this.texts = texts;
    this.pairs = pairs;
    this.labels = labels;
    this.weights = weights;
    this.#file = origin?.file;
    this.#lines = origin?.lines;
  }

  get(index: number): TextSample {
    this.#check(index);
    const [text, label] = [this.texts[index] as string, this.labels[index] as number];
    return {
      text,
      ...(this.pairs && { pair: this.pairs[index] as string }),
      label,
      ...(this.weights && { weight: this.weights[index] as number }),
    };
  }

  label(index: number): number {
    this.#check(index);
    return this.labels[index] as number;
  }

  describe(index: number): string {
    const line = this.#lines?.[index];
    return line === undefined ? `${this.name} sample ${index}` : `${this.#file} line ${line}`;
  }

  #check(index: number): void {
    if (!Number.isInteger(index) || index < 0 || index >= this.length) indexOutside(this.name, index, this.length);
  }
}

/** Characters in memory at most; beyond, a StreamLoader over `textStream` reads without keeping. */
const MAX_CHARACTERS = 2 ** 30;

/**
 * A whole file of labelled texts.
 * @throws DataError with file and line: COLUMN_MISSING, LABEL_MISSING, LABEL_UNKNOWN, TEXT_MISSING, CLASSES_TOO_FEW,
 * DATASET_EMPTY, DATASET_TOO_LARGE, and those of the formats; IoError.
 */
export async function readTextDataset(file: string, options: TextTableOptions = {}): Promise<InMemoryTextDataset> {
  const texts: string[] = [];
  const pairs: string[] | undefined = options.pairColumn === undefined ? undefined : [];
  const lines: number[] = [];
  const values: string[] = [];
  const weights: number[] | undefined = options.weightColumn === undefined ? undefined : [];
  let characters = 0;
  for await (const { text, pair, label, weight, line } of rawRows(file, options)) {
    if (label === undefined || label.trim() === '') labelMissing(file, line, options.labelColumn ?? 'label');
    texts.push(text);
    pairs?.push(pair as string);
    values.push(label.trim());
    lines.push(line);
    weights?.push(weightOf(weight, file, line, options.weightColumn as Column));
    characters += text.length + (pair?.length ?? 0);
    if (characters > MAX_CHARACTERS)
      throw new DataError('DATASET_TOO_LARGE', `${printable(file)} has more than ${MAX_CHARACTERS} characters`, {
        file,
        line,
        expected: MAX_CHARACTERS,
        hint: 'learn from some of its rows; or write the loop yourself: new StreamLoader(textStream(file, { classes }), { batchSize, text })',
      });
  }
  if (texts.length === 0) throw new DataError('DATASET_EMPTY', `${printable(file)} has no rows`, { file, got: 0 });
  const known = labelReader(options.classes ?? sortedNames(values), file);
  const labels = Int32Array.from(values, (value, i) => known.index(value, lines[i] as number));
  if (known.names.length < 2)
    throw new DataError(
      'CLASSES_TOO_FEW',
      `${printable(file)}: all ${texts.length} rows are labelled ${printable(known.names[0])}: there is nothing to tell apart`,
      { file, expected: 'at least two classes', got: known.names, hint: 'is labelColumn the right column?' },
    );
  const origin = { file, lines: Int32Array.from(lines) };
  return new InMemoryTextDataset({
    name: options.name ?? basename(file),
    texts,
    pairs,
    labels,
    ...(weights && { weights: Float32Array.from(weights) }),
    classes: known.names,
    origin,
  });
}

/**
 * The same, row by row, for files larger than memory: nothing is kept. Needs `classes`. Several files are read in order. A
 * `StreamLoader` makes batches of it, for a loop of your own; `fineTune` reads by position and refuses it.
 * @throws ArgumentError without classes; while iterating what `readTextDataset` throws.
 */
export function textStream(
  files: string | readonly string[],
  options: TextTableOptions & { readonly classes: ClassNames },
): IterableDataset<TextSample> {
  const list = typeof files === 'string' ? [files] : [...files];
  const { classes } = options;
  if (options.weightColumn !== undefined)
    throw new ArgumentError('OPTION_INVALID', 'weightColumn is not for streams', { field: 'weightColumn' });
  if (!classes || Object.keys(classes).length < 2)
    throw new ArgumentError('CLASSES_NEEDED', 'a stream of labelled texts needs its classes beforehand', {
      field: 'classes',
    });
  return {
    name: options.name ?? list.map((file) => basename(file)).join(', '),
    schema: textClassSchema(labelReader(classes, '').names, options.pairColumn !== undefined),
    async *samples() {
      for (const file of list) {
        const known = labelReader(classes, file);
        for await (const { text, pair, label, line } of rawRows(file, options)) {
          if (label === undefined || label.trim() === '') labelMissing(file, line, options.labelColumn ?? 'label');
          const index = known.index(label.trim(), line);
          yield pair === undefined ? { text, label: index } : { text, pair, label: index };
        }
      }
    },
  };
}

/** Texts without labels in memory, for pretraining. */
export const plainTexts = (texts: readonly string[], name = 'texts'): Dataset<{ readonly text: string }> => ({
  name,
  length: texts.length,
  schema: { features: { text: { kind: 'text' } }, labels: {} },
  get(index) {
    const text = texts[index];
    if (text !== undefined) return { text };
    indexOutside(name, index, texts.length, 'text');
  },
});

/** Texts without labels as a stream, for `pretrain`: read anew for every pass, never kept. */
export const unlabelledTexts = (
  files: string | readonly string[],
  options: Parameters<typeof readTexts>[1] = {},
): IterableDataset<{ readonly text: string }> => ({
  name: options.name ?? (typeof files === 'string' ? [files] : files).map((file) => basename(file)).join(', '),
  schema: { features: { text: { kind: 'text' } }, labels: {} },
  async *samples() {
    for await (const text of readTexts(files, options)) yield { text };
  },
});

/** Texts alone, for pretraining and for learning a vocabulary. A file without columns (.txt) gives its lines. */
export async function* readTexts(
  files: string | readonly string[],
  options: Omit<TextTableOptions, 'labelColumn' | 'pairColumn' | 'classes'> = {},
): AsyncGenerator<string, void, void> {
  const column = options.textColumn ?? 'text';
  for (const file of typeof files === 'string' ? [files] : files)
    for await (const { values, line } of readTable(file, [column], options)) {
      const [text] = values;
      if (text !== undefined && text.trim() !== '') yield text;
      else if (options.emptyText === 'error') textMissing(file, line, column);
    }
}

async function* rawRows(file: string, options: TextTableOptions): AsyncGenerator<RawRow, void, void> {
  const { textColumn = 'text', pairColumn, labelColumn = 'label', weightColumn, emptyText = 'error' } = options;
  const more = [pairColumn, weightColumn].filter((column) => column !== undefined);
  const columns = [textColumn, labelColumn, ...more];
  for await (const { values, line } of readTable(file, columns, options)) {
    const [text, label, ...rest] = values;
    const pair = pairColumn === undefined ? undefined : rest[0];
    const weight = weightColumn === undefined ? undefined : rest[more.length - 1];
    const blank = (value: string | undefined): boolean => value === undefined || value.trim() === '';
    if (blank(text) || (pairColumn !== undefined && blank(pair))) {
      if (emptyText === 'skip') continue;
      textMissing(file, line, blank(text) ? textColumn : (pairColumn as Column));
    }
    yield { text: text as string, label, weight, line, ...(pairColumn !== undefined && { pair: pair as string }) };
  }
}

function weightOf(text: string | undefined, file: string, line: number, column: Column): number {
  const weight = Number(text);
  if (text !== undefined && text.trim() !== '' && weight >= 0 && Number.isFinite(weight)) return weight;
  throw new DataError(
    'WEIGHT_INVALID',
    `${printable(file)}: line ${line}: weight ${printable(text ?? null)} in column ${printable(column)}`,
    {
      file,
      line,
      field: String(column),
      expected: 'a number of at least 0',
      got: text,
    },
  );
}

function textMissing(file: string, line: number, column: Column): never {
  throw new DataError('TEXT_MISSING', `${printable(file)}: line ${line} has no text in column ${printable(column)}`, {
    file,
    line,
    field: String(column),
    expected: 'a text',
    hint: 'delete the row, or pass emptyText: skip',
  });
}
