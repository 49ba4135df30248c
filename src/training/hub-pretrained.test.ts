/** fromPretrained('hf:...') against a hub on this machine: whole, in shards, moved, and broken in every way. */
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { type HostArray, readSafetensors, sha256, writeSafetensors } from '../io/index.ts';
import { BertForSequenceClassification, bertOptions } from '../models/index.ts';
import { initialise } from './init.ts';
import { type OpenedInit, openInit, reopenInit } from './init-source.ts';
import { fromPretrained } from './pretrained.ts';
import { parseRecipe } from './recipe-parse.ts';

const golden = fileURLToPath(new URL('../../test/golden/pretrained/', import.meta.url));
const read = (name: string): Buffer => readFileSync(join(golden, name));
const commit = (letter: string): string => letter.repeat(40);

/** Repositories by name; the files of each commit, and where `main` points. */
const repos: { [repo: string]: { main: string; files: { [commit: string]: { [file: string]: Buffer } } } } = {};
let fault: 'none' | 'cut' | 'flip' | 'html' | 'slow' | 'loop' | 'cdn loop' | 'gone' | 'moves' = 'none';
let requests: string[] = [];
let server: Server;
let dir: string;

const isLarge = (file: string): boolean => /\.(safetensors|bin)$/.test(file);
const gitHash = (bytes: Buffer): string =>
  createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');

async function answer(request: IncomingMessage, response: ServerResponse): Promise<unknown> {
  const url = decodeURIComponent(request.url ?? '');
  requests.push(`${request.method} ${url}`);
  const [, cdn, repo = '', revision = '', file = ''] =
    /^\/(cdn\/)?([^/]+\/[^/]+)\/resolve\/([^/]+)\/(.+)$/.exec(url) ?? [];
  const found = repos[repo];
  const at = revision === 'main' ? found?.main : revision;
  const bytes = found?.files[at ?? '']?.[file];
  if (fault === 'html') return response.writeHead(200, { 'content-type': 'text/html' }).end('<html>log in</html>');
  if (fault === 'loop' || (fault === 'cdn loop' && cdn)) return response.writeHead(307, { location: url }).end();
  if (!bytes || (fault === 'gone' && cdn)) return response.writeHead(404).end('<html>no such file</html>');
  if (request.method === 'HEAD') {
    const head = isLarge(file)
      ? { 'x-linked-etag': `"${sha256(bytes)}"`, 'x-linked-size': bytes.length, location: `/cdn${url}` }
      : { etag: `"${gitHash(bytes)}"`, 'content-length': bytes.length };
    response.writeHead(isLarge(file) ? 302 : 200, { 'x-repo-commit': at, ...head }).end();
    // The branch moves as soon as its first file has been asked for.
    if (fault === 'moves' && found) found.main = commit('b');
    return;
  }
  if (isLarge(file) && !cdn) return response.writeHead(302, { location: `/cdn${url}` }).end();
  const start = Number(/bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
  const sent = fault === 'flip' && cdn ? Buffer.from(bytes.map((b, i) => (i === 700 ? b ^ 1 : b))) : bytes;
  response.writeHead(start ? 206 : 200, {
    'content-length': bytes.length - start,
    ...(start ? { 'content-range': `bytes ${start}-${bytes.length - 1}/${bytes.length}` } : {}),
  });
  if (fault === 'cut' && cdn && start === 0) return response.write(sent.subarray(0, 900), () => response.destroy());
  if (fault !== 'slow') return response.end(sent.subarray(start));
  for (let from = start; from < sent.length; from += Math.ceil(sent.length / 8)) {
    response.write(sent.subarray(from, from + Math.ceil(sent.length / 8)));
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return response.end();
}

/** The weights of the golden BERT in two files, as transformers' save_pretrained splits them. */
async function shards(): Promise<{ [file: string]: Buffer }> {
  const { tensors } = await readSafetensors(join(golden, 'bert/model.safetensors'));
  const parts: Map<string, HostArray>[] = [new Map(), new Map()];
  const map: { [tensor: string]: string } = {};
  const files: { [file: string]: Buffer } = {};
  const names = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'];
  let i = 0;
  for (const [name, array] of tensors) {
    map[name] = names[i % 2] as string;
    parts[i++ % 2]?.set(name, array);
  }
  for (const [part, name] of names.entries()) {
    await writeSafetensors(join(dir, name), parts[part] as Map<string, HostArray>);
    files[name] = readFileSync(join(dir, name));
  }
  return { ...files, 'model.safetensors.index.json': Buffer.from(JSON.stringify({ metadata: {}, weight_map: map })) };
}

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'cambium-hub-'));
  const config = read('bert/config.json');
  const vocab = read('bert/vocab.txt');
  const weights = read('bert/model.safetensors');
  const whole = { 'config.json': config, 'vocab.txt': vocab, 'model.safetensors': weights };
  const other = { ...whole, 'vocab.txt': Buffer.from('[UNK]\nother\n'), 'model.safetensors': Buffer.from('other') };
  repos['org/bert'] = { main: commit('a'), files: { [commit('a')]: whole, [commit('b')]: other } };
  repos['org/shards'] = {
    main: commit('c'),
    files: { [commit('c')]: { 'config.json': config, 'vocab.txt': vocab, ...(await shards()) } },
  };
  const bin = { 'config.json': read('gpt2/config.json'), 'pytorch_model.bin': read('gpt2/pytorch_model.bin') };
  repos['org/gpt2'] = { main: commit('d'), files: { [commit('d')]: bin } };
  rmSync(dir, { recursive: true });
  server = createServer((request, response) => void answer(request, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'cambium-hub-'));
  fault = 'none';
  requests = [];
  (repos['org/bert'] as { main: string }).main = commit('a');
  for (const name of ['HF_HUB_CACHE', 'HUGGINGFACE_HUB_CACHE', 'HF_HUB_OFFLINE', 'HF_TOKEN']) vi.stubEnv(name, '');
  vi.stubEnv('HF_HOME', dir);
  vi.stubEnv('HF_ENDPOINT', `http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(dir, { recursive: true });
});

const load = (name: string) => fromPretrained(name, { print: false });
async function values(name: string): Promise<ArrayLike<number> | undefined> {
  const { model } = await load(name);
  return model.stateDict().get('bert.embeddings.word_embeddings.weight')?.data();
}

test('config, weights and tokenizer come from the hub, and then from the cache without asking anybody', async () => {
  const { model, tokenizer, labels, report } = await load('hf:org/bert');
  expect(report).toMatchObject({ missing: [], unused: [], mismatched: [] });
  expect([tokenizer?.vocabSize, labels]).toEqual([63, ['bad', 'good', 'none']]);
  const local = await load(join(golden, 'bert'));
  for (const [name, variable] of model.stateDict())
    expect(await variable.data(), name).toEqual(await local.model.stateDict().get(name)?.data());
  requests = [];
  vi.stubEnv('HF_HUB_OFFLINE', '1');
  expect((await load('hf:org/bert')).tokenizer?.vocabSize).toBe(63);
  expect((await load(`hf:org/bert@${commit('a')}`)).tokenizer?.vocabSize).toBe(63);
  await expect(load('hf:org/gpt2')).rejects.toMatchObject({ code: 'OFFLINE', exitCode: 7 });
  expect(requests).toEqual([]);
});

test('shards are the same model; a repository without tokenizer files has none', async () => {
  expect(await values('hf:org/shards')).toEqual(await values(join(golden, 'bert')));
  const { tokenizer, report } = await load('hf:org/gpt2');
  expect(tokenizer).toBeUndefined();
  expect(report.missing).toEqual([]);
  vi.stubEnv('HF_HUB_OFFLINE', '1');
  expect((await load('hf:org/gpt2')).tokenizer).toBeUndefined();
});

test.each(['cut', 'slow', 'moves'] as const)(
  'a hub whose answers are %s gives the whole model of one commit',
  async (kind) => {
    fault = kind;
    const { tokenizer } = await load('hf:org/bert');
    expect(tokenizer?.vocabSize).toBe(63);
  },
);

test.each([
  ['flip', 'HASH_MISMATCH'],
  ['html', 'HUB_RESPONSE'],
  ['loop', 'HUB_RESPONSE'],
  ['cdn loop', 'DOWNLOAD_FAILED'],
  ['gone', 'DOWNLOAD_FAILED'],
] as const)('%s: a typed error, and no weights in the cache', async (kind, code) => {
  fault = kind;
  await expect(load('hf:org/bert')).rejects.toMatchObject({ code, exitCode: 7 });
  const left = readdirSync(dir, { recursive: true }).map(String);
  expect(left.filter((name) => /safetensors$|[0-9a-f]{64}$/.test(name))).toEqual([]);
  // What was broken is asked for again, and then it is whole.
  fault = 'none';
  expect((await load('hf:org/bert')).report.missing).toEqual([]);
});

describe('init of a recipe', () => {
  const recipe = (weights: string) =>
    parseRecipe({
      name: 'reviews',
      data: { name: 'phrases', validation: 40, phrases: { train: 200, test: 40 } },
      init: { weights },
      model: { name: 'bert' },
      optimizer: { name: 'adamw', lr: 1e-3 },
      batchSize: 20,
      epochs: 1,
    });
  const open = async (weights: string): Promise<OpenedInit> => (await openInit(recipe(weights))) as OpenedInit;

  test('a model brings config and tokenizer from the hub as its folder on disk does', async () => {
    const [far, near] = [await open('hf:org/bert@main'), await open(join(golden, 'bert'))];
    expect(far.recipe).toEqual({ ...near.recipe, init: far.recipe.init });
    expect(far.recipe.model).toMatchObject({ hiddenSize: 8, numHiddenLayers: 1 });
    expect(far.tokenizer?.json).toEqual(near.tokenizer?.json);
    expect(far.init.lineage).toEqual({ ...near.init.lineage, weights: 'hf:org/bert@main', commit: commit('a') });
    vi.stubEnv('HF_HUB_OFFLINE', '1');
    expect((await open('hf:org/bert')).init.lineage.sha256).toBe(near.init.lineage.sha256);
  });

  test('a branch that moves under way names the commit that is loaded, and resuming stays with it', async () => {
    fault = 'moves';
    const { init } = await open('hf:org/bert');
    expect(init.lineage).toMatchObject({ commit: commit('a'), sha256: sha256(read('bert/model.safetensors')) });
    const { report } = await load(init.weights);
    expect(report.missing).toEqual([]);
    const again = await reopenInit(recipe('hf:org/bert'), dir, init.lineage);
    expect(again.init).toMatchObject({ weights: init.weights, lineage: init.lineage });
    // Called without a recipe too.
    (repos['org/bert'] as { main: string }).main = commit('a');
    const model = new BertForSequenceClassification({
      ...bertOptions(JSON.parse(read('bert/config.json').toString()), 'config.json'),
      numClasses: 3,
    });
    const { lineage, heads } = await initialise(model, { weights: 'hf:org/bert' }, [
      { field: 'label', names: ['good', 'bad', 'none'] },
    ]);
    expect(lineage).toMatchObject({ weights: 'hf:org/bert', commit: commit('a'), sha256: init.lineage.sha256 });
    expect(heads).toMatchObject([{ how: 'reordered' }]);
  });
});

test('no such repository, no weights in it, a shard that is missing', async () => {
  await expect(load('hf:org/none')).rejects.toMatchObject({ code: 'HUB_NOT_FOUND' });
  const { files } = repos['org/shards'] as (typeof repos)[string];
  const { 'model-00002-of-00002.safetensors': _, ...rest } = files[commit('c')] as { [file: string]: Buffer };
  repos['org/torn'] = { main: commit('e'), files: { [commit('e')]: rest } };
  await expect(load('hf:org/torn')).rejects.toMatchObject({ code: 'HUB_NOT_FOUND' });
  repos['org/empty'] = { main: commit('f'), files: { [commit('f')]: { 'config.json': read('bert/config.json') } } };
  await expect(load('hf:org/empty')).rejects.toMatchObject({ code: 'HUB_NOT_FOUND' });
});
