/** Options that several commands share: their types, and the words that add them. */
import { type Command, Option } from 'commander';
import { positive } from './option-values.ts';

/** Options every command has. */
export interface CommonOptions {
  json?: boolean;
  debug?: boolean;
}

/** Options of the commands on a recipe. */
export interface RecipeOptions extends CommonOptions {
  dataDir?: string;
  set: string[];
}

/** Columns of a table. */
export interface ColumnOptions {
  textColumn?: string;
  pairColumn?: string;
  labelColumn?: string;
}

/** Which samples of a trained model's data, or of others. */
export interface PartOptions extends CommonOptions, ColumnOptions {
  dataDir?: string;
  split: 'test' | 'validation' | 'train';
  limit?: number;
  batchSize?: number;
  file?: string;
}

/** Makes a command with the options all have. */
export type MakeCommand = (name: string) => Command;

/** A value of an option that may be repeated. */
export const collect = (value: string, all: string[]): string[] => [...all, value];

export const commonOptions = (command: Command): Command =>
  command
    .option('--json', 'results as JSON on stdout, and nothing else there')
    .option('--debug', 'show where an error happened');

/** A command on a recipe: the argument, its data, its changes. */
export const recipeCommand = (command: Command): Command =>
  command
    .argument('<recipe>', 'built-in name, or a .yaml, .json or .ts file')
    .option('--data-dir <dir>', 'where the data files are')
    .option('--set <field=value>', 'change a field of the recipe; may be repeated', collect, []);

/** Which samples a trained model reads. */
export const partOptions = (command: Command): Command =>
  command
    .option('--data-dir <dir>', 'where the data files are')
    .addOption(new Option('--split <part>', 'which part').choices(['test', 'validation', 'train']).default('test'))
    .option('--limit <n>', 'the first n samples', positive('--limit'))
    .option('--batch-size <n>', 'samples at a time', positive('--batch-size'))
    .option('--file <file>', 'labelled texts: .csv, .tsv, .jsonl or .parquet')
    .option('--text-column <column>', 'of --file: its name, or its position from 0')
    .option('--pair-column <column>', 'of --file: second texts')
    .option('--label-column <column>', 'of --file');
