/**
 * Files of `hf:owner/name@revision`, in the cache of Python's huggingface_hub (blobs, refs, snapshots), so that both use
 * one copy. Bytes are checked against the hub's etag: the sha256 of a large file, the git blob hash of a small one.
 * https://huggingface.co/docs/huggingface_hub/guides/manage-cache
 */
import { createHash, randomBytes } from 'node:crypto';
import { copyFile, mkdir, readFile, realpath, rename, stat, symlink, unlink } from 'node:fs/promises';
import { homedir } from 'node:os';
import { basename, dirname, isAbsolute, join, relative, sep } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ArgumentError, DataError, NetworkError, printable } from '../base/errors.ts';
import { exists, hashFile, writeFileAtomic } from './atomic.ts';
import { makePrivateDir } from './cache.ts';
import { downloadFile } from './download.ts';
import { errnoOf, ioError, readFileBytes } from './failure.ts';
import { readJson } from './json.ts';
import { checkName } from './paths.ts';

export interface HubName {
  /** `owner/name`, or `name` alone. */
  readonly repo: string;
  readonly revision: string;
}

const COMMIT = /^[0-9a-f]{40}$/;
/** Git blobs are held in memory to be hashed with their length in front; larger files are stored by sha256. */
const SMALL = 256 * 2 ** 20;

/** Parses `hf:owner/name[@revision]`; the revision is `main` unless told. @throws ArgumentError HUB_NAME. */
export function parseHubName(text: string): HubName {
  const match = /^hf:((?:[\w.-]{1,96}\/)?[\w.-]{1,96})(?:@([\w./-]{1,200}))?$/.exec(text);
  const [, repo = '', revision = 'main'] = match ?? [];
  if (!match || /\.\.|--/.test(repo) || /(^|\/)\.?(\/|$)/.test(repo) || /\.\.|^\/|\/$|\/\//.test(revision))
    throw new ArgumentError('HUB_NAME', `${printable(text)} is not a name on the hub`, {
      expected: 'hf:owner/name or hf:owner/name@revision',
      got: text.slice(0, 200),
    });
  return { repo, revision };
}

/** Where huggingface_hub keeps its files: HF_HUB_CACHE, else HF_HOME/hub, else ~/.cache/huggingface/hub. */
export function hubCache(env: NodeJS.ProcessEnv = process.env): string {
  const given = env.HF_HUB_CACHE || env.HUGGINGFACE_HUB_CACHE;
  if (given) return given;
  if (env.HF_HOME) return join(env.HF_HOME, 'hub');
  const base = env.XDG_CACHE_HOME && isAbsolute(env.XDG_CACHE_HOME) ? env.XDG_CACHE_HOME : join(homedir(), '.cache');
  return join(base, 'huggingface', 'hub');
}

const encodePath = (path: string): string => path.split('/').map(encodeURIComponent).join('/');

const isSet = (value: string | undefined): boolean => /^(1|on|yes|true)$/i.test(value ?? '');
const offline = (): boolean => isSet(process.env.HF_HUB_OFFLINE) || isSet(process.env.CAMBIUM_OFFLINE);

/**
 * The weights of a repository: the first of `names` it has; for an index of shards, all of them.
 * @returns the path in the cache.
 */
export async function hubWeights(text: string, names: readonly string[]): Promise<string> {
  const { repo, revision } = parseHubName(text);
  // A branch may move between two requests: everything comes from the commit the first answer names.
  let at = `hf:${repo}@${revision}`;
  for (const name of names) {
    const path = await findHubFile(at, name);
    if (path === undefined) continue;
    if (!name.endsWith('.index.json')) return path;
    const commit = relative(join(repoFolder(repo), 'snapshots'), path).split(sep)[0] as string;
    at = `hf:${repo}@${commit}`;
    const index = (await readJson(path, { maxBytes: SMALL })) as { weight_map?: Record<string, unknown> } | null;
    for (const shard of new Set(Object.values(index?.weight_map ?? {}))) {
      if (typeof shard !== 'string' || checkName(shard).length !== 1)
        throw new DataError('WEIGHTS_INDEX', `${printable(name)}: a shard must be a file beside the index`, {
          file: path,
          got: shard,
        });
      await hubFile(at, shard);
    }
    return path;
  }
  throw new NetworkError('HUB_NOT_FOUND', `${printable(text)} has no weights that can be read`, {
    expected: names,
    hint: 'name a file of the repository with hubFile(), or another revision',
  });
}

/**
 * One commit of a repository as a folder: its weights (see `hubWeights`), and those of `companions` that it has. A branch is asked
 * for once; everything comes from the commit it named.
 */
export async function hubSnapshot(
  text: string,
  { weights, companions }: { weights: readonly string[]; companions: readonly string[] },
): Promise<{ folder: string; commit: string }> {
  const { repo } = parseHubName(text);
  const snapshots = join(repoFolder(repo), 'snapshots');
  const commit = relative(snapshots, await hubWeights(text, weights)).split(sep)[0] as string;
  for (const name of companions) await findHubFile(`hf:${repo}@${commit}`, name);
  return { folder: join(snapshots, commit), commit };
}

/**
 * One file of a repository, from the cache if it is there, else fetched, resumed and checked.
 * HF_ENDPOINT names another hub, HF_TOKEN is sent to it alone, HF_HUB_OFFLINE=1 asks nobody.
 * @returns its path in the cache.
 * @throws NetworkError HUB_NOT_FOUND, HUB_FORBIDDEN, HUB_RESPONSE, OFFLINE, DOWNLOAD_FAILED, HASH_MISMATCH; DataError HASH_MISMATCH for a
 * damaged cache where nobody can be asked; IoError.
 */
export async function hubFile(text: string, file: string): Promise<string> {
  const path = await findHubFile(text, file);
  if (path !== undefined) return path;
  throw new NetworkError('HUB_NOT_FOUND', `${printable(text)} has no file ${printable(file)}`, {
    file,
    hint: 'check the names of repository, revision and file; a private one needs HF_TOKEN',
  });
}

const repoFolder = (repo: string): string => join(hubCache(), `models--${repo.replaceAll('/', '--')}`);

/** As `hubFile`, but undefined where the repository has no such file. */
export async function findHubFile(text: string, file: string): Promise<string | undefined> {
  const { repo, revision } = parseHubName(text);
  checkName(file);
  const folder = repoFolder(repo);
  if (COMMIT.test(revision) || offline()) {
    const found = await cached(folder, revision, file);
    if (found !== undefined && (await isIntact(found))) return found;
    if (offline()) {
      if (found !== undefined) throw await damaged(found);
      // Another file of the same snapshot shows that the repository was fetched without this one.
      const commit = await commitOf(folder, revision);
      if (commit !== undefined && (await exists(join(folder, 'snapshots', commit)))) return undefined;
      throw new NetworkError('OFFLINE', `${printable(text)} is not in the cache and HF_HUB_OFFLINE is set`, {
        file: folder,
        hint: 'fetch it once with the network on',
      });
    }
  }
  const address = new URL(
    `${encodePath(repo)}/resolve/${encodeURIComponent(revision)}/${encodePath(file)}`,
    `${(process.env.HF_ENDPOINT || 'https://huggingface.co').replace(/\/+$/, '')}/`,
  );
  const headers: Record<string, string> = process.env.HF_TOKEN
    ? { authorization: `Bearer ${process.env.HF_TOKEN}` }
    : {};
  let head: Head | undefined;
  try {
    head = await askHead(address, headers, text);
  } catch (cause) {
    // Without an answer the cached state of the branch is the best there is.
    const unreachable = cause instanceof NetworkError && cause.code === 'HUB_UNREACHABLE';
    const found = unreachable ? await cached(folder, revision, file) : undefined;
    if (found === undefined) throw cause;
    if (!(await isIntact(found))) throw await damaged(found, cause);
    return found;
  }
  if (!head) return undefined;
  const { commit, etag, bytes } = head;
  const blob = join(folder, 'blobs', etag);
  if (etag.length === 64)
    await downloadFile({
      urls: [head.url],
      sha256: etag,
      ...(bytes === undefined ? {} : { bytes }),
      dest: blob,
      headers,
      hint: 'run again to resume',
    });
  else if (!(await exists(blob)) || gitHash(await readFileBytes(blob, { maxBytes: SMALL })) !== etag)
    await fetchSmall(head, headers, blob, text);
  const snapshot = join(folder, 'snapshots', commit, ...file.split('/'));
  await link(blob, snapshot);
  if (revision !== commit) {
    const ref = join(folder, 'refs', ...checkName(revision));
    await makePrivateDir(dirname(ref));
    if ((await readFile(ref, 'utf8').catch(() => '')) !== commit) await writeFileAtomic(ref, commit);
  }
  return snapshot;
}

async function commitOf(folder: string, revision: string): Promise<string | undefined> {
  if (COMMIT.test(revision)) return revision;
  const text = await readFile(join(folder, 'refs', ...checkName(revision)), 'utf8').catch(() => '');
  return COMMIT.test(text.trim()) ? text.trim() : undefined;
}

// A file of a snapshot; its link must not lead out of the repository's folder.
async function cached(folder: string, revision: string, file: string): Promise<string | undefined> {
  const commit = await commitOf(folder, revision);
  if (commit === undefined) return undefined;
  const path = join(folder, 'snapshots', commit, ...file.split('/'));
  try {
    const [target, base] = await Promise.all([realpath(path), realpath(folder)]);
    if (target.startsWith(base + sep)) return path;
  } catch (cause) {
    if (errnoOf(cause) === 'ENOENT') return undefined;
    throw ioError(cause, 'read', path);
  }
  throw new DataError('PATH_UNSAFE', `${printable(path)} leads out of the cache`, {
    file: path,
    hint: 'delete the link; the file is fetched again',
  });
}

// Size and time of blobs that had the right hash: a large one is not read again for every question.
const verified = new Map<string, string>();

/** Whether a cached file is what its blob's name says. Copies, where links need a privilege, have no such name. */
async function isIntact(path: string): Promise<boolean> {
  try {
    const blob = await realpath(path);
    const name = basename(blob);
    if (!/^([0-9a-f]{40}|[0-9a-f]{64})$/.test(name)) return true;
    const { size, mtimeMs, ino } = await stat(blob);
    const state = `${size} ${mtimeMs} ${ino}`;
    if (verified.get(blob) === state) return true;
    // A git blob beyond this was not stored by us either.
    if (name.length === 40 && size > SMALL) return true;
    const hash =
      name.length === 64 ? (await hashFile(blob)).sha256 : gitHash(await readFileBytes(blob, { maxBytes: SMALL }));
    if (hash === name) verified.set(blob, state);
    return hash === name;
  } catch (cause) {
    throw ioError(cause, 'read', path);
  }
}

async function damaged(path: string, cause?: unknown): Promise<DataError> {
  const blob = await realpath(path);
  return new DataError('HASH_MISMATCH', `${printable(path)} is damaged: its hash is not the one it is stored under`, {
    file: blob,
    expected: basename(blob),
    hint: 'it is fetched again when the hub can be asked: unset HF_HUB_OFFLINE, check the network',
    ...(cause !== undefined && { cause }),
  });
}

interface Head {
  url: string;
  commit: string;
  etag: string;
  bytes: number | undefined;
}

// What the hub says of a file; undefined for 404. Redirects within the hub (a renamed repository) are followed.
async function askHead(address: URL, headers: Record<string, string>, text: string): Promise<Head | undefined> {
  let url = address;
  const name = `${url.origin}${url.pathname}`;
  for (let attempt = 0, hops = 0; ; ) {
    let response: Response;
    try {
      response = await fetch(url, {
        method: 'HEAD',
        redirect: 'manual',
        signal: AbortSignal.timeout(10_000),
        headers: { ...headers, 'accept-encoding': 'identity' },
      });
    } catch (cause) {
      if (++attempt < 3) {
        await sleep(200 * attempt);
        continue;
      }
      const inner = (cause as Error).cause ?? cause;
      throw new NetworkError('HUB_UNREACHABLE', `cannot ask ${name}: ${(inner as Error).message || errnoOf(inner)}`, {
        file: text,
        cause,
        hint: 'check the network and HF_ENDPOINT, or set HF_HUB_OFFLINE=1 to use the cache alone',
      });
    }
    const { status } = response;
    if ((status === 429 || status >= 500) && ++attempt < 3) {
      await sleep(Math.min(10, Number(response.headers.get('retry-after')) || 0.3 * attempt) * 1000);
      continue;
    }
    if (status === 404) return undefined;
    if (status === 401 || status === 403)
      throw new NetworkError('HUB_FORBIDDEN', `${name}: HTTP ${status}`, {
        file: text,
        hint: 'the repository is private, gated or misspelt: accept its terms and set HF_TOKEN',
      });
    const location = response.headers.get('location');
    const inside = location && !response.headers.get('x-linked-etag') && !response.headers.get('x-repo-commit');
    if (status >= 300 && status < 400 && inside) {
      const next = new URL(location, url);
      if (++hops > 5 || next.origin !== url.origin)
        throw new NetworkError('HUB_RESPONSE', `${name}: a redirect to ${printable(next.host)}`, { file: text });
      url = next;
      continue;
    }
    return readHead(response, url, name, text);
  }
}

function readHead(response: Response, url: URL, name: string, text: string): Head {
  const header = (key: string): string | null => response.headers.get(key);
  const etag = (header('x-linked-etag') ?? header('etag') ?? '').replace(/^W\//, '').replaceAll('"', '').toLowerCase();
  const commit = header('x-repo-commit') ?? '';
  if (response.status >= 400 || !COMMIT.test(commit) || !/^([0-9a-f]{40}|[0-9a-f]{64})$/.test(etag))
    throw new NetworkError('HUB_RESPONSE', `${name}: HTTP ${response.status} without commit and etag of a hub`, {
      file: text,
      got: header('content-type'),
      hint: 'a login page or proxy may have answered; check HF_ENDPOINT',
    });
  const size = header('x-linked-size') ?? (response.status < 300 ? header('content-length') : null);
  const bytes = size !== null && /^\d{1,15}$/.test(size) ? Number(size) : undefined;
  // A branch may have moved when the file is asked for: its commit is what the etag belongs to.
  const branch = `/resolve/${encodeURIComponent(parseHubName(text).revision)}/`;
  const at = new URL(url.pathname.replace(branch, `/resolve/${commit}/`), url);
  return { url: at.href, commit, etag, bytes };
}

const gitHash = (bytes: Uint8Array): string =>
  createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');

async function fetchSmall(head: Head, headers: Record<string, string>, blob: string, text: string): Promise<void> {
  const limit = head.bytes ?? SMALL;
  let reason = '';
  for (let attempt = 0; attempt < 3; attempt++) {
    if (attempt > 0) await sleep(200 * attempt);
    try {
      const response = await fetch(head.url, { headers, signal: AbortSignal.timeout(60_000) });
      const chunks: Uint8Array[] = [];
      let size = 0;
      for await (const chunk of response.body ?? []) {
        size += chunk.length;
        if (size > Math.min(limit, SMALL)) throw new Error(`more than ${limit} bytes`);
        chunks.push(chunk);
      }
      const bytes = Buffer.concat(chunks);
      if (response.ok && gitHash(bytes) === head.etag) {
        await makePrivateDir(dirname(blob));
        await writeFileAtomic(blob, bytes);
        return;
      }
      reason = response.ok ? `wrong content (git hash ${gitHash(bytes)})` : `HTTP ${response.status}`;
    } catch (cause) {
      if (errnoOf(cause) === undefined && cause instanceof Error) reason = cause.message;
      else throw ioError(cause, 'write', blob);
    }
  }
  const code = reason.startsWith('wrong') ? 'HASH_MISMATCH' : 'DOWNLOAD_FAILED';
  throw new NetworkError(code, `cannot download a file of ${printable(text)}: ${reason}`, {
    file: blob,
    expected: head.etag,
  });
}

// Relative, as huggingface_hub links; made aside and renamed, so that two processes may do it at once.
async function link(blob: string, path: string): Promise<void> {
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`;
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    await symlink(relative(dirname(path), blob), temporary).catch(async (cause) => {
      // Where links need a privilege the snapshot holds a copy.
      if (!['EPERM', 'ENOTSUP', 'EINVAL'].includes(errnoOf(cause) ?? '')) throw cause;
      await copyFile(blob, temporary);
    });
    await rename(temporary, path);
  } catch (cause) {
    await unlink(temporary).catch(() => {});
    throw ioError(cause, 'write', path);
  }
}
