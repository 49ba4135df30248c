/**
 * How many bytes from the start decode: the place of the first that does not. A decoder does not say where it stopped, but
 * prefixes decode, so bisection finds it. A piece of a stream may begin within a character: up to `skip` first bytes may fail alone.
 */
export function decodablePrefix(bytes: Uint8Array, encoding = 'utf-8', skip = 0): number {
  const decodes = (end: number): boolean => {
    for (let start = 0; start <= skip; start++)
      try {
        new TextDecoder(encoding, { fatal: true }).decode(bytes.subarray(start, end), { stream: true });
        return true;
      } catch {
        // The next start.
      }
    return false;
  };
  let good = 0;
  let bad = bytes.length + 1;
  while (bad - good > 1) {
    const middle = (good + bad) >> 1;
    if (decodes(middle)) good = middle;
    else bad = middle;
  }
  return good;
}
