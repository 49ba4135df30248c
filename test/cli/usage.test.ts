/** Help, versions, mistakes on the command line and in recipes: exit codes, one line, a hint, no stack. */
import { execFile, execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import sharp from 'sharp';
import { beforeAll, describe, expect, it } from 'vitest';
import { builtinPipelines } from '../../src/training/pipeline/index.ts';
import { builtinRecipes } from '../../src/training/recipes.ts';
import { cambium, ensureBuilt, root, scratch } from './run-cli.ts';

beforeAll(ensureBuilt, 120_000);

const noStack = (text: string): void => {
  expect(text).not.toMatch(/\n\s+at .*:\d+:\d+/);
  expect(text).not.toMatch(/TypeError|RangeError|SyntaxError|ENOENT: /);
};

describe('help', () => {
  it('answers at once', async () => {
    // Against a bare start of Node: the machine may be busy with other tests.
    const time = async (run: () => Promise<unknown>): Promise<number> => {
      const start = performance.now();
      await run();
      return performance.now() - start;
    };
    const [help, bare] = [[] as number[], [] as number[]];
    for (let i = 0; i < 5; i++) {
      bare.push(await time(() => promisify(execFile)(process.execPath, ['-e', '0'])));
      help.push(await time(() => cambium(['--help'])));
    }
    const { code, stdout } = await cambium(['--help']);
    expect(code).toBe(0);
    expect(stdout).toContain('Examples:');
    expect(Math.min(...help) / Math.min(...bare)).toBeLessThan(4);
  });

  it.each([
    'train',
    'resume',
    'evaluate',
    'predict',
    'data',
    'tokenizer',
    'features',
    'export',
    'models',
    'plan',
    'profile',
    'doctor',
  ])('%s --help has examples', async (command) => {
    const { code, stdout } = await cambium([command, '--help']);
    expect(code).toBe(0);
    expect(stdout).toContain('Examples:');
  });

  it('prints the version', async () => {
    expect((await cambium(['--version'])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});

describe('mistakes', () => {
  const dir = scratch();
  const recipe = join(dir, 'bad.yaml');
  writeFileSync(recipe, 'name: x\ndata: { name: digits }\nmodel: { name: mlp }\nbatchsize: 3\n');

  it.each([
    ['no command', [], 2, /cambium --help/],
    ['unknown command', ['trian', 'quickstart'], 2, /did you mean train/],
    ['unknown option', ['train', 'quickstart', '--data-dri', 'x'], 2, /did you mean --data-dir/],
    ['missing argument', ['train'], 2, /recipe/],
    ['bad choice', ['evaluate', '.', '--split', 'tset'], 2, /test/],
    ['bad number', ['data', 'digits', '--limit', '-3'], 2, /--limit/],
    ['unknown recipe', ['train', 'vgg16-mnits'], 2, /did you mean vgg16-mnist/],
    ['unknown field', ['train', 'quickstart', '--set', 'optimizer.lrr=1'], 2, /optimizer\.lr\b/],
    ['wrong type', ['train', 'quickstart', '--set', 'epochs=soon'], 2, /epochs/],
    ['data named twice', ['features', 'm', 'phrases', '--file', 'x.csv', '--out', 'v.npy'], 2, /--file.*\n.*once/],
    ['a time of nothing', ['plan', 'quickstart', '--time', '3'], 2, /--time.*\n.*--model NAME/],
    ['negative batch', ['plan', 'quickstart', '--set', 'batchSize=-1'], 2, /batchSize/],
    ['recipe file', ['train', recipe], 2, /bad\.yaml":4:1.*\n.*batchSize/],
    [
      'unknown model',
      ['plan', 'quickstart', '--set', 'model.name=vgg61', '--set', 'data.name=digits'],
      2,
      /did you mean "vgg/,
    ],
    ['unknown data', ['data', 'mnits'], 2, /did you mean mnist/],
    ['no data', ['train', 'quickstart', '--data-dir', dir, '--out', join(dir, 'r')], 4, /train-images/],
    ['no run', ['evaluate', join(dir, 'nowhere')], 4, /nowhere/],
    ['no run to resume', ['resume', join(dir, 'nowhere')], 4, /nowhere/],
    ['unknown data, with a folder', ['data', 'mnits', '--data-dir', dir], 2, /did you mean mnist/],
    ['bad delimiter', ['data', 'reviews.csv', '--delimiter', ';;'], 2, /--delimiter.*one character/],
  ])('%s', async (_, args, code, words) => {
    const result = await cambium(args);
    expect(result.stderr).toMatch(words);
    expect(result.code).toBe(code);
    expect(result.stdout).toBe('');
    noStack(result.stderr);
    expect(result.stderr.trimEnd().split('\n').length).toBeLessThanOrEqual(3);
  });

  it('a TypeScript recipe may import the package', async () => {
    const file = join(dir, 'mine.ts');
    writeFileSync(
      file,
      `import { MLP, registerModel } from 'cambium/models';
import { defineRecipe } from 'cambium/training';
registerModel({ name: 'own', description: '', defaults: {}, minSize: [1, 1], build: () => new MLP({ hidden: 4 }) });
const lr: number = 0.1;
export default defineRecipe({
  name: 'mine', data: { name: 'digits' }, model: { name: 'own' }, optimizer: { name: 'sgd', lr }, batchSize: 4, epochs: 1,
});
`,
    );
    const { code, stdout, stderr } = await cambium(['plan', file, '--json']);
    expect(code, stderr).toBe(0);
    expect(JSON.parse(stdout).batchSize).toBe(4);
    writeFileSync(file, `export default { name: 'mine', epochs: 'x' as string };\n`);
    expect((await cambium(['plan', file])).code).toBe(2);
  });

  it('--json reports the error as an object', async () => {
    const { code, stdout } = await cambium(['train', 'nonsense', '--json']);
    expect(code).toBe(2);
    expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'RECIPE_NOT_FOUND' } });
  });
});

describe('damaged data', () => {
  const u32 = (n: number): number[] => [n >>> 24, (n >>> 16) & 255, (n >>> 8) & 255, n & 255];
  const images = (n: number): number[] => [0, 0, 8, 3, ...u32(n), ...u32(28), ...u32(28)];
  const labels = (values: number[]): number[] => [0, 0, 8, 1, ...u32(values.length), ...values];
  const cases: [string, number[], number[]][] = [
    ['empty', [], labels([1, 2])],
    ['truncated', [...images(2), 1, 2, 3], labels([1, 2])],
    ['oversized header', [...images(0xffffff)], labels([1, 2])],
    ['wrong magic', [9, 9, 9, 9, ...new Array<number>(2000).fill(0)], labels([1, 2])],
    ['gzip-corrupt', [0x1f, 0x8b, 8, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9], labels([1, 2])],
    ['different counts', [...images(2), ...new Array<number>(2 * 784).fill(0)], labels([1, 2, 3])],
    ['label outside', [...images(2), ...new Array<number>(2 * 784).fill(0)], labels([1, 12])],
    ['not MNIST', [...images(2), ...new Array<number>(2 * 784).fill(0)], labels([1, 2])],
  ];
  it.each(cases)('%s IDX file: exit 3, file and offset', async (name, image, label) => {
    const dir = join(scratch(), name.replaceAll(' ', '-'));
    mkdirSync(dir);
    for (const part of ['train', 't10k']) {
      const gz = name === 'gzip-corrupt' ? '.gz' : '';
      writeFileSync(join(dir, `${part}-images-idx3-ubyte${gz}`), Uint8Array.from(image));
      writeFileSync(join(dir, `${part}-labels-idx1-ubyte`), Uint8Array.from(label));
    }
    const out = join(dir, 'run');
    const { code, stdout, stderr } = await cambium(['train', 'quickstart', '--data-dir', dir, '--out', out, '--json']);
    expect(code).toBe(3);
    noStack(stderr);
    const { error } = JSON.parse(stdout.trim().split('\n').at(-1) as string);
    expect(error.details.file ?? error.message).toContain(dir);
    expect(typeof error.details.offset === 'number' || error.details.sample !== undefined).toBe(true);
  });
});

describe('data', () => {
  it('prints a card, and the same as JSON', async () => {
    const out = join(scratch(), 'card.json');
    const { code, stdout } = await cambium(['data', 'digits', '--limit', '60', '--out', out]);
    expect(code).toBe(0);
    expect(stdout).toContain('10 classes');
    const { stdout: json } = await cambium(['data', 'digits', '--limit', '60', '--json']);
    expect(JSON.parse(json)).toMatchObject({ name: 'digits', parts: { train: { samples: 60 } } });
  });

  it('mnist falls back to the built-in digits offline, as training does', async () => {
    const { code, stdout, stderr } = await cambium(['data', 'mnist', '--limit', '60', '--json']);
    expect(code, stderr).toBe(0);
    expect(stderr).toContain('built-in data set "digits"');
    expect(JSON.parse(stdout)).toMatchObject({ name: 'digits', parts: { test: { samples: 60 } } });
  });

  it('reads a .tar of pictures, under the data folder too', async () => {
    const dir = scratch();
    const png = await sharp({ create: { width: 4, height: 4, channels: 3, background: '#808080' } })
      .png()
      .toBuffer();
    for (const folder of ['train/cat', 'train/dog', 'test/dog']) {
      mkdirSync(join(dir, folder), { recursive: true });
      writeFileSync(join(dir, folder, 'a.png'), png);
    }
    execFileSync('tar', ['-cf', join(dir, 'pets.tar'), '-C', dir, 'train', 'test']);
    for (const args of [[join(dir, 'pets.tar')], ['pets.tar', '--data-dir', dir]]) {
      const { code, stdout, stderr } = await cambium(['data', ...args, '--json']);
      expect(code, stderr).toBe(0);
      const card = JSON.parse(stdout);
      expect(card.classes).toEqual(['cat', 'dog']);
      expect(card.parts).toMatchObject({ train: { samples: 2 }, test: { samples: 1 } });
    }
  });

  it('reads a table of any encoding, delimiter and quotes', async () => {
    const file = join(scratch(), 'reviews.csv');
    // 好 and 坏 in GB18030; nobody closes the quote; no header.
    const bytes = [0xba, 0xc3, 0x3b, 0x31, 0x0a, 0xbb, 0xb5, 0x3b, 0x30, 0x0a];
    writeFileSync(file, Uint8Array.from([0x22, ...bytes]));
    const columns = ['--text-column', '0', '--label-column', '1', '--delimiter', ';'];
    const plain = await cambium(['data', file, ...columns, '--quote', 'none']);
    expect([plain.code, plain.stderr]).toEqual([3, expect.stringContaining('--encoding')]);
    const args = [...columns, '--encoding', 'gb18030', '--no-header', '--json'];
    const quoted = await cambium(['data', file, ...args]);
    expect([quoted.code, quoted.stderr]).toEqual([3, expect.stringContaining('--quote none')]);
    const { code, stdout, stderr } = await cambium(['data', file, ...args, '--quote', 'none']);
    expect(code, stderr).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ classes: ['0', '1'], parts: { all: { samples: 2 } } });
  });
});

describe('doctor and models', () => {
  it('doctor says which backend and why', async () => {
    const { code, stdout } = await cambium(['doctor', '--json'], { env: { CAMBIUM_BACKEND: 'reference' } });
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ backend: 'reference', reason: 'CAMBIUM_BACKEND=reference' });
  });

  it('models lists architectures and recipes', async () => {
    const { code, stdout } = await cambium(['models', '--json']);
    expect(code).toBe(0);
    const { models, recipes } = JSON.parse(stdout);
    expect(models.map((m: { name: string }) => m.name)).toContain('vgg16');
    expect(recipes.map((r: { name: string }) => r.name)).toContain('vgg16-mnist');
  });

  it('every built-in recipe and pipeline stands in models and has a row in the README', async () => {
    const names = [...Object.keys(builtinRecipes), ...Object.keys(builtinPipelines)];
    const { stdout } = await cambium(['models']);
    const readme = readFileSync(join(root, 'README.md'), 'utf8');
    const firstCells = [...readme.matchAll(/^\| (`.*?) \|/gm)].map(([, cell]) => cell).join(' ');
    for (const name of names) {
      expect(stdout).toMatch(new RegExp(`^  ${name}  +\\S`, 'm'));
      expect(firstCells).toContain(`\`${name}\``);
    }
  });
});
