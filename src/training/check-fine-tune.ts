/** What a fine-tuning run would stumble over, found before it: labels, inputs against those the weights know, the rate by a dry step. */
import { balanceOf } from './balance.ts';
import { checkBatch, checkLabels, type Finding, firstBatch } from './check-data.ts';
import { checkRate, sampleWeights } from './check-rate.ts';
import { prepare, type TrainOptions } from './fine-tune.ts';
import { headsToLearn } from './head-classes.ts';
import { initialise } from './init.ts';
import { copyOf, restore } from './model-weights.ts';

/**
 * Looks at labels, first batch and one dry step; the model's weights are those of `init` afterwards, no step is taken.
 * @throws what `fineTune` throws before its first step: a head of other classes, transforms that do not fit, too little memory.
 */
export async function checkFineTune(options: TrainOptions): Promise<Finding[]> {
  const { model, data, init, inputs, optimizer = { name: 'adamw', lr: 1e-3 } } = options;
  const report = init && (await initialise(model, init, headsToLearn(options)));
  const findings = inputs ? [] : await checkLabels(data.train);
  // Weights that cannot be balanced have been found already.
  const balance =
    inputs || findings.some(({ code }) => code === 'CLASS_EMPTY') ? {} : await balanceOf(data.train, options);
  const { step, loader, seed, trainable, preprocessing } = prepare({ ...options, balance, accumulate: 1 });
  trainable.apply(1);
  const batch = await firstBatch(loader);
  findings.push(...(await checkBatch(batch, { model, preprocessing, weights: init?.weights })));
  const before = await copyOf(model.stateDict());
  const sample = await sampleWeights(model, report?.new);
  try {
    await step.run([batch], { seed, step: 0, microStep: 0, lr: optimizer.lr });
    findings.push(...checkRate(sample, await sampleWeights(model, report?.new), optimizer.lr));
  } finally {
    step.release();
    await restore(model.stateDict(), before, 'the weights before the dry step');
  }
  return findings;
}
export type { Finding } from './check-data.ts';

export const findingsText = (findings: readonly Finding[]): string =>
  findings.length === 0
    ? 'nothing found: labels, inputs and rate are as they should be'
    : findings.map(({ code, severity, message, fix }) => `${severity} ${code}: ${message}\n  fix: ${fix}`).join('\n');
