/** Tagged words on the command line: a run, its measurement, entities with their places, and the way to transformers. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import { BertForTokenClassification } from '../../src/models/index.ts';
import { fromPretrained } from '../../src/training/index.ts';
import { cambium, ensureBuilt, jsonLines, scratch } from './run-cli.ts';

beforeAll(ensureBuilt, 120_000);
const dir = scratch();

it('trains, measures, finds entities and exports', { timeout: 120_000 }, async () => {
  const [run, out, words] = [join(dir, 'run'), join(dir, 'bert'), join(dir, 'new.conll')];
  writeFileSync(words, 'Anna B-PER\nleft O\n\n王 B-PER\n明 I-PER\n');
  const sets = [
    'data.entities.train=120',
    'data.entities.test=20',
    'data.validation=20',
    'epochs=1',
    'batchSize=25',
  ].concat('model={name: bert, hiddenSize: 16, numHiddenLayers: 1, numAttentionHeads: 2, intermediateSize: 16}');
  const trained = await cambium(['train', 'entities-quickstart', '--out', run, ...sets.flatMap((s) => ['--set', s])]);
  expect([trained.code, trained.stderr]).toEqual([0, expect.stringContaining('microF1')]);
  const measured = JSON.parse((await cambium(['evaluate', run, '--file', words, '--json'])).stdout);
  expect(measured).toMatchObject({ n: 2, data: 'new.conll', heads: { tags: { of: 'entities', words: 4 } } });
  const predicted = await cambium(['predict', run, words, '--text', 'Anna Baker left.', '--json']);
  const rows = jsonLines(predicted.stdout);
  expect(rows.map(({ text }) => text)).toEqual(['Anna Baker left.', 'Anna left', '王明']);
  for (const { text, entities, tokens } of rows)
    for (const { start, end, text: own } of [...entities, ...tokens]) expect(text.slice(start, end)).toBe(own);
  expect((await cambium(['predict', run, '--text', 'Anna'])).stdout).toMatch(
    /^Anna: (no entities|Anna \w+ \d+\.\d\d %)\n$/,
  );
  const exported = await cambium(['export', run, '--out', out, '--json']);
  expect(JSON.parse(exported.stdout)).toMatchObject({ architecture: 'BertForTokenClassification' });
  const { model, labels } = await fromPretrained(out, { print: false });
  expect(model).toBeInstanceOf(BertForTokenClassification);
  expect(labels).toEqual(JSON.parse(exported.stdout).classes);
});
