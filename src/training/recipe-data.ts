/** What a recipe's `data` may say: where samples and labels come from, and how they are split. */
import { z } from 'zod';
import { textSetNames } from '../data/index.ts';

export const positiveInt = z.number().int().min(1).max(1e9);
/** A share of the samples (below 1) or a number of samples. */
const partSize = z
  .number()
  .min(0)
  .refine((v) => v < 1 || Number.isInteger(v), 'expected a fraction below 1 or a whole number of samples');

/** A column by its name, or by its position from 0 in a file without a header. */
const column = z.union([z.string().min(1), z.number().int().min(0).max(4096)]);

/** Of CoNLL files by position, negative from the end. */
const tokenColumn = z.union([z.string().min(1), z.number().int().min(-4096).max(4096)]);

/** Labels are fields of batches and names of weights. */
export const labelName = z.string().regex(/^[A-Za-z_][\w-]{0,63}$/, 'expected letters, digits, "-" and "_"');

const labelColumn = z.strictObject({
  kind: z.enum(['class', 'classes', 'number', 'numbers']),
  /** The label's own name unless told. */
  column: column.optional(),
  /** Of classes and numbers: a column for each name. */
  columns: z.record(z.string().min(1), column).optional(),
  classes: z.union([z.array(z.string().min(1)), z.record(z.string(), z.string().min(1))]).optional(),
  /** Between the labels of one cell; `|` unless told. */
  separator: z.string().min(1).max(8).optional(),
  /** Rows may lack it. */
  optional: z.boolean().optional(),
});

/** Fields that mean something for some kinds of data only. */
const fieldsOf: Readonly<Record<string, readonly string[]>> = {
  channels: ['folder', 'pictures', 'picture-table', 'voc-counts'],
  digits: ['mnist', 'digits'],
  attributes: ['mnist', 'digits'],
  phrases: ['phrases'],
  entities: ['entities'],
  file: ['table', 'picture-table', 'tokens', 'folder', 'voc-counts'],
  tokenColumn: ['tokens'],
  tagColumn: ['tokens'],
  imageColumn: ['picture-table'],
  imageDir: ['picture-table'],
  sets: ['sets'],
  corpora: ['texts'],
  split: ['texts'],
  ...Object.fromEntries(
    ['labelColumn', 'weightColumn', 'labels', 'delimiter', 'quote', 'header'].map((field) => [
      field,
      ['table', 'picture-table'],
    ]),
  ),
  ...Object.fromEntries(
    ['validationFile', 'testFile', 'format', 'classes', 'encoding'].map((field) => [
      field,
      ['table', 'picture-table', 'tokens'],
    ]),
  ),
  ...Object.fromEntries(['textColumn', 'pairColumn', 'emptyText'].map((field) => [field, ['table']])),
};

const dataFields = z.strictObject({
  name: z.enum([
    ...(['mnist', 'digits', 'folder', 'pictures', 'picture-table', 'voc-counts'] as const),
    ...(['table', 'phrases', 'tokens', 'entities', 'texts', 'sets'] as const),
    ...textSetNames,
  ]),
  /** Where the files are: the four MNIST .gz files, one subdirectory a class, or those of a text set. */
  dir: z.string().min(1).optional(),
  validation: partSize.default(0.1),
  /** Of data without a test part of their own. */
  test: partSize.optional(),
  /** Labelled texts of a `table`: .csv, .tsv, .txt, .jsonl or .parquet. A .tar or .tar.gz in place of a `folder`, or of `voc-counts`: how many objects of each class a picture shows. Under `dir`, if there is one. */
  file: z.string().min(1).optional(),
  validationFile: z.string().min(1).optional(),
  testFile: z.string().min(1).optional(),
  /** Of `tokens`: conll, conllu or jsonl. */
  format: z.enum(['csv', 'jsonl', 'parquet', 'conll', 'conllu']).optional(),
  /** `text` unless told. */
  textColumn: column.optional(),
  /** A second text of each sample. */
  pairColumn: column.optional(),
  /** Of `tokens`: where a word and its tag stand, from 0, negative from the end; keys of JSON Lines. First and last, `tokens` and `tags`, unless told. */
  tokenColumn: tokenColumn.optional(),
  tagColumn: tokenColumn.optional(),
  /** `label` unless told. */
  labelColumn: column.optional(),
  /** What each sample counts in the training loss. */
  weightColumn: column.optional(),
  /** Labels of any kind, by name, in place of the one class of `labelColumn`. */
  labels: z.record(labelName, labelColumn).optional(),
  /** Of a `picture-table`: names of files (`file` unless told), relative to the table's folder or to `imageDir` under `dir`. */
  imageColumn: column.optional(),
  imageDir: z.string().min(1).optional(),
  /** Of digits: which it is, its properties and its slant, in place of which it is alone. */
  attributes: z.boolean().optional(),
  /** Text sets to learn together, each with a head of its own, named `label`. Split as its own recipe splits it. */
  sets: z
    .array(
      z.strictObject({
        set: z.enum(textSetNames),
        label: labelName,
        validation: partSize.optional(),
        test: partSize.optional(),
        seed: z.number().int().min(0).max(Number.MAX_SAFE_INTEGER).optional(),
      }),
    )
    .min(1)
    .optional(),
  /** In order, or names by the values of the column. Those found unless told. */
  classes: z.union([z.array(z.string().min(1)), z.record(z.string(), z.string().min(1))]).optional(),
  delimiter: z.string().length(1).optional(),
  /** null: quotes are ordinary characters. */
  quote: z.string().length(1).nullable().optional(),
  encoding: z.string().min(1).optional(),
  header: z.boolean().optional(),
  /** Rows without text: an error unless told. */
  emptyText: z.enum(['error', 'skip']).optional(),
  /** Texts without labels, to learn from by masked-lm or causal-lm. */
  corpora: z
    .array(
      z.strictObject({
        /** The training part of a set. Where it has no parts, it is split as the recipe that is tuned later splits it. */
        set: z.enum(textSetNames).optional(),
        validation: partSize.optional(),
        test: partSize.optional(),
        seed: z.number().int().min(0).max(Number.MAX_SAFE_INTEGER).optional(),
        /** Lines of a .txt, or a column of a table. */
        file: z.string().min(1).optional(),
        textColumn: column.optional(),
        /** The whole file is one text. */
        document: z.boolean().optional(),
        format: z.enum(['csv', 'jsonl', 'parquet']).optional(),
        delimiter: z.string().length(1).optional(),
        quote: z.string().length(1).nullable().optional(),
        encoding: z.string().min(1).optional(),
        header: z.boolean().optional(),
      }),
    )
    .min(1)
    .optional(),
  /** Which of the texts are for validation: some of all (default), or the last. */
  split: z.enum(['random', 'last']).optional(),
  /** How many reviews the built-in `phrases` makes. */
  phrases: z.strictObject({ train: positiveInt.optional(), test: positiveInt.optional() }).optional(),
  /** How many sentences the built-in `entities` makes. */
  entities: z.strictObject({ train: positiveInt.optional(), test: positiveInt.optional() }).optional(),
  /** Of a folder's pictures; 3 unless told. */
  channels: z.union([z.literal(1), z.literal(3)]).optional(),
  /** How many pictures the built-in `digits` draws, also where it stands in for MNIST. */
  digits: z.strictObject({ train: positiveInt.optional(), test: positiveInt.optional() }).optional(),
});

/** Strict: a field that means nothing for `data.name` is refused. */
export const dataSchema = dataFields.superRefine((data, context) => {
  for (const [field, kinds] of Object.entries(fieldsOf))
    if (data[field as keyof typeof data] !== undefined && !kinds.includes(data.name))
      context.addIssue({
        code: 'custom',
        path: [field],
        message: `expected no such field where data.name is "${data.name}" (it is for ${kinds.join(' and ')})`,
      });
});
