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

/** How a table of texts is read, as the options say it; see table-options.ts. */
export interface TableFlags {
  textColumn?: string;
  pairColumn?: string;
  labelColumn?: string;
  format?: 'csv' | 'jsonl' | 'parquet';
  encoding?: string;
  delimiter?: string;
  quote?: string;
  /** Undefined where neither --header nor --no-header was given. */
  header?: boolean;
}

/** Which samples of a trained model's data, or of others. */
export interface PartOptions extends CommonOptions, TableFlags {
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
  tableOptions(
    command
      .option('--data-dir <dir>', 'where the data files are; where they were in training unless told')
      .addOption(new Option('--split <part>', 'which part').choices(['test', 'validation', 'train']).default('test'))
      .option(
        '--limit <n>',
        'at most n samples, no more than the limit of the recipe: the first of mnist, digits and --file, else a draw in proportion to classes',
        positive('--limit'),
      )
      .option('--batch-size <n>', 'samples at a time', positive('--batch-size'))
      .option('--file <file>', 'labelled texts: .csv, .tsv, .jsonl or .parquet'),
    { of: 'of --file', unlessTold: 'as in training unless told' },
  );

interface TableWords {
  /** Where the table is named: "of a table". */
  readonly of: string;
  readonly unlessTold: string;
  /** Which columns the command reads; all of them unless told. */
  readonly columns?: readonly ('text' | 'pair' | 'label')[];
}

/** How a table of texts is read. */
export function tableOptions(
  command: Command,
  { of, unlessTold, columns = ['text', 'pair', 'label'] }: TableWords,
): Command {
  const words = { text: 'texts: its name, or its position from 0', pair: 'second texts', label: 'labels' };
  for (const column of columns)
    command.option(
      `--${column}-column <column>`,
      `${of}: ${words[column]}${column === 'pair' ? '' : `; ${unlessTold}`}`,
    );
  return command
    .addOption(
      new Option('--format <format>', `${of}; by the ending of its name unless told`).choices([
        'csv',
        'jsonl',
        'parquet',
      ]),
    )
    .option('--encoding <name>', `${of}: utf-8 unless told; gb18030, big5, utf-16le, windows-1252 ...`)
    .option('--delimiter <character>', `${of}: one character, or tab; by the ending of its name unless told`)
    .option('--quote <character>', `${of}: one character, or none where quotes are ordinary characters`)
    .option('--header', `${of}: its first line names the columns; so unless all of them are positions`)
    .option('--no-header', `${of}: its first line is a sample`);
}
