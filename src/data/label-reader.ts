/** Class labels as files write them: names, positions, or values that stand for names. */
import { DataError, nearest, printable } from '../base/errors.ts';

/**
 * Class names: in the order of the classes (a label is then a name, or its position), or by the value a file has:
 * `{ '0': 'negative', '1': 'positive' }`.
 */
export type ClassNames = readonly string[] | Readonly<Record<string, string>>;

/** Numbers by size, anything else by code point: the same order on every machine. */
export function sortedNames(values: Iterable<string>): string[] {
  const names = [...new Set(values)];
  const numeric = names.every((name) => /^-?\d+(\.\d+)?$/.test(name));
  return names.sort(numeric ? (a, b) => Number(a) - Number(b) : (a, b) => (a < b ? -1 : 1));
}

/** Class names in order, and the place of a value among them. @throws DataError LABEL_UNKNOWN with file and line. */
export function labelReader(
  classes: ClassNames,
  file: string,
): { names: string[]; index(value: string, line: number): number } {
  const list = Array.isArray(classes);
  const values = list ? undefined : Object.keys(classes);
  const names: string[] = list ? [...(classes as readonly string[])] : Object.values(classes as Record<string, string>);
  const places = new Map((values ?? names).map((value, i) => [value, i]));
  return {
    names,
    index(value, line) {
      const place = places.get(value);
      if (place !== undefined) return place;
      // By position, where the file has numbers and the names are words.
      if (list && /^\d+$/.test(value) && Number(value) < names.length) return Number(value);
      const expected = values ?? names;
      const near = nearest(value, expected);
      throw new DataError('LABEL_UNKNOWN', `${printable(file)}: line ${line}: unknown label ${printable(value)}`, {
        file,
        line,
        expected: expected.slice(0, 100),
        got: value,
        hint: near === undefined ? `known: ${expected.slice(0, 20).join(', ')}` : `did you mean ${near}?`,
      });
    },
  };
}

export function labelMissing(file: string, line: number, column: string | number): never {
  throw new DataError('LABEL_MISSING', `${printable(file)}: line ${line} has no label in column ${printable(column)}`, {
    file,
    line,
    field: String(column),
    expected: 'a label',
    hint: 'label the row or delete it',
  });
}
