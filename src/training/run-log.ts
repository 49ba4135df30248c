/** A listener that keeps metrics.jsonl: a line an update, a line an epoch, the same in every repetition of a run. */
import type { Listener } from './events.ts';
import type { RunFolder } from './run/index.ts';

/**
 * Cuts the file back to `step` and goes on from there. Lines hold nothing that time or machine decide, so an interrupted
 * and resumed run leaves the file of an uninterrupted one. A log that cannot be written does not stop a run: it is told once.
 */
export async function logTo(run: RunFolder, step: number, tell: Listener): Promise<Listener> {
  await run.truncateMetrics(step);
  // An epoch's line may stand after the checkpoint of its last step, if validation was done and its own was not saved.
  const told = new Set((await run.metrics.read()).flatMap((line) => ('trainLoss' in line ? [line.epoch] : [])));
  let failure: Error | undefined;
  let reported = false;
  const append = (record: Record<string, unknown>): void => {
    run.appendMetrics(record).catch((error: Error) => {
      failure ??= error;
    });
  };
  return async (event) => {
    if (event.type === 'step') {
      const { step, epoch, loss, lr } = event;
      append({ step, epoch, loss, lr });
    } else if (event.type === 'epoch-end') {
      const { step, epoch, trainLoss, validation, best } = event;
      if (!told.has(epoch)) append({ step, epoch, trainLoss, validation: validation ?? null, best });
      await run.metrics.sync().catch((error: Error) => {
        failure ??= error;
      });
    }
    if (failure && !reported) {
      reported = true;
      await tell({ type: 'notice', text: `metrics cannot be written (${failure.message}); training goes on` });
    }
  };
}
