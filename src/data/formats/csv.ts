/**
 * CSV and TSV (RFC 4180) in one pass and bounded memory, with the line and column of everything that is wrong. Where the RFC
 * is silent we do as Python's csv: a quote within an unquoted field is a character, blank lines are no records.
 */
import { DataError, printable } from '../../base/errors.ts';
import { readTextChunks, type TextFileOptions } from './text-chunks.ts';

export interface CsvOptions extends TextFileOptions {
  /** One character; a tab for .tsv and .txt (and their .gz), else a comma. */
  readonly delimiter?: string;
  /** null: quotes are characters like others. Default `"`, but null where the delimiter is a tab. */
  readonly quote?: string | null;
  /** Default 100,000. */
  readonly maxColumns?: number;
  /** Characters of one field; 2^20 unless told. What is longer has a quote that nobody closed. */
  readonly maxField?: number;
  /** Characters of one record; 2^26 unless told. */
  readonly maxRecord?: number;
}

export interface CsvRecord {
  readonly fields: string[];
  /** Where it begins, from 1. */
  readonly line: number;
}

/** Records in order, of any numbers of fields. @throws DataError CSV_QUOTES, CSV_COLUMNS, CSV_FIELD_LENGTH, CSV_RECORD; those of readTextChunks. */
export async function* readCsv(file: string, options: CsvOptions = {}): AsyncGenerator<CsvRecord, void, void> {
  const parser = new CsvParser(file, options);
  for await (const chunk of readTextChunks(file, options)) yield* parser.push(chunk);
  yield* parser.end();
}

/** `.tsv`, `.txt` and `.tab`, gzipped or not, are tab-separated. */
export const delimiterOf = (file: string): string => (/\.(tsv|txt|tab)(\.gz)?$/i.test(file) ? '\t' : ',');

/** Records of a text given in pieces. Only the unfinished field is read again with the next piece. */
export class CsvParser {
  readonly #file: string;
  readonly #delimiter: number;
  readonly #quote: number;
  readonly #quoteText: string;
  readonly #limits: { readonly maxColumns: number; readonly maxField: number; readonly maxRecord: number };
  #rest = '';
  /** The line of what comes next, and where in the text at hand it began. */
  #line = 1;
  #lineStart = 0;
  /** Of the unfinished record: its line, its fields so far, and their characters. */
  #recordLine = 1;
  #fields: string[] = [];
  #passed = 0;

  constructor(file: string, options: CsvOptions = {}) {
    const { delimiter = delimiterOf(file), quote, maxColumns = 1e5, maxField = 2 ** 20, maxRecord = 2 ** 26 } = options;
    const mark = quote === undefined ? (delimiter === '\t' ? null : '"') : quote;
    for (const [field, value] of Object.entries({ delimiter, quote: mark ?? '"' }))
      if (value.length !== 1 || value === '\n' || value === '\r')
        throw new DataError('CSV_OPTION', `${field}: expected one character, found ${printable(value)}`, {
          field,
          got: value,
        });
    this.#limits = { maxColumns, maxField, maxRecord };
    // A longer text than this does not exist.
    for (const [field, value] of Object.entries(this.#limits))
      if (!Number.isInteger(value) || value < 1 || value > 2 ** 29)
        throw new DataError('CSV_OPTION', `${field}: expected a whole number from 1 to ${2 ** 29}, found ${value}`, {
          field,
          got: value,
        });
    this.#file = file;
    this.#delimiter = delimiter.charCodeAt(0);
    this.#quoteText = mark ?? '';
    this.#quote = mark === null ? -1 : mark.charCodeAt(0);
  }

  push(chunk: string): CsvRecord[] {
    return this.#parse(this.#rest + chunk, false);
  }

  end(): CsvRecord[] {
    return this.#parse(this.#rest, true);
  }

  #parse(text: string, final: boolean): CsvRecord[] {
    const records: CsvRecord[] = [];
    const { maxColumns, maxRecord } = this.#limits;
    let at = 0;
    // After a delimiter there is a field, even where the text ends.
    while (at < text.length || (final && this.#fields.length > 0)) {
      if (this.#fields.length === 0) this.#recordLine = this.#line;
      if (this.#fields.length >= maxColumns)
        this.#fail('CSV_COLUMNS', at, `at most ${maxColumns} columns`, 'more', {
          hint: 'is the delimiter right? else pass a larger maxColumns',
        });
      const end = this.#field(text, at, final);
      const over = this.#passed + (end < 0 ? text.length : end) - at > maxRecord;
      if (over)
        this.#fail('CSV_RECORD', at, `a record of at most ${maxRecord} characters`, 'a longer one', {
          hint: 'is the delimiter right? else pass a larger maxRecord',
        });
      if (end < 0) break;
      const c = text.charCodeAt(end);
      const next = end + (c === 13 && text.charCodeAt(end + 1) === 10 ? 2 : 1);
      this.#pass(text, at, Math.min(next, text.length));
      this.#passed += next - at;
      at = Math.min(next, text.length);
      if (end < text.length && c === this.#delimiter) continue;
      const fields = this.#fields;
      if (fields.length > 1 || fields[0] !== '') records.push({ fields, line: this.#recordLine });
      this.#fields = [];
      this.#passed = 0;
    }
    this.#rest = text.slice(at);
    this.#lineStart -= at;
    return records;
  }

  /** Adds the field at `at`; the position after it, or -1 when its end, or what follows, is not there yet. */
  #field(text: string, at: number, final: boolean): number {
    const { maxField } = this.#limits;
    const quoted = text.charCodeAt(at) === this.#quote;
    const close = quoted ? this.#closing(text, at, final) : -1;
    if (quoted && close < 0) {
      if (final) this.#unclosed(at, 'the end of the file');
      if (text.length - at > maxField) this.#unclosed(at, `nothing in ${maxField} characters`);
      return -1;
    }
    let end = quoted ? close + 1 : at;
    if (!quoted)
      for (; end < text.length; end++) {
        const c = text.charCodeAt(end);
        if (c === this.#delimiter || c === 10 || c === 13) break;
      }
    if (end - at > maxField + (quoted ? 2 : 0))
      this.#fail('CSV_FIELD_LENGTH', at, `a field of at most ${maxField} characters`, 'a longer one', {
        hint: 'is the delimiter right? else pass a larger maxField',
      });
    const c = text.charCodeAt(end);
    if (quoted && end < text.length && c !== this.#delimiter && c !== 10 && c !== 13) {
      this.#pass(text, at, end);
      const expected = 'a delimiter or the end of the line after a closing quote';
      const hint = 'a quote within a quoted field is written twice';
      this.#fail('CSV_QUOTES', end, expected, printable(text[end]), { hint });
    }
    // It may go on in the next piece; so may the end of a line.
    if (!final && (end >= text.length || (c === 13 && end + 1 >= text.length))) return -1;
    const inner = quoted ? text.slice(at + 1, close) : text.slice(at, end);
    this.#fields.push(
      quoted && inner.includes(this.#quoteText) ? inner.replaceAll(this.#quoteText.repeat(2), this.#quoteText) : inner,
    );
    return end;
  }

  /** The quote that closes the field opened at `open`, or -1. */
  #closing(text: string, open: number, final: boolean): number {
    for (let at = open + 1; ; at += 2) {
      at = text.indexOf(this.#quoteText, at);
      // At the very end it may be the first of two.
      if (at < 0 || (at + 1 >= text.length && !final)) return -1;
      if (text.charCodeAt(at + 1) !== this.#quote) return at;
    }
  }

  #unclosed(open: number, got: string): never {
    return this.#fail('CSV_QUOTES', open, 'a quote that closes this one', got, {
      hint: 'close it, or pass quote: null if quotes are ordinary characters here',
    });
  }

  /** Counts the lines of what was read. */
  #pass(text: string, start: number, end: number): void {
    for (let at = start; at < end; at++) {
      const c = text.charCodeAt(at);
      if (c !== 10 && (c !== 13 || text.charCodeAt(at + 1) === 10)) continue;
      this.#line++;
      this.#lineStart = at + 1;
    }
  }

  #fail(code: string, at: number, expected: string, got: string, extra = {}): never {
    const [line, column] = [this.#line, at - this.#lineStart + 1];
    throw new DataError(
      code,
      `${printable(this.#file)}: line ${line}, column ${column}: expected ${expected}, found ${got}`,
      { file: this.#file, line, column, expected, got, ...extra },
    );
  }
}
