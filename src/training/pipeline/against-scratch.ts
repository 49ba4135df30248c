/** What weights to start from were worth: stages of one figure against the one from random weights. */
import type { Interval } from '../metrics/index.ts';
import type { PlannedStage } from './pipeline.ts';
import type { StageOf } from './schema.ts';
import type { StageResults, TrainStageResult } from './stages.ts';

export interface AgainstScratch {
  readonly figure: string;
  readonly tuned: string;
  readonly scratch: string;
  readonly part: 'test' | 'validation';
  /** Accuracy of `tuned` less that of `scratch`, in percentage points. */
  readonly points: number;
  readonly accuracy: readonly [tuned: number, scratch: number];
  readonly intervals: readonly [tuned: Interval, scratch: Interval];
  /** The two 95 % intervals have values in common. */
  readonly overlap: boolean;
}

/** Every stage from weights against every one from random weights that shares its `figure`, measured on the same part. */
export function againstScratch(stages: readonly PlannedStage[], results: StageResults): AgainstScratch[] {
  const measured = stages.flatMap(({ name, stage, recipe }) => {
    const figure = (stage as Partial<StageOf<'train'>>).figure;
    const result = results[name];
    if (figure === undefined || result?.kind !== 'train') return [];
    const { accuracy, interval, part = 'test', n } = (result as TrainStageResult).test ?? {};
    if (accuracy === undefined || !interval) return [];
    return [{ name, figure, fresh: !recipe?.init, accuracy, interval, part, n }];
  });
  const scratches = measured.filter(({ fresh }) => fresh);
  return measured
    .filter(({ fresh }) => !fresh)
    .flatMap((tuned) =>
      scratches
        .filter(({ figure, part, n }) => figure === tuned.figure && part === tuned.part && n === tuned.n)
        .map((scratch) => ({
          figure: tuned.figure,
          tuned: tuned.name,
          scratch: scratch.name,
          part: tuned.part,
          points: 100 * (tuned.accuracy - scratch.accuracy),
          accuracy: [tuned.accuracy, scratch.accuracy] as const,
          intervals: [tuned.interval, scratch.interval] as const,
          overlap: tuned.interval.low <= scratch.interval.high && scratch.interval.low <= tuned.interval.high,
        })),
    );
}
