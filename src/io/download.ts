/**
 * Downloads one file whose sha256 is known: several mirrors, resumes where it was cut, and bytes that are not the right
 * ones never appear under the final name.
 */
import { createHash, type Hash, randomBytes } from 'node:crypto';
import { type FileHandle, open, readFile, unlink } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { NetworkError, printable } from '../base/errors.ts';
import { exists, hashFile, isAlive, publish, writeAll } from './atomic.ts';
import { makePrivateDir } from './cache.ts';
import { errnoOf, ioError } from './failure.ts';

export interface Download {
  /** Mirrors, tried in order. */
  urls: readonly string[];
  /** Lower-case hex digest the file must have. */
  sha256: string;
  /** Its exact size, if known; otherwise `maxBytes` bounds it. */
  bytes?: number;
  maxBytes?: number;
  /** Final path; its directory is made if need be. */
  dest: string;
  /** Sent to the host of the address itself, never after a redirect to another: it may hold a token. */
  headers?: Readonly<Record<string, string>>;
  /** What the user can do instead, for the error's hint. */
  hint?: string;
  onProgress?: (progress: { file: string; done: number; total?: number }) => void;
  /** Milliseconds without a byte before an attempt is given up; 30 s. */
  stallTimeout?: number;
  /** Attempts without progress per mirror; 3. */
  attempts?: number;
  /** Milliseconds before the second attempt, doubled for each further one; 500. */
  backoff?: number;
}

interface Attempt {
  url: string;
  reason: string;
}

/**
 * The path of the verified file: `dest` itself if it already has the right hash, else fetched.
 * CAMBIUM_OFFLINE=1 refuses to touch the network.
 * @throws NetworkError DOWNLOAD_FAILED naming every attempt, OFFLINE, or HASH_MISMATCH; IoError for the disk.
 */
export async function downloadFile(job: Download): Promise<string> {
  const { dest } = job;
  if ((await exists(dest)) && (await hashFile(dest)).sha256 === job.sha256) return dest;
  if (process.env.CAMBIUM_OFFLINE && process.env.CAMBIUM_OFFLINE !== '0')
    throw new NetworkError('OFFLINE', `${printable(basename(dest))} is not in the cache and CAMBIUM_OFFLINE is set`, {
      file: dest,
      hint: job.hint,
    });
  await makePrivateDir(dirname(dest));
  const lock = await acquire(`${dest}.lock`);
  // Another process is fetching the same file: do not wait for it, it may be stuck; fetch into a file of our own.
  const partial = lock ? `${dest}.partial` : `${dest}.${randomBytes(6).toString('hex')}.partial`;
  try {
    await fetchFromMirrors(job, partial);
    return dest;
  } catch (cause) {
    if (!lock) await unlink(partial).catch(() => {});
    throw ioError(cause instanceof DiskError ? cause.cause : cause, 'write', dest);
  } finally {
    if (lock) await unlink(`${dest}.lock`).catch(() => {});
  }
}

async function fetchFromMirrors(job: Download, partial: string): Promise<void> {
  const attempts: Attempt[] = [];
  let wrongHash = false;
  for (const url of job.urls) {
    // Progress is a longer file than ever before: a server that always starts again and breaks off makes none.
    let longest = -1;
    for (let idle = 0; idle < (job.attempts ?? 3); ) {
      if (idle > 0) await sleep((job.backoff ?? 500) * 2 ** (idle - 1));
      const outcome = await attempt(job, url, partial);
      if (outcome.done) return;
      attempts.push({ url: publicUrl(url), reason: outcome.reason });
      wrongHash ||= outcome.wrongHash === true;
      if (outcome.fatal) break;
      idle = outcome.size > longest && longest >= 0 ? 0 : idle + 1;
      longest = Math.max(longest, outcome.size);
    }
  }
  // The last attempt at each mirror says enough for one line; the details hold them all.
  const last = attempts.filter(({ url }, i) => attempts[i + 1]?.url !== url);
  const list = last.map(({ url, reason }) => `${url}: ${reason}`).join('; ');
  throw new NetworkError(
    wrongHash ? 'HASH_MISMATCH' : 'DOWNLOAD_FAILED',
    `cannot download ${printable(basename(job.dest))}: ${list || 'no address to fetch it from'}`,
    { file: job.dest, attempts, expected: job.sha256, hint: job.hint },
  );
}

type Outcome = { done: true } | { done: false; reason: string; size: number; fatal?: boolean; wrongHash?: boolean };

// One request. Whatever part of the body arrives stays in `partial` for the next one.
async function attempt(job: Download, url: string, partial: string): Promise<Outcome> {
  const limit = job.bytes ?? job.maxBytes ?? 20 * 2 ** 30;
  const stop = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const alive = (): void => {
    clearTimeout(timer);
    timer = setTimeout(() => stop.abort(new Error('no answer in time')), job.stallTimeout ?? 30_000);
  };
  let handle: FileHandle | undefined;
  let size = 0;
  let gained = 0;
  try {
    handle = await openPartial(partial);
    const begun = await resume(handle, limit);
    let hash = begun.hash;
    size = begun.size;
    alive();
    const response = size > 0 && size === job.bytes ? undefined : await request(url, size, stop.signal, job.headers);
    if (response) {
      const problem = check(response, size, job.bytes);
      if (problem) {
        await response.body?.cancel().catch(() => {});
        // A range the server cannot serve: what we have is not a beginning of what it has.
        if (problem.restart) await handle.truncate(0);
        return { done: false, size, ...problem };
      }
      if (response.status === 200 && size > 0) {
        await handle.truncate(0);
        hash = createHash('sha256');
        size = 0;
      }
      const writer = handle;
      for await (const chunk of response.body ?? []) {
        alive();
        if (size + chunk.length > limit) {
          await handle.truncate(0);
          return { done: false, reason: `more than ${limit} bytes`, size, fatal: true };
        }
        await writeAtEnd(writer, chunk, size);
        hash.update(chunk);
        size += chunk.length;
        gained += chunk.length;
        job.onProgress?.({ file: job.dest, done: size, total: job.bytes });
      }
    }
    if (job.bytes !== undefined && size < job.bytes)
      return { done: false, reason: `the connection ended at byte ${size} of ${job.bytes}`, size };
    const digest = hash.digest('hex');
    if (digest !== job.sha256) {
      await handle.truncate(0);
      const reason = `wrong content (sha256 ${digest.slice(0, 12)}..., expected ${job.sha256.slice(0, 12)}...)`;
      // A resumed file may have mixed two versions: one fresh try. A fresh one is simply another file.
      return { done: false, reason, size, fatal: gained === size, wrongHash: true };
    }
    await publish(handle, partial, job.dest, size).catch((cause) => {
      throw new DiskError(cause);
    });
    handle = undefined;
    return { done: true };
  } catch (cause) {
    // The disk's errors end the download; the network's are noted and tried again.
    if (cause instanceof DiskError) throw cause;
    const { reason, fatal } = explain(stop.signal.aborted ? stop.signal.reason : cause);
    return { done: false, reason, size, fatal };
  } finally {
    clearTimeout(timer);
    await handle?.close().catch(() => {});
  }
}

interface Problem {
  reason: string;
  fatal?: boolean;
  restart?: boolean;
}

// Why a response's head makes its body worthless, or undefined.
function check(response: Response, from: number, total: number | undefined): Problem | undefined {
  const { status } = response;
  const header = (name: string): string | null => response.headers.get(name);
  if (status === 416) return { reason: 'HTTP 416: the range is not there', restart: true };
  if (status === 429 || status >= 500) return { reason: `HTTP ${status}` };
  if (status !== 200 && status !== 206) return { reason: `HTTP ${status}`, fatal: true };
  if ((header('content-encoding') ?? 'identity') !== 'identity')
    return { reason: `unasked content-encoding ${printable(header('content-encoding'))}`, fatal: true };
  if (status === 206) {
    const range = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(header('content-range') ?? '');
    if (from === 0 || !range || Number(range[1]) !== from)
      return {
        reason: `HTTP 206 with content-range ${printable(header('content-range'))}, asked from ${from}`,
        restart: true,
      };
    if (total !== undefined && range[3] !== '*' && Number(range[3]) !== total)
      return { reason: `the file there has ${range[3]} bytes, expected ${total}`, fatal: true, restart: true };
    return undefined;
  }
  const length = header('content-length');
  if (total !== undefined && length !== null && Number(length) !== total) {
    const type = header('content-type') ?? '';
    return { reason: `${length} bytes${type ? ` of ${printable(type)}` : ''}, expected ${total}`, fatal: true };
  }
  return undefined;
}

// Follows redirects by hand: never from https to http, never from a public host to this machine or its network.
async function request(start: string, from: number, signal: AbortSignal, own: Download['headers']): Promise<Response> {
  let url = new URL(start);
  for (let hops = 0; ; hops++) {
    const response = await fetch(url, {
      redirect: 'manual',
      signal,
      headers: {
        ...(url.origin === new URL(start).origin ? own : {}),
        'accept-encoding': 'identity',
        ...(from > 0 ? { range: `bytes=${from}-` } : {}),
      },
    });
    const location = response.headers.get('location');
    if (response.status < 300 || response.status > 399 || !location) return response;
    await response.body?.cancel().catch(() => {});
    const next = new URL(location, url);
    if (hops === 5) throw new Refused('too many redirects');
    if (next.protocol !== 'https:' && next.protocol !== url.protocol) throw new Refused(`redirect to ${next.protocol}`);
    if (isPrivate(next.hostname) && !isPrivate(url.hostname)) throw new Refused('redirect to a private address');
    url = next;
  }
}

class Refused extends Error {}

const isPrivate = (host: string): boolean =>
  /^(localhost|.*\.localhost|.*\.local|.*\.internal|0\..*|10\..*|127\..*|169\.254\..*|192\.168\..*|172\.(1[6-9]|2\d|3[01])\..*|\[(::|f[cde]).*\])$/i.test(
    host,
  );

async function openPartial(path: string): Promise<FileHandle> {
  try {
    return await open(path, 'r+');
  } catch (cause) {
    if (errnoOf(cause) !== 'ENOENT') throw new DiskError(cause);
    return open(path, 'wx+').catch((again) => {
      throw new DiskError(again);
    });
  }
}

// The hash of what earlier attempts left; more than the whole file can only be wrong.
async function resume(handle: FileHandle, limit: number): Promise<{ hash: Hash; size: number }> {
  const hash = createHash('sha256');
  const { size } = await handle.stat();
  if (size > limit) {
    await handle.truncate(0);
    return { hash, size: 0 };
  }
  const buffer = new Uint8Array(2 ** 20);
  let at = 0;
  while (at < size) {
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, at);
    if (bytesRead === 0) break;
    hash.update(buffer.subarray(0, bytesRead));
    at += bytesRead;
  }
  return { hash, size: at };
}

async function writeAtEnd(handle: FileHandle, chunk: Uint8Array, position: number): Promise<void> {
  try {
    let done = 0;
    while (done < chunk.length) {
      const { bytesWritten } = await handle.write(chunk, done, chunk.length - done, position + done);
      done += bytesWritten;
    }
  } catch (cause) {
    throw new DiskError(cause);
  }
}

// Marks what the disk threw, so that a full disk is not mistaken for a bad connection.
class DiskError extends Error {
  constructor(cause: unknown) {
    super('disk', { cause });
  }
}

const hopeless = new Set(['ENOTFOUND', 'EAI_AGAIN', 'ECONNREFUSED', 'ENETUNREACH', 'EHOSTUNREACH', 'ERR_INVALID_URL']);
// The words of fetch for a port or scheme it never asks.
const refused = /^(bad port|unknown scheme)/;

function explain(cause: unknown): { reason: string; fatal: boolean } {
  if (cause instanceof Refused) return { reason: cause.message, fatal: true };
  // fetch wraps the socket's error, which may itself gather one for each address tried.
  let inner = cause as NodeJS.ErrnoException & { errors?: NodeJS.ErrnoException[] };
  while (inner.cause || inner.errors?.length) inner = (inner.errors?.[0] ?? inner.cause) as typeof inner;
  const code = inner.code ?? '';
  const words =
    code === 'ENOTFOUND' || code === 'EAI_AGAIN' ? 'the host name cannot be resolved (offline?)' : inner.message;
  return {
    reason: code && !words.includes(code) ? `${words} (${code})` : words,
    fatal: hopeless.has(code) || refused.test(words),
  };
}

const publicUrl = (url: string): string => url.replace(/[?#].*$/, '').replace(/\/\/[^/@]*@/, '//');

// A lock file with our process number; one left by a dead process is taken over.
async function acquire(path: string): Promise<boolean> {
  for (let round = 0; round < 2; round++) {
    try {
      const handle = await open(path, 'wx');
      await writeAll(handle, Buffer.from(String(process.pid)));
      await handle.close();
      return true;
    } catch (cause) {
      if (errnoOf(cause) !== 'EEXIST') throw ioError(cause, 'write', path);
      const pid = Number(await readFile(path, 'utf8').catch(() => ''));
      if (pid !== process.pid && pid > 0 && isAlive(pid)) return false;
      if (pid === process.pid) return false;
      await unlink(path).catch(() => {});
    }
  }
  return false;
}
