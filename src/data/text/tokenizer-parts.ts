/** The tokenizer.json every vocabulary of ours is written as: BERT's WordPiece, byte-level BPE, or characters. */
import type { Json } from '../../io/json.ts';
import { type BertNormalizerOptions, CHINESE_PATTERN } from './bert-words.ts';
import type { SpecialRole } from './special-tokens.ts';
import type { JsonObject } from './tokenizer-json.ts';

type Named = { readonly [R in SpecialRole]?: string };

const addedToken = (id: number, content: string): JsonObject => ({
  id,
  content,
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized: false,
  special: true,
});

const plainObject = (vocab: ReadonlyMap<string, number>): { [token: string]: number } => {
  const entries = [...vocab].sort(([, a], [, b]) => a - b);
  return Object.fromEntries(entries);
};

/** [CLS] A [SEP], or [CLS] A [SEP] B [SEP] with types 0 and 1. */
function bertTemplate(cls: readonly [string, number], sep: readonly [string, number]): JsonObject {
  const token = (id: string, type: number): Json => ({ SpecialToken: { id, type_id: type } });
  const text = (id: string, type: number): Json => ({ Sequence: { id, type_id: type } });
  const special = ([name, id]: readonly [string, number]): [string, Json] => [
    name,
    { id: name, ids: [id], tokens: [name] },
  ];
  return {
    type: 'TemplateProcessing',
    single: [token(cls[0], 0), text('A', 0), token(sep[0], 0)],
    pair: [token(cls[0], 0), text('A', 0), token(sep[0], 0), text('B', 1), token(sep[0], 1)],
    special_tokens: Object.fromEntries([special(cls), special(sep)]),
  };
}

function frameOf(vocab: ReadonlyMap<string, number>, { cls = '[CLS]', sep = '[SEP]' }: Named): Json {
  const [clsId, sepId] = [vocab.get(cls), vocab.get(sep)];
  return clsId === undefined || sepId === undefined ? null : bertTemplate([cls, clsId], [sep, sepId]);
}

/** WordPiece as BERT has it. Which of `special` the vocabulary has become special tokens. */
export function bertJson(
  vocab: ReadonlyMap<string, number>,
  special: Named,
  { lowercase = true, stripAccents = null, handleChineseChars = true }: BertNormalizerOptions = {},
  also: readonly string[] = [],
): JsonObject {
  const usual = { unk: '[UNK]', cls: '[CLS]', sep: '[SEP]', pad: '[PAD]', mask: '[MASK]', ...special };
  const added = [...new Set([...Object.values(usual), ...also])].flatMap((content) => {
    const id = vocab.get(content);
    return id === undefined ? [] : [addedToken(id, content)];
  });
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: added.sort((a, b) => (a.id as number) - (b.id as number)),
    normalizer: {
      type: 'BertNormalizer',
      clean_text: true,
      handle_chinese_chars: handleChineseChars,
      strip_accents: stripAccents ?? null,
      lowercase,
    },
    pre_tokenizer: { type: 'BertPreTokenizer' },
    post_processor: frameOf(vocab, special),
    decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
    model: {
      type: 'WordPiece',
      unk_token: usual.unk,
      continuing_subword_prefix: '##',
      max_input_chars_per_word: 100,
      vocab: plainObject(vocab),
    },
  };
}

export interface ByteLevelOptions {
  readonly addPrefixSpace?: boolean;
  /** Each Chinese character is cut off before merging, so that no token spans two. */
  readonly chineseCharacters?: boolean;
  /** Special tokens besides the usual ones the vocabulary has. */
  readonly specialTokens?: readonly string[];
  readonly lowercase?: boolean;
}

/** Byte-level BPE as GPT-2 has it; as RoBERTa where the vocabulary has its special tokens, as BERT where it has those. */
export function byteLevelJson(
  vocab: { readonly [token: string]: Json },
  merges: readonly string[],
  { addPrefixSpace = false, chineseCharacters = false, specialTokens = [], lowercase = false }: ByteLevelOptions = {},
): JsonObject {
  const ids = new Map(Object.entries(vocab).filter((e): e is [string, number] => typeof e[1] === 'number'));
  const usual = ['<|endoftext|>', '<s>', '<pad>', '</s>', '<unk>', '<mask>', ...specialTokens];
  const added = [...new Set(usual)].flatMap((content) => {
    const id = ids.get(content);
    return id === undefined ? [] : [addedToken(id, content)];
  });
  const byteLevel = { type: 'ByteLevel', add_prefix_space: addPrefixSpace, trim_offsets: true, use_regex: true };
  const chinese = { type: 'Split', pattern: { Regex: CHINESE_SOURCE }, behavior: 'Isolated', invert: false };
  const [s, end] = [ids.get('<s>'), ids.get('</s>')];
  const roberta = s !== undefined && end !== undefined;
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: added.sort((a, b) => (a.id as number) - (b.id as number)),
    normalizer: lowercase ? { type: 'Lowercase' } : null,
    pre_tokenizer: chineseCharacters ? { type: 'Sequence', pretokenizers: [chinese, byteLevel] } : byteLevel,
    post_processor: roberta
      ? {
          type: 'RobertaProcessing',
          sep: ['</s>', end],
          cls: ['<s>', s],
          trim_offsets: true,
          add_prefix_space: addPrefixSpace,
        }
      : (frameOf(ids, {}) ?? { ...byteLevel, trim_offsets: false }),
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: '',
      end_of_word_suffix: '',
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: plainObject(ids),
      merges: [...merges],
    },
  };
}

// Any character, line ends too, in the expressions of JavaScript and of the Rust library alike.
export const CHARACTER_SOURCE = '[\\s\\S]';

export interface CharacterOptions {
  readonly specialTokens: readonly string[];
  /** Which of them stands for what the vocabulary lacks. */
  readonly unknown: string;
  readonly lowercase: boolean;
}

/** Characters: BPE without a merge, which every reader of the format knows. Framed as BERT where there are its special tokens. */
export function characterJson(
  vocab: ReadonlyMap<string, number>,
  { specialTokens, unknown, lowercase }: CharacterOptions,
): JsonObject {
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: specialTokens.map((content) => addedToken(vocab.get(content) as number, content)),
    normalizer: lowercase ? { type: 'Lowercase' } : null,
    pre_tokenizer: { type: 'Split', pattern: { Regex: CHARACTER_SOURCE }, behavior: 'Isolated', invert: false },
    post_processor: frameOf(vocab, {}),
    decoder: { type: 'Fuse' },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: unknown,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: plainObject(vocab),
      merges: [],
    },
  };
}

// With the characters themselves: the Rust library's expressions write code points another way.
export const CHINESE_SOURCE = CHINESE_PATTERN.replace(/\\u\{([0-9a-f]+)\}|\\u([0-9a-f]{4})/g, (_, long, short) =>
  String.fromCodePoint(Number.parseInt(long ?? short, 16)),
);
