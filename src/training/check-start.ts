/** The check of a run that starts from pretrained weights: told before its first step, never in its way. */
import { checkBatch, checkLabels, type Finding, firstBatch, type Origin } from './check-data.ts';
import { checkHead } from './check-head.ts';
import { checkRate } from './check-rate.ts';
import type { Listener } from './events.ts';
import type { TrainOptions } from './fine-tune-options.ts';
import type { Prepared } from './prepare.ts';

/**
 * Looks at labels, head, first batches and a few dry steps, which are taken back, so that training is the same to the bit without
 * it. What it finds it says as notices.
 */
export async function checkStart(
  options: TrainOptions,
  prepared: Prepared,
  origin: Origin,
  emit: Listener,
): Promise<void> {
  const findings = [...(await checkLabels(options.data.train)), ...(await checkPrepared(options, prepared, origin))];
  for (const { code, severity, message, fix } of findings)
    await emit({ type: 'notice', text: `check, ${severity} ${code}: ${message}; fix: ${fix}` });
}

/** What follows once a run is prepared. Reads weights and puts back what dry steps change, to the bit. */
export async function checkPrepared(
  options: Pick<TrainOptions, 'model' | 'data' | 'init' | 'inputs' | 'optimizer' | 'freeze'>,
  prepared: Prepared,
  origin: Origin | undefined,
): Promise<Finding[]> {
  const { model, data, inputs, optimizer } = options;
  const { loader, preprocessing, stepOptions, newOptimizer, seed, plan, epochs } = prepared;
  const batch = await firstBatch(loader);
  const labels = Object.values(data.train.schema.labels);
  const [label] = labels.length === 1 ? labels : [];
  const classes = label?.kind === 'class' ? label.names : undefined;
  const fresh = origin?.report.new ?? [];
  const lr = optimizer?.lr ?? 1e-3;
  return [
    ...(origin && !inputs ? await checkHead(model, origin, classes, options) : []),
    ...(await checkBatch(batch, { model, loader, preprocessing, origin })),
    // Where nothing trains there is no rate.
    ...(epochs > 0 ? await checkRate(batch, { stepOptions, newOptimizer, seed, lr, fresh, plan }) : []),
  ];
}
