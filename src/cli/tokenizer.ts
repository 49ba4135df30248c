/** `cambium tokenizer`: learns a vocabulary from files and writes it as Hugging Face's tokenizer.json. */
import { mkdir } from 'node:fs/promises';
import { basename } from 'node:path';
import { ConfigError } from '../base/errors.ts';
import {
  bertSpecialTokens,
  causalSpecialTokens,
  readTextChunks,
  readTexts,
  saveTokenizer,
  type TextTableOptions,
  trainBpe,
  trainCharacters,
  trainWordPiece,
} from '../data/index.ts';
import { ioError } from '../io/index.ts';
import type { CommonOptions, TableFlags } from './options.ts';
import { note, printJson } from './output.ts';
import { tableOptionsOf } from './table-options.ts';

export interface TokenizerCommandOptions extends CommonOptions, Omit<TableFlags, 'pairColumn' | 'labelColumn'> {
  out: string;
  kind: 'wordpiece' | 'bpe' | 'char';
  causal?: boolean;
  vocabSize: number;
  minFrequency?: number;
  cased?: boolean;
}

export async function tokenizerCommand(files: readonly string[], options: TokenizerCommandOptions): Promise<void> {
  const { out, kind, vocabSize, minFrequency, cased = false, causal = false, json = false } = options;
  if (causal && kind === 'wordpiece')
    throw new ConfigError('OPTION_INVALID', '--causal does not fit --kind wordpiece', {
      field: '--causal',
      expected: '--kind bpe or char',
      got: kind,
    });
  // Found out before the work, not after it.
  await mkdir(out, { recursive: true }).catch((cause) => {
    throw ioError(cause, 'make', out);
  });
  const start = performance.now();
  const learn = { vocabSize, minFrequency, lowercase: kind === 'wordpiece' && !cased };
  const corpus = textsOf(files, tableOptionsOf(options), kind === 'char');
  const tokenizer = await (kind === 'char'
    ? trainCharacters(corpus, { ...learn, specialTokens: causal ? causalSpecialTokens : bertSpecialTokens })
    : kind === 'bpe'
      ? trainBpe(corpus, { ...learn, specialTokens: ['<pad>', '<|endoftext|>'] })
      : trainWordPiece(corpus, learn));
  await saveTokenizer(out, tokenizer);
  const seconds = (performance.now() - start) / 1000;
  if (json)
    return printJson({
      out,
      kind: kind === 'char' ? 'characters' : tokenizer.kind,
      vocabSize: tokenizer.vocabSize,
      seconds,
    });
  const what = kind === 'char' ? 'characters, a vocabulary' : tokenizer.kind;
  await note(`${what} of ${tokenizer.vocabSize} tokens in ${seconds.toFixed(1)} s; saved: ${out}`);
}

/** Lines of .txt files (or the whole of them, where line ends count), a column of others. */
async function* textsOf(
  files: readonly string[],
  table: TextTableOptions,
  whole: boolean,
): AsyncGenerator<string, void, void> {
  for (const file of files) {
    const lines = table.textColumn === undefined && table.format === undefined && /\.txt(\.gz)?$/i.test(basename(file));
    if (lines && whole) {
      yield* readTextChunks(file, { encoding: table.encoding });
      continue;
    }
    // No line of a plain text has columns.
    yield* readTexts(
      file,
      lines ? { ...table, textColumn: 0, delimiter: '\u0001', quote: null, maxField: 2 ** 22 } : table,
    );
  }
}
