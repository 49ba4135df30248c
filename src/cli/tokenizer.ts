/** `cambium tokenizer`: learns a vocabulary from files and writes it as Hugging Face's tokenizer.json. */
import { mkdir } from 'node:fs/promises';
import { basename } from 'node:path';
import { readTexts, saveTokenizer, trainBpe, trainWordPiece } from '../data/index.ts';
import { ioError } from '../io/index.ts';
import type { CommonOptions } from './options.ts';
import { note, printJson } from './output.ts';
import { columnOf } from './text.ts';

export interface TokenizerCommandOptions extends CommonOptions {
  out: string;
  kind: 'wordpiece' | 'bpe';
  vocabSize: number;
  minFrequency?: number;
  cased?: boolean;
  textColumn?: string;
}

export async function tokenizerCommand(files: readonly string[], options: TokenizerCommandOptions): Promise<void> {
  const { out, kind, vocabSize, minFrequency, cased = false, textColumn, json = false } = options;
  // Found out before the work, not after it.
  await mkdir(out, { recursive: true }).catch((cause) => {
    throw ioError(cause, 'make', out);
  });
  const start = performance.now();
  const learn = { vocabSize, minFrequency, lowercase: kind === 'wordpiece' && !cased };
  const corpus = textsOf(files, textColumn);
  const tokenizer = await (kind === 'bpe'
    ? trainBpe(corpus, { ...learn, specialTokens: ['<pad>', '<|endoftext|>'] })
    : trainWordPiece(corpus, learn));
  await saveTokenizer(out, tokenizer);
  const seconds = (performance.now() - start) / 1000;
  if (json) return printJson({ out, kind: tokenizer.kind, vocabSize: tokenizer.vocabSize, seconds });
  await note(`${tokenizer.kind} of ${tokenizer.vocabSize} tokens in ${seconds.toFixed(1)} s; saved: ${out}`);
}

/** Lines of .txt files, a column of others. */
async function* textsOf(files: readonly string[], column: string | undefined): AsyncGenerator<string, void, void> {
  for (const file of files) {
    const lines = column === undefined && /\.txt(\.gz)?$/i.test(basename(file));
    // No line of a plain text has columns.
    yield* readTexts(
      file,
      lines ? { textColumn: 0, delimiter: '\u0001', quote: null } : { textColumn: columnOf(column) },
    );
  }
}
