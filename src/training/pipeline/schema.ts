/** What a pipeline may say: named stages, each of which may read those before it. */
import { z } from 'zod';
import { labelMethods, poolings } from '../../features/index.ts';
import type { RecipeInput } from '../recipe.ts';

const stageName = z.string().regex(/^[A-Za-z_][\w-]{0,63}$/, 'expected letters, digits, "-" and "_"');
const positiveInt = z.number().int().min(1).max(1e9);

/** Which vectors of which samples. */
const vectors = {
  split: z.enum(['train', 'validation', 'test']).default('test'),
  /** The first so many samples. */
  limit: positiveInt.optional(),
  /** `input of head` unless told; of a trunk that learned from texts, its last layer. */
  layer: z.string().min(1).optional(),
  pooling: z.enum(poolings).default('auto'),
};

const trainStage = z.strictObject({
  kind: z.literal('train'),
  /** A built-in recipe by name, a recipe file, or a recipe. */
  recipe: z.union([z.string().min(1), z.record(z.string(), z.unknown())], {
    error: "expected a recipe's name, file or fields",
  }),
  /** The stage whose weights it starts from. */
  from: stageName.optional(),
  /** Changes to the recipe, by dotted path: `{ 'limit.train': 100 }`. */
  set: z.record(z.string(), z.unknown()).default({}),
  /** Curves of stages with one title are drawn in one figure; the stage's own name unless told. */
  figure: z.string().min(1).max(200).optional(),
});

const featuresStage = z.strictObject({
  kind: z.literal('features'),
  /** The training stage whose model is looked into. */
  of: stageName,
  ...vectors,
  format: z.enum(['safetensors', 'npy', 'parquet']).default('safetensors'),
});

const labelsStage = z.strictObject({
  kind: z.literal('labels'),
  /** Features with labels to learn from, and those to label. */
  from: stageName,
  to: stageName,
  method: z.enum(labelMethods).default('linear'),
  /** knn: neighbours. */
  k: positiveInt.optional(),
  /** linear: strength of the penalty. */
  l2: z.number().min(0).optional(),
  /** linear: saves the model the features came from with the classifier as its head. */
  attach: z.boolean().default(false),
});

const compareStage = z.strictObject({
  kind: z.literal('compare'),
  /** Training stages: their features of the same samples, those of `after`'s data. */
  before: stageName,
  after: stageName,
  ...vectors,
});

const stage = z.discriminatedUnion('kind', [trainStage, featuresStage, labelsStage, compareStage]);

export const pipelineSchema = z.strictObject({
  name: z.string().regex(/^[\w][\w.-]{0,99}$/, 'expected letters, digits, "-", "_" and "."'),
  description: z.string().max(2000).optional(),
  /** In the order they run. */
  stages: z.record(stageName, stage),
});

/** What a pipeline file or object may look like. */
export type PipelineInput = z.input<typeof pipelineSchema>;
export type PipelineDefinition = z.output<typeof pipelineSchema>;
export type Stage = PipelineDefinition['stages'][string];
export type StageOf<K extends Stage['kind']> = Extract<Stage, { kind: K }>;

type InputStage = PipelineInput['stages'][string];
/** A pipeline in a TypeScript file, with recipes checked by the compiler: `export default definePipeline({ ... })`. */
export const definePipeline = (
  pipeline: Omit<PipelineInput, 'stages'> & {
    stages: Record<
      string,
      | Exclude<InputStage, { kind: 'train' }>
      | (Omit<Extract<InputStage, { kind: 'train' }>, 'recipe'> & { recipe: string | RecipeInput })
    >;
  },
): PipelineInput => pipeline as PipelineInput;

/** The stages a stage reads, and what each of them must be. */
export function readsOf(
  stage: Stage,
): readonly { readonly field: string; readonly name: string; readonly kind: Stage['kind'] }[] {
  switch (stage.kind) {
    case 'train':
      return stage.from === undefined ? [] : [{ field: 'from', name: stage.from, kind: 'train' }];
    case 'features':
      return [{ field: 'of', name: stage.of, kind: 'train' }];
    case 'labels':
      return (['from', 'to'] as const).map((field) => ({ field, name: stage[field], kind: 'features' }));
    case 'compare':
      return (['before', 'after'] as const).map((field) => ({ field, name: stage[field], kind: 'train' }));
  }
}
