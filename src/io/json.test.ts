import fc from 'fast-check';
import { expect, test } from 'vitest';
import { DataError } from '../base/errors.ts';
import { decodeUtf8, parseJson } from './json.ts';

test('reads what JSON.parse reads', () => {
  fc.assert(
    fc.property(fc.json({ maxDepth: 6 }), fc.constantFrom(undefined, 2), (text, indent) => {
      const expected = JSON.parse(text);
      fc.pre(!/"__proto__"/.test(text));
      expect(parseJson(JSON.stringify(expected, null, indent))).toEqual(expected);
    }),
  );
});

test.each<[string, string, number, number]>([
  ['', 'JSON_INVALID', 1, 1],
  ['{"a": 1,}', 'JSON_INVALID', 1, 9],
  ['{\n  "a": 1\n  "b": 2\n}', 'JSON_INVALID', 3, 3],
  ['[1, 2', 'JSON_INVALID', 1, 6],
  ['nul', 'JSON_INVALID', 1, 1],
  ['01', 'JSON_INVALID', 1, 2],
  ['1e400', 'JSON_INVALID', 1, 1],
  ['"a\nb"', 'JSON_INVALID', 1, 3],
  ['"\\x"', 'JSON_INVALID', 1, 3],
  ['"\\u12g4"', 'JSON_INVALID', 1, 3],
  ['{} {}', 'JSON_INVALID', 1, 4],
  ['{"x": {"__proto__": {"polluted": 1}}}', 'JSON_KEY', 1, 8],
  ['{"a": 1, "a": 2}', 'JSON_KEY', 1, 10],
  ['['.repeat(65) + ']'.repeat(65), 'JSON_DEPTH', 1, 65],
  ['['.repeat(1_000_000), 'JSON_DEPTH', 1, 65],
])('refused with code, line and column: case %#', (text, code, line, column) => {
  const error = (() => {
    try {
      return parseJson(text, { file: 'x.json' });
    } catch (e) {
      return e;
    }
  })();
  expect(error).toBeInstanceOf(DataError);
  expect(error).toMatchObject({ code, exitCode: 3, details: { file: 'x.json', line, column } });
  expect(({} as Record<string, unknown>).polluted).toBeUndefined();
});

test('every cut and every changed byte of a document is read or refused with a place, as JSON.parse decides', () => {
  const text = '{"a":[1,-2.5e3,true,null],"b\\n":{"c":"\\u00e9x"}}';
  const variants = Array.from({ length: text.length }, (_, i) => text.slice(0, i));
  for (let i = 0; i < text.length; i++)
    for (const c of '{}[]",:0-.eE\\ \u0001x') variants.push(text.slice(0, i) + c + text.slice(i + 1));
  for (const variant of variants) {
    let expected: unknown;
    let valid = true;
    try {
      expected = JSON.parse(variant);
    } catch {
      valid = false;
    }
    try {
      expect(parseJson(variant)).toEqual(expected);
    } catch (error) {
      expect(error).toBeInstanceOf(DataError);
      const { code, details } = error as DataError;
      expect(details.offset).toBeLessThanOrEqual(Buffer.byteLength(variant));
      // The only valid JSON we refuse here: keys used twice.
      expect(valid ? code : 'JSON_INVALID').toBe(valid ? 'JSON_KEY' : code);
    }
  }
});

test.each([
  [[0x61, 0xff, 0x62], 1],
  [[0x61, 0xc3], 1],
  [[0xed, 0xa0, 0x80], 0],
  [[0x61, 0xe2, 0x82, 0x28], 3],
])('bytes %j are not UTF-8', (bytes, offset) => {
  expect(() => decodeUtf8(Uint8Array.from(bytes), 'f')).toThrow(
    expect.objectContaining({
      code: 'UTF8_INVALID',
      details: expect.objectContaining({ offset: expect.any(Number), file: 'f' }),
    }),
  );
  expect(offset).toBeLessThan(bytes.length);
});
