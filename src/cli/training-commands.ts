/** Names, options and help of the commands on recipes and runs. */
import type { CheckCommandOptions } from './check.ts';
import type { LrFindCommandOptions } from './lr-find.ts';
import { number, positive } from './option-values.ts';
import { collect, type MakeCommand, recipeCommand } from './options.ts';
import type { PipelineCommandOptions } from './pipeline.ts';
import type { PlanCommandOptions } from './plan.ts';
import type { ProfileCommandOptions } from './profile.ts';
import type { ResumeCommandOptions, TrainCommandOptions } from './train.ts';

/** @param command makes a command with the options all have. */
export function addTrainingCommands(command: MakeCommand): void {
  recipeCommand(command('train'))
    .description('train a model by a recipe')
    .option('--out <dir>', 'run folder to make; runs/<recipe>-<n> unless told')
    .addHelpText(
      'after',
      `
cambium models lists the built-in recipes, the models and their options.
Without --data-dir the recipes for MNIST look in the cache, then download; offline they use the built-in digits.

Examples:
  cambium train quickstart
  cambium train vgg16-mnist --data-dir mnist/ --out runs/mine
  cambium train vgg16-mnist-tutorial --set limit.train=2000 --set limit.test=500 --set epochs=1
  cambium train my-recipe.yaml --json            one JSON event a line on stdout

A recipe file:
  name: my-pictures
  data: { name: folder, dir: photos, validation: 0.1, test: 0.1 }
  transforms:
    - { kind: resize, height: 64, width: 64 }
    - { kind: normalize, mean: [0.5], std: [0.5] }
  model: { name: vgg11_bn, classifier: pooled }
  optimizer: { name: adamw, lr: 1e-3 }
  batchSize: 32
  epochs: 10

Starting from trained weights (a run, a weight file, hf:owner/name), the head first:
  init: { weights: runs/vgg16-mnist-1 }
  freeze: { belowDepth: head }
  unfreeze: [{ epoch: 2, fromDepth: -4 }, { epoch: 3, fromDepth: 0 }]
  optimizer: { name: adamw, lr: 1e-3, layerDecay: 0.8 }

One for texts:
  name: my-reviews
  data: { name: table, file: reviews.csv, textColumn: review, labelColumn: stars, test: 0.1 }
  tokenizer: { train: wordpiece, vocabSize: 8000 }
  maxLength: 128
  model: { name: lstm-classifier }
  optimizer: { name: adamw, lr: 1e-3 }
  batchSize: 32
  epochs: 5

Ctrl-C saves a checkpoint of the current step and exits with 130; a second one exits at once.`,
    )
    .action(async (recipe: string, options: TrainCommandOptions) => {
      const { trainCommand } = await import('./train.ts');
      await trainCommand(recipe, options);
    });

  command('resume')
    .description('continue an interrupted run, bit for bit')
    .argument('<run>', 'run folder')
    .option('--data-dir <dir>', 'where the data files are now')
    .option(
      '--allow-change <field>',
      'accept that this field of the recipe (or "data") differs; may be repeated',
      collect,
      [],
    )
    .option('--set <field=value>', 'change a field of the recipe (needs --allow-change)', collect, [])
    .option('--checkpoint <name>', 'start from this checkpoint instead of the newest intact one')
    .addHelpText(
      'after',
      `
Examples:
  cambium resume runs/vgg16-mnist-1
  cambium resume runs/vgg16-mnist-1 --set epochs=5 --allow-change epochs`,
    )
    .action(async (run: string, options: ResumeCommandOptions) => {
      const { resumeCommand } = await import('./train.ts');
      await resumeCommand(run, options);
    });

  command('pipeline')
    .description('run a whole flow: pre-train, fine-tune, extract features, apply labels, compare')
    .argument('<pipeline>', 'built-in name (cambium models lists them), or a .yaml, .json or .ts file')
    .option('--data-dir <dir>', 'where the data files are')
    .option('--out <dir>', 'folder of the results; runs/<name> unless told. One that holds this pipeline goes on')
    .option('--chart', 'print the flow as a Mermaid chart, and run nothing')
    .addHelpText(
      'after',
      `
Examples:
  cambium pipeline flow-quickstart
  cambium pipeline digits-flow --data-dir mnist/ --out runs/digits-flow
  cambium pipeline my-flow.yaml --chart

A pipeline file:
  name: my-flow
  stages:
    pretrain: { kind: train, recipe: my-pretraining.yaml }
    tuned: { kind: train, recipe: my-recipe.yaml, from: pretrain, set: { limit.train: 500 } }
    random: { kind: train, recipe: my-recipe.yaml, set: { limit.train: 500, init: null } }
    moved: { kind: compare, before: pretrain, after: tuned }
    known: { kind: features, of: tuned, split: train }
    fresh: { kind: features, of: tuned, split: test }
    labels: { kind: labels, from: known, to: fresh, attach: true }

Ctrl-C saves a checkpoint; the same command again goes on from there.`,
    )
    .action(async (source: string, options: PipelineCommandOptions) => {
      const { pipelineCommand } = await import('./pipeline.ts');
      await pipelineCommand(source, options);
    });

  recipeCommand(command('plan'))
    .description('parameters, work and peak memory of a recipe, before anything runs')
    .option('--model <name>', 'compare models in the place of its own; may be repeated', collect, [])
    .option('--time <steps>', 'with --model: time each by so many steps', positive('--time'))
    .addHelpText(
      'after',
      `
Examples:
  cambium plan vgg16-mnist-tutorial
  cambium plan vgg16-mnist --set batchSize=256 --json
  cambium plan vgg16-mnist --model vgg16_bn --model resnet18 --model mnist-cnn --time 10`,
    )
    .action(async (recipe: string, options: PlanCommandOptions) => {
      const { planCommand } = await import('./plan.ts');
      await planCommand(recipe, options);
    });

  recipeCommand(command('check'))
    .description('what a recipe would stumble over: labels, inputs, learning rate; nothing is trained')
    .addHelpText('after', '\nExits with 1 where a problem is found.\n\nExamples:\n  cambium check my-recipe.yaml')
    .action(async (recipe: string, options: CheckCommandOptions) => {
      const { checkCommand } = await import('./check.ts');
      await checkCommand(recipe, options);
    });

  recipeCommand(command('lr-find'))
    .description('which learning rate suits a recipe: the loss while the rate grows')
    .option('--min-lr <rate>', 'where it begins; 1e-7 unless told', number('--min-lr'))
    .option('--max-lr <rate>', 'where it ends; 1 unless told', number('--max-lr'))
    .option('--steps <n>', 'steps between them at most; 100 unless told', positive('--steps'))
    .option('--out <file>', 'the curve as CSV')
    .addHelpText('after', '\nExamples:\n  cambium lr-find vgg16-mnist --data-dir mnist/ --out rates.csv')
    .action(async (recipe: string, options: LrFindCommandOptions) => {
      const { lrFindCommand } = await import('./lr-find.ts');
      await lrFindCommand(recipe, options);
    });

  recipeCommand(command('profile'))
    .description('where the time of one training step goes, against what this machine can do')
    .option('--steps <n>', 'steps to measure; 10 unless told', positive('--steps'))
    .option('--top <n>', 'rows of the tables of layers and kernels; 15 unless told', positive('--top'))
    .addHelpText(
      'after',
      `
Time, bytes and rates by class of work, by layer and by kernel, each against the limit: operations by the rate of a large
product, bytes by the rate of a pass over memory, both measured at the start. Nothing is saved. Needs the native engine.

Examples:
  cambium profile vgg16-mnist-tutorial
  cambium profile vgg16-mnist --set batchSize=64 --set precision=bf16 --top 30
  cambium profile my-recipe.yaml --steps 20 --json`,
    )
    .action(async (recipe: string, options: ProfileCommandOptions) => {
      const { profileCommand } = await import('./profile.ts');
      await profileCommand(recipe, options);
    });
}
