/** Entities and their scores against seqeval's rules written out in Python (test/golden/scripts/entities.py). */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { areEntityTags, entitiesOf } from '../../tasks/index.ts';
import { checkReport, TagCounter } from './index.ts';

interface Case {
  readonly name: string;
  readonly classes: string[];
  readonly true: string[][];
  readonly pred: string[][];
  readonly report: Record<string, Record<string, number>>;
  readonly accuracy: number;
  readonly entities: [string, number, number][][];
}
const golden: Case[] = JSON.parse(
  readFileSync(new URL('../../../test/golden/metrics/entities.json', import.meta.url), 'utf8'),
);

/** Rows padded as batches are, with pieces that are no words between them. */
function batch(sentences: string[][], classes: string[], steps: number, fill: number): Int32Array {
  const out = new Int32Array(sentences.length * steps).fill(fill);
  for (const [row, tags] of sentences.entries())
    for (const [i, tag] of tags.entries()) out[row * steps + 1 + 2 * i] = classes.indexOf(tag);
  return out;
}

describe('entities', () => {
  test.each(golden)("seqeval's: $name", ({ classes, true: truth, pred, report, accuracy, entities }) => {
    expect(truth.map((tags) => entitiesOf(tags).map(({ label, start, end }) => [label, start, end - 1]))).toEqual(
      entities,
    );
    const steps = 2 * Math.max(...truth.map(({ length }) => length)) + 2;
    const counter = new TagCounter(classes);
    for (let row = 0; row < truth.length; row += 4) {
      const part = (list: string[][], fill: number) => batch(list.slice(row, row + 4), classes, steps, fill);
      const words = counter.update(part(pred, 0), part(truth, -100), steps);
      expect(words).toBe(truth.slice(row, row + 4).flat().length);
    }
    const { scores } = counter;
    expect(scores.of).toBe('entities');
    expect(scores.accuracy).toBeCloseTo(accuracy, 12);
    expect(Object.keys(scores.report).sort()).toEqual(Object.keys(report).sort());
    for (const [name, row] of Object.entries(report))
      for (const [key, value] of Object.entries(row))
        expect((scores.report[name] as unknown as Record<string, number>)[key], `${name} ${key}`).toBeCloseTo(
          value,
          12,
        );
    checkReport(scores.report);
    expect(scores.microF1).toBeCloseTo(report['micro avg']?.['f1-score'] as number, 12);
    expect(scores.macroF1).toBeCloseTo(report['macro avg']?.['f1-score'] as number, 12);
  });

  test('BMES and BILOU are IOBES in other letters; without types there is one type', () => {
    expect(entitiesOf(['B-X', 'M-X', 'E-X', 'S-X'])).toEqual(entitiesOf(['B-X', 'L-X', 'U-X'].toSpliced(1, 0, 'I-X')));
    expect(entitiesOf(['B', 'E', 'S', 'B', 'M', 'E'])).toEqual([
      { label: '_', start: 0, end: 2 },
      { label: '_', start: 2, end: 3 },
      { label: '_', start: 3, end: 6 },
    ]);
  });

  test('what tags of entities are', () => {
    expect(areEntityTags(['O', 'B-PER', 'I-PER'])).toBe(true);
    expect(areEntityTags(['NOUN', 'VERB', 'O'])).toBe(false);
    expect(areEntityTags(['O', 'X'])).toBe(false);
    expect(areEntityTags(['B-PER', 'NOUN'])).toBe(false);
  });
});

describe('other tags', () => {
  test('are reported one by one; nothing counted is 0, not NaN', () => {
    const counter = new TagCounter(['NOUN', 'VERB', 'DET']);
    expect(counter.update(Int32Array.of(0, 1, 1, 0), Int32Array.of(0, 0, 1, -100), 4)).toBe(3);
    const { of, accuracy, report, baseline, n } = counter.scores;
    expect([of, n]).toEqual(['tags', 1]);
    expect(accuracy).toBeCloseTo(2 / 3, 12);
    expect(report.accuracy).toBe(accuracy);
    expect(report.VERB).toMatchObject({ precision: 0.5, recall: 1, support: 1 });
    expect(baseline).toEqual({ label: 'NOUN', accuracy: 2 / 3 });
    expect(new TagCounter(['O', 'B-X']).scores).toMatchObject({ microF1: 0, macroF1: 0, accuracy: 0, words: 0 });
    expect(() => counter.update(Int32Array.of(1), Int32Array.of(1, 2), 2)).toThrowError(
      expect.objectContaining({ code: 'LENGTHS_DIFFER' }),
    );
  });
});
