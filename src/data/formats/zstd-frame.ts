/**
 * A Zstandard frame before it is decompressed: what its header claims must fit the length that is expected, since the
 * decoder allocates by it. RFC 8878, section 3.1.
 */

const MAGIC = 0xfd2fb528;

/**
 * The frame with a window no larger than `length` needs (encoders that stream ask for megabytes). The bytes are copied
 * when the window is changed.
 * @throws Error for what is not one frame of `length` bytes.
 */
export function boundedZstd(input: Uint8Array, length: number): Uint8Array {
  const view = new DataView(input.buffer, input.byteOffset, input.byteLength);
  if (input.length < 9 || view.getUint32(0, true) !== MAGIC) throw new Error('expected a Zstandard frame');
  const flags = view.getUint8(4);
  const single = (flags >> 5) & 1;
  const sizeBytes = flags >> 6 ? 1 << (flags >> 6) : single;
  const dictionary = [0, 1, 2, 4][flags & 3] as number;
  const sizeAt = 6 - single + dictionary;
  const blocks = sizeAt + sizeBytes;
  if (blocks + 3 > input.length) throw new Error('expected a whole Zstandard header');
  if (sizeBytes > 0) {
    const size =
      sizeBytes === 1
        ? view.getUint8(sizeAt)
        : sizeBytes === 2
          ? view.getUint16(sizeAt, true) + 256
          : sizeBytes === 4
            ? view.getUint32(sizeAt, true)
            : Number(view.getBigUint64(sizeAt, true));
    if (size !== length) throw new Error(`expected ${length} bytes in a Zstandard frame, its header says ${size}`);
  }
  const end = blocksEnd(input, blocks, length) + (flags & 4 ? 4 : 0);
  if (end !== input.length) throw new Error('expected one Zstandard frame that ends with its page');
  if (single) return input;
  const least = Math.max(0, Math.ceil(Math.log2(Math.max(length, 1024))) - 10);
  if ((input[5] as number) >> 3 <= least) return input;
  const copy = new Uint8Array(input);
  copy[5] = least << 3;
  return copy;
}

function blocksEnd(input: Uint8Array, start: number, length: number): number {
  let repeated = 0;
  for (let at = start; at + 3 <= input.length; ) {
    const head = (input[at] as number) | ((input[at + 1] as number) << 8) | ((input[at + 2] as number) << 16);
    const kind = (head >> 1) & 3;
    const size = head >> 3;
    // One byte repeated: as long as it says.
    if (kind === 1) repeated += size;
    if (repeated > length) throw new Error(`expected at most ${length} bytes in a Zstandard frame`);
    at += 3 + (kind === 1 ? 1 : size);
    if (head & 1) return at;
  }
  throw new Error('expected the last block of a Zstandard frame');
}
