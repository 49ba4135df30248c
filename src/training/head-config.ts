/** What a model folder's config.json says of the labels a model predicts, in transformers' words where it has some. */
import { DataError, printable } from '../base/errors.ts';
import type { Json } from '../io/index.ts';
import { type Head, type HeadOptions, makeHead } from '../tasks/index.ts';
import { badConfig } from './bad-config.ts';

const problems: Readonly<Record<Head['kind'], string>> = {
  class: 'single_label_classification',
  classes: 'multi_label_classification',
  tags: 'token_classification',
  number: 'regression',
  numbers: 'regression',
};

/** `problem_type`, `id2label`, `label2id`, and all of `heads` where these do not say enough. */
export function headConfig(heads: readonly HeadOptions[]): { [key: string]: Json } {
  const [only] = heads.length === 1 ? heads : [];
  const labels = heads.flatMap(({ field, names }) => (only ? names : names.map((name) => `${field}.${name}`)));
  const plain = only?.kind === 'class' && only.field === 'label';
  return {
    problem_type: only ? problems[only.kind] : 'multi_task',
    num_labels: labels.length,
    id2label: Object.fromEntries(labels.map((label, i) => [String(i), label])),
    label2id: Object.fromEntries(labels.map((label, i) => [label, i])),
    ...(!plain && { heads: heads.map(saved) as unknown as Json }),
  };
}

/** What only training needs stays behind. */
function saved(options: HeadOptions): HeadOptions {
  const { labelSmoothing, classWeights, ...rest } = options as HeadOptions & {
    labelSmoothing?: unknown;
    classWeights?: unknown;
  };
  return Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined)) as unknown as HeadOptions;
}

/** The heads a config.json names, checked. @throws DataError MODEL_CONFIG. */
export function parseHeads(config: Readonly<Record<string, Json>>, file: string): HeadOptions[] {
  const { heads, id2label } = config;
  if (heads === undefined) {
    const labels = isObject(id2label) ? id2label : {};
    const names = Object.keys(labels).map((_, i) => labels[String(i)]);
    if (names.length < 2 || !names.every((label) => typeof label === 'string'))
      badConfig(file, 'id2label', 'labels numbered from 0', id2label);
    return [{ kind: 'class', field: 'label', names: names as string[] }];
  }
  if (!Array.isArray(heads) || heads.length === 0) return badConfig(file, 'heads', 'a list of heads', heads);
  return heads.map((value, i) => {
    const field = `heads[${i}]`;
    if (!isObject(value)) return badConfig(file, field, 'an object', value);
    const { kind, names, field: label, weight = 1 } = value;
    if (typeof label !== 'string' || label === '') badConfig(file, `${field}.field`, 'a name', label);
    if (typeof kind !== 'string' || !(kind in problems))
      badConfig(file, `${field}.kind`, Object.keys(problems).join(' | '), kind);
    if (!Array.isArray(names) || !names.every((name) => typeof name === 'string'))
      badConfig(file, `${field}.names`, 'names', names);
    if (typeof weight !== 'number' || !(weight >= 0)) badConfig(file, `${field}.weight`, 'a number', weight);
    const { scale } = value;
    if (scale !== undefined && !(isObject(scale) && Array.isArray(scale.mean) && Array.isArray(scale.std)))
      badConfig(file, `${field}.scale`, 'mean and std', scale);
    const options = value as unknown as HeadOptions;
    try {
      makeHead(options);
    } catch (cause) {
      throw new DataError('MODEL_CONFIG', `${printable(file)}: ${field}: ${(cause as Error).message}`, {
        file,
        field,
        cause,
      });
    }
    return options;
  });
}

const isObject = (value: Json | undefined): value is { [key: string]: Json } =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
