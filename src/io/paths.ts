/** The one way a name that came from a file, archive, URL, request or recipe becomes a path: under a base, or not at all. */
import { lstat } from 'node:fs/promises';
import { join } from 'node:path';
import { DataError, printable } from '../base/errors.ts';
import { errnoOf, ioError } from './failure.ts';

const RESERVED = /^(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?$/i;

function refuse(name: string, why: string): never {
  throw new DataError('PATH_UNSAFE', `unsafe path ${printable(name)}: ${why}`, {
    got: name.slice(0, 200),
    expected: 'a relative path inside its folder, parts separated by "/"',
  });
}

/**
 * The parts of an untrusted relative name. Refused: empty, absolute, drive and UNC forms, `..` in any spelling
 * (percent-encoded or Unicode compatibility forms too), backslashes, control characters, names Windows reserves.
 * @throws DataError PATH_UNSAFE.
 */
export function checkName(name: string): string[] {
  if (name === '') refuse(name, 'it is empty');
  if (Buffer.byteLength(name) > 4096) refuse(name, 'it is longer than 4096 bytes');
  for (const spelling of spellings(name)) {
    if (/[\u0000-\u001f\u007f]/.test(spelling)) refuse(name, 'it has a control character');
    if (spelling.includes('\\')) refuse(name, 'it has a backslash');
    if (spelling.startsWith('/')) refuse(name, 'it is absolute');
    if (spelling.includes(':')) refuse(name, 'it has a colon');
    for (const part of spelling.split('/')) {
      if (part === '..') refuse(name, 'it climbs out with ".."');
      if (part === '' || part === '.') refuse(name, 'it has an empty part');
      if (RESERVED.test(part)) refuse(name, 'it is a reserved device name');
      if (/[. ]$/.test(part)) refuse(name, 'a part ends with a dot or a space');
      if (Buffer.byteLength(part) > 255) refuse(name, 'a part is longer than 255 bytes');
    }
  }
  if (/\p{Surrogate}/u.test(name)) refuse(name, 'it is not valid Unicode');
  return name.split('/');
}

/**
 * The path of `name` under the trusted directory `base`; nothing on the way, nor the file, may be a symbolic link.
 * The file need not exist.
 * @throws DataError PATH_UNSAFE, IoError.
 */
export async function resolveUnder(base: string, name: string): Promise<string> {
  let path = base;
  for (const part of checkName(name)) {
    path = join(path, part);
    try {
      if ((await lstat(path)).isSymbolicLink()) refuse(name, 'a part of it is a symbolic link');
    } catch (cause) {
      if (errnoOf(cause) === 'ENOENT') continue;
      throw ioError(cause, 'look at', path);
    }
  }
  return path;
}

// Every reading a lenient program might make of the name.
function spellings(name: string): string[] {
  const all = [name, name.normalize('NFKC')];
  for (let decoded = name, rounds = 0; rounds < 4 && decoded.includes('%'); rounds++) {
    try {
      decoded = decodeURIComponent(decoded);
    } catch {
      break;
    }
    all.push(decoded, decoded.normalize('NFKC'));
  }
  return all;
}
