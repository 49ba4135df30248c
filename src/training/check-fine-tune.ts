/** What a fine-tuning run would stumble over, found before it: labels, head, inputs against those the weights know, the rate by dry steps. */
import { balanceOf } from './balance.ts';
import { checkLabels, type Finding } from './check-data.ts';
import { checkPrepared } from './check-start.ts';
import type { TrainOptions } from './fine-tune-options.ts';
import { headsToLearn } from './head-classes.ts';
import { initialise } from './init.ts';
import { prepare } from './prepare.ts';

/**
 * Looks at labels, head, first batches and a few dry steps; the model's weights are those of `init` afterwards, no step is taken.
 * @throws what `fineTune` throws before its first step: a head of other classes, transforms that do not fit, too little memory.
 */
export async function checkFineTune(options: TrainOptions): Promise<Finding[]> {
  const { model, data, init, inputs } = options;
  const origin = init && { weights: init.weights, report: await initialise(model, init, headsToLearn(options)) };
  const findings = inputs ? [] : await checkLabels(data.train);
  // Weights that cannot be balanced have been found already.
  const balance =
    inputs || findings.some(({ code }) => code === 'CLASS_EMPTY') ? {} : await balanceOf(data.train, options);
  const prepared = prepare({ ...options, balance, accumulate: 1 });
  prepared.trainable.apply(1);
  return [...findings, ...(await checkPrepared(options, prepared, origin))];
}

export type { Finding } from './check-data.ts';

export const findingsText = (findings: readonly Finding[]): string =>
  [
    ...findings.map(({ code, severity, message, fix }) => `${severity} ${code}: ${message}\n  fix: ${fix}`),
    ...(findings.some(({ severity }) => severity !== 'note')
      ? []
      : ['nothing found: labels, inputs and rate are as they should be']),
  ].join('\n');
