/** Names, options and help of the commands on data, and of those that say what there is. */
import { Option } from 'commander';
import type { DataCommandOptions } from './data.ts';
import { positive } from './option-values.ts';
import { type CommonOptions, type MakeCommand, tableOptions } from './options.ts';
import type { TokenizerCommandOptions } from './tokenizer.ts';

/** @param command makes a command with the options all have. */
export function addDataCommands(command: MakeCommand): void {
  tableOptions(command('data'), { of: 'of a table', unlessTold: 'text and label unless told' })
    .description('show a data set: counts, statistics, duplicates, suspect labels, samples')
    .argument(
      '<data>',
      'mnist, digits, phrases, a text set by name, a table of texts, or a folder with one subdirectory a class',
    )
    .option('--data-dir <dir>', 'where the files of a set are')
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

  tableOptions(command('tokenizer'), { of: 'of a table', unlessTold: 'text unless told', columns: ['text'] })
    .description('learn a vocabulary from texts, saved as tokenizer.json')
    .argument('<file...>', 'plain texts (.txt), or tables (.csv, .tsv, .jsonl, .parquet); .gz too')
    .requiredOption('--out <dir>', 'folder to write to')
    .addOption(
      new Option('--kind <kind>', 'pieces of words, or characters')
        .choices(['wordpiece', 'bpe', 'char'])
        .default('wordpiece'),
    )
    .option('--vocab-size <n>', 'tokens in all', positive('--vocab-size'), 8000)
    .option(
      '--min-frequency <n>',
      'rarer pairs (char: characters) are left out; 2 (char: 1) unless told',
      positive('--min-frequency'),
    )
    .option('--cased', 'keep capitals and accents (bpe and char always do)')
    .option('--causal', 'char: special tokens of a causal language model, not of a classifier (bpe always has them)')
    .addHelpText(
      'after',
      `
Examples:
  cambium tokenizer corpus.txt --out tokenizer/
  cambium tokenizer train.tsv.gz --text-column 0 --kind bpe --vocab-size 16000 --out tokenizer/
  cambium tokenizer shakespeare.txt --kind char --causal --out tokenizer/`,
    )
    .action(async (files: string[], options: TokenizerCommandOptions) => {
      const { tokenizerCommand } = await import('./tokenizer.ts');
      await tokenizerCommand(files, options);
    });

  command('models')
    .description('list the models a recipe can name, and the built-in recipes')
    .addHelpText('after', '\nExamples:\n  cambium models\n  cambium models --json')
    .action(async (options: CommonOptions) => {
      const { modelsCommand } = await import('./models.ts');
      await modelsCommand(options);
    });

  command('doctor')
    .description('which engine runs here, with how many threads, and why')
    .addHelpText('after', '\nExamples:\n  cambium doctor\n  CAMBIUM_BACKEND=reference cambium doctor --json')
    .action(async (options: CommonOptions) => {
      const { doctorCommand } = await import('./doctor.ts');
      await doctorCommand(options);
    });
}
