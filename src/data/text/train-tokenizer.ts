/** Learns a vocabulary from a corpus: WordPiece with BERT's words, byte-level BPE with GPT-2's, or single characters. */
import { ArgumentError, printable } from '../../base/errors.ts';
import { type BertNormalizerOptions, BertWords, CHINESE_PATTERN, lowercase as lower } from './bert-words.ts';
import { learnMerges } from './bpe-merges.ts';
import { byteCharacters, GPT2_WORDS } from './byte-bpe.ts';
import { Tokenizer } from './tokenizer.ts';
import { bertJson, byteLevelJson, characterJson } from './tokenizer-parts.ts';
import { type Corpus, countWords } from './word-counts.ts';

export interface TrainTokenizerOptions {
  /** Tokens in all, special ones and single characters included. Fewer when the corpus has no more. */
  readonly vocabSize: number;
  /** A pair that occurs less often is not merged; 2 unless told. */
  readonly minFrequency?: number;
  /** The first ids, in this order. BERT's five for WordPiece, `<|endoftext|>` for BPE unless told. */
  readonly specialTokens?: readonly string[];
  /** Default true for WordPiece, false for BPE. */
  readonly lowercase?: boolean;
  /** Each Chinese character is a unit that no token spans. Default true. */
  readonly chineseCharacters?: boolean;
}

export interface TrainWordPieceOptions extends TrainTokenizerOptions {
  /** As `lowercase` unless told. */
  readonly stripAccents?: boolean;
}

export const bertSpecialTokens: readonly string[] = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'];

/** Of a causal language model that may meet what its vocabulary lacks. */
export const causalSpecialTokens: readonly string[] = ['<pad>', '<unk>', '<|endoftext|>'];

export interface TrainCharactersOptions {
  /** Tokens in all, special ones included; every character of the corpus unless told. */
  readonly vocabSize?: number;
  /** A rarer character is unknown; 1 unless told. */
  readonly minFrequency?: number;
  /** The first ids, in this order; [UNK] or <unk> must be one. BERT's five unless told. */
  readonly specialTokens?: readonly string[];
  /** Default false. */
  readonly lowercase?: boolean;
}

/**
 * A WordPiece vocabulary by pair frequency, as Hugging Face's WordPieceTrainer learns it. Where `vocabSize` does not hold
 * every character, the rarest are left out (and read as [UNK]).
 * @throws ArgumentError for a `vocabSize` that holds no character, and for an empty corpus.
 */
export async function trainWordPiece(corpus: Corpus, options: TrainWordPieceOptions): Promise<Tokenizer> {
  const { vocabSize, minFrequency = 2, specialTokens = bertSpecialTokens } = options;
  checkOptions(vocabSize, minFrequency, specialTokens);
  if (!specialTokens.includes('[UNK]'))
    throw new ArgumentError('OPTION_INVALID', 'specialTokens: WordPiece needs [UNK] for what it does not know', {
      field: 'specialTokens',
      got: specialTokens,
    });
  const normalizer: BertNormalizerOptions = {
    lowercase: options.lowercase ?? true,
    stripAccents: options.stripAccents ?? null,
    handleChineseChars: options.chineseCharacters ?? true,
  };
  const words = new BertWords(normalizer);
  // A special token in the text is itself, not a word.
  const plain = withoutSpecial(specialTokens);
  const counts = await countWords(corpus, (text) => plain(text).flatMap((part) => words.words(part)));
  const spelled = [...counts]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([word, count]) => ({ pieces: spell(word), count }));
  const first = alphabet(spelled, vocabSize - specialTokens.length, new Set(specialTokens));
  const symbols = [...specialTokens, ...first];
  const idOf = new Map(symbols.map((symbol, id) => [symbol, id]));
  const known = spelled.filter(({ pieces }) => pieces.every((piece) => idOf.has(piece)));
  const learned = learnMerges(
    known.map(({ pieces, count }) => ({ symbols: pieces.map((piece) => idOf.get(piece) as number), count })),
    symbols,
    { vocabSize, minFrequency, join: (a, b) => a + b.slice(2) },
  );
  const vocab = new Map(learned.symbols.map((symbol, id) => [symbol, id]));
  return new Tokenizer(bertJson(vocab, {}, normalizer, specialTokens));
}

/** A word's characters, all but the first as continuations. */
const spell = (word: string): string[] => Array.from(word, (c, i) => (i === 0 ? c : `##${c}`));

/** Single characters in the order of their code points, continuations after them; the rarest go where not all fit. */
function alphabet(
  words: readonly { readonly pieces: readonly string[]; readonly count: number }[],
  room: number,
  special: ReadonlySet<string>,
): string[] {
  const counts = new Map<string, number>();
  for (const { pieces, count } of words)
    for (const piece of pieces) counts.set(piece, (counts.get(piece) ?? 0) + count);
  // As the Rust trainer: a character that only continues words still gets a token of its own.
  for (const piece of [...counts.keys()])
    if (piece.length > 2 && piece.startsWith('##') && !counts.has(piece.slice(2))) counts.set(piece.slice(2), 0);
  const pieces = [...counts].filter(([piece]) => !special.has(piece));
  if (pieces.length > room) pieces.sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1)).length = room;
  const continues = (piece: string): boolean => piece.length > 2 && piece.startsWith('##');
  const point = (piece: string): number => (continues(piece) ? piece.slice(2) : piece).codePointAt(0) as number;
  return pieces
    .map(([piece]) => piece)
    .sort((a, b) => Number(continues(a)) - Number(continues(b)) || point(a) - point(b));
}

/**
 * A byte-level BPE vocabulary: every text can be written, nothing is unknown.
 * @throws ArgumentError for a `vocabSize` below 256 and the special tokens, and for an empty corpus.
 */
export async function trainBpe(corpus: Corpus, options: TrainTokenizerOptions): Promise<Tokenizer> {
  const { vocabSize, minFrequency = 2, specialTokens = ['<|endoftext|>'], lowercase = false } = options;
  const { chineseCharacters = true } = options;
  checkOptions(vocabSize, minFrequency, specialTokens);
  const bytes = [...byteCharacters].sort((a, b) => a.charCodeAt(0) - b.charCodeAt(0));
  if (vocabSize < specialTokens.length + bytes.length)
    throw new ArgumentError(
      'VOCAB_TOO_SMALL',
      `vocabSize ${vocabSize} does not hold the 256 bytes and ${specialTokens.length} special tokens`,
      { field: 'vocabSize', expected: `>= ${specialTokens.length + bytes.length}`, got: vocabSize },
    );
  const chinese = new RegExp(`(${CHINESE_PATTERN})`, 'u');
  const plain = withoutSpecial(specialTokens);
  const split = (text: string): string[] =>
    plain(lowercase ? lower(text) : text)
      .flatMap((part) => (chineseCharacters ? part.split(chinese) : [part]))
      .flatMap((part) => part.match(GPT2_WORDS) ?? []);
  const counts = await countWords(corpus, split);
  const symbols = [...specialTokens, ...bytes];
  const idOf = new Map(symbols.map((symbol, id) => [symbol, id]));
  const ofByte = byteCharacters.map((c) => idOf.get(c) as number);
  const words = [...counts].sort(([a], [b]) => (a < b ? -1 : 1));
  const learned = learnMerges(
    words.map(([word, count]) => ({ symbols: Array.from(Buffer.from(word), (b) => ofByte[b] as number), count })),
    symbols,
    { vocabSize, minFrequency, join: (a, b) => a + b },
  );
  const vocab = Object.fromEntries(learned.symbols.map((symbol, id) => [symbol, id]));
  const merges = learned.merges.map(([a, b]) => `${a} ${b}`);
  return new Tokenizer(byteLevelJson(vocab, merges, { chineseCharacters, specialTokens, lowercase }));
}

/**
 * Every character (code point) a token, in the order of code points, white space and line ends among them: what is known is
 * decoded as it was written. With BERT's special tokens texts are framed for classification; `causalSpecialTokens` frame nothing.
 * @throws ArgumentError for options out of range, special tokens without an unknown one, and an empty corpus.
 */
export async function trainCharacters(corpus: Corpus, options: TrainCharactersOptions = {}): Promise<Tokenizer> {
  const { vocabSize = 2 ** 24, minFrequency = 1, specialTokens = bertSpecialTokens, lowercase = false } = options;
  checkOptions(vocabSize, minFrequency, specialTokens);
  const unknown = ['[UNK]', '<unk>'].find((token) => specialTokens.includes(token));
  if (unknown === undefined)
    throw new ArgumentError('OPTION_INVALID', 'specialTokens: characters need [UNK] or <unk> for what is not known', {
      field: 'specialTokens',
      expected: '[UNK] or <unk> among them',
      got: specialTokens,
    });
  const plain = withoutSpecial(specialTokens);
  // Half of a surrogate pair is no character, and no file can hold it.
  const counts = await countWords(corpus, (text) =>
    plain(text).flatMap((part) => Array.from(lowercase ? lower(part) : part).filter((c) => !/\p{Cs}/u.test(c))),
  );
  const found = [...counts].filter(([c, count]) => count >= minFrequency && !specialTokens.includes(c));
  const point = (c: string): number => c.codePointAt(0) as number;
  const kept = found
    .sort(([a, m], [b, n]) => n - m || point(a) - point(b))
    .slice(0, vocabSize - specialTokens.length)
    .map(([c]) => c)
    .sort((a, b) => point(a) - point(b));
  const vocab = new Map([...specialTokens, ...kept].map((token, id) => [token, id]));
  return new Tokenizer(characterJson(vocab, { specialTokens, unknown, lowercase }));
}

function checkOptions(vocabSize: number, minFrequency: number, specialTokens: readonly string[]): void {
  if (!Number.isInteger(vocabSize) || vocabSize <= specialTokens.length || vocabSize > 2 ** 24)
    throw new ArgumentError(
      'OPTION_INVALID',
      `vocabSize: expected more than ${specialTokens.length}, got ${vocabSize}`,
      {
        field: 'vocabSize',
        got: vocabSize,
      },
    );
  if (!Number.isInteger(minFrequency) || minFrequency < 0)
    throw new ArgumentError('OPTION_INVALID', `minFrequency: expected a whole number, got ${minFrequency}`, {
      field: 'minFrequency',
      got: minFrequency,
    });
  const bad = specialTokens.find(
    (token, i) => typeof token !== 'string' || token === '' || specialTokens.indexOf(token) !== i,
  );
  if (bad !== undefined)
    throw new ArgumentError('OPTION_INVALID', `specialTokens: ${printable(bad)} is empty or given twice`, {
      field: 'specialTokens',
      got: bad,
    });
}

/** The parts of a text between special tokens. */
function withoutSpecial(specialTokens: readonly string[]): (text: string) => string[] {
  if (specialTokens.length === 0) return (text) => [text];
  const longestFirst = [...specialTokens].sort((a, b) => b.length - a.length);
  const pattern = new RegExp(longestFirst.map((t) => t.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')).join('|'));
  return (text) => text.split(pattern);
}
