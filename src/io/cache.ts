/** Where downloaded files are kept: $CAMBIUM_CACHE, else the platform's cache folder. */
import { homedir, platform } from 'node:os';
import { join } from 'node:path';
import { makeDirectory } from './directory.ts';

/** The cache's root; nothing is created. Relative values of XDG_CACHE_HOME are ignored, as its specification says. */
export function cacheDir(env: NodeJS.ProcessEnv = process.env): string {
  if (env.CAMBIUM_CACHE) return env.CAMBIUM_CACHE;
  if (env.XDG_CACHE_HOME?.startsWith('/')) return join(env.XDG_CACHE_HOME, 'cambium');
  if (platform() === 'win32' && env.LOCALAPPDATA) return join(env.LOCALAPPDATA, 'cambium', 'cache');
  return join(homedir(), '.cache', 'cambium');
}

/** Creates a directory and its parents; new ones are readable by their owner only. */
export async function makePrivateDir(path: string): Promise<string> {
  await makeDirectory(path, { mode: 0o700, hint: 'set CAMBIUM_CACHE to a directory you can write to' });
  return path;
}
