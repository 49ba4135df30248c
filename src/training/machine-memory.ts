/** How much memory this process may still use: the machine's, or less where a container or a limit says so. */
import { readFileSync } from 'node:fs';
import { freemem, totalmem } from 'node:os';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

export interface MachineMemory {
  /** Bytes this process could take now. */
  readonly available: number;
  /** Resident bytes now. */
  readonly resident: number;
  /** Which limit that is. */
  readonly limit: string;
}

/** Collects garbage now, so that what reading the data left behind does not count as needed. */
function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  // Twice: buffers outside the heap are freed after the objects that held them.
  collect();
  collect();
}

/** Never throws: what cannot be read does not limit. `CAMBIUM_MEMORY_LIMIT` (bytes) overrides all. */
export function machineMemory(): MachineMemory {
  collectGarbage();
  const resident = process.memoryUsage.rss();
  const forced = Number(process.env.CAMBIUM_MEMORY_LIMIT ?? '');
  if (forced > 0) return { available: Math.max(0, forced - resident), resident, limit: 'CAMBIUM_MEMORY_LIMIT' };
  const candidates: [number, string][] = [[systemAvailable(), 'free memory of this machine']];
  const group = cgroupRoom();
  if (group !== undefined) candidates.push([group, 'memory limit of the container']);
  const constrained = (process as { constrainedMemory?: () => number | undefined }).constrainedMemory?.() ?? 0;
  // 0 or a huge number where there is no constraint.
  if (constrained > 0 && constrained < totalmem())
    candidates.push([constrained - resident, 'memory limit of this process']);
  const [available, limit] = candidates.reduce((least, next) => (next[0] < least[0] ? next : least));
  return { available: Math.max(0, available), resident, limit };
}

// MemAvailable counts caches the kernel would give up; freemem() does not on older Node versions.
function systemAvailable(): number {
  const kib = /^MemAvailable:\s+(\d+) kB/m.exec(read('/proc/meminfo') ?? '')?.[1];
  return kib === undefined ? freemem() : Number(kib) * 1024;
}

function cgroupRoom(): number | undefined {
  const pairs = [
    ['/sys/fs/cgroup/memory.max', '/sys/fs/cgroup/memory.current', '/sys/fs/cgroup/memory.stat'],
    [
      '/sys/fs/cgroup/memory/memory.limit_in_bytes',
      '/sys/fs/cgroup/memory/memory.usage_in_bytes',
      '/sys/fs/cgroup/memory/memory.stat',
    ],
  ] as const;
  for (const [limitFile, usageFile, statFile] of pairs) {
    const limit = Number(read(limitFile) ?? Number.NaN);
    const usage = Number(read(usageFile) ?? Number.NaN);
    if (!(limit > 0) || limit >= 2 ** 60 || Number.isNaN(usage)) continue;
    // Files read before count as usage until the kernel needs the room.
    const cache = Number(/^(?:total_)?inactive_file (\d+)/m.exec(read(statFile) ?? '')?.[1] ?? 0);
    return limit - usage + cache;
  }
  return undefined;
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return undefined;
  }
}

/** `1.5 GiB`, `600 MB`, or plain bytes. */
export const byteText = /^\d+(\.\d+)? ?(B|[KMGT]i?B)?$/;

/** Bytes of what `byteText` matches. */
export function parseBytes(text: string): number {
  const [, value = '', unit = 'B'] = /^([\d.]+) ?(\w+)?$/.exec(text) ?? [];
  return Math.floor(Number(value) * (unit.includes('i') ? 1024 : 1000) ** 'BKMGT'.indexOf(unit[0] as string));
}

/** 1536 -> `1.5 KiB`. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0)} ${units[unit]}`;
}
