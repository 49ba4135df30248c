import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { NetworkError } from '../base/errors.ts';
import { sha256 } from './atomic.ts';
import { type Download, downloadFile } from './download.ts';

const content = Buffer.from(new Uint8Array(200_000).map((_, i) => (i * i) >> 3));
const digest = sha256(content);

type Handler = (request: IncomingMessage, response: ServerResponse, count: number) => void;
const from = (request: IncomingMessage): number => Number(/bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
const partial = (response: ServerResponse, start: number, body = content): void => {
  const range = `bytes ${start}-${body.length - 1}/${body.length}`;
  response.writeHead(start ? 206 : 200, {
    'content-length': body.length - start,
    ...(start ? { 'content-range': range } : {}),
  });
  response.end(body.subarray(start));
};
const cutAfter =
  (bytes: number): Handler =>
  (request, response) => {
    const start = from(request);
    if (start + bytes >= content.length) return partial(response, start);
    response.writeHead(start ? 206 : 200, {
      'content-length': content.length - start,
      ...(start ? { 'content-range': `bytes ${start}-${content.length - 1}/${content.length}` } : {}),
    });
    response.write(content.subarray(start, start + bytes), () => response.destroy());
  };

const handlers: Record<string, Handler> = {
  good: (request, response) => partial(response, from(request)),
  noRanges: (_, response) => partial(response, 0),
  missing: (_, response) => void response.writeHead(404).end('not here'),
  html: (_, response) =>
    void response
      .writeHead(200, { 'content-type': 'text/html', 'content-length': 26 })
      .end('<html>please log in</html>'),
  flipped: (request, response) =>
    partial(response, from(request), Buffer.from(content.map((b, i) => (i === 999 ? b ^ 1 : b)))),
  longer: (_, response) => void response.writeHead(200).end(Buffer.concat([content, content])),
  cut: cutAfter(30_000),
  busyOnce: (_, response, count) => (count === 1 ? void response.writeHead(503).end() : partial(response, 0)),
  wrongRange: (request, response) => {
    if (!request.headers.range) return cutAfter(50_000)(request, response, 0);
    response
      .writeHead(206, { 'content-range': `bytes 7-${content.length - 1}/${content.length}` })
      .end(content.subarray(7));
  },
  refusesRange: (request, response, count) => {
    if (count === 1) return cutAfter(50_000)(request, response, 0);
    if (request.headers.range) return void response.writeHead(416).end();
    partial(response, 0);
  },
  stall: (_, response) => void response.writeHead(200, { 'content-length': content.length }).write('x'),
  htmlChunked: (_, response) =>
    void response.writeHead(200, { 'content-type': 'text/html' }).end('<html>log in</html>'),
  loop: (_, response) => void response.writeHead(302, { location: '/loop' }).end(),
  moved: (_, response) => void response.writeHead(302, { location: '/good' }).end(),
  toFile: (_, response) => void response.writeHead(302, { location: 'file:///etc/passwd' }).end(),
  gzip: (_, response) => void response.writeHead(200, { 'content-encoding': 'gzip' }).end(content),
};

let server: Server;
let base: string;
let dir: string;
const counts = new Map<string, number>();
beforeAll(async () => {
  server = createServer((request, response) => {
    const name = (request.url ?? '').slice(1).replace(/\?.*/, '');
    counts.set(name, (counts.get(name) ?? 0) + 1);
    handlers[name]?.(request, response, counts.get(name) as number);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'cambium-download-'));
  counts.clear();
});
afterEach(() => rmSync(dir, { recursive: true }));

const fetchFrom = (names: string[], more: Partial<Download> = {}): Promise<string> =>
  downloadFile({
    urls: names.map((name) => (name.includes(':') ? name : `${base}/${name}`)),
    sha256: digest,
    bytes: content.length,
    dest: join(dir, 'sub', 'file.bin'),
    backoff: 1,
    stallTimeout: 2000,
    ...more,
  });

test.each([
  ['a good mirror', ['good'], { good: 1 }],
  ['a mirror without the file, then a good one', ['missing', 'good'], { missing: 1, good: 1 }],
  ['a login page, then a good one', ['html', 'good'], { html: 1, good: 1 }],
  ['wrong bytes of the right size, then a good one', ['flipped', 'good'], { flipped: 1, good: 1 }],
  ['a longer file, then a good one', ['longer', 'good'], { longer: 1, good: 1 }],
  ['a connection cut again and again', ['cut'], { cut: 7 }],
  ['a cut, resumed at another mirror', ['wrongRange', 'good'], { good: 0 }],
  ['a server that does not know ranges', ['noRanges'], { noRanges: 1 }],
  ['a busy server', ['busyOnce'], { busyOnce: 2 }],
  ['a range refused', ['refusesRange'], { refusesRange: 3 }],
  ['a redirect', ['moved'], { moved: 1, good: 1 }],
  ['an unasked content-encoding, then a good one', ['gzip', 'good'], { gzip: 1, good: 1 }],
])('%s ends with the right file', async (name, urls, requests) => {
  const path = await fetchFrom(urls);
  expect(Buffer.compare(readFileSync(path), content)).toBe(0);
  expect(readdirSync(join(dir, 'sub'))).toEqual(['file.bin']);
  if (!name.includes('another mirror'))
    for (const [url, n] of Object.entries(requests)) expect([url, counts.get(url)]).toEqual([url, n]);
});

test.each([
  ['missing', 'DOWNLOAD_FAILED', /HTTP 404/],
  ['html', 'DOWNLOAD_FAILED', /26 bytes of "text\/html", expected 200000/],
  ['htmlChunked', 'DOWNLOAD_FAILED', /ended at byte 19 of 200000/],
  ['flipped', 'HASH_MISMATCH', /wrong content \(sha256 /],
  ['longer', 'DOWNLOAD_FAILED', /more than 200000 bytes/],
  ['stall', 'DOWNLOAD_FAILED', /no answer in time/],
  ['loop', 'DOWNLOAD_FAILED', /too many redirects/],
  ['toFile', 'DOWNLOAD_FAILED', /redirect to file:/],
  ['http://127.0.0.1:1/x', 'DOWNLOAD_FAILED', /bad port/],
  ['http://127.0.0.1:9/x', 'DOWNLOAD_FAILED', /ECONNREFUSED|bad port/],
  ['http://cambium.invalid/x', 'DOWNLOAD_FAILED', /cannot be resolved/],
])('%s alone is a NetworkError that says why, and nothing appears under the final name', async (name, code, reason) => {
  const error = await fetchFrom([name], { hint: 'use --data-dir', attempts: 2, stallTimeout: 200 }).catch((e) => e);
  expect(error).toBeInstanceOf(NetworkError);
  expect(error).toMatchObject({ code, exitCode: 7, hint: 'use --data-dir' });
  expect(error.message).toMatch(reason);
  expect(existsSync(join(dir, 'sub', 'file.bin'))).toBe(false);
});

test('secrets in an address stay out of the message', async () => {
  const error = await fetchFrom([`${base}/missing?token=secret`]).catch((e) => e);
  expect(JSON.stringify(error) + error.message).not.toContain('secret');
});

test('what an earlier process fetched is not fetched again; a lock of a dead process is taken over', async () => {
  mkdirSync(join(dir, 'sub'));
  writeFileSync(join(dir, 'sub', 'file.bin.partial'), content.subarray(0, 150_000));
  writeFileSync(join(dir, 'sub', 'file.bin.lock'), '999999999');
  let first = 0;
  await fetchFrom(['good'], { onProgress: ({ done }) => (first ||= done) });
  expect(first).toBeGreaterThan(150_000);
  expect(readdirSync(join(dir, 'sub'))).toEqual(['file.bin']);
});

test('a partial file with wrong bytes costs one more try', async () => {
  mkdirSync(join(dir, 'sub'));
  writeFileSync(join(dir, 'sub', 'file.bin.partial'), Buffer.alloc(150_000));
  await fetchFrom(['good']);
  expect(counts.get('good')).toBe(2);
});

test('a right file is used as it is, a damaged one fetched anew', async () => {
  mkdirSync(join(dir, 'sub'));
  writeFileSync(join(dir, 'sub', 'file.bin'), content);
  await fetchFrom(['good']);
  expect(counts.get('good')).toBeUndefined();
  writeFileSync(join(dir, 'sub', 'file.bin'), content.subarray(1));
  await fetchFrom(['good']);
  expect(counts.get('good')).toBe(1);
});

test('many at once: all get the right file', async () => {
  const paths = await Promise.all(Array.from({ length: 6 }, () => fetchFrom(['good'])));
  for (const path of paths) expect(sha256(readFileSync(path))).toBe(digest);
  expect(readdirSync(join(dir, 'sub'))).toEqual(['file.bin']);
});

test('CAMBIUM_OFFLINE asks nobody', async () => {
  process.env.CAMBIUM_OFFLINE = '1';
  try {
    await expect(fetchFrom(['good'])).rejects.toMatchObject({ code: 'OFFLINE', exitCode: 7 });
    expect(counts.size).toBe(0);
  } finally {
    delete process.env.CAMBIUM_OFFLINE;
  }
});
