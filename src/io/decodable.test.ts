import { expect, test } from 'vitest';
import { decodablePrefix } from './decodable.ts';

test.each<[string, number[], number, string?, number?]>([
  ['all of a text', [0x61, 0xc3, 0xa9], 3],
  ['a bad byte in the middle', [0x61, 0xc3, 0xa9, 0xff, 0x62], 3],
  ['a bad first byte', [0xff, 0x61], 0],
  ['nothing', [], 0],
  ['the rest of a character before the piece', [0xa9, 0x61, 0x62, 0x63, 0xff, 0x62], 4, 'utf-8', 3],
  ['another encoding', [0xc4, 0xe3, 0xff, 0x61], 2, 'gb18030'],
])('counts the bytes that decode: %s', (_, bytes, count, encoding, skip) => {
  expect(decodablePrefix(Uint8Array.from(bytes), encoding, skip)).toBe(count);
});
