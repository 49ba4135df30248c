/** What a linear classifier finds in frozen features: multinomial logistic regression, solved to its optimum. */
import { ArgumentError } from '../base/index.ts';
import { crossEntropy, softmax } from '../nn/index.ts';
import { flush, tensor, Variable, zeros } from '../tensor/index.ts';
import { minimise } from './lbfgs.ts';
import { accuracyOf, type Classified } from './neighbours.ts';
import { checkTable, type FeatureTable, labelled, sameWidth } from './table.ts';

export interface LinearProbeOptions {
  /** Strength of the penalty: the objective is sum of losses + l2 / 2 |W|^2, biases free. 1 unless told, as scikit-learn's C = 1. */
  readonly l2?: number;
  /** Features to mean 0 and deviation 1 of the training part: true unless told. */
  readonly standardise?: boolean;
  readonly maxIterations?: number;
}

/** y = x W' + b on features as they are. */
export interface LinearHead {
  /** f32 (classes, width). */
  readonly weight: Float32Array;
  /** f32 (classes). */
  readonly bias: Float32Array;
  readonly classes: readonly string[];
}

export interface LinearProbe extends Classified {
  /** f32 (samples, classes). */
  readonly probabilities: Float32Array;
  /** f32 (classes, width), on standardised features. */
  readonly weights: Float32Array;
  /** f32 (classes). */
  readonly bias: Float32Array;
  /** The same classifier with standardisation folded in: what `attachHead` puts on a model. */
  readonly head: LinearHead;
  /** Of the objective divided by the number of samples. */
  readonly loss: number;
  readonly iterations: number;
}

/**
 * Fits on `train`, answers for `test`.
 * @throws DataError LABEL_MISSING, CLASSES_TOO_FEW, FEATURES_*; ArgumentError OPTION_INVALID, WIDTH_MISMATCH.
 */
export async function linearProbe(
  train: FeatureTable,
  test: FeatureTable,
  { l2 = 1, standardise = true, maxIterations = 200 }: LinearProbeOptions = {},
): Promise<LinearProbe> {
  checkTable(train);
  checkTable(test);
  sameWidth(train, test);
  if (!(l2 >= 0 && Number.isFinite(l2)))
    throw new ArgumentError('OPTION_INVALID', `l2: expected a number of at least 0, found ${l2}`, {
      field: 'l2',
      got: l2,
    });
  const { labels, classes } = labelled(train);
  const [rows, width] = train.shape;
  const scale = standardise ? moments(train) : undefined;
  const x = await tensor(scaled(train, scale), { shape: [rows, width] }).realize();
  const y = await tensor(labels, { shape: [rows] }).realize();
  const weight = new Variable(zeros([width, classes.length]), { requiresGrad: true });
  const bias = new Variable(zeros([classes.length]), { requiresGrad: true });
  const size = width * classes.length;
  const objective = async (at: Float64Array): Promise<{ value: number; gradient: Float64Array }> => {
    weight.assign(tensor(Float32Array.from(at.subarray(0, size)), { shape: weight.shape }));
    bias.assign(tensor(Float32Array.from(at.subarray(size)), { shape: bias.shape }));
    weight.grad = null;
    bias.grad = null;
    const loss = crossEntropy(x.matmul(weight).add(bias), y).add(
      weight
        .square()
        .sum()
        .mul(l2 / 2 / rows),
    );
    loss.backward();
    const [dw, db] = [weight.grad, bias.grad] as unknown as [typeof loss, typeof loss];
    await flush([loss.node, dw.node, db.node]);
    const gradient = new Float64Array(at.length);
    gradient.set((await dw.data()) as Float32Array);
    gradient.set((await db.data()) as Float32Array, size);
    return { value: await loss.item(), gradient };
  };
  const {
    x: best,
    value,
    iterations,
  } = await minimise(objective, new Float64Array(size + classes.length), { maxIterations });
  weight.assign(tensor(Float32Array.from(best.subarray(0, size)), { shape: weight.shape }));
  bias.assign(tensor(Float32Array.from(best.subarray(size)), { shape: bias.shape }));
  weight.grad = null;
  bias.grad = null;
  const logits = tensor(scaled(test, scale), { shape: test.shape }).matmul(weight).add(bias);
  const probabilities = (await softmax(logits, 1).data()) as Float32Array;
  const predictions = Int32Array.from((await logits.argmax(1).data()) as Int32Array);
  const fitted = {
    weights: (await weight.transpose().data()) as Float32Array,
    bias: Float32Array.from(best.subarray(size)),
  };
  return {
    predictions,
    probabilities,
    ...(test.labels && { accuracy: accuracyOf(predictions, test.labels) }),
    ...fitted,
    head: { ...folded(fitted, scale, width), classes },
    loss: value,
    iterations,
  };
}

interface Moments {
  readonly mean: Float64Array;
  readonly deviation: Float64Array;
}

/** Mean and deviation of each column; a column whose deviation is no more than the rounding of its mean is constant, and has 1. */
function moments({ vectors, shape: [rows, width] }: FeatureTable): Moments {
  const mean = new Float64Array(width);
  const square = new Float64Array(width);
  for (let i = 0; i < rows; i++)
    for (let c = 0; c < width; c++) mean[c] = (mean[c] as number) + (vectors[i * width + c] as number) / rows;
  for (let i = 0; i < rows; i++)
    for (let c = 0; c < width; c++)
      square[c] = (square[c] as number) + ((vectors[i * width + c] as number) - (mean[c] as number)) ** 2 / rows;
  // Rounding leaves a constant column a little spread; divided by it, any other value would be enormous.
  const constant = (v: number, c: number): boolean => v <= (rows * Number.EPSILON * (mean[c] as number)) ** 2;
  return { mean, deviation: square.map((v, c) => (constant(v, c) ? 1 : Math.sqrt(v))) };
}

function scaled({ vectors, shape: [, width] }: FeatureTable, by: Moments | undefined): Float32Array {
  if (!by) return vectors;
  return vectors.map((v, i) => (v - (by.mean[i % width] as number)) / (by.deviation[i % width] as number));
}

/** w (x - mean) / deviation + b = (w / deviation) x + (b - w mean / deviation). */
function folded(
  { weights, bias }: { weights: Float32Array; bias: Float32Array },
  by: Moments | undefined,
  width: number,
) {
  if (!by) return { weight: weights, bias };
  const weight = weights.map((w, i) => w / (by.deviation[i % width] as number));
  const shift = Array.from(bias, (b, k) => {
    let sum = b;
    for (let c = 0; c < width; c++)
      sum -= (weights[k * width + c] as number) * ((by.mean[c] as number) / (by.deviation[c] as number));
    return sum;
  });
  return { weight, bias: Float32Array.from(shift) };
}
