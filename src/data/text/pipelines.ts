/**
 * The commonest pipelines from text to ids, BERT's WordPiece, GPT-2's byte-level BPE and characters, made for speed. Words
 * are few and texts are many, so the first two remember the ids of what they met. All follow the Rust library where the
 * JavaScript one does not: characters beyond the basic plane, and the final sigma.
 */
import { BertWords, lowercase } from './bert-words.ts';
import { ByteBpe, GPT2_WORDS, LONGEST_WORD } from './byte-bpe.ts';
import type { AddedToken, JsonObject, TokenizerFile } from './tokenizer-json.ts';
import { CHARACTER_SOURCE, CHINESE_SOURCE } from './tokenizer-parts.ts';
import { detached } from './word-counts.ts';
import { WordPieceModel } from './wordpiece.ts';

/** Ids of a text without special tokens of its own. */
export type Split = (text: string) => readonly number[];

// Entries remembered; then it starts again.
const MEMORY = 2 ** 17;

/** BERT's pipeline, if the file describes it and nothing else. */
export function bertSplit({ json, kind, model, vocab, added, unkToken }: TokenizerFile): Split | undefined {
  const normalizer = json.normalizer as JsonObject | null | undefined;
  const pre = json.pre_tokenizer as JsonObject | null | undefined;
  if (kind !== 'WordPiece' || normalizer?.type !== 'BertNormalizer' || pre?.type !== 'BertPreTokenizer')
    return undefined;
  const words = new BertWords({
    cleanText: normalizer.clean_text !== false,
    handleChineseChars: normalizer.handle_chinese_chars !== false,
    stripAccents: typeof normalizer.strip_accents === 'boolean' ? normalizer.strip_accents : null,
    lowercase: normalizer.lowercase !== false,
  });
  const { continuing_subword_prefix: prefix, max_input_chars_per_word: longest } = model;
  const pieces = new WordPieceModel({
    vocab,
    unkId: vocab.get(unkToken as string) as number,
    ...(typeof prefix === 'string' && { prefix }),
    ...(typeof longest === 'number' && { maxInputCharsPerWord: longest }),
  });
  const chunk = remembering((text) => words.split(text).flatMap((word) => pieces.ids(word)));
  return aroundAdded(added, vocab, (text, out) => {
    for (const piece of words.chunks(text)) append(out, chunk(piece));
  });
}

/** GPT-2's pipeline, with Chinese characters cut off first where the file says so. `library` takes very long words. */
export function byteLevelSplit({ json, kind, model, vocab, added }: TokenizerFile, library: Split): Split | undefined {
  const normalizer = json.normalizer as JsonObject | null | undefined;
  if (kind !== 'BPE' || (normalizer && normalizer.type !== 'Lowercase')) return undefined;
  let pre = json.pre_tokenizer as JsonObject | null | undefined;
  let chinese: RegExp | undefined;
  if (pre?.type === 'Sequence' && Array.isArray(pre.pretokenizers) && pre.pretokenizers.length === 2) {
    const [first, second] = pre.pretokenizers as [JsonObject, JsonObject];
    const { Regex: source } = (first.pattern ?? {}) as JsonObject;
    if (first.type !== 'Split' || first.behavior !== 'Isolated' || source !== CHINESE_SOURCE) return undefined;
    chinese = new RegExp(`(${CHINESE_SOURCE})`, 'u');
    pre = second;
  }
  if (pre?.type !== 'ByteLevel' || pre.use_regex === false || pre.add_prefix_space === true) return undefined;
  if (model.byte_fallback || model.ignore_merges || model.continuing_subword_prefix || model.end_of_word_suffix)
    return undefined;
  const pairs = (model.merges as (string | [string, string])[]).map(
    (merge) => (typeof merge === 'string' ? merge.split(' ') : merge) as [string, string],
  );
  const bpe = ByteBpe.from(vocab, pairs);
  if (!bpe) return undefined;
  const word = remembering((text) => (text.length > LONGEST_WORD ? library(text) : bpe.ids(text)));
  return aroundAdded(added, vocab, (written, out) => {
    const text = normalizer ? lowercase(written) : written;
    for (const part of chinese ? text.split(chinese) : [text])
      for (const match of part.match(GPT2_WORDS) ?? []) append(out, word(match));
  });
}

/** Characters as `characterJson` writes them. Where a reader has added merges, the library runs them. */
export function characterSplit({ json, kind, model, vocab, added, unkToken }: TokenizerFile): Split | undefined {
  const normalizer = json.normalizer as JsonObject | null | undefined;
  const pre = json.pre_tokenizer as JsonObject | null | undefined;
  const { Regex: source } = (pre?.pattern ?? {}) as JsonObject;
  if (kind !== 'BPE' || pre?.type !== 'Split' || pre.behavior !== 'Isolated' || source !== CHARACTER_SOURCE)
    return undefined;
  if ((normalizer && normalizer.type !== 'Lowercase') || (model.merges as unknown[]).length > 0) return undefined;
  if (model.byte_fallback || model.continuing_subword_prefix || model.end_of_word_suffix) return undefined;
  const unknown = unkToken === null ? undefined : vocab.get(unkToken);
  const lower = normalizer?.type === 'Lowercase';
  return aroundAdded(added, vocab, (text, out) => {
    let last: number | undefined;
    for (const character of lower ? lowercase(text) : text) {
      const id = vocab.get(character) ?? unknown;
      if (id !== undefined && !(model.fuse_unk && id === unknown && last === unknown)) out.push(id);
      last = id;
    }
  });
}

function remembering(make: Split): Split {
  const memory = new Map<string, readonly number[]>();
  return (text) => {
    const known = memory.get(text);
    if (known) return known;
    const ids = make(text);
    // What is this long is hardly a word, and hardly comes again.
    if (text.length > LONGEST_WORD) return ids;
    if (memory.size >= MEMORY) memory.clear();
    memory.set(detached(text), ids);
    return ids;
  };
}

/** Added tokens in a text are themselves, the parts between go through `section`. Undefined where they are not plain. */
function aroundAdded(
  added: readonly AddedToken[],
  vocab: ReadonlyMap<string, number>,
  section: (text: string, out: number[]) => void,
): Split | undefined {
  if (added.some(({ plain, normalized }) => !plain || normalized)) return undefined;
  // Longer ones first, so that none hides behind its own beginning.
  const contents = added.map(({ content }) => content).sort((a, b) => b.length - a.length);
  const pattern = new RegExp(`(${contents.map((c) => c.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')).join('|')})`);
  return (text) => {
    const out: number[] = [];
    if (contents.length === 0 || !pattern.test(text)) section(text, out);
    else
      text.split(pattern).forEach((part, i) => {
        if (i % 2 === 0) section(part, out);
        else out.push(vocab.get(part) as number);
      });
    return out;
  };
}

// Not push(...ids): a text of a million words must not become a million arguments.
function append(out: number[], ids: readonly number[]): void {
  for (let i = 0; i < ids.length; i++) out.push(ids[i] as number);
}
