/**
 * The command line: names, options and help of every command. It parses and calls; each command's work is loaded when it
 * is asked for, so that `--help` answers at once.
 */
import { Command, CommanderError, Option } from 'commander';
import { type CambiumError, ConfigError, nearest } from '../base/errors.ts';
import type { CheckCommandOptions } from './check.ts';
import type { LrFindCommandOptions } from './lr-find.ts';
import { number, positive } from './option-values.ts';
import { reportError, toleratePipes } from './output.ts';
import type { PipelineCommandOptions } from './pipeline.ts';
import { addVectorCommands } from './vector-commands.ts';
import { version } from './version.ts';

/** Options every command has. */
export interface CommonOptions {
  json?: boolean;
  debug?: boolean;
}

export interface TrainCommandOptions extends CommonOptions {
  dataDir?: string;
  out?: string;
  set: string[];
}

export interface ProfileCommandOptions extends CommonOptions {
  dataDir?: string;
  set: string[];
  steps?: number;
  top?: number;
}

export interface ResumeCommandOptions extends CommonOptions {
  dataDir?: string;
  allowChange: string[];
  set: string[];
  checkpoint?: string;
}

/** Which samples of a trained model's data, or of others. */
export interface PartOptions extends CommonOptions {
  dataDir?: string;
  split: 'test' | 'validation' | 'train';
  limit?: number;
  batchSize?: number;
  file?: string;
  textColumn?: string;
  pairColumn?: string;
  labelColumn?: string;
}
export type EvaluateCommandOptions = PartOptions;

export interface FeaturesCommandOptions extends PartOptions {
  out: string;
  layer?: string;
  pooling: string;
}

export interface GenerateCommandOptions extends CommonOptions {
  prompt: string;
  maxNewTokens?: number;
  temperature?: number;
  topK?: number;
  topP?: number;
  seed?: number;
}

export interface PredictCommandOptions extends CommonOptions {
  top?: number;
  invert?: boolean;
  text: string[];
  textColumn?: string;
  pairColumn?: string;
}

export interface DataCommandOptions extends CommonOptions {
  dataDir?: string;
  out?: string;
  limit?: number;
  textColumn?: string;
  pairColumn?: string;
  labelColumn?: string;
}

export interface TokenizerCommandOptions extends CommonOptions {
  out: string;
  kind: 'wordpiece' | 'bpe';
  vocabSize: number;
  minFrequency?: number;
  cased?: boolean;
  textColumn?: string;
}

export interface ExportCommandOptions extends CommonOptions {
  out: string;
}

const collect = (value: string, all: string[]): string[] => [...all, value];

const exitCodes = `
Exit codes: 0 ok, 1 run failed, 2 usage or recipe, 3 bad data or weights, 4 disk or permission, 5 does not fit in memory,
6 NaN or infinity, 7 network or hash, 8 in use by another process, 130/143 stopped by a signal (a checkpoint is saved).`;

export function buildProgram(): Command {
  const program = new Command('cambium')
    .description('Deep learning in TypeScript: train, fine-tune and use models on your own data.')
    .version(version(), '-V, --version')
    .enablePositionalOptions()
    .helpOption('-h, --help', 'show help')
    .helpCommand('help [command]', 'show help for a command')
    .showHelpAfterError(false)
    .addHelpText(
      'after',
      `
Examples:
  cambium train vgg16-mnist                     learn digits (MNIST if it can be had, else the built-in digits)
  cambium train vgg16-mnist --data-dir mnist/   with the four MNIST .gz files in mnist/
  cambium train my-recipe.yaml --set epochs=3   your own recipe, one field changed
  cambium resume runs/vgg16-mnist-1             go on where it was stopped, bit for bit
  cambium evaluate runs/vgg16-mnist-1 --json    measure the saved model
  cambium predict runs/vgg16-mnist-1 digit.png  label and probabilities
  cambium doctor                                what this machine offers
${exitCodes}`,
    );

  common(program.command('train'))
    .description('train a model by a recipe')
    .argument('<recipe>', 'built-in name, or a .yaml, .json or .ts file')
    .option('--data-dir <dir>', 'where the data files are')
    .option('--out <dir>', 'run folder to make; runs/<recipe>-<n> unless told')
    .option('--set <field=value>', 'change a field of the recipe; may be repeated', collect, [])
    .addHelpText(
      'after',
      `
Built-in recipes: vgg16-mnist, vgg16-mnist-tutorial, cnn-mnist, quickstart, text-quickstart, lstm-news-topics,
bert-mlm-zh, bert-finance-news, bert-news-topics, bert-hotel-reviews, bert-food-reviews, bert-mlm-en, bert-sst2,
squeezenet-hymenoptera, resnet20-cifar10, resnet56-cifar10.
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

  common(program.command('resume'))
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

  common(program.command('pipeline'))
    .description('run a whole flow: pre-train, fine-tune, extract features, apply labels, compare')
    .argument('<pipeline>', 'built-in name (flow-quickstart, digits-flow, news-flow), or a .yaml, .json or .ts file')
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

  common(program.command('evaluate'))
    .description('measure a trained model: the classification report')
    .argument('<dir>', 'run or model folder')
    .option('--data-dir <dir>', 'where the data files are')
    .addOption(new Option('--split <part>', 'which part').choices(['test', 'validation', 'train']).default('test'))
    .option('--limit <n>', 'measure the first n samples', positive('--limit'))
    .option('--batch-size <n>', 'samples at a time', positive('--batch-size'))
    .option('--file <file>', 'labelled texts: .csv, .tsv, .jsonl or .parquet')
    .option('--text-column <column>', 'of --file: its name, or its position from 0')
    .option('--pair-column <column>', 'of --file: second texts')
    .option('--label-column <column>', 'of --file')
    .addHelpText(
      'after',
      `
Examples:
  cambium evaluate runs/vgg16-mnist-1 --data-dir mnist/
  cambium evaluate runs/vgg16-mnist-1/model --json      {"accuracy":0.99,"n":10000,"report":{...}}`,
    )
    .action(async (dir: string, options: EvaluateCommandOptions) => {
      const { evaluateCommand } = await import('./evaluate.ts');
      await evaluateCommand(dir, options);
    });

  common(program.command('predict'))
    .description('label pictures or texts with a trained model')
    .argument('<dir>', 'run or model folder')
    .argument('[file...]', 'pictures (PNG, JPEG, WebP, GIF, TIFF, AVIF of any size), or tables and .txt files of texts')
    .option('--text <text>', 'a text to label; may be repeated', collect, [])
    .option('--text-column <column>', 'of a table: its name, or its position from 0; "text" unless told')
    .option('--pair-column <column>', 'of a table: second texts')
    .option('--top <n>', 'how many classes to print', positive('--top'))
    .option('--invert', 'exchange dark and light first')
    .addHelpText(
      'after',
      `
The preprocessing saved with the model is applied. MNIST digits are light on dark: for a photo of dark ink on paper
give --invert.

Examples:
  cambium predict runs/vgg16-mnist-1 digit.png
  cambium predict runs/vgg16-mnist-1 scan1.jpg scan2.jpg --invert --json
  cambium predict runs/reviews-1 --text 'really good food'
  cambium predict runs/reviews-1 new.csv --text-column review --json`,
    )
    .action(async (dir: string, files: string[], options: PredictCommandOptions) => {
      const { predictCommand } = await import('./predict.ts');
      await predictCommand(dir, files, options);
    });

  common(program.command('data'))
    .description('show a data set: counts, statistics, duplicates, suspect labels, samples')
    .argument(
      '<data>',
      'mnist, digits, phrases, a text set by name, a table of texts, or a folder with one subdirectory a class',
    )
    .option('--data-dir <dir>', 'where the files of a set are')
    .option('--text-column <column>', 'of a table: its name, or its position from 0; "text" unless told')
    .option('--pair-column <column>', 'of a table: second texts')
    .option('--label-column <column>', 'of a table; "label" unless told')
    .option('--out <file>', 'write the card as JSON to this file too')
    .option('--limit <n>', 'look at the first n samples of each part', positive('--limit'))
    .addHelpText(
      'after',
      `
Examples:
  cambium data mnist --data-dir mnist/
  cambium data digits --out digits-card.json
  cambium data photos/ --json
  cambium data sst2 --data-dir data/
  cambium data reviews.csv --text-column review --label-column stars`,
    )
    .action(async (name: string, options: DataCommandOptions) => {
      const { dataCommand } = await import('./data.ts');
      await dataCommand(name, options);
    });

  common(program.command('tokenizer'))
    .description('learn a vocabulary from texts, saved as tokenizer.json')
    .argument('<file...>', 'plain texts (.txt), or tables (.csv, .tsv, .jsonl, .parquet); .gz too')
    .requiredOption('--out <dir>', 'folder to write to')
    .addOption(new Option('--kind <kind>', 'pieces of words').choices(['wordpiece', 'bpe']).default('wordpiece'))
    .option('--vocab-size <n>', 'tokens in all', positive('--vocab-size'), 8000)
    .option('--min-frequency <n>', 'rarer pairs are not joined; 2 unless told', positive('--min-frequency'))
    .option('--cased', 'keep capitals and accents (bpe always does)')
    .option('--text-column <column>', 'of a table: its name, or its position from 0; "text" unless told')
    .addHelpText(
      'after',
      `
Examples:
  cambium tokenizer corpus.txt --out tokenizer/
  cambium tokenizer train.tsv.gz --text-column 0 --kind bpe --vocab-size 16000 --out tokenizer/`,
    )
    .action(async (files: string[], options: TokenizerCommandOptions) => {
      const { tokenizerCommand } = await import('./tokenizer.ts');
      await tokenizerCommand(files, options);
    });

  common(program.command('features'))
    .description('write the vectors of a layer of a trained model for every sample')
    .argument('<run>', 'run or model folder')
    .requiredOption('--out <file>', '.npy (ids and labels beside it), .safetensors or .parquet')
    .option('--layer <path>', 'a module, "input of <module>", head or output (default: input of head)')
    .addOption(
      new Option('--pooling <how>', 'one vector a sample')
        .choices(['auto', 'flatten', 'mean', 'max', 'cls'])
        .default('auto'),
    )
    .option('--data-dir <dir>', 'where the data files are')
    .addOption(new Option('--split <part>', 'which part').choices(['test', 'validation', 'train']).default('test'))
    .option('--limit <n>', 'the first n samples', positive('--limit'))
    .option('--batch-size <n>', 'samples at a time', positive('--batch-size'))
    .option('--file <file>', 'labelled texts: .csv, .tsv, .jsonl or .parquet')
    .option('--text-column <column>', 'of --file: its name, or its position from 0')
    .option('--pair-column <column>', 'of --file: second texts')
    .option('--label-column <column>', 'of --file')
    .addHelpText(
      'after',
      `
Examples:
  cambium features runs/vgg16-mnist-1 --data-dir mnist/ --out vectors.npy
  cambium features runs/vgg16-mnist-1 --layer features.20 --pooling mean --out vectors.parquet`,
    )
    .action(async (run: string, options: FeaturesCommandOptions) => {
      const { featuresCommand } = await import('./features.ts');
      await featuresCommand(run, options);
    });

  addVectorCommands((name) => common(program.command(name)));

  common(program.command('generate'))
    .description('go on with a text, by a causal language model')
    .argument('<model>', "run or model folder, a folder of transformers' GPT-2, or hf:owner/name@revision")
    .requiredOption('--prompt <text>', 'what the text begins with')
    .option('--max-new-tokens <n>', 'tokens to add; 100 unless told', positive('--max-new-tokens'))
    .option('--temperature <t>', 'divides the logits; 0 takes the likeliest token', number('--temperature'))
    .option('--top-k <k>', 'draw among the k likeliest tokens', positive('--top-k'))
    .option('--top-p <p>', 'draw among the likeliest tokens that together have this probability', number('--top-p'))
    .option('--seed <n>', 'same seed, same text; 0 unless told', number('--seed'))
    .addHelpText(
      'after',
      `
Examples:
  cambium generate runs/gpt-shakespeare-1 --prompt "ROMEO:" --temperature 0.8 --top-k 40`,
    )
    .action(async (model: string, options: GenerateCommandOptions) => {
      const { generateCommand } = await import('./generate.ts');
      await generateCommand(model, options);
    });

  common(program.command('export'))
    .description('write a trained BERT or GPT-2 as a folder transformers reads')
    .argument('<run>', 'run or model folder')
    .requiredOption('--out <dir>', 'folder to write')
    .addHelpText(
      'after',
      `
Models of pictures need no export: model.safetensors of their folder has torchvision's names.

Examples:
  cambium export runs/bert-finance-news-1 --out finance-bert/`,
    )
    .action(async (run: string, options: ExportCommandOptions) => {
      const { exportCommand } = await import('./export.ts');
      await exportCommand(run, options);
    });

  common(program.command('models'))
    .description('list the models a recipe can name, and the built-in recipes')
    .addHelpText('after', '\nExamples:\n  cambium models\n  cambium models --json')
    .action(async (options: CommonOptions) => {
      const { modelsCommand } = await import('./models.ts');
      await modelsCommand(options);
    });

  common(program.command('plan'))
    .description('parameters, work and peak memory of a recipe, before anything runs')
    .argument('<recipe>', 'built-in name, or a .yaml, .json or .ts file')
    .option('--data-dir <dir>', 'where the data files are')
    .option('--set <field=value>', 'change a field of the recipe; may be repeated', collect, [])
    .addHelpText(
      'after',
      `
Examples:
  cambium plan vgg16-mnist-tutorial
  cambium plan vgg16-mnist --set batchSize=256 --json`,
    )
    .action(async (recipe: string, options: TrainCommandOptions) => {
      const { planCommand } = await import('./plan.ts');
      await planCommand(recipe, options);
    });

  common(program.command('check'))
    .description('what a recipe would stumble over: labels, inputs, learning rate; nothing is trained')
    .argument('<recipe>', 'built-in name, or a .yaml, .json or .ts file')
    .option('--data-dir <dir>', 'where the data files are')
    .option('--set <field=value>', 'change a field of the recipe; may be repeated', collect, [])
    .addHelpText('after', '\nExits with 1 where a problem is found.\n\nExamples:\n  cambium check my-recipe.yaml')
    .action(async (recipe: string, options: CheckCommandOptions) => {
      const { checkCommand } = await import('./check.ts');
      await checkCommand(recipe, options);
    });

  common(program.command('lr-find'))
    .description('which learning rate suits a recipe: the loss while the rate grows')
    .argument('<recipe>', 'built-in name, or a .yaml, .json or .ts file')
    .option('--min-lr <rate>', 'where it begins; 1e-7 unless told', number('--min-lr'))
    .option('--max-lr <rate>', 'where it ends; 1 unless told', number('--max-lr'))
    .option('--steps <n>', 'steps between them at most; 100 unless told', positive('--steps'))
    .option('--out <file>', 'the curve as CSV')
    .option('--data-dir <dir>', 'where the data files are')
    .option('--set <field=value>', 'change a field of the recipe; may be repeated', collect, [])
    .addHelpText('after', '\nExamples:\n  cambium lr-find vgg16-mnist --data-dir mnist/ --out rates.csv')
    .action(async (recipe: string, options: LrFindCommandOptions) => {
      const { lrFindCommand } = await import('./lr-find.ts');
      await lrFindCommand(recipe, options);
    });

  common(program.command('profile'))
    .description('where the time of one training step goes, against what this machine can do')
    .argument('<recipe>', 'built-in name, or a .yaml, .json or .ts file')
    .option('--steps <n>', 'steps to measure; 10 unless told', positive('--steps'))
    .option('--top <n>', 'rows of the tables of layers and kernels; 15 unless told', positive('--top'))
    .option('--data-dir <dir>', 'where the data files are')
    .option('--set <field=value>', 'change a field of the recipe; may be repeated', collect, [])
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

  common(program.command('doctor'))
    .description('which engine runs here, with how many threads, and why')
    .addHelpText('after', '\nExamples:\n  cambium doctor\n  CAMBIUM_BACKEND=reference cambium doctor --json')
    .action(async (options: CommonOptions) => {
      const { doctorCommand } = await import('./doctor.ts');
      await doctorCommand(options);
    });
  return program;
}

function common(command: Command): Command {
  return command
    .option('--json', 'results as JSON on stdout, and nothing else there')
    .option('--debug', 'show where an error happened');
}

/** Runs one command line; sets the exit code. */
export async function main(args: readonly string[]): Promise<void> {
  toleratePipes();
  const program = buildProgram();
  for (const command of [program, ...program.commands])
    command.exitOverride().configureOutput({ outputError: () => {} });
  try {
    if (args.length === 0) throw new ConfigError('USAGE', 'expected a command', { hint: 'cambium --help lists them' });
    await program.parseAsync([...args], { from: 'user' });
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return;
    const failure = error instanceof CommanderError ? usageError(error, program, args) : error;
    const flags = { json: args.includes('--json'), debug: args.includes('--debug') };
    process.exitCode = await reportError(failure, flags);
    // Nothing may keep a failed command alive: no open handle, no queued native step.
    process.exit();
  }
}

function usageError(error: CommanderError, program: Command, args: readonly string[]): CambiumError {
  const [message, suggestion] = error.message.replace(/^error: /, '').split('\n');
  const near = /\(Did you mean (.*)\?\)/.exec(suggestion ?? '')?.[1] ?? nearestCommand(message ?? '', program);
  const command = program.commands.find((c) => c.name() === args[0]);
  const help = `cambium ${command ? `${command.name()} ` : ''}--help`;
  return new ConfigError('USAGE', message ?? error.message, {
    hint: near === undefined ? `see ${help}` : `did you mean ${near}? see ${help}`,
  });
}

function nearestCommand(message: string, program: Command): string | undefined {
  const word = /unknown command '(.*)'/.exec(message)?.[1];
  return word === undefined
    ? undefined
    : nearest(
        word,
        program.commands.map((c) => c.name()),
      );
}
