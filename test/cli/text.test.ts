/** Texts on the command line: a card, a run, its measurement, labels for new texts, and mistakes. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { cambium, ensureBuilt, scratch } from './run-cli.ts';

beforeAll(ensureBuilt, 120_000);

const dir = scratch();
const run = join(dir, 'run');
const small = [
  'data.phrases.train=300',
  'data.phrases.test=60',
  'data.validation=60',
  'epochs=1',
  'model.hiddenSize=8',
];
const table = join(dir, 'new.csv');
writeFileSync(table, 'review,stars\n"good, really",positive\nbad,negative\n');

describe('texts', () => {
  it('shows a table and a built-in set', async () => {
    const { code, stdout } = await cambium([
      'data',
      table,
      '--text-column',
      'review',
      '--label-column',
      'stars',
      '--json',
    ]);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ classes: ['negative', 'positive'], parts: { all: { samples: 2 } } });
    expect((await cambium(['data', 'phrases', '--limit', '50'])).stdout).toContain('2 classes of texts');
  });

  it('trains, measures and labels', { timeout: 120_000 }, async () => {
    const sets = small.flatMap((setting) => ['--set', setting]);
    const trained = await cambium(['train', 'text-quickstart', '--out', run, ...sets]);
    expect(trained.stderr).toContain('saved:');
    expect(trained.code).toBe(0);
    const measured = JSON.parse((await cambium(['evaluate', run, '--json'])).stdout);
    expect(measured).toMatchObject({ n: 60, data: 'phrases/test' });
    const columns = ['--text-column', 'review', '--label-column', 'stars'];
    const other = await cambium(['evaluate', run, '--file', table, ...columns, '--json']);
    expect(JSON.parse(other.stdout)).toMatchObject({ n: 2, data: 'new.csv' });
    const labelled = await cambium(['predict', run, table, '--text', '味道很好', '--text-column', 'review', '--json']);
    const rows = labelled.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(rows.map(({ text }) => text)).toEqual(['味道很好', 'good, really', 'bad']);
    expect(Object.keys(rows[0].probabilities)).toEqual(['negative', 'positive']);
    const nothing = await cambium(['predict', run]);
    expect([nothing.code, nothing.stderr]).toEqual([2, expect.stringContaining('--text')]);
    const column = await cambium(['predict', run, table]);
    expect([column.code, column.stderr]).toEqual([3, expect.stringContaining('there is no column "text"')]);
  });

  it('learns a vocabulary', async () => {
    const corpus = join(dir, 'corpus.txt');
    writeFileSync(corpus, 'the cat, the cats\nthe "cat\n中国\n');
    const out = join(dir, 'tokenizer');
    const { code, stdout } = await cambium(['tokenizer', corpus, '--out', out, '--vocab-size', '40', '--json']);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ kind: 'WordPiece', out });
    const table = await cambium([
      'tokenizer',
      join(dir, 'new.csv'),
      '--out',
      out,
      '--kind',
      'bpe',
      '--text-column',
      'review',
    ]);
    expect(table.stderr).toContain('BPE of ');
    const causal = ['--kind', 'char', '--causal', '--out', out, '--json'];
    const characters = JSON.parse((await cambium(['tokenizer', corpus, ...causal])).stdout);
    // Line ends among them.
    expect(characters).toMatchObject({ kind: 'characters', vocabSize: 3 + new Set('the cat, s"\n中国').size });
    const wrong = await cambium(['tokenizer', corpus, '--causal', '--out', out]);
    expect([wrong.code, wrong.stderr]).toEqual([2, expect.stringContaining('--causal')]);
    const missing = await cambium(['tokenizer', corpus]);
    expect([missing.code, missing.stderr]).toEqual([2, expect.stringContaining('--out')]);
  });

  it('says where a bad table is bad', async () => {
    const bad = join(dir, 'bad.csv');
    writeFileSync(bad, 'text,label\n"a,1\nb,0\n');
    const { code, stderr } = await cambium(['data', bad]);
    expect(code).toBe(3);
    expect(stderr).toMatch(/line 2, column 1/);
  });
});
