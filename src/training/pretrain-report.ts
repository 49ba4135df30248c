/** The report of a pre-training: what validation measured on the weights that were kept, and on what exactly. */
import type { Json } from '../io/index.ts';
import type { PretrainResult } from './pretrain.ts';
import { measuresText } from './progress.ts';

export function pretrainReport(
  { objective, validation, epochs, steps, best, history, weightsHash }: PretrainResult,
  hashes: Record<string, string>,
): { json: Json; text: string } {
  const json = {
    objective: objective.name,
    epochs,
    steps,
    best: best?.epoch ?? null,
    validation: validation ? { ...validation } : null,
    history: history.map(({ epoch, step, trainLoss, validation: measured }) => ({
      epoch,
      step,
      trainLoss,
      validation: measured ? { ...measured } : null,
    })),
    data: hashes,
    weights: weightsHash ?? null,
  };
  const rows = history.map(
    ({ epoch, trainLoss, validation: measured }) =>
      `  epoch ${epoch}: train loss ${trainLoss.toFixed(4)}${measured ? `, validation ${measuresText(measured)}` : ''}`,
  );
  const text = [
    `pre-training by ${objective.name}: ${steps} steps, ${epochs} epochs; the best is epoch ${best?.epoch ?? epochs}`,
    ...rows,
    ...(validation ? [`per ${objective.unit} of the validation part: ${measuresText(validation)}`] : []),
    ...Object.entries(hashes).map(([part, hash]) => `${part} sha256 ${hash}`),
    `weights sha256 ${weightsHash ?? 'unknown'}`,
    '',
  ].join('\n');
  return { json: json as unknown as Json, text };
}
