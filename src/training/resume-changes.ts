/** What an interrupted run was, and what may not have changed since. */
import { ConfigError, DataError, printable } from '../base/errors.ts';
import type { Json } from '../io/index.ts';
import type { WeightsLineage } from './init.ts';
import type { Recipe } from './recipe.ts';

/** What a run must not change under way; the head of its folder. */
export interface RunHead {
  recipe: Recipe;
  data: Record<string, string>;
  /** The weights it started from. */
  init?: WeightsLineage;
  /** Where the data were, absolute; see data-place.ts. */
  dataDir?: string;
  /** The teacher's model folder, absolute; see teacher-place.ts. */
  teacher?: string;
}

/** The head of a run folder. @throws DataError NOT_A_RUN. */
export function parseHead(value: Json, file: string): RunHead {
  const head = value as unknown as Partial<RunHead> | null;
  const arePlaces = [head?.dataDir, head?.teacher].every((place) => place === undefined || typeof place === 'string');
  if (typeof head?.recipe !== 'object' || typeof head.data !== 'object' || !arePlaces)
    throw new DataError('NOT_A_RUN', `${printable(file)} is not the head of a training run`, { file });
  return head as RunHead;
}

const TEACHER = 'distill.teacher.sha256';

/** @throws ConfigError RESUME_CHANGED naming the first field that differs and is not among `allowed`. */
export function refuseChanges(before: RunHead, after: RunHead, allowed: readonly string[]): void {
  const { teacher: was, ...samples } = before.data;
  const { teacher: is, ...samplesNow } = after.data;
  const differences = [
    ...changes(before.recipe, after.recipe, ''),
    ...changes(samples, samplesNow, 'data.sha256.'),
    ...changes(was, is, TEACHER),
  ];
  // Where a teacher lies does not matter, what it knows does.
  const ignored = new Set(['description', 'data.dir', 'check', 'distill.teacher']);
  const allowedFor = (field: string): boolean =>
    allowed.some(
      (name) => field === name || field.startsWith(`${name}.`) || (name === 'data' && field.startsWith('data')),
    );
  const refused = differences.filter(({ field }) => !ignored.has(field) && !allowedFor(field));
  const [first] = refused;
  if (!first) return;
  if (first.field === TEACHER)
    throw new ConfigError(
      'RESUME_CHANGED',
      `distill.teacher: ${printable(after.teacher ?? null)} is not the teacher the run began with: its weights are others`,
      {
        field: 'distill.teacher',
        expected: was,
        got: is,
        hint: 'name the folder of the old one by --set distill.teacher=DIR, or learn from this one by --allow-change distill.teacher',
      },
    );
  const isData = first.field.startsWith('data.sha256.');
  const named = refused.filter(({ field }) => field !== TEACHER);
  const list = named.map(({ field }) => (isData ? field.replace('data.sha256.', 'data ') : field)).join(', ');
  throw new ConfigError(
    'RESUME_CHANGED',
    isData
      ? `the samples are not those of the interrupted run: ${list} differ`
      : `${list}: changed since the run began (${first.field} was ${printable(first.before ?? null)}, is ${printable(first.after ?? null)})`,
    {
      field: isData ? 'data' : first.field,
      expected: first.before,
      got: first.after,
      hint: isData
        ? 'pass --data-dir with the same files, or accept other ones by --allow-change data'
        : `accept it by --allow-change ${first.field}`,
    },
  );
}

interface Change {
  field: string;
  before: unknown;
  after: unknown;
}

/** Where two plain values differ, by dotted path. */
function changes(before: unknown, after: unknown, path: string): Change[] {
  const isObject = (v: unknown): v is Record<string, unknown> =>
    typeof v === 'object' && v !== null && !Array.isArray(v);
  if (isObject(before) && isObject(after))
    return [...new Set([...Object.keys(before), ...Object.keys(after)])].flatMap((key) =>
      changes(before[key], after[key], path === '' || path.endsWith('.') ? path + key : `${path}.${key}`),
    );
  return JSON.stringify(before) === JSON.stringify(after) ? [] : [{ field: path, before, after }];
}
