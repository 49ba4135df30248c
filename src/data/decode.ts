/** Decodes picture files (JPEG, PNG, WebP, GIF, TIFF, AVIF) to u8 pixels through sharp. */
import { CambiumError, DataError, printable } from '../base/errors.ts';
import { readFileBytes } from '../io/failure.ts';
import type { ImageU8 } from './image.ts';

export interface DecodeOptions {
  /** 1 for grey, 3 for colour (default). Transparent parts become white. */
  channels?: 1 | 3;
  /** Most pixels a file may claim: 100 million for training. */
  maxPixels?: number;
  /** Most bytes of the file; 512 MiB. */
  maxBytes?: number;
}

// What else the library reads (SVG, PDF ...) is drawn, not decoded: it may refer to other files.
const formats: ReadonlySet<string | undefined> = new Set(['jpeg', 'png', 'webp', 'gif', 'tiff', 'heif']);

/**
 * A picture file, upright (camera orientation applied); of an animation the first frame.
 * @throws DataError IMAGE_INVALID when it is not a picture or is damaged, IMAGE_TOO_LARGE; IoError.
 */
export async function decodeImageFile(path: string, options: DecodeOptions = {}): Promise<ImageU8> {
  const bytes = await readFileBytes(path, { maxBytes: options.maxBytes ?? 2 ** 29 });
  return decodeImage(bytes, path, options);
}

/** `decodeImageFile` of bytes in memory; `file` names them in errors. */
export async function decodeImage(
  bytes: Uint8Array,
  file: string,
  { channels = 3, maxPixels = 100_000_000 }: DecodeOptions = {},
): Promise<ImageU8> {
  // Loaded on first use: the library is large and most commands decode nothing.
  const { default: sharp } = await import('sharp');
  try {
    if (bytes.length === 0) return notAnImage(file, 'an empty file');
    const input = sharp(bytes, { limitInputPixels: maxPixels, failOn: 'error', autoOrient: true });
    const { width = 0, height = 0, format } = await input.metadata();
    if (!formats.has(format)) return notAnImage(file, `a picture of kind ${format}`);
    if (width * height > maxPixels) return tooLarge(file, maxPixels, `${width}x${height}`);
    const upright = input.flatten({ background: '#ffffff' });
    const coloured = channels === 1 ? upright.toColourspace('b-w') : upright.toColourspace('srgb');
    const { data, info } = await coloured.raw({ depth: 'uchar' }).toBuffer({ resolveWithObject: true });
    const pixels = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    if (info.channels !== channels) return notAnImage(file, `${info.channels} channels`);
    return { data: pixels, height: info.height, width: info.width, channels };
  } catch (cause) {
    if (cause instanceof CambiumError) throw cause;
    const message = cause instanceof Error ? (cause.message.split('\n')[0] ?? '') : String(cause);
    if (/pixel limit/i.test(message)) return tooLarge(file, maxPixels, 'more', cause);
    return notAnImage(file, message, cause);
  }
}

function notAnImage(file: string, got: string, cause?: unknown): never {
  throw new DataError('IMAGE_INVALID', `${printable(file)} is not a readable image: ${printable(got).slice(1, -1)}`, {
    file,
    offset: 0,
    expected: 'an intact JPEG, PNG, WebP, GIF, TIFF or AVIF file',
    got,
    cause,
  });
}

function tooLarge(file: string, maxPixels: number, got: string, cause?: unknown): never {
  throw new DataError('IMAGE_TOO_LARGE', `${printable(file)} has ${got} pixels, more than the ${maxPixels} allowed`, {
    file,
    offset: 0,
    expected: `<= ${maxPixels} pixels`,
    got,
    cause,
  });
}
