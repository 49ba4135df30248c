/** Texts of a table or the lines of a .txt, with a class each where they have one. */
import { basename } from 'node:path';
import { DataError, printable } from '../../base/errors.ts';
import type { Dataset } from '../dataset.ts';
import { indexOutside } from '../index-outside.ts';
import { classNumbers, optionallyLabelled } from '../optional-labels.ts';
import type { Column, TableOptions } from './table.ts';

export interface AnyTextsOptions extends TableOptions {
  /** Default `text`; of a .txt its lines. */
  readonly textColumn?: Column | undefined;
  readonly pairColumn?: Column | undefined;
  /** Must be there if told; otherwise `label`, if it is. */
  readonly labelColumn?: Column | undefined;
  /** Numbers of classes are those in this list, where it names them all; else by their sorted names. */
  readonly classes?: readonly string[] | undefined;
}

/** `pair` and `label` only where the schema has them. */
export type AnyText = { readonly text: string; readonly pair?: string; readonly label?: number };

/**
 * All texts, in memory.
 * @throws DataError COLUMN_MISSING, TEXT_MISSING, LABEL_MISSING, DATASET_EMPTY, DATASET_TOO_LARGE, those of the formats; IoError.
 */
export async function anyTexts(file: string, options: AnyTextsOptions = {}): Promise<Dataset<AnyText>> {
  const lines = /\.txt(\.gz)?$/i.test(file) && options.textColumn === undefined;
  const { textColumn = lines ? 0 : 'text', pairColumn, labelColumn, classes } = options;
  const columns = pairColumn === undefined ? [textColumn] : [textColumn, pairColumn];
  const { rows, labels } = await optionallyLabelled(file, columns, labelColumn, options);
  for (const { cells, line } of rows) {
    const blank = cells.findIndex((cell) => cell === undefined || cell.trim() === '');
    if (blank >= 0)
      throw new DataError('TEXT_MISSING', `${printable(file)}: line ${line} has no text`, {
        file,
        line,
        field: String(columns[blank]),
        expected: 'a text',
        hint: 'delete the row',
      });
  }
  const known = labels && classNumbers(labels, classes);
  const name = basename(file);
  return {
    name,
    length: rows.length,
    schema: {
      features: { text: { kind: 'text' }, ...(pairColumn !== undefined && { pair: { kind: 'text' } }) },
      labels: known ? { label: { kind: 'class', names: known.names } } : {},
    },
    get(index) {
      const row = rows[index];
      if (!row) indexOutside(name, index, rows.length, 'text');
      return {
        text: row.cells[0] as string,
        ...(pairColumn !== undefined && { pair: row.cells[1] as string }),
        ...(known && { label: known.numbers[index] as number }),
      };
    },
    ...(known && { label: (index: number) => known.numbers[index] as number }),
    describe: (index) => `${file} line ${rows[index]?.line}`,
  };
}
