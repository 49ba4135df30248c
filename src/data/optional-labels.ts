/** Rows of tables that may have a label each: kept where they do, not asked for where they do not. */
import { DataError, printable } from '../base/errors.ts';
import { labelMissing, sortedNames } from './label-reader.ts';
import { type Column, readTable, type TableOptions } from './text/table.ts';

export interface OptionallyLabelled {
  readonly rows: readonly { readonly cells: readonly (string | undefined)[]; readonly line: number }[];
  /** Of every row; undefined where the table has no such column, or rows without one. */
  readonly labels?: readonly string[];
}

const MAX_CHARACTERS = 2 ** 30;

/**
 * The cells of `columns`, and of `labelColumn`: it must be there, in every row, if told. Otherwise a column `label` is taken where
 * every row has one.
 * @throws DataError COLUMN_MISSING, LABEL_MISSING, DATASET_EMPTY, DATASET_TOO_LARGE, those of the formats; IoError.
 */
export async function optionallyLabelled(
  file: string,
  columns: readonly Column[],
  labelColumn: Column | undefined,
  options: TableOptions = {},
): Promise<OptionallyLabelled> {
  const read = async (wanted: readonly Column[]): Promise<OptionallyLabelled> => {
    const rows: { cells: (string | undefined)[]; line: number }[] = [];
    const labels: string[] = [];
    let characters = 0;
    for await (const { values, line } of readTable(file, wanted, options)) {
      const label = values[columns.length]?.trim();
      if (label) labels.push(label);
      else if (labelColumn !== undefined) labelMissing(file, line, labelColumn);
      for (const cell of values) characters += cell?.length ?? 0;
      if (characters > MAX_CHARACTERS)
        throw new DataError('DATASET_TOO_LARGE', `${printable(file)} has more than ${MAX_CHARACTERS} characters`, {
          file,
          line,
          expected: MAX_CHARACTERS,
        });
      rows.push({ cells: values.slice(0, columns.length), line });
    }
    if (rows.length === 0) throw new DataError('DATASET_EMPTY', `${printable(file)} has no rows`, { file, got: 0 });
    return { rows, ...(labels.length === rows.length && { labels }) };
  };
  if (labelColumn !== undefined) return read([...columns, labelColumn]);
  // Positions alone say that there is no header.
  if (columns.every((column) => typeof column === 'number')) return read(columns);
  try {
    return await read([...columns, GUESS]);
  } catch (error) {
    const missing = error instanceof DataError && error.code === 'COLUMN_MISSING' && error.details.field === GUESS;
    if (!missing || columns.includes(GUESS)) throw error;
    return read(columns);
  }
}

const GUESS = 'label';

/** Names as numbers: their places in `classes` where it has them all, else among themselves, sorted. */
export function classNumbers(
  values: readonly string[],
  classes?: readonly string[],
): { names: readonly string[]; numbers: Int32Array } {
  const names = classes && values.every((value) => classes.includes(value)) ? classes : sortedNames(values);
  const places = new Map(names.map((name, i) => [name, i]));
  return { names, numbers: Int32Array.from(values, (value) => places.get(value) as number) };
}
