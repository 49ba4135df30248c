/** Whether a run trains on cached features: not where something makes every step's inputs new. */
import { ArgumentError } from '../../base/errors.ts';
import type { Listener } from '../events.ts';
import type { TrainOptions } from '../fine-tune-options.ts';
import type { Prepared } from '../prepare.ts';
import { cacheFeatures, countOf } from './feature-cache.ts';

/** Training on cached features, where that is possible and not switched off; `done` epochs were trained before. @throws ArgumentError. */
export async function headOnly(options: TrainOptions, prepared: Prepared, emit: Listener, done: number) {
  const { model, data, transforms = [], text, batchSize = 32, featureCache = 'auto', signals } = options;
  // Inputs of another kind draw their own randomness, such as masks.
  if (featureCache === 'off' || options.inputs || options.measure) return undefined;
  if (featureCache !== 'auto')
    throw new ArgumentError('OPTION_INVALID', `featureCache: expected auto or off, found ${String(featureCache)}`, {
      field: 'featureCache',
      got: featureCache,
    });
  const { balance, mixup, cutmix } = options;
  const { parameters } = prepared.stepOptions;
  // Mixed pictures are new ones in every step, a teacher sees the samples themselves; and cached rows are read in an order of their own.
  const reasons = { mixup, cutmix, 'sampler: balanced': balance?.weights, distill: options.distill };
  const against = Object.entries(reasons).find(([, reason]) => reason)?.[0];
  if (against !== undefined) {
    if (2 * countOf(parameters) < countOf(model.parameters()))
      await emit({
        type: 'notice',
        text: `features are not cached, every step runs the whole model: ${against} is set`,
      });
    return undefined;
  }
  const { task, loader, evalBatchSize, seed, epochs, stepOptions, zeroBatch } = prepared;
  return cacheFeatures({
    model,
    task,
    train: data.train,
    validation: data.validation,
    transforms,
    text,
    loader,
    batchSize,
    evalBatchSize,
    seed,
    epochs: epochs - done,
    done,
    lossOf: stepOptions.lossOf,
    parameters,
    zeroBatch,
    emit,
    stop: () => signals?.received !== undefined,
  });
}
