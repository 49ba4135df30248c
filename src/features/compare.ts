/** The same samples through two models, or one model before and after tuning: what changed in their features. */
import { ArgumentError } from '../base/index.ts';
import { type Tensor, tensor } from '../tensor/index.ts';
import { linearProbe } from './linear-probe.ts';
import { knnClassify, unitRows } from './neighbours.ts';
import { checkTable, type FeatureTable, labelled, rowsOf } from './table.ts';

export interface FeatureQuality {
  /** Of k nearest neighbours among the other samples (cosine). */
  readonly knn: number;
  /** Of a linear classifier on the held-out fifth. */
  readonly linear: number;
  /** Mean cosine similarity within classes less that between them. */
  readonly separation: number;
}

export interface FeatureComparison {
  /** Linear centred kernel alignment (Kornblith et al. 2019): 1 for features equal up to rotation and scale. */
  readonly cka: number;
  readonly before: FeatureQuality;
  readonly after: FeatureQuality;
  /** Distance each class's mean direction went, 0 to 2; where both have vectors of one width. */
  readonly shift?: Readonly<Record<string, number>>;
  /** For people. */
  readonly text: string;
}

export interface CompareOptions {
  /** Neighbours: 5 unless told. */
  readonly k?: number;
}

/**
 * Compares features of the same samples, in the same order, with labels.
 * @throws ArgumentError SAMPLES_MISMATCH; DataError LABEL_MISSING, CLASSES_TOO_FEW, FEATURES_*.
 */
export async function compareFeatures(
  before: FeatureTable,
  after: FeatureTable,
  { k = 5 }: CompareOptions = {},
): Promise<FeatureComparison> {
  checkTable(before);
  checkTable(after);
  const other = before.ids.length === after.ids.length ? before.ids.findIndex((id, i) => id !== after.ids[i]) : 0;
  if (other >= 0)
    throw new ArgumentError('SAMPLES_MISMATCH', 'the features are not of the same samples in the same order', {
      expected: before.ids.length,
      got: after.ids.length,
      hint: 'write both from the same part of the same data',
    });
  const { classes } = labelled(before);
  const differs = after.labels ? after.labels.findIndex((label, i) => label !== before.labels?.[i]) : -1;
  if (differs >= 0)
    throw new ArgumentError('SAMPLES_MISMATCH', `sample ${before.ids[differs]} has another label in each`, {
      expected: before.labels?.[differs],
      got: after.labels?.[differs],
    });
  const quality = async (table: FeatureTable): Promise<FeatureQuality> => {
    const rows = Array.from({ length: table.shape[0] }, (_, i) => i);
    const [train, test] = [
      rowsOf(
        table,
        rows.filter((i) => i % 5 !== 4),
      ),
      rowsOf(
        table,
        rows.filter((i) => i % 5 === 4),
      ),
    ];
    const { accuracy: knn = 0 } = await knnClassify(table, table, { k });
    const { accuracy: linear = 0 } = await linearProbe(train, test);
    return { knn, linear, separation: separation(table) };
  };
  const labels = labelled(before).labels;
  const cka = await linearCka(before, after);
  const [was, is] = [await quality(before), await quality({ ...after, labels })];
  const shift = before.shape[1] === after.shape[1] ? shiftOf(before, { ...after, labels }, classes) : undefined;
  const percent = (v: number): string => `${(100 * v).toFixed(2)} %`;
  const text = [
    `${before.shape[0]} samples; linear CKA ${cka.toFixed(4)} (1: the same up to rotation and scale)`,
    '                        before      after',
    ...(
      [
        [`${k} nearest neighbours`, percent(was.knn), percent(is.knn)],
        ['linear classifier', percent(was.linear), percent(is.linear)],
        ['class separation', was.separation.toFixed(4), is.separation.toFixed(4)],
      ] as const
    ).map(([name, a, b]) => `${name.padEnd(22)}${a.padStart(10)} ${b.padStart(10)}`),
    ...(shift
      ? [
          `mean directions moved: ${Object.entries(shift)
            .map(([name, d]) => `${name} ${d.toFixed(2)}`)
            .join(', ')}`,
        ]
      : []),
  ].join('\n');
  return { cka, before: was, after: is, ...(shift && { shift }), text };
}

/** |Y'X|^2 / (|X'X| |Y'Y|) of centred features; 0 where one of them does not vary. */
export async function linearCka(a: FeatureTable, b: FeatureTable): Promise<number> {
  const of = ({ vectors, shape }: FeatureTable): Tensor => {
    const x = tensor(vectors, { shape });
    const centred = x.sub(x.mean(0, { keepDims: true }));
    // Their scale cancels; without it sums of squares of large features would leave f32.
    return centred.div(centred.square().mean().sqrt().add(1e-30));
  };
  const [x, y] = [await of(a).realize(), await of(b).realize()];
  const norm = async (p: Tensor, q: Tensor): Promise<number> => {
    // The products of samples are fewer where vectors are wide, and have the same norm.
    const [rows, widest] = [a.shape[0], Math.max(a.shape[1], b.shape[1])];
    if (widest <= rows) return p.transpose().matmul(q).square().sum().item();
    return p.matmul(p.transpose()).mul(q.matmul(q.transpose())).sum().item();
  };
  const [both, xx, yy] = [await norm(x, y), await norm(x, x), await norm(y, y)];
  return xx > 0 && yy > 0 ? both / Math.sqrt(xx * yy) : 0;
}

/** By class: the sum of unit vectors, and how many. */
function directions(table: FeatureTable): { sums: Map<number, Float64Array>; counts: Map<number, number> } {
  const [rows, width] = table.shape;
  const unit = unitRows(table);
  const sums = new Map<number, Float64Array>();
  const counts = new Map<number, number>();
  for (let i = 0; i < rows; i++) {
    const label = table.labels?.[i] as number;
    const sum = sums.get(label) ?? new Float64Array(width);
    for (let c = 0; c < width; c++) sum[c] = (sum[c] as number) + (unit[i * width + c] as number);
    sums.set(label, sum);
    counts.set(label, (counts.get(label) ?? 0) + 1);
  }
  return { sums, counts };
}

const dot = (a: Float64Array, b: Float64Array): number => a.reduce((sum, v, i) => sum + v * (b[i] as number), 0);

// Sums of unit vectors give all pairs' similarities at once.
function separation(table: FeatureTable): number {
  const { sums, counts } = directions(table);
  const n = table.shape[0];
  const whole = new Float64Array(table.shape[1]);
  let [within, pairs] = [0, 0];
  for (const [label, sum] of sums) {
    sum.forEach((v, c) => {
      whole[c] = (whole[c] as number) + v;
    });
    const count = counts.get(label) as number;
    within += dot(sum, sum) - count;
    pairs += count * (count - 1);
  }
  const all = dot(whole, whole) - n;
  const between = n * (n - 1) - pairs;
  return (pairs > 0 ? within / pairs : 0) - (between > 0 ? (all - within) / between : 0);
}

function shiftOf(a: FeatureTable, b: FeatureTable, classes: readonly string[]): Record<string, number> {
  const [was, is] = [directions(a).sums, directions(b).sums];
  const entries = [...was].map(([label, sum]) => {
    const other = is.get(label) as Float64Array;
    const cosine = dot(sum, other) / (Math.sqrt(dot(sum, sum) * dot(other, other)) || 1);
    return [classes[label] ?? String(label), 1 - cosine] as const;
  });
  return Object.fromEntries(entries);
}
