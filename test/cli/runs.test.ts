/** Whole runs through the command line: train, evaluate, predict, interrupt, kill, resume, and damaged run folders. */
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { beforeAll, describe, expect, it } from 'vitest';
import { digits } from '../../src/data/index.ts';
import { cambium, ensureBuilt, jsonLines, type Outcome, scratch, tiny } from './run-cli.ts';

beforeAll(ensureBuilt, 120_000);

const set = (...settings: string[]): string[] => settings.flatMap((setting) => ['--set', setting]);
/** Dropout, augmentation, shuffling, a schedule, accumulation and a short last group: everything a resume can get wrong. */
const eventful = [
  ...tiny,
  ...set('transforms=[{kind: randomAffine, degrees: 10}, {kind: normalize, mean: [0.13], std: [0.31]}]'),
  ...set('epochs=2', 'batchSize=10', 'accumulate=3', 'checkpoint.everySteps=2', 'clip.norm=1'),
];
const sha = (file: string): string => createHash('sha256').update(readFileSync(file)).digest('hex');
const weights = (run: string): string => sha(join(run, 'model/model.safetensors'));
const ok = (outcome: Outcome): Outcome => {
  expect(outcome.stderr).not.toMatch(/\n\s+at /);
  expect(outcome.code, outcome.stderr).toBe(0);
  return outcome;
};

const base = scratch();
const whole = join(base, 'whole');
let trained: Outcome;
beforeAll(async () => {
  trained = await cambium(['train', 'quickstart', ...eventful, '--out', whole, '--json']);
}, 240_000);

describe('train', () => {
  it('prints one JSON event a line and nothing else, and fills the run folder', () => {
    ok(trained);
    const events = jsonLines(trained.stdout);
    expect(events[0].event).toBe('run-start');
    expect(events.filter((e) => e.event === 'step')).toHaveLength(14);
    const end = events.at(-1);
    expect(end).toMatchObject({ event: 'run-end', run: whole, result: { steps: 14, test: { n: 60 } } });
    for (const file of ['recipe.json', 'metrics.jsonl', 'report.txt', 'report.json', 'model/config.json'])
      expect(existsSync(join(whole, file)), file).toBe(true);
    const report = JSON.parse(readFileSync(join(whole, 'report.json'), 'utf8'));
    expect(report.weights).toBe(weights(whole));
    expect(report.accuracy).toBe(end.result.test.accuracy);
    expect(readFileSync(join(whole, 'report.txt'), 'utf8')).toContain('majority baseline');
    expect(existsSync(join(whole, 'lock'))).toBe(false);
  });

  it('falls back to the built-in digits offline, with one notice', async () => {
    const sizes = ['data.digits.train=120', 'data.digits.test=40', 'data.validation=20', 'model.name=mlp'];
    const out = join(base, 'fallback');
    const { stderr } = ok(await cambium(['train', 'quickstart', ...set(...sizes), '--out', out]));
    expect(stderr.match(/built-in data set "digits"/g)).toHaveLength(1);
    expect(JSON.parse(readFileSync(join(out, 'recipe.json'), 'utf8')).recipe.data.name).toBe('digits');
  });

  it('refuses a folder that holds a run, or cannot be written', async () => {
    const again = await cambium(['train', 'quickstart', ...eventful, '--out', whole]);
    expect(again.code).toBe(4);
    expect(again.stderr).toContain('cambium resume');
    const file = join(base, 'a-file');
    writeFileSync(file, '');
    const under = await cambium(['train', 'quickstart', ...eventful, '--out', join(file, 'run')]);
    expect(under.code).toBe(4);
    expect(under.stderr).not.toMatch(/\n\s+at /);
  });

  it('refuses a plan that does not fit, before anything is made', async () => {
    const out = join(base, 'too-big');
    const env = { CAMBIUM_MEMORY_LIMIT: String(400 * 2 ** 20) };
    const args = ['train', 'vgg16-mnist-tutorial', ...tiny, '--out', out, '--json'];
    const { code, stdout } = await cambium(args, { env });
    expect(code).toBe(5);
    expect(JSON.parse(stdout).error.code).toBe('PLAN_DOES_NOT_FIT');
    expect(existsSync(out)).toBe(false);
    const { stdout: plan } = ok(await cambium(['plan', 'vgg16-mnist-tutorial', ...tiny, '--json'], { env }));
    expect(JSON.parse(plan).parameters).toBe(134_301_514);
  });

  it('stops with 6 at NaN and keeps a finite checkpoint', async () => {
    const out = join(base, 'nan');
    const args = ['train', 'quickstart', ...eventful, ...set('optimizer.lr=1e10')];
    const { code, stdout, stderr } = await cambium([...args, '--out', out, '--json']);
    expect(code, stderr).toBe(6);
    const { error } = jsonLines(stdout).at(-1);
    expect(error).toMatchObject({ code: 'NON_FINITE' });
    expect(error.details).toHaveProperty('layer');
    expect(error.details.step).toBeGreaterThan(1);
    expect(existsSync(join(out, 'model'))).toBe(false);
  });
});

describe('evaluate and predict', () => {
  it('evaluate gives what the trainer measured', async () => {
    const { stdout } = ok(await cambium(['evaluate', whole, '--json']));
    const [answer, ...rest] = jsonLines(stdout);
    expect(rest).toEqual([]);
    const report = JSON.parse(readFileSync(join(whole, 'report.json'), 'utf8'));
    expect(answer).toMatchObject({ accuracy: report.accuracy, n: 60, report: report.report, loss: report.loss });
    const model = jsonLines(ok(await cambium(['evaluate', join(whole, 'model'), '--json'])).stdout)[0];
    expect(model.accuracy).toBe(report.accuracy);
    const text = ok(await cambium(['evaluate', whole, '--limit', '20'])).stdout;
    expect(text).toMatch(/precision\s+recall\s+f1-score\s+support/);
  });

  it('evaluate takes a folder of pictures', async () => {
    const dir = join(base, 'folder');
    await pictures(dir, 30);
    const answer = jsonLines(ok(await cambium(['evaluate', whole, '--data-dir', dir, '--json'])).stdout)[0];
    expect(answer.n).toBe(30);
    const few = ['evaluate', whole, '--data-dir', dir, '--limit', '10', '--json'];
    const { n, confusion } = jsonLines(ok(await cambium(few)).stdout)[0];
    expect(n).toBe(10);
    // In proportion: the folder is sorted by class, and the first ten would be of few.
    expect(confusion.counts.filter((row: number[]) => row.some((count) => count > 0)).length).toBeGreaterThan(5);
  });

  it("a limit does not exceed the recipe's own", async () => {
    const model = join(base, 'limited');
    cpSync(join(whole, 'model'), model, { recursive: true });
    const file = join(model, 'config.json');
    const config = JSON.parse(readFileSync(file, 'utf8'));
    config.origin.recipe.limit = { test: 15 };
    writeFileSync(file, JSON.stringify(config));
    for (const [limit, n] of [
      ['40', 15],
      ['10', 10],
    ] as const)
      expect(jsonLines(ok(await cambium(['evaluate', model, '--limit', limit, '--json'])).stdout)[0].n).toBe(n);
  });

  it('predict takes pictures of any size and mode', async () => {
    const files = await pictures(join(base, 'pictures'), 3);
    const big = join(base, 'big.jpg');
    await sharp(files[0] as string)
      .resize(300, 200)
      .toColourspace('srgb')
      .jpeg()
      .toFile(big);
    const clear = join(base, 'clear.png');
    await sharp(files[1] as string)
      .ensureAlpha()
      .png()
      .toFile(clear);
    const { stdout } = ok(await cambium(['predict', whole, ...files, big, clear, '--json']));
    const answers = jsonLines(stdout);
    expect(answers).toHaveLength(5);
    for (const { label, probabilities } of answers) {
      expect(Object.keys(probabilities)).toHaveLength(10);
      const values = Object.values(probabilities) as number[];
      expect(values.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 4);
      expect(probabilities[label]).toBe(Math.max(...values));
    }
    // The same preprocessing as training: a test picture is answered as the evaluation counted it.
    expect(ok(await cambium(['predict', whole, files[0] as string, '--invert'])).stdout).toMatch(/: \d /);
  });

  it('says what is not an image', async () => {
    const text = join(base, 'notes.png');
    writeFileSync(text, 'not an image');
    const alone = await cambium(['predict', whole, text, '--json']);
    expect(alone.code).toBe(3);
    expect(JSON.parse(alone.stdout).error.code).toBe('IMAGE_INVALID');
    const [good] = await pictures(join(base, 'mixed'), 1);
    const mixed = await cambium(['predict', whole, text, good as string, '--json']);
    expect(mixed.code).toBe(3);
    expect(jsonLines(mixed.stdout)[1]).toHaveProperty('label');
    expect((await cambium(['predict', whole, join(base, 'nowhere.png')])).code).toBe(4);
  });

  it('finds a flipped byte in the weights', async () => {
    const copy = join(base, 'flipped');
    cpSync(join(whole, 'model'), copy, { recursive: true });
    flip(join(copy, 'model.safetensors'), 5000);
    const { code, stderr } = await cambium(['evaluate', copy]);
    expect(code).toBe(3);
    expect(stderr).toContain('sha256');
  });
});

describe('interrupted runs', () => {
  it.each(['SIGINT', 'SIGTERM'] as const)(
    '%s saves the current step; resume gives the same weights',
    async (signal) => {
      const out = join(base, signal);
      let sent = false;
      const { code, stderr } = await cambium(['train', 'quickstart', ...eventful, '--out', out, '--json'], {
        watch: (child, stdout) => {
          if (sent || !stdout.includes('"step":4')) return;
          sent = true;
          child.kill(signal);
        },
      });
      expect(code, stderr).toBe(signal === 'SIGINT' ? 130 : 143);
      expect(stderr).toContain(`cambium resume ${out}`);
      const saved = readdirSync(join(out, 'checkpoints')).filter((name) => name.startsWith('step-'));
      expect(saved.length).toBeGreaterThan(0);
      ok(await cambium(['resume', out]));
      expect(weights(out)).toBe(weights(whole));
      expect(readFileSync(join(out, 'metrics.jsonl'), 'utf8')).toBe(readFileSync(join(whole, 'metrics.jsonl'), 'utf8'));
    },
  );

  it('SIGKILL at any moment: the resumed run ends with the same weights and metrics', async () => {
    const out = join(base, 'killed');
    const kill = (after: number, delay: number) => {
      let steps = 0;
      return {
        watch: (child: { kill: (signal: 'SIGKILL') => void }, stdout: string) => {
          const seen = stdout.split('"event":"step"').length - 1;
          if (seen < after || steps > 0) return;
          steps = seen;
          setTimeout(() => child.kill('SIGKILL'), delay);
        },
      };
    };
    // Steps into each process, and milliseconds on: within a step, a save, a validation.
    const moments: [number, number][] = [
      [1, 3],
      [3, 0],
      [2, 17],
      [4, 31],
      [3, 8],
    ];
    const first = moments.shift() as [number, number];
    let killed = await cambium(['train', 'quickstart', ...eventful, '--out', out, '--json'], kill(...first));
    for (const moment of moments) {
      if (killed.code === 0) break;
      killed = await cambium(['resume', out, '--json'], kill(...moment));
    }
    if (killed.code !== 0) ok(await cambium(['resume', out]));
    expect(weights(out)).toBe(weights(whole));
    expect(readFileSync(join(out, 'metrics.jsonl'), 'utf8')).toBe(readFileSync(join(whole, 'metrics.jsonl'), 'utf8'));
  }, 180_000);

  it('refuses what changed, naming the field; a damaged checkpoint is passed over', async () => {
    const out = join(base, 'changed');
    cpSync(whole, out, { recursive: true });
    const changed = await cambium(['resume', out, '--set', 'batchSize=12']);
    expect(changed.code).toBe(2);
    expect(changed.stderr).toContain('batchSize');
    expect(changed.stderr).toContain('--allow-change batchSize');

    const names = readdirSync(join(out, 'checkpoints'))
      .filter((name) => name.startsWith('step-'))
      .sort();
    flip(join(out, 'checkpoints', names.at(-1) as string, 'optimizer.safetensors'), 4000);
    const named = await cambium(['resume', out, '--checkpoint', names.at(-1) as string]);
    expect(named.code).toBe(3);
    expect(named.stderr).toContain('optimizer.safetensors');
    const { stderr } = ok(await cambium(['resume', out]));
    expect(stderr).toContain('damaged');
    expect(weights(out)).toBe(weights(whole));
  });

  it('a run in use, of another model, or empty is refused', async () => {
    const out = join(base, 'locked');
    cpSync(whole, out, { recursive: true });
    let inUse: Promise<Outcome> | undefined;
    const slow = join(base, 'slow');
    const args = ['train', 'quickstart', ...eventful, ...set('epochs=50'), '--out', slow, '--json'];
    await cambium(args, {
      watch: (child, stdout) => {
        if (inUse || !stdout.includes('"event":"step"')) return;
        inUse = cambium(['resume', slow]);
        void inUse.then(() => child.kill('SIGKILL'));
      },
    });
    expect((await inUse)?.code).toBe(8);
    expect((await inUse)?.stderr).toContain('in use');

    const foreign = join(base, 'foreign');
    const small = ['train', 'quickstart', ...tiny, ...set('model.name=mlp', 'epochs=1'), '--out', foreign];
    ok(await cambium(small));
    const checkpoints = join(foreign, 'checkpoints');
    const mine = readdirSync(checkpoints).find((name) => name.startsWith('step-')) as string;
    const other = readdirSync(join(whole, 'checkpoints')).find((name) => name.startsWith('step-')) as string;
    cpSync(join(whole, 'checkpoints', other), join(checkpoints, 'step-99999999'), { recursive: true });
    const manifest = join(checkpoints, 'step-99999999', 'manifest.json');
    writeFileSync(manifest, readFileSync(manifest, 'utf8').replace(/"step": \d+/, '"step": 99999999'));
    expect(mine).toBeDefined();
    const refused = await cambium(['resume', foreign]);
    expect(refused.code).toBe(3);
    expect(refused.stderr).toContain('another model');

    const empty = join(base, 'empty');
    mkdirSync(empty);
    expect((await cambium(['resume', empty])).code).toBe(3);
  }, 120_000);
});

function flip(file: string, at: number): void {
  const bytes = readFileSync(file);
  bytes[at] = (bytes[at] as number) ^ 1;
  writeFileSync(file, bytes);
}

/** PNG files of drawn digits, one subdirectory a class. */
async function pictures(dir: string, count: number): Promise<string[]> {
  const drawn = digits({ split: 'test', size: count });
  const files: string[] = [];
  for (let i = 0; i < count; i++) {
    const { image, label } = drawn.get(i);
    const { data, width, height } = image;
    mkdirSync(join(dir, String(label)), { recursive: true });
    const file = join(dir, String(label), `${i}.png`);
    await sharp(data, { raw: { width, height, channels: 1 } })
      .png()
      .toFile(file);
    files.push(file);
  }
  return files;
}
