import { expect, it } from 'vitest';
import { htmlReport, type RunPage } from './html-report.ts';
import { ConfusionMatrix, classificationReport } from './metrics/index.ts';
import { parseRecipe } from './recipe-parse.ts';
import type { RunFacts } from './run-facts.ts';
import { makeReport } from './run-report.ts';
import type { EpochRecord } from './train-state.ts';

const evil = '</title><script>alert(1)</script>\u202e';

const facts: RunFacts = {
  part: 'validation',
  task: 'image-classification',
  model: 'mnist-cnn',
  parameters: 1000,
  trainable: 10,
  tuning: 'head only',
  init: evil,
  samples: { train: 100, validation: 3, test: 0 },
  epochs: 2,
  steps: 3,
  best: 1,
  gap: { epoch: 1, train: 0.4, validation: 0.5, difference: 0.1 },
  overfit: { from: 1, to: 2, validation: [0.5, 0.9], train: [0.4, 0.1] },
};
const history: EpochRecord[] = [
  { epoch: 1, step: 2, trainLoss: 0.4, lr: 1e-3, validation: { loss: 0.5, accuracy: 0.75, macroF1: 0.7 } },
  { epoch: 2, step: 3, trainLoss: 0.1, lr: 5e-4, validation: { loss: 0.9, accuracy: 0.5, macroF1: 0.4 } },
];
const page = (changes: Partial<RunPage> = {}): RunPage => ({ title: 'run', metrics: [], history: [], ...changes });

/** Every sample of class k is of class k, but the last one of each class is taken for class 0. */
function evaluationOf(classes: number, own: RunFacts | undefined = facts) {
  const confusion = new ConfusionMatrix(Array.from({ length: classes }, (_, k) => (k === 1 ? evil : `class ${k}`)));
  for (let k = 0; k < classes; k++) confusion.update([k, k, 0], [k, k, k]);
  const { accuracy, total: n } = confusion;
  return makeReport({ n, loss: 0.5, measures: { loss: 0.5 }, heads: [], accuracy, confusion }, { facts: own }).json;
}

it('shows summary, curves, epochs, classes and mistakes, and escapes what names bring along', () => {
  const metrics = [
    { step: 1, loss: 2, lr: 1 },
    { step: 2, loss: 1, lr: 1 },
    { step: 3, loss: Number.NaN },
    { epoch: 1 },
  ];
  const recipe = parseRecipe({
    name: 'run',
    data: { name: 'folder', dir: evil },
    model: { name: 'mnist-cnn' },
    optimizer: { name: 'sgd', lr: 0.1 },
    batchSize: 2,
    epochs: 2,
  });
  const html = htmlReport(
    evaluationOf(2),
    page({ title: evil, description: evil, metrics, history, recipe, finished: new Date(0), hashes: { test: evil } }),
  );
  expect(html).not.toMatch(/<script|\u202e|(src|href)=|https?:/);
  expect(html).toContain("default-src 'none'");
  for (const text of [
    'validation, on which the epoch was chosen (6 samples)',
    '1,000 parameters, 10 trained (1.00 %)',
    'finished 1970-01-01 00:00 UTC',
    'The run over-fits: from epoch 1 to 2',
    'gap +0.1000',
    // Of two classes with three samples each one of the second was wrong.
    '<b>83.33 %</b>',
    '<i>accuracy</i></th><td></td><td></td><td>0.8333</td>',
    '<td>1</td><td>33.3 %</td><td>100.0 %</td>',
    '<td>0.4000</td><td>0.5000</td><td>75.00 %</td><td>0.7000</td><td>0.001</td><td><b>kept</b></td>',
    'lr: 0.1',
  ])
    expect(html).toContain(text);
  // From the top of the plot to its bottom; the step without a loss is left out.
  expect(html).toContain('points="58.0,18.0 466.0,196.0"');
});

it('takes a report that is not of a run, and a run without epochs', () => {
  const html = htmlReport(
    { ...evaluationOf(1, undefined), report: classificationReport(new ConfusionMatrix(['a'])) },
    page(),
  );
  expect(html).toContain('No epoch was trained.');
  expect(html).toContain('None: every sample was right.');
});

it('stays small where classes and steps are many', () => {
  const metrics = Array.from({ length: 2e5 }, (_, i) => ({ step: i + 1, loss: 2 / (1 + i), lr: 1e-3 }));
  const json = evaluationOf(1000);
  // Processor time: others may be at work on the machine.
  const start = process.cpuUsage();
  const html = htmlReport(json, page({ metrics, history }));
  expect(process.cpuUsage(start).user).toBeLessThan(1e6);
  expect(html.length).toBeLessThan(1e6);
  expect(html).toContain('The 40 of 1,000 classes with the most mistakes');
  expect(html).toContain('means of 667 steps');
});
