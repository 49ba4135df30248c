/** Regular files of a .tar.gz, in archive order; enough of the format for the archives the data folder holds. */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';

export function* tarFiles(path: string): Generator<{ name: string; bytes: Uint8Array }> {
  const data = gunzipSync(readFileSync(path));
  const text = (at: number, length: number): string => data.toString('latin1', at, at + length).replace(/\0.*$/s, '');
  for (let at = 0; at + 512 <= data.length && data[at] !== 0; ) {
    const size = Number.parseInt(text(at + 124, 12), 8);
    const prefix = text(at + 345, 155);
    const name = (prefix ? `${prefix}/` : '') + text(at, 100);
    const kind = text(at + 156, 1);
    if (kind === '' || kind === '0') yield { name, bytes: data.subarray(at + 512, at + 512 + size) };
    at += 512 + 512 * Math.ceil(size / 512);
  }
}
