/** Names, options and help of the commands on trained models. */
import { Option } from 'commander';
import type { EvaluateCommandOptions } from './evaluate.ts';
import type { ExportCommandOptions } from './export.ts';
import type { FeaturesCommandOptions } from './features.ts';
import type { GenerateCommandOptions } from './generate.ts';
import { number, positive } from './option-values.ts';
import { collect, type MakeCommand, partOptions, tableOptions } from './options.ts';
import type { PredictCommandOptions } from './predict.ts';
import type { QuantizeCommandOptions } from './quantize.ts';

/** @param command makes a command with the options all have. */
export function addModelCommands(command: MakeCommand): void {
  partOptions(command('evaluate'))
    .description('measure a trained model: the classification report')
    .argument('<dir>', 'run or model folder')
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

  tableOptions(command('predict'), { of: 'of a table', unlessTold: 'text unless told', columns: ['text', 'pair'] })
    .description('label pictures or texts with a trained model')
    .argument('<dir>', 'run or model folder')
    .argument('[file...]', 'pictures (PNG, JPEG, WebP, GIF, TIFF, AVIF of any size), or tables and .txt files of texts')
    .option('--text <text>', 'a text to label; may be repeated', collect, [])
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

  partOptions(command('features'))
    .description('write the vectors of a layer of a model for every sample')
    .argument(
      '<model>',
      "run or model folder, a folder of transformers' BERT, GPT-2 or ViT, hf:owner/name@revision, or weights with --model",
    )
    .argument(
      '[data]',
      'folder or .tar of pictures, table, .txt or set (mnist, digits, phrases, ...); its own unless told',
    )
    .option('--out <file>', '.npy (ids, labels and names beside it), .safetensors or .parquet')
    .option('--layers', 'list the layers with the shapes of their outputs, and write nothing')
    .option('--layer <path>', 'a module, "input of <module>", head or output (default: input of head)')
    .addOption(
      new Option('--pooling <how>', 'one vector a sample')
        .choices(['auto', 'flatten', 'mean', 'max', 'cls'])
        .default('auto'),
    )
    .option('--model <name>', 'of bare weights: the model they are of')
    .option('--set <option=value>', 'of --model: an option; may be repeated', collect, [])
    .option('--transforms <list>', 'how pictures become inputs: a list as in recipes, or a file with one')
    .option('--tokenizer <dir>', 'how texts become tokens, where the weights bring none')
    .option('--image-column <column>', 'of a table of pictures: their files; file unless told')
    .option('--image-dir <dir>', 'where those files are; the folder of the table unless told')
    .addHelpText(
      'after',
      `
Examples:
  cambium features runs/vgg16-mnist-1 --data-dir mnist/ --out vectors.npy
  cambium features runs/vgg16-mnist-1 --layer features.20 --pooling mean --out vectors.parquet
  cambium features bert-base-chinese/ comments.csv --text-column review --out vectors.npy
  cambium features resnet18.pth photos/ --model resnet18 --out vectors.parquet`,
    )
    .action(async (model: string, data: string | undefined, options: FeaturesCommandOptions) => {
      const { featuresCommand } = await import('./features.ts');
      await featuresCommand(model, data, options);
    });

  command('generate')
    .description('go on with a text, by a causal language model')
    .argument('<model>', "run or model folder, a folder of transformers' GPT-2, or hf:owner/name@revision")
    .requiredOption('--prompt <text>', 'what the text begins with')
    .option('--max-new-tokens <n>', 'tokens to add; 100 unless told', positive('--max-new-tokens'))
    .option('--temperature <t>', 'divides the logits; 0 takes the likeliest token', number('--temperature'))
    .option('--top-k <k>', 'draw among the k likeliest tokens', positive('--top-k'))
    .option('--top-p <p>', 'draw among the likeliest tokens that together have this probability', number('--top-p'))
    .option('--beams <n>', 'draw nothing: the likeliest text that so many beams find', positive('--beams'))
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

  command('quantize')
    .description('make a trained classifier smaller: weights in 8 bits')
    .argument('<run>', 'run or model folder')
    .requiredOption('--out <dir>', 'folder to write')
    .addHelpText(
      'after',
      `
Weights of linear and convolutional layers are rounded, a scale for each output; the rest and all arithmetic stay fp32: the file
gets smaller, computing no faster. What it costs is measured by evaluating both.

Examples:
  cambium quantize runs/vgg16-mnist-1 --out small/
  cambium evaluate small/ --data-dir mnist/`,
    )
    .action(async (run: string, options: QuantizeCommandOptions) => {
      const { quantizeCommand } = await import('./quantize.ts');
      await quantizeCommand(run, options);
    });

  command('export')
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
}
