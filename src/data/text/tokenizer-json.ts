/** Checks a parsed tokenizer.json before anything is built from it: kinds, ids, merges, added tokens. */
import { DataError, printable } from '../../base/errors.ts';
import type { Json } from '../../io/json.ts';

export type JsonObject = { [key: string]: Json };

export interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly special: boolean;
  /** Matched in the text as it is, whatever surrounds it. */
  readonly plain: boolean;
  /** Matched after normalization. */
  readonly normalized: boolean;
}

/** What the tokenizer itself needs of the file. */
export interface TokenizerFile {
  readonly json: JsonObject;
  readonly kind: 'WordPiece' | 'BPE' | 'Unigram';
  readonly model: JsonObject;
  /** Every token with its id, added ones included. */
  readonly vocab: ReadonlyMap<string, number>;
  readonly added: readonly AddedToken[];
  readonly unkToken: string | null;
}

/** Far above any vocabulary; an id in a file never decides how much memory is taken. */
const MAX_ID = 2 ** 24;

/** @throws DataError TOKENIZER_INVALID naming the field. */
export function checkTokenizerJson(json: Json, file?: string): TokenizerFile {
  const fail = (field: string, expected: string, got: unknown): never => {
    const where = file === undefined ? 'the tokenizer' : printable(file);
    throw new DataError('TOKENIZER_INVALID', `${where}: ${field}: expected ${expected}, found ${printable(got)}`, {
      file,
      field,
      expected,
      got: typeof got === 'object' ? undefined : got,
      hint: 'the file must be a tokenizer.json of Hugging Face tokenizers',
    });
  };
  const object = (value: Json | undefined, field: string): JsonObject =>
    typeof value === 'object' && value !== null && !Array.isArray(value) ? value : fail(field, 'an object', value);
  const idOf = (value: Json | undefined, field: string): number =>
    typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < MAX_ID
      ? value
      : fail(field, `a whole number from 0 to ${MAX_ID - 1}`, value);

  const root = object(json, 'the file');
  const model = object(root.model, 'model');
  const kind = kindOf(model) ?? fail('model.type', 'WordPiece, BPE or Unigram', model.type);
  const vocab = new Map<string, number>();
  const tokenOf = new Map<number, string>();
  const put = (token: string, id: number, field: string): void => {
    const before = tokenOf.get(id);
    if (before !== undefined && before !== token)
      fail(field, `an id of its own (${id} is ${printable(before)})`, token);
    vocab.set(token, id);
    tokenOf.set(id, token);
  };
  if (kind === 'Unigram') {
    if (!Array.isArray(model.vocab)) return fail('model.vocab', 'a list of tokens and scores', model.vocab);
    for (const [i, entry] of model.vocab.entries()) {
      const [token, score] = Array.isArray(entry) ? entry : [];
      if (typeof token !== 'string' || typeof score !== 'number') fail(`model.vocab[${i}]`, '[token, score]', entry);
      put(token as string, i, `model.vocab[${i}]`);
    }
  } else
    for (const [token, id] of Object.entries(object(model.vocab, 'model.vocab')))
      put(token, idOf(id, `model.vocab[${printable(token)}]`), 'model.vocab');
  if (vocab.size === 0) fail('model.vocab', 'at least one token', vocab.size);
  if (kind === 'BPE') checkMerges(model, vocab, fail);

  const added: AddedToken[] = [];
  const list = root.added_tokens ?? [];
  if (!Array.isArray(list)) return fail('added_tokens', 'a list', list);
  for (const [i, value] of list.entries()) {
    const field = `added_tokens[${i}]`;
    const entry = object(value, field);
    const { content } = entry;
    if (typeof content !== 'string' || content === '') return fail(`${field}.content`, 'a text', content);
    const id = idOf(entry.id, `${field}.id`);
    put(content, id, field);
    const special = entry.special === true;
    const plain = !entry.lstrip && !entry.rstrip && !entry.single_word;
    added.push({
      id,
      content,
      special,
      plain,
      normalized: entry.normalized === undefined ? !special : entry.normalized === true,
    });
  }
  const unk = model.unk_token ?? null;
  if (unk !== null && (typeof unk !== 'string' || !vocab.has(unk)))
    fail('model.unk_token', 'a token of the vocabulary', unk);
  if (kind === 'WordPiece' && unk === null) fail('model.unk_token', 'a token of the vocabulary', unk);
  return { json: root, kind, model, vocab, added, unkToken: unk as string | null };
}

/** Old files do not say. */
function kindOf(model: JsonObject): TokenizerFile['kind'] | undefined {
  const { type } = model;
  if (type === 'WordPiece' || type === 'BPE' || type === 'Unigram') return type;
  if (type !== undefined) return undefined;
  if (Array.isArray(model.merges)) return 'BPE';
  return model.continuing_subword_prefix === undefined ? undefined : 'WordPiece';
}

function checkMerges(
  model: JsonObject,
  vocab: ReadonlyMap<string, number>,
  fail: (field: string, expected: string, got: unknown) => never,
): undefined {
  if (!Array.isArray(model.merges)) fail('model.merges', 'a list', model.merges);
  const prefix = typeof model.continuing_subword_prefix === 'string' ? model.continuing_subword_prefix : '';
  for (const [i, merge] of (model.merges as Json[]).entries()) {
    const pair = typeof merge === 'string' ? merge.split(' ') : merge;
    if (!Array.isArray(pair) || pair.length !== 2 || !pair.every((part) => typeof part === 'string'))
      return fail(`model.merges[${i}]`, 'two tokens', merge);
    const [a, b] = pair as [string, string];
    for (const token of [a, b, a + b.slice(prefix !== '' && b.startsWith(prefix) ? prefix.length : 0)])
      if (!vocab.has(token)) fail(`model.merges[${i}]`, 'tokens of the vocabulary', token);
  }
  return undefined;
}
