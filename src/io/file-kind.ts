/** What a file that is not what it should be seems to be, by its first bytes. */

const kinds = [
  [/^\x89HDF\r\n/, 'a Keras HDF5 file'],
  [/^GGUF/, 'a GGUF file'],
  [/^(\xef\xbb\xbf)?\s*<(!doctype|html|head|body|\?xml)/i, 'an HTML page, not weights'],
  [/^version https:\/\/git-lfs/, 'a Git LFS pointer, not the file it points to'],
  [/^\x1f\x8b/, 'gzipped: unpack it first'],
  [/^\x89PNG|^\xff\xd8\xff|^GIF8/, 'a picture'],
  [/^PAR1/, 'a Parquet file'],
  [/^%PDF/, 'a PDF document'],
] as const;

/** Of the first 512 bytes or fewer; undefined where nothing is known of them. */
export function fileKind(head: Uint8Array): string | undefined {
  const text = Buffer.from(head).toString('latin1');
  if (text.slice(257, 262) === 'ustar') return 'a tar archive (PyTorch before 0.1.10)';
  const known = kinds.find(([pattern]) => pattern.test(text))?.[1];
  if (known !== undefined) return known;
  // Eight bytes of a length of any size would have zeros among them.
  return text.length >= 8 && /^[\t\n\r\x20-\x7e]+$/.test(text) ? 'a text file' : undefined;
}
