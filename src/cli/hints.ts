/** What to do next, in the words of the command line: the floors below speak of functions and their options. */
import { readdirSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { type CambiumError, nearest, printable } from '../base/errors.ts';

type Words = (error: CambiumError, onRecipe: boolean) => string | undefined;

const recipeCommands = new Set(['train', 'resume', 'pipeline', 'plan', 'check', 'lr-find', 'profile']);

/** An option of commands that read a table, or the field of a recipe's data. */
const option = (name: string, onRecipe: boolean, value: string, field = name): string =>
  onRecipe ? `--set data.${field}=${value === 'none' ? 'null' : value}` : `--${name} ${value}`;

/** Whether a hint on weights knows the model's options, as that of bare weights does. */
const namesOptions = (hint: string | undefined): boolean => hint?.includes('--set') ?? false;

const words: Readonly<Record<string, Words>> = {
  // Tables and their options; files of features are told by their endings alone.
  FORMAT_UNKNOWN: ({ details, hint }, onRecipe) =>
    hint?.includes('.npy')
      ? hint
      : `read are ${details.expected}; another ending needs ${option('format', onRecipe, 'csv')}, jsonl or parquet`,
  TEXT_ENCODING: (_, onRecipe) =>
    `save the file as UTF-8, or pass its encoding: ${option('encoding', onRecipe, 'gb18030')} (western: windows-1252)`,
  TEXT_BINARY: ({ details, hint }, onRecipe) =>
    details.got === 'UTF-16' ? `pass ${option('encoding', onRecipe, 'utf-16le')}` : hint,
  CSV_COLUMNS: (_, onRecipe) => `is the delimiter right? pass ${option('delimiter', onRecipe, "';'")}`,
  CSV_QUOTES: ({ hint }, onRecipe) =>
    hint?.includes('quote: null')
      ? `close it, or pass ${option('quote', onRecipe, 'none')} if quotes are ordinary characters here`
      : hint,
  TEXT_MISSING: (_, onRecipe) =>
    onRecipe ? 'delete the row, or leave such rows out: --set data.emptyText=skip' : 'delete the row',
  CLASSES_TOO_FEW: ({ hint }, onRecipe) =>
    hint?.includes('labelColumn')
      ? `is it the right column? pass ${option('label-column', onRecipe, 'NAME', 'labelColumn')}`
      : hint,
  WEIGHTS_SHAPE: ({ hint }, onRecipe) =>
    onRecipe
      ? 'give the model the options of the weights (--set model.FIELD=VALUE); --set init.strict=false keeps what does not fit as it is'
      : namesOptions(hint)
        ? hint
        : 'the weights are not those of this model',
  WEIGHTS_KEYS: ({ hint }, onRecipe) =>
    onRecipe
      ? 'are they weights of this model (--set model.name=NAME)? --set init.strict=false loads what fits'
      : namesOptions(hint)
        ? hint
        : 'the weights are not those of this model',
  HUB_NOT_FOUND: ({ hint }) =>
    hint?.includes('hubFile')
      ? 'name a repository or revision that has a .safetensors file: hf:owner/name@revision'
      : hint,
  TOKENIZER_MISSING: () => 'name the folder of a tokenizer: --set tokenizer.path=FOLDER',
  FILE_NOT_FOUND: ({ hint, details }) => hint ?? (details.file === undefined ? undefined : whatIsThere(details.file)),
};

/** The hint of an error, for someone who gave `command`. */
export function hintOf(error: CambiumError, command?: string): string | undefined {
  const own = Object.hasOwn(words, error.code) ? words[error.code] : undefined;
  return own ? own(error, recipeCommands.has(command ?? '')) : error.hint;
}

/** Of a path that is not there. */
function whatIsThere(path: string): string | undefined {
  const folder = dirname(path);
  const where = folder === '.' ? 'the working directory' : printable(folder);
  try {
    const near = nearest(basename(path), readdirSync(folder));
    return near === undefined ? `${where} holds no such file` : `did you mean ${near}?`;
  } catch {
    // The answer to "may it be listed" is a hint too.
    return `there is no folder ${where}`;
  }
}
