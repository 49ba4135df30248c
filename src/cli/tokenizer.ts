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
  trainBpe,
  trainCharacters,
  trainWordPiece,
} from '../data/index.ts';
import { ioError } from '../io/index.ts';
import type { CommonOptions } from './options.ts';
import { note, printJson } from './output.ts';
import { columnOf } from './text.ts';

export interface TokenizerCommandOptions extends CommonOptions {
  out: string;
  kind: 'wordpiece' | 'bpe' | 'char';
  causal?: boolean;
  vocabSize: number;
  minFrequency?: number;
  cased?: boolean;
  textColumn?: string;
}

export async function tokenizerCommand(files: readonly string[], options: TokenizerCommandOptions): Promise<void> {
  const { out, kind, vocabSize, minFrequency, cased = false, causal = false, textColumn, json = false } = options;
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
  const corpus = textsOf(files, textColumn, kind === 'char');
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
  column: string | undefined,
  whole: boolean,
): AsyncGenerator<string, void, void> {
  for (const file of files) {
    const lines = column === undefined && /\.txt(\.gz)?$/i.test(basename(file));
    if (lines && whole) {
      yield* readTextChunks(file);
      continue;
    }
    // No line of a plain text has columns.
    yield* readTexts(
      file,
      lines ? { textColumn: 0, delimiter: '\u0001', quote: null } : { textColumn: columnOf(column) },
    );
  }
}
