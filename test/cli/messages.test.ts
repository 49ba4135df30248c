/** What people are told when something does not fit: one line, a hint that can be followed, the exit code of its kind. */
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { beforeAll, describe, expect, it } from 'vitest';
import { cambium, ensureBuilt, type Outcome, scratch, tiny } from './run-cli.ts';

const dir = scratch();
const [texts, digits, unfinished] = ['texts', 'digits', 'unfinished'].map((name) => join(dir, name)) as [
  string,
  string,
  string,
];
const svg = join(dir, 'picture.svg');
const pipe = join(dir, 'pipe');
const oneClass = join(dir, 'one');
const zero = join(dir, 'zero.npy');
const oneTable = join(dir, 'one.csv');

const pictures = `name: one
data: { name: folder }
model: { name: mlp, hidden: 4 }
optimizer: { name: sgd, lr: 0.1 }
transforms: [{ kind: resize, height: 8, width: 8 }]
batchSize: 4
epochs: 1
`;

const table = pictures
  .replace('name: folder', `name: table, file: ${oneTable}`)
  .replace('mlp, hidden: 4', 'lstm-classifier')
  .replace(/transforms.*\n/, '');

beforeAll(() => ensureBuilt(), 240_000);
beforeAll(async () => {
  const small = ['data.phrases.train=120', 'data.phrases.test=20', 'data.validation=20', 'epochs=1'];
  const sets = [...small, 'model.hiddenSize=4'].flatMap((setting) => ['--set', setting]);
  const mlp = ['--set', 'model.name=mlp', '--set', 'model.hidden=4'];
  for (const args of [
    ['text-quickstart', ...sets, '--out', texts],
    ['quickstart', ...tiny, ...mlp, '--out', digits],
  ]) {
    const { code, stderr } = await cambium(['train', ...args]);
    expect(code, stderr).toBe(0);
  }
  cpSync(digits, unfinished, { recursive: true });
  rmSync(join(unfinished, 'model'), { recursive: true });
  writeFileSync(svg, '<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"><rect width="8" height="8"/></svg>');
  execFileSync('mkfifo', [pipe]);
  mkdirSync(join(oneClass, 'cat'), { recursive: true });
  const png = await sharp({ create: { width: 8, height: 8, channels: 3, background: '#808080' } })
    .png()
    .toBuffer();
  for (let i = 0; i < 20; i++) writeFileSync(join(oneClass, 'cat', `${i}.png`), png);
  symlinkSync('/dev/zero', zero);
  writeFileSync(join(dir, 'one.yaml'), pictures);
  writeFileSync(join(dir, 'one-table.yaml'), table);
  writeFileSync(oneTable, `text,label\n${'good,1\n'.repeat(20)}`);
}, 240_000);

describe('mistakes', () => {
  const huge = ['--set', 'data.name=digits', '--set', 'model={"name":"mlp","hidden":2000000000}'];
  it.each<[string, () => string[], number, RegExp]>([
    ['a picture for texts', () => ['predict', texts, 'digit.png'], 2, /reads texts.*\n.*--text.*\.csv/],
    ['a table for pictures', () => ['predict', digits, 'new.csv'], 2, /reads pictures.*\n.*\.png/],
    ['a missing picture', () => ['predict', digits, join(dir, 'pictur.svg')], 4, /\n.*did you mean picture\.svg/],
    ['a drawing', () => ['predict', digits, svg], 3, /not a readable image: a picture of kind svg/],
    ['a pipe', () => ['predict', digits, pipe], 4, /not a regular file/],
    ['a device as features', () => ['probe', zero], 4, /not a regular file/],
    [
      'a device as weights',
      () => ['plan', 'quickstart', ...tiny, '--set', 'init.weights=/dev/zero'],
      4,
      /not a regular/,
    ],
    ['a pipe as a table', () => ['data', pipe, '--format', 'csv'], 4, /not a regular file/],
    ['no model', () => ['predict', join(dir, 'digitz'), 'x.png'], 4, /there is no folder.*\n.*did you mean digits/],
    ['an unknown table', () => ['tokenizer', 'my.yaml', '--out', join(dir, 't')], 2, /\n.*\.jsonl.*--format csv/],
    ['no data folder', () => ['plan', 'gpt-shakespeare'], 4, /\n.*--data-dir/],
    [
      'unfinished weights',
      () => ['plan', 'quickstart', ...tiny, '--set', `init.weights=${unfinished}`],
      4,
      /unfinished.*\n.*resume/,
    ],
    ['a huge model', () => ['plan', 'quickstart', ...huge], 2, /model\.hidden is 2000000000/],
    [
      'one class of pictures',
      () => ['train', join(dir, 'one.yaml'), '--data-dir', oneClass],
      3,
      /one".*nothing to tell apart/,
    ],
    ['one class of texts', () => ['train', join(dir, 'one-table.yaml')], 3, /one\.csv".*nothing to tell apart/],
  ])('%s', async (_, args, code, words) => {
    const result: Outcome = await cambium(args());
    expect(result.stderr).toMatch(words);
    expect(result.code, result.stderr).toBe(code);
    expect(result.stderr).not.toMatch(/\n\s+at /);
  });
});

it('a finished run says so, and how to train on', async () => {
  const { code, stdout, stderr } = await cambium(['resume', digits]);
  expect(code, stderr).toBe(0);
  expect(stderr).toContain('already finished (1 of 1 epochs)');
  expect(stderr).toContain(`cambium resume ${digits} --set epochs=2 --allow-change epochs`);
  expect(stdout).toContain('precision');
});
