/** Runs the compiled command line in a process of its own, as users do. `npm run build` (or the set-up here) makes dist/. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../../', import.meta.url));
const bin = join(root, 'bin/cambium.js');

const main = join(root, 'dist/cli/main.js');
const isFresh = (): boolean => existsSync(main) && newest(join(root, 'src')) <= statSync(main).mtimeMs;

/** dist/ is compiled again when a source is newer; by one test file at a time, for the build begins by deleting it. */
export function ensureBuilt(): void {
  const lock = join(root, 'build/.dist-lock');
  mkdirSync(join(root, 'build'), { recursive: true });
  for (let waited = 0; !tryMkdir(lock); waited += 100) {
    // Left by a killed test run.
    if (waited > 90_000) rmSync(lock, { recursive: true, force: true });
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100);
  }
  try {
    if (isFresh()) return;
    const { stdout, stderr } = spawnSync(process.execPath, [join(root, 'scripts/build-ts.mjs')], { encoding: 'utf8' });
    if (!existsSync(main)) throw new Error(`dist/ could not be made: ${stdout}${stderr}`);
  } finally {
    rmSync(lock, { recursive: true, force: true });
  }
}

function tryMkdir(path: string): boolean {
  try {
    mkdirSync(path);
    return true;
  } catch {
    return false;
  }
}

function newest(folder: string): number {
  let time = 0;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) time = Math.max(time, newest(path));
    else if (!entry.name.endsWith('.test.ts')) time = Math.max(time, statSync(path).mtimeMs);
  }
  return time;
}

export const scratch = (): string => mkdtempSync(join(tmpdir(), 'cambium-cli-'));

export interface Outcome {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  env?: Record<string, string>;
  cwd?: string;
  /** Called with what has been printed so far. */
  watch?: (child: ChildProcess, stdout: string, stderr: string) => void;
}

const quiet = { CAMBIUM_OFFLINE: '1', NO_COLOR: '1', CI: '1' };

export function cambium(args: readonly string[], { env = {}, cwd, watch }: RunOptions = {}): Promise<Outcome> {
  const child = spawn(process.execPath, [bin, ...args], {
    cwd: cwd ?? root,
    env: { ...process.env, CAMBIUM_CACHE: join(tmpdir(), 'cambium-no-cache'), ...quiet, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
    watch?.(child, stdout, stderr);
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
    watch?.(child, stdout, stderr);
  });
  return new Promise((done, fail) => {
    child.on('error', fail);
    child.on('close', (code, signal) => done({ code, signal, stdout, stderr }));
  });
}

/** JSON values, one a line. */
// biome-ignore lint/suspicious/noExplicitAny: tests look into what the program printed
export const jsonLines = (text: string): any[] =>
  text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));

/** A run of seconds on the built-in digits. */
export const tiny = [
  '--set',
  'data.name=digits',
  '--set',
  'data.digits.train=240',
  '--set',
  'data.digits.test=60',
  '--set',
  'data.validation=40',
  '--set',
  'batchSize=20',
];
