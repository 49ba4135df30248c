/** The data card of labelled texts: counts, lengths, duplicates and leaks, samples. Plain JSON, and words for the terminal. */
import { DataError, printable } from '../../base/errors.ts';
import { contentHash, countLabels, type Dataset, labelsOf } from '../dataset.ts';
import { classNames } from '../schema.ts';
import { type DuplicateGroup, findDuplicates } from '../split.ts';
import type { TextSample } from './dataset.ts';

/** Of the texts' lengths in characters (a pair counts as one text). */
export interface LengthStatistics {
  readonly min: number;
  readonly median: number;
  /** 95 % are at most so long. */
  readonly p95: number;
  readonly max: number;
}

export interface TextPartCard {
  readonly name: string;
  readonly samples: number;
  /** sha256 over schema and content. */
  readonly contentHash: string;
  readonly counts: Readonly<Record<string, number>>;
  /** Accuracy of always answering the most frequent class. */
  readonly majority: { readonly label: string; readonly accuracy: number };
  readonly characters: LengthStatistics;
  /** The first sample of each class. */
  readonly examples: Readonly<Record<string, string | null>>;
}

export interface TextCard {
  readonly name: string;
  readonly classes: readonly string[];
  readonly parts: Readonly<Record<string, TextPartCard>>;
  readonly duplicates: {
    readonly within: readonly DuplicateGroup[];
    /** Leaks between parts. */
    readonly across: readonly DuplicateGroup[];
    /** Equal texts with different labels. */
    readonly conflicting: readonly DuplicateGroup[];
  };
}

/** Examines parts of one set with the same classes. @throws DataError for a set without parts. */
export async function textCard(name: string, parts: Readonly<Record<string, Dataset<TextSample>>>): Promise<TextCard> {
  const [first] = Object.values(parts);
  if (!first) throw new DataError('DATASET_EMPTY', `${printable(name)} has no parts`, { expected: 'at least one' });
  const cards: Record<string, TextPartCard> = {};
  for (const [part, dataset] of Object.entries(parts)) cards[part] = await partCard(dataset);
  const { within, across } = await findDuplicates(parts);
  const conflicting = [...within, ...across].filter(({ members }) =>
    members.some((m) => m.label !== members[0]?.label),
  );
  return { name, classes: classNames(first.schema), parts: cards, duplicates: { within, across, conflicting } };
}

async function partCard(dataset: Dataset<TextSample>): Promise<TextPartCard> {
  const classes = classNames(dataset.schema);
  const counts = countLabels(await labelsOf(dataset), classes.length);
  const lengths = new Int32Array(dataset.length);
  const examples: (string | null)[] = classes.map(() => null);
  for (let i = 0; i < dataset.length; i++) {
    const { text, pair = '', label } = await dataset.get(i);
    lengths[i] = text.length + pair.length;
    examples[label] ??= pair === '' ? text : `${text} | ${pair}`;
  }
  lengths.sort();
  const at = (share: number): number => lengths[Math.floor(share * (lengths.length - 1))] ?? 0;
  const most = counts.indexOf(Math.max(...counts));
  return {
    name: dataset.name,
    samples: dataset.length,
    contentHash: await contentHash(dataset),
    counts: Object.fromEntries(classes.map((label, c) => [label, counts[c] as number])),
    majority: { label: classes[most] as string, accuracy: (counts[most] as number) / Math.max(1, dataset.length) },
    characters: { min: at(0), median: at(0.5), p95: at(0.95), max: at(1) },
    examples: Object.fromEntries(classes.map((label, c) => [label, examples[c] ?? null])),
  };
}

/** The card in lines of at most `columns` characters. */
export function textCardText(card: TextCard, { columns = 80 } = {}): string {
  const plain = (text: string): string => printable(text).slice(1, -1);
  const cut = (text: string, room: number): string => (text.length > room ? `${text.slice(0, room - 3)}...` : text);
  const parts = Object.entries(card.parts);
  const lines = [`${plain(card.name)}: ${card.classes.length} classes of texts`, ''];
  for (const [part, { samples, characters: c, majority, contentHash: hash }] of parts)
    lines.push(
      `${plain(part)}: ${samples} texts of ${c.min} to ${c.max} characters (median ${c.median}, 95 % up to ${c.p95})`,
      `  majority baseline ${(100 * majority.accuracy).toFixed(2)} % (${plain(majority.label)}), sha256 ${hash.slice(0, 12)}`,
    );
  const width = Math.max(5, ...card.classes.map((label) => plain(label).length));
  lines.push('', `${'class'.padEnd(width)}  ${parts.map(([part]) => plain(part).padStart(10)).join('')}`);
  for (const label of card.classes)
    lines.push(`${plain(label).padEnd(width)}  ${parts.map(([, p]) => String(p.counts[label]).padStart(10)).join('')}`);
  const { within, across, conflicting } = card.duplicates;
  lines.push(
    '',
    `duplicates within a part: ${within.length || 'none'}`,
    `duplicates across parts: ${across.length === 0 ? 'none' : `${across.length}  <- leaks: the model is tested on what it learned`}`,
    `equal texts, different labels: ${conflicting.length || 'none'}`,
    '',
    'first sample of each class',
  );
  for (const [label, text] of Object.entries(parts[0]?.[1].examples ?? {}))
    lines.push(`  ${plain(label)}: ${cut(plain(text ?? 'none'), Math.max(20, columns - label.length - 4))}`);
  return `${lines.join('\n')}\n`;
}
