/** The text of a file in pieces, gunzipped and decoded: what every reader of lines and tables starts from. */
import { createReadStream } from 'node:fs';
import { TextDecoder } from 'node:util';
import { createGunzip } from 'node:zlib';
import { CambiumError, ConfigError, DataError, printable } from '../../base/errors.ts';
import { decodablePrefix } from '../../io/decodable.ts';
import { ioError, openRegular } from '../../io/failure.ts';
import { isGzip } from './gzip.ts';

export interface TextFileOptions {
  /** As TextDecoder names it: `utf-8` unless told; `gb18030`, `utf-16le`, `windows-1252` ... */
  readonly encoding?: string;
}

const CHUNK = 2 ** 16;

/**
 * Decoded pieces in order; a byte order mark is left out. Memory stays at a few pieces, whatever the size.
 * @throws IoError; DataError TEXT_ENCODING with line, column and offset (after unpacking), GZIP_CORRUPT, GZIP_TRUNCATED,
 * TEXT_BINARY; ConfigError for an unknown encoding.
 */
export async function* readTextChunks(
  file: string,
  { encoding = 'utf-8' }: TextFileOptions = {},
): AsyncGenerator<string, void, void> {
  const decoder = makeDecoder(encoding);
  const position = new Position();
  let offset = 0;
  try {
    const gzip = await startsAsGzip(file);
    const source = createReadStream(file, { highWaterMark: CHUNK });
    const stream = gzip ? source.pipe(createGunzip({ chunkSize: CHUNK })) : source;
    // A pipe does not hand on the errors of its source.
    if (stream !== source) source.on('error', (error) => stream.destroy(error));
    let first = true;
    try {
      for await (const bytes of stream as AsyncIterable<Uint8Array>) {
        if (first && isUtf16(bytes) && !/16/.test(encoding)) binary(file, 'UTF-16', 'pass encoding: "utf-16le"');
        first = false;
        const text = decode(decoder, bytes, { stream: true }, { file, encoding, offset, position });
        if (text.includes('\u0000')) binary(file, 'NUL characters', 'it is no text file, or in another encoding');
        offset += bytes.length;
        position.pass(text);
        if (text !== '') yield text;
      }
      const rest = decode(decoder, new Uint8Array(0), {}, { file, encoding, offset, position });
      if (rest !== '') yield rest;
    } finally {
      source.destroy();
    }
  } catch (cause) {
    throw readError(cause, file, offset);
  }
}

function makeDecoder(encoding: string): TextDecoder {
  try {
    return new TextDecoder(encoding, { fatal: true });
  } catch (cause) {
    throw new ConfigError('ENCODING_UNKNOWN', `there is no text encoding ${printable(encoding)}`, {
      field: 'encoding',
      got: encoding,
      hint: 'for example utf-8, gb18030, big5, utf-16le, windows-1252',
      cause,
    });
  }
}

async function startsAsGzip(file: string): Promise<boolean> {
  const { handle } = await openRegular(file);
  try {
    const head = new Uint8Array(2);
    const { bytesRead } = await handle.read(head, 0, 2, 0);
    return isGzip(head.subarray(0, bytesRead));
  } finally {
    await handle.close();
  }
}

/** Line and column, both from 1, of the character after those passed. */
class Position {
  line = 1;
  column = 1;

  pass(text: string): this {
    let last = -1;
    for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) {
      this.line++;
      last = at;
    }
    this.column = last < 0 ? this.column + text.length : text.length - last;
    return this;
  }
}

interface Place {
  readonly file: string;
  readonly encoding: string;
  readonly offset: number;
  readonly position: Position;
}

function decode(decoder: TextDecoder, bytes: Uint8Array, options: { stream?: boolean }, place: Place): string {
  try {
    return decoder.decode(bytes, options);
  } catch (cause) {
    const { file, encoding, offset, position } = place;
    // A piece may begin within a character.
    const valid = decodablePrefix(bytes, encoding, 3);
    position.pass(new TextDecoder(encoding).decode(bytes.subarray(0, valid)));
    const { line, column } = position;
    const byte = bytes[valid];
    const got = byte === undefined ? 'the end of the file within a character' : `byte 0x${byte.toString(16)}`;
    throw new DataError(
      'TEXT_ENCODING',
      `${printable(file)}: line ${line}, column ${column}: expected ${encoding} text, found ${got}`,
      {
        file,
        line,
        column,
        offset: offset + valid,
        expected: encoding,
        got,
        hint: 'save the file as UTF-8, or pass its encoding (Chinese Windows: gb18030; western: windows-1252)',
        cause,
      },
    );
  }
}

const isUtf16 = (bytes: Uint8Array): boolean =>
  (bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff);

function binary(file: string, got: string, hint: string): never {
  throw new DataError('TEXT_BINARY', `${printable(file)}: expected text, found ${got}`, { file, got, hint });
}

function readError(cause: unknown, file: string, offset: number): CambiumError {
  if (cause instanceof CambiumError) return cause;
  const { code, message } = cause as NodeJS.ErrnoException;
  if (code?.startsWith('Z_')) {
    const truncated = code === 'Z_BUF_ERROR';
    const got = truncated ? 'the end of the file' : message;
    return new DataError(
      truncated ? 'GZIP_TRUNCATED' : 'GZIP_CORRUPT',
      `${printable(file)}: expected intact gzip data, found ${got} after ${offset} unpacked bytes`,
      { file, offset, expected: 'intact gzip data', got, cause },
    );
  }
  return ioError(cause, 'read', file);
}
