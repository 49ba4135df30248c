/** The whole flow as one object: every stage, interrupted and gone on with, and what is refused. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { CambiumError } from '../../src/base/index.ts';
import {
  builtinPipelines,
  evaluate,
  type Listener,
  loadModelFolder,
  loadPipeline,
  openPart,
  type PipelineInput,
  type PipelineOutcome,
  pipeline,
} from '../../src/training/index.ts';
import { errorOf } from '../error-of.ts';

const dir = await mkdtemp(join(tmpdir(), 'cambium-pipeline-'));
afterAll(() => rm(dir, { recursive: true, force: true }));

const base = {
  seed: 1,
  data: { name: 'digits', validation: 40, digits: { train: 240, test: 80 } },
  transforms: [{ kind: 'normalize', mean: [0.1307], std: [0.3081] }],
  model: { name: 'mnist-cnn' },
  optimizer: { name: 'adamw', lr: 2e-3 },
  batchSize: 20,
  epochs: 1,
} as const;

const flow: PipelineInput = {
  name: 'tiny-flow',
  stages: {
    pretrain: { kind: 'train', recipe: { ...base, name: 'pretrain', task: 'rotation' } },
    tuned: {
      kind: 'train',
      recipe: { ...base, name: 'tuned' },
      from: 'pretrain',
      set: { 'limit.train': 60, epochs: 3 },
      figure: '60 labels',
    },
    moved: { kind: 'compare', before: 'pretrain', after: 'tuned' },
    known: { kind: 'features', of: 'tuned', split: 'train', format: 'npy' },
    fresh: { kind: 'features', of: 'tuned', split: 'test', limit: 70 },
    labels: { kind: 'labels', from: 'known', to: 'fresh', attach: true },
    near: { kind: 'labels', from: 'known', to: 'fresh', method: 'knn', k: 3 },
  },
};

describe('the whole flow', () => {
  const out = join(dir, 'whole');
  let outcome: PipelineOutcome;
  beforeAll(async () => {
    outcome = await (await pipeline(flow)).run({ out });
  });

  test('every stage leaves its results', () => {
    const { pretrain, tuned, moved, known, fresh, labels, near } = outcome.results;
    expect(Object.keys(outcome.results)).toEqual(Object.keys(flow.stages));
    expect(pretrain).toMatchObject({ kind: 'train', steps: 10, test: null });
    expect(tuned).toMatchObject({ kind: 'train', steps: 9, test: { n: 80 } });
    expect(moved).toMatchObject({ kind: 'compare' });
    expect(known).toMatchObject({ samples: 60, width: 128, labelled: true });
    expect(fresh).toMatchObject({ samples: 70, width: 128 });
    expect(labels).toMatchObject({ trained: 60, labelled: 70, model: join('labels', 'model') });
    expect(near).toMatchObject({ trained: 60, labelled: 70, model: null });
  });

  test('the fine-tuned run started from the stage before it', async () => {
    const { lineage } = JSON.parse(await readFile(join(out, 'tuned', 'init', 'report.json'), 'utf8'));
    const { pretrain } = outcome.results;
    expect(pretrain?.kind === 'train' && pretrain.weights).toBe(lineage.sha256);
  });

  test('the attached head answers as the labels say', async () => {
    const rows = (await readFile(join(out, 'labels', 'labels.csv'), 'utf8')).trim().split('\n').slice(1);
    const loaded = await loadModelFolder(join(out, 'labels', 'model'));
    const { part } = await openPart(loaded, { split: 'test', limit: 70 });
    const measured = await evaluate(loaded.module, loaded.task, part, {
      batchSize: 35,
      ...('transforms' in loaded && { transforms: loaded.transforms }),
    });
    expect(rows).toHaveLength(70);
    const { labels } = outcome.results;
    expect(labels?.kind === 'labels' && labels.accuracy).toBeCloseTo(measured?.accuracy ?? -1, 6);
    expect(labels?.kind === 'labels' && labels.accuracy).toBeGreaterThan(0.5);
  });

  test('report.md holds the chart and a row a stage; report.html a curve a figure', async () => {
    const text = await readFile(join(out, 'report.md'), 'utf8');
    expect(text).toContain('```mermaid\nflowchart LR\n');
    for (const name of Object.keys(flow.stages)) expect(text).toContain(`| ${name} |`);
    const page = await readFile(join(out, 'report.html'), 'utf8');
    expect(page).toContain('60 labels');
    expect(page).not.toContain('<script');
  });

  test('run again, nothing is done twice', async () => {
    const notices: string[] = [];
    const listener: Listener = (event) => {
      if (event.type === 'notice') notices.push(event.text);
    };
    const again = await (await pipeline(flow)).run({ out, listeners: [listener] });
    expect(notices.filter((text) => text.endsWith('done before'))).toHaveLength(7);
    expect(again.results).toEqual(outcome.results);
  });

  test('interrupted in a stage, it goes on there and ends with the same weights', async () => {
    const cut = join(dir, 'cut');
    const failing: Listener = (event) => {
      if (event.type === 'epoch-end' && event.step === 6) throw new Error('power cut');
    };
    await expect((await pipeline(flow)).run({ out: cut, listeners: [failing] })).rejects.toThrow('power cut');
    const { results } = await (await pipeline(flow)).run({ out: cut });
    expect(results).toEqual(outcome.results);
  });

  test('other stages under the same names are refused', async () => {
    const changed: PipelineInput = {
      ...flow,
      stages: {
        ...flow.stages,
        pretrain: { kind: 'train', recipe: { ...base, name: 'pretrain', task: 'rotation', seed: 2 } },
      },
    };
    const error = await errorOf(async () => (await pipeline(changed)).run({ out }));
    expect(error).toMatchObject({ code: 'PIPELINE_CHANGED', details: { field: 'stages.pretrain' } });
  });
});

test('a stage that failed before it began may be mended; a folder of something else is refused', async () => {
  const out = join(dir, 'mended');
  const recipe = { ...base, name: 'broken', limit: { train: 40 } };
  const broken = (weights: string | null): PipelineInput => ({
    name: 'mended',
    stages: { only: { kind: 'train', recipe, set: { init: weights === null ? null : { weights } } } },
  });
  const error = await errorOf(async () => (await pipeline(broken(join(dir, 'nowhere')))).run({ out }));
  expect(error).toMatchObject({ code: 'WEIGHTS_NOT_FOUND' });
  const { results } = await (await pipeline(broken(null))).run({ out });
  expect(results.only).toMatchObject({ kind: 'train', steps: 2 });
  // What was cleared away is made again.
  await rm(join(out, 'only'), { recursive: true });
  expect((await (await pipeline(broken(null))).run({ out })).results).toEqual(results);
  const inRun = await errorOf(async () => (await pipeline(broken(null))).run({ out: join(out, 'only') }));
  expect(inRun).toMatchObject({ code: 'FOLDER_NOT_EMPTY', exitCode: 4 });
});

test('the chart', async () => {
  expect((await pipeline(flow)).mermaid()).toBe(`flowchart LR
  data1[("digits")]
  stage_pretrain["pretrain: pre-train mnist-cnn by rotation"]
  stage_tuned["tuned: fine-tune mnist-cnn"]
  stage_moved(["moved: features of pretrain and tuned"])
  stage_known[/"known: features of the train part"/]
  stage_fresh[/"fresh: features of the test part"/]
  stage_labels(["labels: labels by a linear classifier"])
  stage_near(["near: labels by nearest neighbours"])
  data1 -->|"without labels"| stage_pretrain
  data1 -->|"60 labels"| stage_tuned
  stage_pretrain -->|"weights"| stage_tuned
  stage_pretrain --> stage_moved
  stage_tuned --> stage_moved
  stage_tuned --> stage_known
  stage_tuned --> stage_fresh
  stage_known -->|"labels"| stage_labels
  stage_fresh --> stage_labels
  stage_known -->|"labels"| stage_near
  stage_fresh --> stage_near
`);
});

describe('what is refused before anything runs', () => {
  const file = join(dir, 'flow.yaml');
  const load = async (stages: string): Promise<CambiumError> => {
    await writeFile(file, `name: mine\nstages:\n${stages}`);
    return errorOf(() => loadPipeline(file));
  };

  test.each([
    [
      '  a: { kind: train, recipe: quickstart }\n  b: { kind: train, recipe: quickstart, from: other }\n',
      { code: 'PIPELINE_INVALID', details: { field: 'stages.b.from', hint: 'earlier ones: a' } },
    ],
    [
      '  pretrain: { kind: train, recipe: quickstart }\n  b: { kind: features, of: pretrian }\n',
      { code: 'PIPELINE_INVALID', details: { hint: 'did you mean pretrain?' } },
    ],
    // Only earlier stages can be read.
    [
      '  b: { kind: features, of: a }\n  a: { kind: train, recipe: quickstart }\n',
      { code: 'PIPELINE_INVALID', details: { field: 'stages.b.of' } },
    ],
    [
      '  a: { kind: train, recipe: quickstart, form: b }\n',
      { code: 'PIPELINE_UNKNOWN_FIELD', details: { line: 3, column: 41, hint: 'did you mean stages.a.from?' } },
    ],
    ['  a: { kind: trian, recipe: quickstart }\n', { code: 'PIPELINE_INVALID', details: { field: 'stages.a.kind' } }],
    [
      '  a: { kind: train, recipe: quickstrat }\n',
      { code: 'RECIPE_NOT_FOUND', details: { hint: 'did you mean quickstart?' } },
    ],
    [
      '  a: { kind: train, recipe: quickstart, set: { batchsize: 3 } }\n',
      { code: 'RECIPE_UNKNOWN_FIELD', details: { hint: 'did you mean batchSize?' } },
    ],
    ['  {}\n', { code: 'PIPELINE_INVALID', details: { field: 'stages' } }],
  ])('%j', async (stages, wanted) => {
    expect(await load(stages)).toMatchObject(wanted);
  });

  test.each(Object.keys(builtinPipelines))('%s is valid', async (name) => {
    expect((await loadPipeline(name)).name).toBe(name);
  });
});
