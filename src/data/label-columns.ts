/** Labels of any kind out of the columns of a table: one class, any number of them, a number, or several with names. */
import { ConfigError, DataError, printable } from '../base/errors.ts';
import type { FieldValue } from './dataset.ts';
import { type ClassNames, labelMissing, labelReader, sortedNames } from './label-reader.ts';
import { type Label, reservedFields, type Schema, weightField } from './schema.ts';
import type { Column } from './text/table.ts';

/** How a label stands in a table. */
export interface LabelColumn {
  readonly kind: Label['kind'];
  /** The label's own name unless told. */
  readonly column?: Column | undefined;
  /** Of `classes` and `numbers`: a column for each name in place of one cell; of classes with 0 or 1 in it. */
  readonly columns?: Readonly<Record<string, Column>> | undefined;
  /** Of class and `classes`; those found, sorted, unless told. */
  readonly classes?: ClassNames | undefined;
  /** Between the labels of a cell of `classes`, or the numbers of one of `numbers`; `|` unless told. */
  readonly separator?: string | undefined;
  /** Rows may lack it: their other labels are learned. */
  readonly optional?: boolean | undefined;
}

export type LabelSpec = Readonly<Record<string, LabelColumn>>;

/** All labels of a table's rows. */
export interface TableLabels {
  readonly labels: Schema['labels'];
  at(row: number): Readonly<Record<string, FieldValue>>;
}

type Cell = string | undefined;

/** Collects cells row by row; the classes are known at the end. */
export class LabelColumns {
  /** What to ask the table for, in the order of `add`. */
  readonly columns: readonly Column[];
  readonly #fields: readonly { readonly name: string; readonly spec: LabelColumn; readonly cells: Cell[][] }[];
  readonly #lines: number[] = [];

  /** @throws ConfigError LABELS_INVALID. */
  constructor(spec: LabelSpec) {
    const entries = Object.entries(spec);
    if (entries.length === 0) invalid('labels', 'at least one label', spec);
    this.#fields = entries.map(([name, label]) => {
      if (!/^[A-Za-z_][\w-]*$/.test(name) || reservedFields.has(name) || name === '__proto__')
        invalid(`labels.${name}`, 'a name of letters, digits, "-" and "_"', name);
      if (label.columns && (label.column !== undefined || label.kind === 'class' || label.kind === 'number'))
        invalid(`labels.${name}.columns`, 'one column for this kind', label.columns);
      if (label.kind === 'numbers' && !label.columns)
        invalid(`labels.${name}.columns`, 'names and columns, for example { width: w, height: h }', undefined);
      if (label.classes && (label.kind === 'number' || label.kind === 'numbers' || label.columns))
        invalid(`labels.${name}.classes`, 'no classes for this kind', label.classes);
      return { name, spec: label, cells: [] };
    });
    this.columns = this.#fields.flatMap(({ name, spec: { columns, column } }) =>
      columns ? Object.values(columns) : [column ?? name],
    );
  }

  add(values: readonly Cell[], line: number): void {
    let from = 0;
    for (const { spec, cells } of this.#fields) {
      const width = spec.columns ? Object.keys(spec.columns).length : 1;
      cells.push(values.slice(from, from + width));
      from += width;
    }
    this.#lines.push(line);
  }

  /** @throws DataError LABEL_MISSING, LABEL_UNKNOWN, LABEL_INVALID, CLASSES_TOO_FEW with file and line. */
  finish(file: string): TableLabels {
    const read = this.#fields.map((field) => ({ name: field.name, ...this.#read(field, file) }));
    return {
      labels: Object.fromEntries(read.map(({ name, label }) => [name, label])),
      at: (row) => Object.fromEntries(read.map(({ name, at }) => [name, at(row)])),
    };
  }

  #read(
    { name, spec, cells }: { name: string; spec: LabelColumn; cells: readonly Cell[][] },
    file: string,
  ): { label: Label; at: (row: number) => FieldValue } {
    const optional = spec.optional === true;
    const mark = optional ? ({ optional } as const) : {};
    const line = (row: number): number => this.#lines[row] as number;
    const missing = (row: number): void => {
      if (!optional) labelMissing(file, line(row), spec.column ?? name);
    };
    if (spec.kind === 'class') {
      const texts = cells.map(([cell]) => cell?.trim() ?? '');
      const known = labelReader(spec.classes ?? sortedNames(texts.filter((text) => text !== '')), file);
      const values = Int32Array.from(texts, (text, row) => {
        if (text !== '') return known.index(text, line(row));
        missing(row);
        return -1;
      });
      if (known.names.length < 2)
        throw new DataError('CLASSES_TOO_FEW', `${printable(file)}: ${name} has not two classes`, {
          file,
          field: name,
          expected: 'at least two classes',
          got: known.names,
          hint: 'is it the right column?',
        });
      return { label: { kind: 'class', names: known.names, ...mark }, at: (row) => values[row] as number };
    }
    const rows = spec.columns ? this.#columnRows(name, spec, cells, file, missing) : undefined;
    if (spec.kind === 'classes') {
      const { names, values } = rows ?? this.#cellRows(spec, cells, file);
      const at = (row: number): Float32Array => values.subarray(row * names.length, (row + 1) * names.length);
      return { label: { kind: 'classes', names, ...mark }, at };
    }
    if (rows) {
      const { names, values } = rows;
      const at = (row: number): Float32Array => values.subarray(row * names.length, (row + 1) * names.length);
      return { label: { kind: 'numbers', names, ...mark }, at };
    }
    const values = Float32Array.from(cells, ([cell], row) => {
      if (cell !== undefined && cell.trim() !== '') return numberOf(cell, file, line(row), name);
      missing(row);
      return Number.NaN;
    });
    return { label: { kind: 'number', ...mark }, at: (row) => values[row] as number };
  }

  /** A column for each name. */
  #columnRows(
    field: string,
    { columns = {}, kind }: LabelColumn,
    cells: readonly Cell[][],
    file: string,
    missing: (row: number) => void,
  ): { names: string[]; values: Float32Array } {
    const names = Object.keys(columns);
    const values = new Float32Array(cells.length * names.length);
    for (const [row, own] of cells.entries())
      for (const [k, cell] of own.entries()) {
        const place = row * names.length + k;
        if (cell === undefined || cell.trim() === '') {
          missing(row);
          // A sample lacks all labels of a set, or none.
          if (kind === 'classes') values.fill(Number.NaN, row * names.length, (row + 1) * names.length);
          values[place] = Number.NaN;
          if (kind === 'classes') break;
          continue;
        }
        const line = this.#lines[row] as number;
        const value = numberOf(cell, file, line, `${field}.${names[k]}`);
        if (kind === 'classes' && value !== 0 && value !== 1)
          notNumber(cell, file, line, `${field}.${names[k]}`, '0 or 1');
        values[place] = value;
      }
    return { names, values };
  }

  /** Several labels in a cell. An empty one has none; where `optional`, its row lacks them. */
  #cellRows(
    { separator = '|', classes, optional }: LabelColumn,
    cells: readonly Cell[][],
    file: string,
  ): { names: readonly string[]; values: Float32Array } {
    const lists = cells.map(([cell]) => (cell ?? '').split(separator).flatMap((part) => part.trim() || []));
    const known = labelReader(classes ?? sortedNames(lists.flat()), file);
    const width = known.names.length;
    if (width === 0)
      throw new DataError('CLASSES_TOO_FEW', `${printable(file)}: no row has a label`, {
        file,
        hint: 'is it the right column?',
      });
    const values = new Float32Array(cells.length * width);
    for (const [row, list] of lists.entries()) {
      if (list.length === 0 && optional) values.fill(Number.NaN, row * width, (row + 1) * width);
      for (const text of list) values[row * width + known.index(text, this.#lines[row] as number)] = 1;
    }
    return { names: known.names, values };
  }
}

/** The same labels with the classes of a model or training part, so that another part is not numbered anew. */
export const withClasses = (spec: LabelSpec, known: Schema['labels']): LabelSpec =>
  Object.fromEntries(
    Object.entries(spec).map(([name, label]) => {
      const found = known[name];
      const fixed = label.classes ?? (found?.kind === 'class' || found?.kind === 'classes' ? found.names : undefined);
      return [name, label.columns || fixed === undefined ? label : { ...label, classes: fixed }];
    }),
  );

/** What a sample counts, as a label among the others. */
export const weightSpec = (column: Column | undefined): LabelSpec =>
  column === undefined ? {} : { [weightField]: { kind: 'number', column } };

function numberOf(cell: string, file: string, line: number, field: string): number {
  const value = Number(cell);
  // What f32 cannot hold would become infinite on the way.
  return Number.isFinite(Math.fround(value)) ? value : notNumber(cell, file, line, field, 'a number');
}

function notNumber(cell: string, file: string, line: number, field: string, expected: string): never {
  throw new DataError('LABEL_INVALID', `${printable(file)}: line ${line}: ${field} is ${printable(cell)}`, {
    file,
    line,
    field,
    expected,
    got: cell,
  });
}

function invalid(field: string, expected: string, got: unknown): never {
  throw new ConfigError('LABELS_INVALID', `${field}: expected ${expected}, found ${printable(got)}`, {
    field,
    expected,
    got,
  });
}
