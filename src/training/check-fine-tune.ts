/** What a fine-tuning run would stumble over, found before it: labels, inputs against those the weights know, the rate by a dry step. */
import { join } from 'node:path';
import { classNames, countLabels, labelsOf, parseTransforms, type Transform } from '../data/index.ts';
import { exists, readJson } from '../io/index.ts';
import { BatchNorm1d, BatchNorm2d } from '../nn/index.ts';
import { imageInput } from '../tasks/index.ts';
import { balanceOf } from './balance.ts';
import { prepare, type TrainOptions } from './fine-tune.ts';
import { initialise, weightsPath } from './init.ts';
import type { Samples } from './inputs.ts';
import { copyOf, restore } from './model-weights.ts';

export interface Finding {
  /** LABELS_ONE_CLASS, CLASS_EMPTY, CLASSES_UNEQUAL, INPUT_SCALE, INPUT_NORMALISATION, TOKENS_UNKNOWN, BATCH_NORM_SINGLE, RATE_HIGH, RATE_LOW. */
  readonly code: string;
  /** A problem keeps the run from learning what is meant; advice does not. */
  readonly severity: 'problem' | 'advice';
  /** What was measured. */
  readonly message: string;
  readonly fix: string;
}

/** Ratios of update to weight, by their norms: above it a step wrecks what was learned, below it nothing moves in a run. */
const [HIGH, LOW, USUAL] = [0.1, 1e-6, 1e-3];

/**
 * Looks at labels, first batch and one dry step; the model's weights are those of `init` afterwards, no step is taken.
 * @throws what `fineTune` throws before its first step: a head of other classes, transforms that do not fit, too little memory.
 */
export async function checkFineTune(options: TrainOptions): Promise<Finding[]> {
  const { model, data, init, inputs, optimizer = { name: 'adamw', lr: 1e-3 } } = options;
  if (init) await initialise(model, init);
  const findings = inputs ? [] : await checkLabels(options);
  // Weights that cannot be balanced have been found already.
  const balance =
    inputs || findings.some(({ code }) => code === 'CLASS_EMPTY') ? {} : await balanceOf(data.train, options);
  const { step, loader, seed, trainable, preprocessing } = prepare({ ...options, balance, accumulate: 1 });
  trainable.apply(1);
  const { batchSize = 32 } = options;
  const norms = [...model.namedModules()].filter(
    ([, m]) => (m instanceof BatchNorm1d || m instanceof BatchNorm2d) && m.movesStatistics,
  );
  if (batchSize === 1 && norms.length > 0)
    findings.push({
      code: 'BATCH_NORM_SINGLE',
      severity: 'problem',
      message: `${norms.length} batch norms see one sample at a time: its own mean is all they know`,
      fix: '--set freezeBatchNorm=true, or a larger batchSize',
    });
  for await (const batch of loader.epoch(0)) {
    if ('image' in preprocessing) {
      findings.push(...(await checkInput(batch, preprocessing.transforms)));
      if (init) findings.push(...(await checkNormalisation(init.weights, preprocessing.transforms)));
    } else findings.push(...checkTokens(batch, preprocessing.text.tokenizer.specialTokens.unk?.id));
    const before = await copyOf(model.stateDict());
    try {
      await step.run([batch], { seed, step: 0, microStep: 0, lr: optimizer.lr });
      const after = await copyOf(model.stateDict());
      findings.push(
        ...checkRate(
          model
            .namedParameters()
            .filter(({ variable }) => variable.requiresGrad)
            .map(({ name }) => name),
          before,
          after,
          optimizer.lr,
        ),
      );
    } finally {
      step.release();
      await restore(model.stateDict(), before, 'the weights before the dry step');
    }
    break;
  }
  return findings;
}

/** Of the labels that are one class, and no sample lacks. */
async function checkLabels({ data: { train } }: TrainOptions): Promise<Finding[]> {
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

type Arrays = Awaited<ReturnType<typeof copyOf>>;

function checkRate(names: readonly string[], before: Arrays, after: Arrays, lr: number): Finding[] {
  const ratios = names.flatMap((name) => {
    const [old, now] = [before.get(name)?.data as Float32Array, after.get(name)?.data as Float32Array];
    let [change, size] = [0, 0];
    for (let i = 0; i < old.length; i++) {
      change += ((now[i] as number) - (old[i] as number)) ** 2;
      size += (old[i] as number) ** 2;
    }
    // Biases and new heads begin at 0: anything is much of nothing.
    return size > 1e-12 && old.length > 1 && !/bias$/.test(name) ? [{ name, ratio: Math.sqrt(change / size) }] : [];
  });
  ratios.sort((a, b) => a.ratio - b.ratio);
  const middle = ratios[Math.floor(ratios.length / 2)];
  if (!middle || (middle.ratio <= HIGH && middle.ratio >= LOW)) return [];
  const rate = Number((lr * (USUAL / Math.max(middle.ratio, 1e-12))).toPrecision(1));
  const high = middle.ratio > HIGH;
  return [
    {
      code: high ? 'RATE_HIGH' : 'RATE_LOW',
      severity: 'problem',
      message: `a step at rate ${lr} moves half of the weights by ${middle.ratio.toExponential(1)} of their size or ${high ? 'more' : 'less'} (${middle.name}); ${LOW} to ${HIGH} is usual`,
      fix:
        middle.ratio === 0
          ? 'no gradient reaches the weights: check freeze and the labels'
          : `--set optimizer.lr=${rate}`,
    },
  ];
}

export const findingsText = (findings: readonly Finding[]): string =>
  findings.length === 0
    ? 'nothing found: labels, inputs and rate are as they should be'
    : findings.map(({ code, severity, message, fix }) => `${severity} ${code}: ${message}\n  fix: ${fix}`).join('\n');
