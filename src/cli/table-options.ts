/** Options on tables as the readers of tables take them. @throws ConfigError OPTION_INVALID. */
import { ConfigError, printable } from '../base/errors.ts';
import type { Column, TextTableOptions } from '../data/index.ts';
import type { TableFlags } from './options.ts';

/** `--text-column 0` is a position, anything else a name. */
export const columnOf = (option: string): Column => (/^\d+$/.test(option) ? Number(option) : option);

/** Those that were given. */
export function tableOptionsOf(flags: TableFlags): TextTableOptions {
  const { textColumn, pairColumn, labelColumn, format, encoding, delimiter, quote, header } = flags;
  return {
    ...(textColumn !== undefined && { textColumn: columnOf(textColumn) }),
    ...(pairColumn !== undefined && { pairColumn: columnOf(pairColumn) }),
    ...(labelColumn !== undefined && { labelColumn: columnOf(labelColumn) }),
    ...(format !== undefined && { format }),
    ...(encoding !== undefined && { encoding }),
    ...(delimiter !== undefined && { delimiter: character('--delimiter', delimiter, { tab: '\t', '\\t': '\t' }) }),
    ...(quote !== undefined && { quote: quote === 'none' ? null : character('--quote', quote) }),
    ...(header !== undefined && { header }),
  };
}

function character(field: string, text: string, words: Readonly<Record<string, string>> = {}): string {
  const value = Object.hasOwn(words, text) ? (words[text] as string) : text;
  if (value.length === 1 && value !== '\n' && value !== '\r') return value;
  const expected = field === '--quote' ? 'one character, or none' : 'one character, or tab';
  throw new ConfigError('OPTION_INVALID', `option ${field}: expected ${expected}, found ${printable(text)}`, {
    field,
    expected,
    got: text,
  });
}
