/** What is wrong with labels and inputs before a run: looked for in all labels and the first batch. */
import { DataError } from '../base/errors.ts';
import { classNames, countLabels, type LabelledBatch, labelsOf, type Transform } from '../data/index.ts';
import { BatchNorm1d, BatchNorm2d, type Module } from '../nn/index.ts';
import { imageInput } from '../tasks/index.ts';
import { checkKnown, checkStatistics } from './check-inputs.ts';
import type { InitReport } from './init.ts';
import type { BatchSource, Preprocessing, Samples } from './inputs.ts';
import { knownInputs, pixelTransforms } from './known-inputs.ts';

export interface Finding {
  /**
   * LABELS_ONE_CLASS, CLASS_EMPTY, CLASSES_UNEQUAL; INPUT_SCALE, INPUT_NORMALISATION, INPUT_STATISTICS, TOKENS_UNKNOWN,
   * BATCH_NORM_SINGLE; HEAD_NEW, HEAD_KEPT; RATE_HIGH, RATE_LOW, RATE_NOT_TRIED, LOSS_NON_FINITE.
   */
  readonly code: string;
  /** A problem keeps the run from learning what is meant; advice does not; a note is only to be known. */
  readonly severity: 'problem' | 'advice' | 'note';
  /** What was measured. */
  readonly message: string;
  readonly fix: string;
}

/** The first batch of an epoch. */
export async function firstBatch(loader: BatchSource): Promise<LabelledBatch> {
  for await (const batch of loader.epoch(0)) return batch;
  throw new DataError('DATASET_EMPTY', 'there is no batch to look at', { expected: '>= 1', got: 0 });
}

/** Weights a run starts from: where they are, and what was loaded of them. */
export interface Origin {
  readonly weights: string;
  readonly report: InitReport;
}

/** Of the first batches of training, as the model would see them; `origin` is of the weights it starts from. */
export async function checkBatch(
  batch: LabelledBatch,
  {
    model,
    loader,
    preprocessing,
    origin,
  }: { model: Module; loader: BatchSource; preprocessing: Preprocessing; origin: Origin | undefined },
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
  const { image, transforms } = preprocessing;
  const { channels } = image;
  const known = origin && (await knownInputs(origin.weights, origin.report.lineage));
  // Where the weights' own inputs are known, nothing else need be guessed.
  if (known) return [...findings, ...checkKnown(known, transforms, channels)];
  findings.push(...(await checkInput(batch, transforms)));
  const { report } = origin ?? {};
  if (report) findings.push(...(await checkStatistics(model, loader, { transforms, channels, fresh: report.new })));
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
  const x = imageInput(batch as Parameters<typeof imageInput>[0], pixelTransforms(transforms));
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
