import { createHash } from 'node:crypto';
import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { sha256 } from './atomic.ts';
import { hubFile, parseHubName } from './hub.ts';
import { writeSafetensors } from './safetensors.ts';
import { readWeights } from './weights.ts';

const commit = 'c'.repeat(40);
const config = Buffer.from('{"hidden_size": 4}');
const gitHash = createHash('sha1').update(`blob ${config.length}\0`).update(config).digest('hex');
let weights: Buffer;
let server: Server;
let dir: string;
let requests: string[] = [];
// How this server is broken today.
let fault: 'none' | 'cut' | 'flip' | 'html' | 'down' | 'moved' | 'elsewhere' | 'forbidden' = 'none';

function answer(request: IncomingMessage, response: ServerResponse): void {
  requests.push(`${request.method} ${request.url}`);
  const file = /^\/org\/(?:net|old)\/resolve\/[^/]+\/(.*)$/.exec(request.url ?? '')?.[1];
  const body = file === 'model.safetensors' ? weights : file === 'config.json' ? config : undefined;
  const big = body === weights;
  if (fault === 'html') return void response.writeHead(200, { 'content-type': 'text/html' }).end('<html>log in</html>');
  if (fault === 'down') return void request.socket.destroy();
  if (fault === 'forbidden') return void response.writeHead(401).end();
  if (fault === 'elsewhere') return void response.writeHead(302, { location: 'http://127.0.0.1:1/x' }).end();
  if (fault === 'moved' && request.url?.startsWith('/org/old/'))
    return void response.writeHead(307, { location: request.url.replace('/old/', '/net/') }).end();
  if (request.url === '/cdn' || (body && request.method === 'GET' && !big)) {
    const whole = request.url === '/cdn' ? weights : config;
    const start = Number(/bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
    const sent = fault === 'flip' ? Buffer.from(whole.map((b, i) => (i === 5 ? b ^ 1 : b))) : whole;
    response.writeHead(start ? 206 : 200, {
      'content-length': whole.length - start,
      ...(start ? { 'content-range': `bytes ${start}-${whole.length - 1}/${whole.length}` } : {}),
    });
    if (fault === 'cut' && start === 0) return void response.write(sent.subarray(0, 4000), () => response.destroy());
    return void response.end(sent.subarray(start));
  }
  if (!body) return void response.writeHead(404, { 'x-error-code': 'EntryNotFound' }).end();
  const head = big
    ? { 'x-linked-etag': `"${sha256(weights)}"`, 'x-linked-size': weights.length, location: '/cdn' }
    : { etag: `"${gitHash}"`, 'content-length': config.length };
  response.writeHead(big ? 302 : 200, { 'x-repo-commit': commit, ...head }).end();
}

beforeAll(async () => {
  const scratch = mkdtempSync(join(tmpdir(), 'cambium-hub-'));
  await writeSafetensors(join(scratch, 'w'), {
    w: { dtype: 'f32', shape: [5000], data: new Float32Array(5000).fill(2) },
  });
  weights = readFileSync(join(scratch, 'w'));
  rmSync(scratch, { recursive: true });
  server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'cambium-hub-'));
  requests = [];
  fault = 'none';
  vi.stubEnv('HF_HOME', dir);
  vi.stubEnv('HF_HUB_CACHE', '');
  vi.stubEnv('HUGGINGFACE_HUB_CACHE', '');
  vi.stubEnv('HF_HUB_OFFLINE', '');
  vi.stubEnv('HF_ENDPOINT', `http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(dir, { recursive: true });
});

test('weights are fetched into the layout of huggingface_hub, then used without the network', async () => {
  const { tensors, files } = await readWeights('hf:org/net');
  expect(tensors.get('w')?.shape).toEqual([5000]);
  await hubFile('hf:org/net@main', 'config.json');
  const folder = join(dir, 'hub', 'models--org--net');
  expect(readFileSync(join(folder, 'refs', 'main'), 'utf8')).toBe(commit);
  expect(readdirSync(join(folder, 'blobs')).sort()).toEqual([sha256(weights), gitHash].sort());
  expect(readlinkSync(join(folder, 'snapshots', commit, 'config.json'))).toBe(join('..', '..', 'blobs', gitHash));
  expect(files).toEqual([join(folder, 'snapshots', commit, 'model.safetensors')]);
  requests = [];
  await hubFile(`hf:org/net@${commit}`, 'config.json');
  vi.stubEnv('HF_HUB_OFFLINE', '1');
  expect((await readWeights('hf:org/net')).tensors.size).toBe(1);
  await expect(readWeights('hf:org/other')).rejects.toMatchObject({ code: 'OFFLINE', exitCode: 7 });
  expect(requests).toEqual([]);
});

test.each(['cut', 'moved'] as const)('a hub that is %s still gives the right file', async (kind) => {
  fault = kind;
  const { tensors } = await readWeights(kind === 'moved' ? 'hf:org/old' : 'hf:org/net');
  expect(tensors.get('w')?.data[4999]).toBe(2);
});

test.each([
  ['flip', 'HASH_MISMATCH'],
  ['html', 'HUB_RESPONSE'],
  ['down', 'HUB_UNREACHABLE'],
  ['elsewhere', 'HUB_RESPONSE'],
  ['forbidden', 'HUB_FORBIDDEN'],
] as const)('a hub that is broken (%s) is a typed error and leaves no file', async (kind, code) => {
  fault = kind;
  for (const file of ['config.json', 'model.safetensors'])
    await expect(hubFile('hf:org/net', file)).rejects.toMatchObject({ code, exitCode: 7 });
  const left = readdirSync(dir, { recursive: true }).map(String);
  expect(left.filter((name) => /snapshots|[0-9a-f]{40}$/.test(name))).toEqual([]);
});

test('a branch in the cache is used when the hub does not answer; a link out of the cache never', async () => {
  const path = await hubFile('hf:org/net', 'config.json');
  fault = 'down';
  expect(await hubFile('hf:org/net', 'config.json')).toBe(path);
  unlinkSync(path);
  writeFileSync(join(dir, 'secret'), 'x');
  symlinkSync(join(dir, 'secret'), path);
  await expect(hubFile(`hf:org/net@${commit}`, 'config.json')).rejects.toMatchObject({ code: 'PATH_UNSAFE' });
});

test('a damaged blob is fetched again, or refused where nobody can be asked', async () => {
  for (const [file, whole] of [
    ['model.safetensors', weights],
    ['config.json', config],
  ] as const) {
    const path = await hubFile('hf:org/net', file);
    const pinned = (): Promise<string> => hubFile(`hf:org/net@${commit}`, file);
    const damage = (): void => writeFileSync(path, Buffer.from(whole.map((b, i) => (i === 5 ? b ^ 1 : b))));
    damage();
    vi.stubEnv('HF_HUB_OFFLINE', '1');
    await expect(pinned()).rejects.toMatchObject({ code: 'HASH_MISMATCH', details: { hint: expect.anything() } });
    vi.stubEnv('HF_HUB_OFFLINE', '');
    fault = 'down';
    await expect(hubFile('hf:org/net', file)).rejects.toMatchObject({ code: 'HASH_MISMATCH' });
    fault = 'none';
    expect(readFileSync(await pinned())).toEqual(whole);
    requests = [];
    vi.stubEnv('HF_HUB_OFFLINE', '1');
    await pinned();
    vi.stubEnv('HF_HUB_OFFLINE', '');
    expect(requests).toEqual([]);
  }
});

test('a file that is not there, and names that are none', async () => {
  await expect(hubFile('hf:org/net', 'absent.json')).rejects.toMatchObject({ code: 'HUB_NOT_FOUND' });
  await expect(hubFile('hf:org/net', '../x')).rejects.toMatchObject({ code: 'PATH_UNSAFE' });
  expect(parseHubName('hf:a/b@refs/pr/1')).toEqual({ repo: 'a/b', revision: 'refs/pr/1' });
  for (const name of ['hf:', 'hf:../x', 'hf:a/b/c', 'hf:a/..', 'hf:a/b@../x', 'hf:a/b@', 'a/b'])
    expect(() => parseHubName(name), name).toThrow('not a name on the hub');
});

test('several at once end with one blob', async () => {
  await Promise.all(Array.from({ length: 6 }, () => hubFile('hf:org/net', 'model.safetensors')));
  expect(readdirSync(join(dir, 'hub', 'models--org--net', 'blobs'))).toEqual([sha256(weights)]);
});
