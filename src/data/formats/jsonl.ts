/** JSON Lines: one object a line, in bounded memory, with file, line and column of what is wrong. */
import { DataError, printable } from '../../base/errors.ts';
import { type Json, parseJson } from '../../io/json.ts';
import { readTextChunks, type TextFileOptions } from './text-chunks.ts';

export interface JsonRecord {
  readonly object: { readonly [key: string]: Json };
  readonly line: number;
}

const MAX_LINE = 2 ** 24;

/** @throws DataError JSONL_INVALID with line and column; JSONL_LINE; those of readTextChunks. */
export async function* readJsonLines(
  file: string,
  options: TextFileOptions = {},
): AsyncGenerator<JsonRecord, void, void> {
  let rest = '';
  let line = 0;
  for await (const chunk of readTextChunks(file, options)) {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() as string;
    if (rest.length > MAX_LINE) tooLong(file, line + lines.length + 1);
    for (const text of lines) {
      line++;
      if (text.trim() !== '') yield { object: parseLine(text, file, line), line };
    }
  }
  if (rest.trim() !== '') yield { object: parseLine(rest, file, line + 1), line: line + 1 };
}

function parseLine(text: string, file: string, line: number): JsonRecord['object'] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    // The strict parser says where.
    let column = 1;
    let words = (cause as Error).message;
    try {
      parseJson(text);
    } catch (error) {
      if (!(error instanceof DataError)) throw error;
      column = error.details.column ?? 1;
      words = `expected ${error.details.expected}, found ${error.details.got}`;
    }
    throw new DataError('JSONL_INVALID', `${printable(file)}: line ${line}, column ${column}: ${words}`, {
      file,
      line,
      column,
      cause,
    });
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as JsonRecord['object'];
  throw new DataError(
    'JSONL_INVALID',
    `${printable(file)}: line ${line}: expected an object, found ${printable(value)}`,
    {
      file,
      line,
      column: 1,
      expected: 'an object',
      hint: 'one JSON object on each line',
    },
  );
}

function tooLong(file: string, line: number): never {
  throw new DataError('JSONL_LINE', `${printable(file)}: line ${line} is longer than ${MAX_LINE} characters`, {
    file,
    line,
    hint: 'is it one JSON document instead of one a line?',
  });
}
