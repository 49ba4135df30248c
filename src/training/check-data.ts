/** What is wrong with labels and inputs before a run: looked for in all labels and the first batch. */
import { join } from 'node:path';
import { DataError } from '../base/errors.ts';
import {
  classNames,
  countLabels,
  type LabelledBatch,
  labelsOf,
  parseTransforms,
  type Transform,
} from '../data/index.ts';
import { exists, readJson } from '../io/index.ts';
import { BatchNorm1d, BatchNorm2d, type Module } from '../nn/index.ts';
import { imageInput } from '../tasks/index.ts';
import { weightsPath } from './init.ts';
import type { BatchSource, Preprocessing, Samples } from './inputs.ts';

export interface Finding {
  /** LABELS_ONE_CLASS, CLASS_EMPTY, CLASSES_UNEQUAL, INPUT_SCALE, INPUT_NORMALISATION, TOKENS_UNKNOWN, BATCH_NORM_SINGLE, RATE_HIGH, RATE_LOW. */
  readonly code: string;
  /** A problem keeps the run from learning what is meant; advice does not. */
  readonly severity: 'problem' | 'advice';
  /** What was measured. */
  readonly message: string;
  readonly fix: string;
}

/** The first batch of an epoch. */
export async function firstBatch(loader: BatchSource): Promise<LabelledBatch> {
  for await (const batch of loader.epoch(0)) return batch;
  throw new DataError('DATASET_EMPTY', 'there is no batch to look at', { expected: '>= 1', got: 0 });
}

/** Of the first batch of training, as the model would see it; `weights` are those it starts from. */
export async function checkBatch(
  batch: LabelledBatch,
  { model, preprocessing, weights }: { model: Module; preprocessing: Preprocessing; weights: string | undefined },
): Promise<Finding[]> {
  const findings: Finding[] = [];
  const norms = [...model.namedModules()].filter(
    ([, m]) => (m instanceof BatchNorm1d || m instanceof BatchNorm2d) && m.movesStatistics,
  );
  if (batch.size === 1 && norms.length > 0)
    findings.push({
      code: 'BATCH_NORM_SINGLE',
      severity: 'problem',
      message: `${norms.length} batch norms see one sample at a time: its own mean is all they know`,
      fix: '--set freezeBatchNorm=true, or a larger batchSize',
    });
  if (!('image' in preprocessing))
    return [...findings, ...checkTokens(batch, preprocessing.text.tokenizer.specialTokens.unk?.id)];
  findings.push(...(await checkInput(batch, preprocessing.transforms)));
  if (weights !== undefined) findings.push(...(await checkNormalisation(weights, preprocessing.transforms)));
  return findings;
}

/** Of the labels that are one class, and no sample lacks. */
export async function checkLabels(train: Samples): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const [field, { kind, optional }] of Object.entries(train.schema.labels))
    if (kind === 'class' && !optional) findings.push(...(await checkClasses(train, field)));
  return findings;
}

async function checkClasses(train: Samples, field: string): Promise<Finding[]> {
  const classes = classNames(train.schema, field);
  const counts = countLabels(await labelsOf(train, field), classes.length);
  const present = counts.filter((count) => count > 0);
  const [least, most] = [Math.min(...present), Math.max(...present)];
  if (present.length < 2)
    return [
      {
        code: 'LABELS_ONE_CLASS',
        severity: 'problem',
        message: `all ${train.length} training samples are of class "${classes[counts.findIndex((count) => count > 0)]}"`,
        fix: 'check the column or folder the labels come from',
      },
    ];
  const empty = counts.indexOf(0);
  if (empty >= 0)
    return [
      {
        code: 'CLASS_EMPTY',
        severity: 'problem',
        message: `no training sample is of class "${classes[empty]}"`,
        fix: 'add samples of it, or leave the class out',
      },
    ];
  if (most < 5 * least) return [];
  return [
    {
      code: 'CLASSES_UNEQUAL',
      severity: 'advice',
      message: `the largest class has ${most} samples, the smallest ${least}`,
      fix: '--set classWeights=balanced, or --set sampler=balanced',
    },
  ];
}

async function checkInput(batch: object, transforms: readonly Transform[]): Promise<Finding[]> {
  const graph = transforms.filter(({ kind }) => kind === 'normalize' || kind === 'channels' || kind === 'bgr');
  const x = imageInput(batch as Parameters<typeof imageInput>[0], graph);
  const [mean, deviation] = [await x.mean().item(), await x.std().item()];
  if (deviation > 1e-3 && deviation < 10 && Math.abs(mean) < 10) return [];
  // Caffe's weights take pixels from -128 to 128: those are known by their own preprocessing.
  if (deviation > 10 && deviation < 130) return [];
  return [
    {
      code: 'INPUT_SCALE',
      severity: 'problem',
      message: `after the transforms the pictures of a batch have mean ${mean.toPrecision(3)} and deviation ${deviation.toPrecision(3)}`,
      fix: "end the transforms in { kind: 'normalize', mean, std } of the pictures: cambium data shows both",
    },
  ];
}

/** Against the preprocessing saved with the weights, where they come from one of our folders. */
async function checkNormalisation(weights: string, transforms: readonly Transform[]): Promise<Finding[]> {
  const file = join(await weightsPath(weights), 'preprocessor_config.json');
  if (weights.startsWith('hf:') || !(await exists(file))) return [];
  const saved = await readJson(file);
  const known = typeof saved === 'object' && saved !== null && !Array.isArray(saved) ? saved.transforms : undefined;
  if (known === undefined) return [];
  const graph = (list: readonly Transform[]): string =>
    JSON.stringify(list.filter(({ kind }) => kind === 'normalize' || kind === 'channels' || kind === 'bgr'));
  const [theirs, ours] = [graph(parseTransforms(known)), graph(transforms)];
  if (theirs === ours) return [];
  return [
    {
      code: 'INPUT_NORMALISATION',
      severity: 'problem',
      message: `the weights learned from pictures through ${theirs}, these go through ${ours}`,
      fix: `take the same: end the transforms in ${theirs}`,
    },
  ];
}

function checkTokens(batch: object, unknown: number | undefined): Finding[] {
  const { inputIds, attentionMask } = batch as {
    inputIds?: { data: Int32Array };
    attentionMask?: { data: Int32Array };
  };
  if (unknown === undefined || !inputIds || !attentionMask) return [];
  const tokens = attentionMask.data.reduce((sum, v) => sum + v, 0);
  const share =
    inputIds.data.reduce((sum, id, i) => sum + Number(id === unknown && attentionMask.data[i] === 1), 0) /
    Math.max(1, tokens);
  if (share < 0.1) return [];
  return [
    {
      code: 'TOKENS_UNKNOWN',
      severity: 'problem',
      message: `${(100 * share).toFixed(1)} % of the tokens of a batch are unknown to the tokenizer`,
      fix: 'use weights and a tokenizer of this language, or learn one: --set tokenizer.train=wordpiece',
    },
  ];
}
