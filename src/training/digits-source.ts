/** Handwritten digits: MNIST where it can be had, else, if nothing forbids it, those our own code draws. */
import { connect } from 'node:net';
import { join } from 'node:path';
import { NetworkError } from '../base/errors.ts';
import { type Dataset, digits, type ImageSample, loadMnist, mnistFiles } from '../data/index.ts';
import { cacheDir, exists } from '../io/index.ts';

type Images = Dataset<ImageSample>;

export interface DigitsRequest {
  /** Of the drawn ones. */
  sizes?: { train?: number; test?: number };
  notify?: ((text: string) => void | Promise<void>) | undefined;
  /** Only MNIST will do. */
  noStandIn?: boolean | undefined;
}

export interface DigitParts {
  readonly name: 'mnist' | 'digits';
  readonly train: Images;
  readonly test: Images;
}

/** The built-in digits; all of them unless sizes are told. */
export const drawnDigits = ({ train, test }: { train?: number; test?: number }): DigitParts => ({
  name: 'digits',
  train: digits({ split: 'train', size: train }),
  test: digits({ split: 'test', size: test }),
});

/**
 * MNIST from a folder, the cache or a download; where none can be had, and no folder was named, the built-in digits.
 * @throws IoError and DataError of a named folder; NetworkError where nothing may stand in.
 */
export async function mnistOrDigits(
  dir: string | undefined,
  { sizes = {}, notify, noStandIn }: DigitsRequest,
): Promise<DigitParts> {
  try {
    if (dir === undefined) await checkReachable();
    const [train, test] = [
      await loadMnist({ split: 'train', dataDir: dir }),
      await loadMnist({ split: 'test', dataDir: dir }),
    ];
    return { name: 'mnist', train, test };
  } catch (error) {
    // A directory given by hand is an order; only a failed download has a stand-in.
    if (!(error instanceof NetworkError) || dir !== undefined) throw error;
    if (noStandIn)
      throw new NetworkError(error.code, `the data are MNIST, which cannot be had: ${error.message}`, {
        ...error.details,
        field: '--data-dir',
        hint: 'pass --data-dir DIR with the four MNIST .gz files',
        cause: error,
      });
    await notify?.(
      `MNIST is not in the cache and cannot be downloaded (${error.code}): using the built-in data set "digits" instead; ` +
        'pass --data-dir DIR with the four MNIST .gz files for MNIST itself',
    );
    return drawnDigits(sizes);
  }
}

const HOSTS = ['ossci-datasets.s3.amazonaws.com', 'storage.googleapis.com'];

// Offline must be noticed at once: a download would try for a minute.
async function checkReachable(): Promise<void> {
  const files = Object.values(mnistFiles).flatMap(({ images, labels }) => [images.name, labels.name]);
  const cached = await Promise.all(files.map((file) => exists(join(cacheDir(), 'mnist', file))));
  if (cached.every(Boolean) || process.env.CAMBIUM_OFFLINE) return;
  const answers = await Promise.all(HOSTS.map((host) => answersOn443(host)));
  if (!answers.some(Boolean))
    throw new NetworkError('OFFLINE', 'no mirror of MNIST answers', { expected: HOSTS, hint: 'pass --data-dir DIR' });
}

const answersOn443 = (host: string, timeout = 3000): Promise<boolean> =>
  new Promise((done) => {
    const socket = connect({ host, port: 443 });
    const finish = (answer: boolean): void => {
      socket.destroy();
      clearTimeout(timer);
      done(answer);
    };
    // A name server that never answers is not covered by the socket's own timeout.
    const timer = setTimeout(() => finish(false), timeout);
    socket.once('connect', () => finish(true));
    socket.once('error', () => finish(false));
  });
