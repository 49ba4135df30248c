/** `cambium doctor`: which engine runs here and why, and what else a report of a problem should say. */
import { arch, cpus, platform, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { chooseBackend } from '../backend/index.ts';
import { NativeBackend } from '../backend/native/backend.ts';
import { CambiumError } from '../base/errors.ts';
import { mnistFiles } from '../data/index.ts';
import { cacheDir, exists } from '../io/index.ts';
import { formatBytes, machineMemory } from '../training/machine-memory.ts';
import type { CommonOptions } from './options.ts';
import { print, printJson } from './output.ts';
import { version } from './version.ts';

export async function doctorCommand(options: CommonOptions): Promise<void> {
  const { available, limit } = machineMemory();
  const cache = cacheDir();
  const files = Object.values(mnistFiles).flatMap(({ images, labels }) => [images.name, labels.name]);
  const cached = await Promise.all(files.map((file) => exists(join(cache, 'mnist', file))));
  const findings = {
    cambium: version(),
    node: process.versions.node,
    platform: `${platform()}-${arch()}`,
    system: release(),
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    ...engine(),
    memory: { total: totalmem(), available, limit },
    cache,
    mnistCached: cached.every(Boolean),
  };
  if (options.json) return printJson(findings);
  const rows: [string, string][] = [
    ['cambium', findings.cambium],
    ['node', `${findings.node} on ${findings.platform} (${findings.system})`],
    ['processor', `${findings.cpu}, ${findings.cores} cores`],
    ['backend', findings.backend ?? 'none'],
    ['why', findings.reason],
  ];
  if (findings.isa) rows.push(['instructions', `${findings.isa} (of ${findings.isaAvailable?.join(', ')})`]);
  if (findings.threads) rows.push(['threads', String(findings.threads)]);
  rows.push(
    ['memory', `${formatBytes(available)} available of ${formatBytes(totalmem())} (${limit})`],
    ['cache', `${cache} (MNIST ${findings.mnistCached ? 'is there' : 'is not there'})`],
  );
  await print(
    rows.map(([name, text]) => `${name.padEnd(13)} ${text.replaceAll('\n', `\n${' '.repeat(14)}`)}`).join('\n'),
  );
}

interface Engine {
  backend: string | null;
  reason: string;
  isa?: string;
  isaAvailable?: readonly string[];
  threads?: number;
  hugePages?: boolean;
}

// A wish that cannot be had is a finding here, not a failure.
function engine(): Engine {
  try {
    const { backend, reason } = chooseBackend();
    if (!(backend instanceof NativeBackend)) return { backend: backend.name, reason, threads: 1 };
    const { isa, isaAvailable, threads, hugePages } = backend.addon.info();
    return { backend: backend.name, reason, isa, isaAvailable, threads, hugePages };
  } catch (error) {
    if (!(error instanceof CambiumError)) throw error;
    return { backend: null, reason: `${error.message}${error.hint ? ` (${error.hint})` : ''}` };
  }
}
