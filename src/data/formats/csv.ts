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
  /** Default 4096. */
  readonly maxColumns?: number;
}

export interface CsvRecord {
  readonly fields: string[];
  /** Where it begins, from 1. */
  readonly line: number;
}

/** Characters of one record. What is longer has a quote that nobody closed. */
const MAX_RECORD = 2 ** 22;

/** Records in order, of any numbers of fields. @throws DataError CSV_QUOTES, CSV_COLUMNS, CSV_RECORD; those of readTextChunks. */
export async function* readCsv(file: string, options: CsvOptions = {}): AsyncGenerator<CsvRecord, void, void> {
  const parser = new CsvParser(file, options);
  for await (const chunk of readTextChunks(file, options)) yield* parser.push(chunk);
  yield* parser.end();
}

/** `.tsv`, `.txt` and `.tab`, gzipped or not, are tab-separated. */
export const delimiterOf = (file: string): string => (/\.(tsv|txt|tab)(\.gz)?$/i.test(file) ? '\t' : ',');

/** Records of a text given in pieces. */
export class CsvParser {
  readonly #file: string;
  readonly #delimiter: number;
  readonly #quote: number;
  readonly #quoteText: string;
  readonly #maxColumns: number;
  #rest = '';
  #line = 1;

  constructor(file: string, { delimiter = delimiterOf(file), quote, maxColumns = 4096 }: CsvOptions = {}) {
    const mark = quote === undefined ? (delimiter === '\t' ? null : '"') : quote;
    for (const [field, value] of Object.entries({ delimiter, quote: mark ?? '"' }))
      if (value.length !== 1 || value === '\n' || value === '\r')
        throw new DataError('CSV_OPTION', `${field}: expected one character, found ${printable(value)}`, {
          field,
          got: value,
        });
    this.#file = file;
    this.#delimiter = delimiter.charCodeAt(0);
    this.#quoteText = mark ?? '';
    this.#quote = mark === null ? -1 : mark.charCodeAt(0);
    this.#maxColumns = maxColumns;
  }

  push(chunk: string): CsvRecord[] {
    return this.#parse(this.#rest + chunk, false);
  }

  end(): CsvRecord[] {
    return this.#parse(this.#rest, true);
  }

  #parse(text: string, final: boolean): CsvRecord[] {
    const records: CsvRecord[] = [];
    let start = 0;
    while (start < text.length) {
      const fields: string[] = [];
      const end = this.#record(text, start, final, fields);
      if (end < 0) break;
      if (fields.length > 1 || fields[0] !== '') records.push({ fields, line: this.#line });
      this.#line += linesIn(text, start, end);
      start = end;
    }
    this.#rest = text.slice(start);
    if (this.#rest.length > MAX_RECORD) this.#tooLong(text, start);
    return records;
  }

  /** Fills `fields`; the position after the record, or -1 when its end is not there yet. */
  #record(text: string, start: number, final: boolean, fields: string[]): number {
    const { length } = text;
    for (let at = start; ; ) {
      if (fields.length >= this.#maxColumns)
        this.#fail('CSV_COLUMNS', text, start, at, `at most ${this.#maxColumns} columns`, 'more', {
          hint: 'is the delimiter right?',
        });
      let end: number;
      if (text.charCodeAt(at) === this.#quote) {
        end = this.#closing(text, at, final);
        if (end < 0) {
          if (final) this.#unclosed(text, start, at, 'the end of the file');
          return -1;
        }
        const field = text.slice(at + 1, end);
        fields.push(
          field.includes(this.#quoteText) ? field.replaceAll(this.#quoteText.repeat(2), this.#quoteText) : field,
        );
        end++;
      } else {
        end = at;
        for (; end < length; end++) {
          const c = text.charCodeAt(end);
          if (c === this.#delimiter || c === 10 || c === 13) break;
        }
        // A record that may go on in the next piece.
        if (end === length && !final) return -1;
        fields.push(text.slice(at, end));
      }
      if (end >= length) return final ? length : -1;
      const c = text.charCodeAt(end);
      if (c === this.#delimiter) at = end + 1;
      else if (c === 10) return end + 1;
      else if (c === 13) {
        if (end + 1 === length) return final ? length : -1;
        return text.charCodeAt(end + 1) === 10 ? end + 2 : end + 1;
      } else
        this.#fail(
          'CSV_QUOTES',
          text,
          start,
          end,
          'a delimiter or the end of the line after a closing quote',
          printable(text[end]),
          {
            hint: 'a quote within a quoted field is written twice',
          },
        );
    }
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

  #tooLong(text: string, start: number): never {
    const quoted = this.#quote < 0 ? -1 : this.#lastOpen(text, start);
    if (quoted >= 0) this.#unclosed(text, start, quoted, `nothing in ${MAX_RECORD} characters`);
    return this.#fail('CSV_RECORD', text, start, start, `a record of at most ${MAX_RECORD} characters`, 'a longer one');
  }

  // Walks the unfinished record to the quote that is still open.
  #lastOpen(text: string, start: number): number {
    for (let at = start; at < text.length; ) {
      if (text.charCodeAt(at) === this.#quote) {
        const end = this.#closing(text, at, false);
        if (end < 0) return at;
        at = end + 1;
      }
      const next = text.indexOf(String.fromCharCode(this.#delimiter), at);
      if (next < 0) return -1;
      at = next + 1;
    }
    return -1;
  }

  #unclosed(text: string, start: number, open: number, got: string): never {
    return this.#fail('CSV_QUOTES', text, start, open, 'a quote that closes this one', got, {
      hint: 'close it, or pass quote: null if quotes are ordinary characters here',
    });
  }

  #fail(code: string, text: string, start: number, at: number, expected: string, got: string, extra = {}): never {
    const line = this.#line + linesIn(text, start, at);
    const column = at - Math.max(start - 1, text.lastIndexOf('\n', at - 1));
    throw new DataError(
      code,
      `${printable(this.#file)}: line ${line}, column ${column}: expected ${expected}, found ${got}`,
      { file: this.#file, line, column, expected, got, ...extra },
    );
  }
}

function linesIn(text: string, start: number, end: number): number {
  let lines = 0;
  for (let at = start; at < end; at++) {
    const c = text.charCodeAt(at);
    if (c === 10 || (c === 13 && text.charCodeAt(at + 1) !== 10)) lines++;
  }
  return lines;
}
