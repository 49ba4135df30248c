/** Labels that were carried over as a table: id, label, confidence. */
import type { AppliedLabels } from '../features/index.ts';

/** A field of a CSV file, quoted where it must be (RFC 4180). */
export const csvField = (text: string): string => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

export function labelsCsv({ ids, labels, confidence }: Pick<AppliedLabels, 'ids' | 'labels' | 'confidence'>): string {
  const rows = Array.from(
    ids,
    (id, i) => `${id},${csvField(labels[i] as string)},${(confidence[i] as number).toFixed(6)}\n`,
  );
  return `id,label,confidence\n${rows.join('')}`;
}
