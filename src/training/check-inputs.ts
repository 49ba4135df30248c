/** Whether pictures reach pretrained weights as those learned them: by what is known of the weights, else by what their first batch norm remembers. */
import type { LabelledBatch, Transform } from '../data/index.ts';
import { evaluationMode } from '../features/index.ts';
import { BatchNorm1d, BatchNorm2d, type Module } from '../nn/index.ts';
import { imageInput } from '../tasks/index.ts';
import { flush, Tensor } from '../tensor/index.ts';
import type { Finding } from './check-data.ts';
import type { BatchSource } from './inputs.ts';
import { caffe, imageNet, type KnownInputs, pixelTransforms } from './known-inputs.ts';

/** What graph transforms make of a channel: `scale * pixel + offset` of source channel `from`, pixels from 0 to 1. */
interface Line {
  readonly from: number;
  readonly scale: number;
  readonly offset: number;
}

function linesOf(transforms: readonly Transform[], channels: number): Line[] {
  let lines: Line[] = Array.from({ length: channels }, (_, from) => ({ from, scale: 1, offset: 0 }));
  for (const transform of transforms) {
    if (transform.kind === 'bgr') lines.reverse();
    else if (transform.kind === 'channels' && transform.channels !== lines.length)
      // Grey of colour is no channel's own, and its weights sum to 1.
      lines = Array.from({ length: transform.channels }, () => ({
        ...(lines[0] as Line),
        from: channels > 1 ? -1 : 0,
      }));
    else if (transform.kind === 'normalize')
      lines = lines.map(({ from, scale, offset }, c) => {
        const [mean, std] = [transform.mean, transform.std].map((list) => list[c % list.length]) as [number, number];
        return { from, scale: scale / std, offset: (offset - mean) / std };
      });
  }
  return lines;
}

const meanOf = (lines: readonly Line[]): Line[] => {
  const mean = (pick: (line: Line) => number): number => lines.reduce((sum, l) => sum + pick(l), 0) / lines.length;
  return [{ from: 0, scale: mean((l) => l.scale), offset: mean((l) => l.offset) }];
};

/** The deviation of pixels of a photograph, of 0 to 1: what differences are held against. */
const SPREAD = 0.25;
/** In such deviations: what rounding of means, or those of a like data set, may differ by. */
const TOLERATED = 0.5;

/** Whether weights that learned through `known` get the same through `transforms`. */
export function agrees(known: KnownInputs, transforms: readonly Transform[], channels: number): boolean {
  let theirs = linesOf(known.transforms, known.channels);
  let ours = linesOf(pixelTransforms(transforms), channels);
  // A first convolution of other channels was adapted; order means nothing then.
  if (theirs.length !== ours.length) [theirs, ours] = [meanOf(theirs), meanOf(ours)];
  else if (known.channels === 3 && channels === 3 && ours.some(({ from }, c) => from !== theirs[c]?.from)) return false;
  return ours.every(({ scale, offset }, c) => {
    const their = theirs[c] as Line;
    const gap = (x: number): number => Math.abs(scale * x + offset - their.scale * x - their.offset);
    return Math.max(gap(0), gap(1)) <= TOLERATED * SPREAD * Math.abs(their.scale);
  });
}

export function checkKnown(known: KnownInputs, transforms: readonly Transform[], channels: number): Finding[] {
  if (agrees(known, transforms, channels)) return [];
  const [theirs, ours] = [known.transforms, pixelTransforms(transforms)].map(transformsText);
  return [
    {
      code: 'INPUT_NORMALISATION',
      severity: 'problem',
      message: `by ${known.source} the weights learned from pictures through ${theirs}, these go through ${ours}`,
      fix: `take the same: end the transforms in ${theirs}`,
    },
  ];
}

const transformsText = (transforms: readonly Transform[]): string =>
  JSON.stringify(transforms, (_, value: unknown) => (typeof value === 'number' ? Number(value.toPrecision(4)) : value));

/** Samples that are looked at: the mean over fewer pictures moves too much. */
const SAMPLES = 48;
/** Of the layer's own deviations, and as a factor: what the pictures of another subject stay within. */
const [SHIFT, RATIO] = [1, 2];

interface Moments {
  readonly layer: string;
  /** Medians over the channels: |mean - running mean| in running deviations, and deviation over running deviation. */
  readonly shift: number;
  readonly ratio: number;
  /** Of the channel in the middle: mean and deviation of the batches, and those the weights remember. */
  readonly channel: number;
  readonly seen: readonly [mean: number, std: number];
  readonly known: readonly [mean: number, std: number];
}

const fits = ({ shift, ratio }: Moments): boolean => shift <= SHIFT && ratio <= RATIO && ratio >= 1 / RATIO;
const misfit = ({ shift, ratio }: Moments): number => shift / SHIFT + Math.abs(Math.log(ratio)) / Math.log(RATIO);

/** Usual ways to prepare pictures, tried where those at hand do not fit. */
function candidates(transforms: readonly Transform[], channels: number): Transform[][] {
  const ahead = pixelTransforms(transforms).filter(({ kind }) => kind === 'channels');
  const [grey] = ahead.length > 0 ? linesOf(ahead, channels) : [];
  const width = grey ? linesOf(ahead, channels).length : channels;
  const plain = (mean: number, std: number): Transform => ({
    kind: 'normalize',
    mean: Array.from({ length: width }, () => mean),
    std: Array.from({ length: width }, () => std),
  });
  const colour = width === 3 ? [[...imageNet], [...caffe]] : [];
  return [...colour, [plain(0.5, 0.5)], [], [plain(0, 1 / 255)], [plain(0.1307, 0.3081)]].map((list) => [
    ...ahead,
    ...list,
  ]);
}

/**
 * The inputs of the first batch norm on training pictures against its running statistics; nothing where the model has none that
 * came with the weights. Runs the layers below it in evaluation mode.
 */
export async function checkStatistics(
  model: Module,
  loader: BatchSource,
  { transforms, channels, fresh }: { transforms: readonly Transform[]; channels: number; fresh: readonly string[] },
): Promise<Finding[]> {
  const batches: LabelledBatch[] = [];
  let samples = 0;
  for await (const batch of loader.epoch(0)) {
    batches.push(batch);
    samples += batch.size;
    if (samples >= SAMPLES || batches.length === 8) break;
  }
  const through = (list: readonly Transform[]): Promise<Moments | undefined> => momentsOf(model, batches, list, fresh);
  const ours = await through(pixelTransforms(transforms));
  if (!ours || fits(ours)) return [];
  let [best, found]: [Transform[] | undefined, Moments] = [undefined, ours];
  for (const candidate of candidates(transforms, channels)) {
    const moments = await through(candidate);
    if (moments && misfit(moments) < misfit(found)) [best, found] = [candidate, moments];
  }
  const better = best && fits(found) && misfit(found) < misfit(ours) / 2;
  const { layer, channel, shift, ratio } = ours;
  const [seen, known] = [ours.seen, ours.known].map((pair) => pair.map((v) => v.toPrecision(3)).join(' +- '));
  return [
    {
      code: 'INPUT_STATISTICS',
      severity: better ? 'problem' : 'advice',
      message:
        `the training pictures reach ${layer} at other values than the weights learned from: half of its channels are shifted by ` +
        `${shift.toPrecision(2)} deviations or more, the deviation is ${ratio.toPrecision(2)} times theirs ` +
        `(channel ${channel}: ${seen}, running statistics ${known})`,
      fix: better
        ? `the weights fit pictures through ${transformsText(best as Transform[])}: end the transforms in it`
        : 'end the transforms as those the weights were trained with; if they do, the pictures are of another kind: tune batch norm too (freezeBatchNorm=false)',
    },
  ];
}

async function momentsOf(
  model: Module,
  batches: readonly LabelledBatch[],
  transforms: readonly Transform[],
  fresh: readonly string[],
): Promise<Moments | undefined> {
  const restore = evaluationMode(model);
  try {
    let norm: { readonly path: string; readonly module: BatchNorm1d | BatchNorm2d } | undefined;
    let [count, sums, squares]: [number, number[], number[]] = [0, [], []];
    for (const batch of batches) {
      let input: Tensor | undefined;
      const x = imageInput(batch as unknown as Parameters<typeof imageInput>[0], transforms);
      // Only a graph: what lies above is never computed.
      model.withForwardHook(
        (path, module, _, [value]) => {
          if (input || !(module instanceof BatchNorm1d || module instanceof BatchNorm2d)) return;
          if (!(value instanceof Tensor)) return;
          input = value;
          norm = { path, module };
        },
        () => model.forward(x),
      );
      if (!input || !norm || fresh.includes(`${norm.path}.running_mean`)) return undefined;
      const axes = input.shape.map((_, i) => i).filter((i) => i !== 1);
      const [mean, square] = [input.mean(axes), input.square().mean(axes)];
      await flush([mean.node, square.node]);
      const n = input.size / norm.module.numFeatures;
      sums = Array.from(await mean.data(), (v, c) => (sums[c] ?? 0) + n * v);
      squares = Array.from(await square.data(), (v, c) => (squares[c] ?? 0) + n * v);
      count += n;
    }
    if (!norm) return undefined;
    const { runningMean, runningVar, numBatchesTracked, momentum, eps } = norm.module;
    const [means, variances] = [await runningMean.data(), await runningVar.data()];
    // After few batches the initial 0 and 1 still weigh in; a file without the count has seen many.
    const tracked = await numBatchesTracked.item();
    const initial = tracked > 0 ? (1 - momentum) ** tracked : 0;
    const rows = sums.map((sum, channel) => {
      const mean = sum / count;
      const std = Math.sqrt(Math.max(0, (squares[channel] as number) / count - mean * mean) + eps);
      const variance = ((variances[channel] as number) - initial) / (1 - initial);
      const known = [(means[channel] as number) / (1 - initial), Math.sqrt(Math.max(0, variance) + eps)] as const;
      return {
        channel,
        seen: [mean, std] as const,
        known,
        shift: Math.abs(mean - known[0]) / known[1],
        ratio: std / known[1],
      };
    });
    const middle = Math.floor(rows.length / 2);
    const by = (pick: (row: (typeof rows)[number]) => number) => rows.toSorted((a, b) => pick(a) - pick(b))[middle];
    const [shift, ratio] = [by((row) => row.shift), by((row) => row.ratio)];
    if (!shift || !ratio) return undefined;
    const shown = shift.shift > SHIFT ? shift : ratio;
    return {
      layer: norm.path,
      shift: shift.shift,
      ratio: ratio.ratio,
      channel: shown.channel,
      seen: shown.seen,
      known: shown.known,
    };
  } finally {
    restore();
  }
}
