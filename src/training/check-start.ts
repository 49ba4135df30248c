/** The check of a run that starts from pretrained weights: told before its first step and after it, never in its way. */
import { checkBatch, checkLabels, type Finding, firstBatch } from './check-data.ts';
import { checkRate, sampleWeights } from './check-rate.ts';
import type { Listener } from './events.ts';
import type { FineTuneOptions } from './fine-tune.ts';
import type { BatchSource, Preprocessing } from './inputs.ts';

/**
 * Looks at labels and the first batch now; gives a listener that looks at the first update. Reads weights and draws no random
 * numbers, so that training is the same to the bit without it. What it finds it says as notices.
 */
export async function checkStart(
  { model, data, init, optimizer }: FineTuneOptions,
  { loader, preprocessing }: { loader: BatchSource; preprocessing: Preprocessing },
  fresh: readonly string[],
  emit: Listener,
): Promise<Listener> {
  const tell = async (findings: readonly Finding[]): Promise<void> => {
    for (const { code, severity, message, fix } of findings)
      await emit({ type: 'notice', text: `check, ${severity} ${code}: ${message}; fix: ${fix}` });
  };
  const batch = await firstBatch(loader);
  await tell([
    ...(await checkLabels(data.train)),
    ...(await checkBatch(batch, { model, preprocessing, weights: init?.weights })),
  ]);
  let before = await sampleWeights(model, fresh);
  return async (event) => {
    if (event.type !== 'step' || event.step !== 1 || event.lr === 0) return;
    await tell(checkRate(before, await sampleWeights(model, fresh), optimizer?.lr ?? 1e-3, event.lr));
    before = new Map();
  };
}
