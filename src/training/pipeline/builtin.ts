/** The built-in pipelines. `cambium pipeline <name>` runs one; each may be copied into a file. */
import { definePipeline, type PipelineInput } from './schema.ts';

/** VGG16 on so many labelled digits, from the trunk that learned without labels and from random weights, in as many steps. */
const digitsPair = (labels: number, changes: Readonly<Record<string, unknown>>): PipelineInput['stages'] => {
  const set = { 'limit.train': labels, ...changes };
  const figure = `${labels.toLocaleString('en')} labels`;
  const recipe = 'vgg16-few-labels';
  return {
    [`tuned-${labels}`]: { kind: 'train', recipe, from: 'pretrain', set, figure },
    // Random weights want the larger rate of vgg16-mnist.
    [`random-${labels}`]: { kind: 'train', recipe, set: { ...set, init: null, 'optimizer.lr': 1e-3 }, figure },
  };
};

/** Where labels are few the pretrained weights are worth most. */
const fewTopics = {
  kind: 'train',
  recipe: 'bert-news-topics',
  set: { 'limit.train': 1000, epochs: 8 },
  figure: '1,000 titles with topics',
} as const;

const few = {
  name: 'few-labels',
  seed: 1,
  data: { name: 'digits', validation: 200, digits: { train: 4200, test: 1000 } },
  limit: { train: 50 },
  transforms: [{ kind: 'normalize', mean: [0.1307], std: [0.3081] }],
  model: { name: 'mnist-cnn' },
  optimizer: { name: 'adamw', lr: 2e-3, weightDecay: 0.01 },
  schedule: { name: 'oneCycle' },
  batchSize: 10,
  epochs: 20,
} as const;

export const builtinPipelines: Readonly<Record<string, PipelineInput>> = {
  'flow-quickstart': definePipeline({
    name: 'flow-quickstart',
    description:
      'The whole flow in a minute, offline: a small CNN learns digits without labels, then from 50 labelled ones; its features are extracted, and labels carried over to new digits.',
    stages: {
      pretrain: {
        kind: 'train',
        recipe: {
          name: 'pretrain',
          seed: 1,
          data: { name: 'digits', validation: 200, digits: { train: 4200, test: 1000 } },
          task: 'rotation',
          transforms: [{ kind: 'normalize', mean: [0.1307], std: [0.3081] }],
          model: { name: 'mnist-cnn' },
          optimizer: { name: 'adamw', lr: 2e-3, weightDecay: 0.01 },
          schedule: { name: 'oneCycle' },
          batchSize: 32,
          epochs: 3,
        },
      },
      tuned: { kind: 'train', recipe: few, from: 'pretrain', figure: '50 labels' },
      random: { kind: 'train', recipe: few, figure: '50 labels' },
      moved: { kind: 'compare', before: 'pretrain', after: 'tuned' },
      known: { kind: 'features', of: 'tuned', split: 'train' },
      fresh: { kind: 'features', of: 'tuned', split: 'test' },
      labels: { kind: 'labels', from: 'known', to: 'fresh', attach: true },
    },
  }),

  'digits-flow': definePipeline({
    name: 'digits-flow',
    description:
      'VGG16 learns digits without labels, then from 100, 1,000 and 54,000 labelled ones, against random weights with as many steps.',
    stages: {
      pretrain: { kind: 'train', recipe: 'vgg16-rotation' },
      ...digitsPair(100, {}),
      ...digitsPair(1000, { batchSize: 50, epochs: 20, 'limit.validation': 500 }),
      ...digitsPair(54_000, { batchSize: 64, epochs: 1, 'limit.validation': 2000 }),
      moved: { kind: 'compare', before: 'pretrain', after: 'tuned-54000', limit: 2000 },
      known: { kind: 'features', of: 'tuned-1000', split: 'train' },
      fresh: { kind: 'features', of: 'tuned-1000', split: 'test' },
      labels: { kind: 'labels', from: 'known', to: 'fresh', attach: true },
    },
  }),

  'news-flow': definePipeline({
    name: 'news-flow',
    description:
      'BERT learns Chinese by masked words, then topics from few titles and the sentiment of financial news; its features carry the labels over (needs --data-dir).',
    stages: {
      pretrain: { kind: 'train', recipe: 'bert-mlm-zh' },
      'topics-tuned': { ...fewTopics, from: 'pretrain' },
      'topics-random': { ...fewTopics, set: { ...fewTopics.set, init: null } },
      tuned: { kind: 'train', recipe: 'bert-finance-news', from: 'pretrain', figure: 'financial news' },
      random: { kind: 'train', recipe: 'bert-finance-news', set: { init: null }, figure: 'financial news' },
      moved: { kind: 'compare', before: 'pretrain', after: 'tuned' },
      known: { kind: 'features', of: 'tuned', split: 'train' },
      fresh: { kind: 'features', of: 'tuned', split: 'test' },
      labels: { kind: 'labels', from: 'known', to: 'fresh', attach: true },
    },
  }),
};
