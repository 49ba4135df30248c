/** A class for each word of a text: softmax and cross-entropy at the first piece of every word; other tokens do not count. */
import { ArgumentError, DataError } from '../base/index.ts';
import { type LabelledBatch, NO_TAG } from '../data/index.ts';
import type { HostArray } from '../io/index.ts';
import { crossEntropy, softmax } from '../nn/index.ts';
import { embedding, type Tensor, tensor } from '../tensor/index.ts';
import { checkWeights } from './class-head.ts';
import { areEntityTags, entitiesOf } from './entities.ts';
import { type Head, labelArray, sampleOf, sampleWeights, type TagHeadOptions, type TagsPrediction } from './head.ts';

/** In batches: i32 (N, T), -100 where no word begins and where a sample lacks tags. The model gives logits (N, T, classes). */
export function tagHead(options: TagHeadOptions): Head {
  const { field, names, weight = 1, labelSmoothing = 0, classWeights } = options;
  if (names.length < 2 || new Set(names).size !== names.length)
    throw new ArgumentError('CLASSES_INVALID', `tags need at least two distinct classes, got ${names.length}`, {
      field: 'classes',
      got: names.slice(0, 20),
    });
  if (classWeights) checkWeights(classWeights, names);
  const entities = areEntityTags(names);

  const lossOf = (y: Tensor, batch: LabelledBatch, lambda?: Tensor): Tensor => {
    const perClass = classWeights && tensor([...classWeights]);
    const own = sampleWeights(batch);
    const of = (tags: Tags, sample: Tensor | undefined): Tensor => {
      const counts = sample ? sample.unsqueeze(1).mul(tags.present) : tags.present;
      const each = losses(y, tags, { labelSmoothing, ...(perClass && { classWeights: perClass }) });
      const counted = perClass
        ? embedding(perClass.reshape(-1, 1), tags.tag.maximum(0)).reshape(tags.tag.shape).mul(counts)
        : counts;
      // A batch in which nothing counts teaches nothing, rather than NaN.
      return each.mul(counts).sum().div(counted.sum().maximum(1e-12));
    };
    const tags = tagsOf(batch, field, names);
    const mine = of(tags, own);
    if (!lambda) return mine;
    const other = of({ tag: tags.tag.flip(0), present: tags.present.flip(0) }, own?.flip(0));
    return mine.mul(lambda).add(other.mul(lambda.neg().add(1)));
  };

  return {
    field,
    kind: 'tags',
    names,
    weight,
    options,
    lossOf,
    measure: (y, batch) => {
      const tags = tagsOf(batch, field, names);
      const loss = losses(y, tags).sum().div(tags.present.sum().maximum(1e-12));
      return { loss, predictions: y.argmax(2) };
    },
    readable: (y) => softmax(y),
    answer: (row, _topK, words) => answer(row, names, entities, words),
  };
}

interface Tags {
  /** i32 (N, T). */
  readonly tag: Tensor;
  /** f32 (N, T): 1 where there is one. */
  readonly present: Tensor;
}

/** Of every token, (N, T); 0 where there is no tag. */
function losses(y: Tensor, { tag }: Tags, options: { labelSmoothing?: number; classWeights?: Tensor } = {}): Tensor {
  const [batch, steps, classes] = y.shape as [number, number, number];
  const each = crossEntropy(y.reshape(batch * steps, classes), tag.reshape(-1), { ...options, reduction: 'none' });
  return each.reshape(batch, steps);
}

/** Checked where they are still known: a wrong one must not reach the loss. */
function tagsOf(batch: LabelledBatch, field: string, names: readonly string[]): Tags {
  const { data, shape } = labelArray(batch, field) as HostArray;
  const values = data as Int32Array;
  const steps = shape[1] as number;
  const bad = values.findIndex((tag) => tag !== NO_TAG && !(Number.isInteger(tag) && tag >= 0 && tag < names.length));
  if (bad >= 0) {
    const sample = sampleOf(batch, Math.floor(bad / steps));
    throw new DataError('LABEL_OUT_OF_RANGE', `${field} ${values[bad]} of sample ${sample} is no class`, {
      field,
      sample,
      expected: `0 .. ${names.length - 1}, or ${NO_TAG} for a token that has none`,
      got: values[bad],
    });
  }
  return {
    tag: tensor(values, { shape }),
    present: tensor(
      Float32Array.from(values, (tag) => Number(tag !== NO_TAG)),
      { shape },
    ),
  };
}

function answer(
  row: Float32Array,
  names: readonly string[],
  withEntities: boolean,
  words: Int32Array | undefined,
): TagsPrediction {
  const width = names.length;
  const tags: TagsPrediction['tags'][number][] = [];
  for (let t = 0; t < row.length / width; t++) {
    const word = words ? (words[t] as number) : t;
    if (word < 0) continue;
    const own = row.subarray(t * width, (t + 1) * width);
    const best = own.indexOf(Math.max(...own));
    tags.push({ word, label: names[best] as string, probability: own[best] as number });
  }
  if (!withEntities) return { tags };
  const entities = entitiesOf(tags.map(({ label }) => label)).map(({ label, start, end }) => {
    const own = tags.slice(start, end);
    return {
      label,
      start: (own[0] as { word: number }).word,
      end: (own.at(-1) as { word: number }).word + 1,
      probability: own.reduce((sum, { probability }) => sum + probability, 0) / own.length,
    };
  });
  return { tags, entities };
}
