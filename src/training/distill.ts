/** The teacher of a run: a trained model of ours, checked against what the student reads and predicts. */
import { ArgumentError, ConfigError, printable } from '../base/errors.ts';
import type { LabelledBatch, Schema, TextCollateOptions, TokenBatch, Transform } from '../data/index.ts';
import { splitPipeline, withoutRandom } from '../data/index.ts';
import { modelEntry } from '../models/index.ts';
import { headsOf, imageInput, type Teacher, tokenInputs } from '../tasks/index.ts';
import { concat, type Tensor } from '../tensor/index.ts';
import type { LoadedModel } from './model-folder.ts';

export interface DistillOptions {
  /** By `loadModelFolder`. */
  readonly teacher: LoadedModel;
  /** Softens both answers: 4 unless told. */
  readonly temperature?: number | undefined;
  /** Share of the teacher's answers in the loss, above 0 and at most 1: 0.5 unless told. */
  readonly alpha?: number | undefined;
}

export const distillDefaults = { temperature: 4, alpha: 0.5 } as const;

/**
 * @throws ConfigError DISTILL_CLASSES for a teacher of other classes, DISTILL_INPUTS for one that reads other inputs;
 * ArgumentError OPTION_INVALID.
 */
export function teacherOf(
  { teacher, temperature = distillDefaults.temperature, alpha = distillDefaults.alpha }: DistillOptions,
  schema: Schema,
  { transforms = [], text }: { transforms?: readonly Transform[]; text?: TextCollateOptions | undefined },
): Teacher {
  for (const [field, value, most] of [
    ['temperature', temperature, Number.MAX_VALUE],
    ['alpha', alpha, 1],
  ] as const)
    if (!(value > 0 && value <= most))
      throw new ArgumentError('OPTION_INVALID', `distill.${field}: expected a number above 0, found ${value}`, {
        field: `distill.${field}`,
        expected: field === 'alpha' ? '0 < alpha <= 1' : 'a number above 0',
        got: value,
      });
  const order = orderOf(teacher, schema);
  const inputs = (expected: unknown, got: unknown): never => {
    throw new ConfigError('DISTILL_INPUTS', `${teacher.dir} reads other inputs than the student`, {
      field: 'distill.teacher',
      expected,
      got,
      hint: 'train the teacher on the same inputs, with the same transforms or tokenizer',
    });
  };
  const ask = asker(teacher, schema, transforms, text, inputs);
  const sorted = order.every((from, to) => from === to);
  return {
    temperature,
    alpha,
    logits: (batch) => {
      const y = ask(batch);
      return sorted
        ? y
        : concat(
            order.map((k) => y.slice(1, k, k + 1)),
            1,
          );
    },
  };
}

/** Refuses texts, of a batch as long as they get, that the teacher has no positions for. @throws ConfigError DISTILL_INPUTS. */
export function refuseLength({ dir, model }: LoadedModel, batch: object): void {
  const { maxPositionEmbeddings, nPositions } = modelOptions(model);
  const positions = maxPositionEmbeddings ?? nPositions;
  const length = 'inputIds' in batch ? ((batch as TokenBatch).inputIds.shape[1] as number) : 0;
  if (typeof positions !== 'number' || length <= positions) return;
  throw new ConfigError(
    'DISTILL_INPUTS',
    `${printable(dir)} has ${positions} positions, the student's texts are up to ${length} tokens long`,
    {
      field: 'distill.teacher',
      expected: `texts of at most ${positions} tokens`,
      got: length,
      hint: `set maxLength to ${positions}, or train a teacher with ${length} positions`,
    },
  );
}

const modelOptions = ({ name, ...options }: LoadedModel['model']): Record<string, unknown> => ({
  ...modelEntry(name).defaults,
  ...options,
});

/** Where each of the student's classes is among the teacher's. */
function orderOf({ heads, dir }: LoadedModel, schema: Schema): number[] {
  const [[mine, ...more], [its, ...others]] = [headsOf(schema), heads];
  const fits = mine?.kind === 'class' && its?.kind === 'class' && more.length === 0 && others.length === 0;
  const order = fits ? mine.names.map((name) => its.names.indexOf(name)) : [];
  if (fits && mine.names.length === its.names.length && !order.includes(-1)) return order;
  throw new ConfigError('DISTILL_CLASSES', `${dir} does not tell apart the classes the student learns`, {
    field: 'distill.teacher',
    expected: mine?.names,
    got: its?.names,
    hint: 'teacher and student need one class a sample, of the same names; their order may differ',
  });
}

function asker(
  teacher: LoadedModel,
  schema: Schema,
  transforms: readonly Transform[],
  text: TextCollateOptions | undefined,
  refuse: (expected: unknown, got: unknown) => never,
): (batch: LabelledBatch) => Tensor {
  if ('text' in teacher) {
    const { tokenizer } = teacher.text;
    if (!text || JSON.stringify(text.tokenizer.json) !== JSON.stringify(tokenizer.json))
      return refuse(text ? 'the same tokenizer' : 'pictures', 'another tokenizer');
    return (batch) =>
      (teacher.module.eval() as { forward(x: unknown): Tensor }).forward(
        tokenInputs(batch as unknown as Parameters<typeof tokenInputs>[0]),
      );
  }
  // Augmentation is the student's; what remains must be the same pictures.
  const fixed = (list: readonly Transform[]): string => JSON.stringify(withoutRandom(list));
  const { kind, ...image } = teacher.image;
  const own = schema.features.image;
  if (!own || fixed(transforms) !== fixed(teacher.transforms))
    return refuse(fixed(transforms), fixed(teacher.transforms));
  const { kind: _, ...mine } = own;
  if (JSON.stringify(image) !== JSON.stringify(mine)) return refuse(mine, image);
  const { graph } = splitPipeline(transforms);
  return (batch) =>
    teacher.module.eval().forward(imageInput(batch as unknown as Parameters<typeof imageInput>[0], graph));
}
