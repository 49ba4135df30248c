/** Any number of labels at once: a sigmoid and binary cross-entropy for each. */
import { ArgumentError, DataError, printable } from '../base/index.ts';
import type { LabelledBatch } from '../data/index.ts';
import { bceWithLogitsLoss } from '../nn/index.ts';
import { type Tensor, tensor } from '../tensor/index.ts';
import { type Head, labelArray, type MultiLabelHeadOptions, sampleOf, sampleWeights, weightedMean } from './head.ts';

/** In batches: 0 or 1 for each label, f32 (N, labels); NaN in all of a row that lacks them, where `optional` allows it. */
export function multiLabelHead(options: MultiLabelHeadOptions): Head {
  const { field, names, weight = 1, threshold = 0.5, classWeights, optional = false } = options;
  if (names.length < 1 || new Set(names).size !== names.length)
    throw new ArgumentError('CLASSES_INVALID', `${field}: expected distinct labels, got ${names.length}`, {
      field: 'classes',
      got: names.slice(0, 20),
    });
  if (!(threshold > 0 && threshold < 1))
    throw new ArgumentError('OPTION_INVALID', `threshold: expected a probability, found ${threshold}`, {
      field: 'threshold',
      expected: '0 < threshold < 1',
      got: threshold,
    });
  if (classWeights && (classWeights.length !== names.length || !classWeights.every((w) => w > 0 && Number.isFinite(w))))
    throw new ArgumentError('CLASS_WEIGHTS_INVALID', `${field}: expected ${names.length} weights above 0`, {
      field: 'classWeights',
      expected: `${names.length} numbers above 0`,
      got: classWeights,
    });

  const lossOf = (y: Tensor, batch: LabelledBatch, lambda?: Tensor): Tensor => {
    const posWeight = classWeights && tensor([...classWeights]);
    const own = sampleWeights(batch);
    const of = (target: Tensor, present: Tensor | undefined): Tensor => {
      const counts = own && present ? own.mul(present) : (own ?? present);
      if (!counts) return bceWithLogitsLoss(y, target, { posWeight });
      return weightedMean(bceWithLogitsLoss(y, target, { posWeight, reduction: 'none' }).mean(1), counts);
    };
    const { target, present } = targets(batch, { field, names, optional });
    const mine = of(target, present);
    return lambda ? mine.mul(lambda).add(of(target.flip(0), present?.flip(0)).mul(lambda.neg().add(1))) : mine;
  };

  return {
    field,
    kind: 'classes',
    names,
    weight,
    threshold,
    options,
    lossOf,
    measure: (y, batch) => {
      const { target, present } = targets(batch, { field, names, optional });
      const loss = present
        ? weightedMean(bceWithLogitsLoss(y, target, { reduction: 'none' }).mean(1), present)
        : bceWithLogitsLoss(y, target);
      return { loss, predictions: y.sigmoid() };
    },
    readable: (y) => y.sigmoid(),
    answer: (row) => {
      const order = names.map((_, i) => i).sort((a, b) => (row[b] as number) - (row[a] as number) || a - b);
      return {
        labels: order.filter((i) => (row[i] as number) >= threshold).map((i) => names[i] as string),
        probabilities: Object.fromEntries(names.map((name, i) => [name, row[i] as number])),
      };
    },
  };
}

function targets(
  batch: LabelledBatch,
  { field, names, optional }: { field: string; names: readonly string[]; optional: boolean },
): { target: Tensor; present?: Tensor } {
  const { data, shape } = labelArray(batch, field);
  const values = data as Float32Array;
  const width = names.length;
  if (shape.length !== 2 || shape[1] !== width)
    throw new DataError('LABEL_SHAPE', `${printable(field)}: ${width} labels need (N, ${width}) in a batch`, {
      field,
      expected: ['N', width],
      got: shape,
    });
  const bad = values.findIndex((value) => value !== 0 && value !== 1 && !(optional && Number.isNaN(value)));
  if (bad >= 0) {
    const sample = sampleOf(batch, Math.floor(bad / width));
    throw new DataError(
      'LABEL_OUT_OF_RANGE',
      `${field} of sample ${sample} is ${values[bad]} for ${names[bad % width]}`,
      {
        field,
        sample,
        expected: '0 or 1',
        got: values[bad],
      },
    );
  }
  if (!optional) return { target: tensor(data, { shape }) };
  return {
    target: tensor(
      values.map((value) => (value === 1 ? 1 : 0)),
      { shape },
    ),
    present: tensor(
      Float32Array.from({ length: shape[0] as number }, (_, i) => Number(!Number.isNaN(values[i * width]))),
    ),
  };
}
