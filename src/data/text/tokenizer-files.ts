/** Finds and reads a tokenizer's files: tokenizer.json, vocab.txt, or vocab.json with merges.txt; and writes tokenizer.json. */
import { stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { DataError, IoError, NetworkError, printable } from '../../base/errors.ts';
import { exists, writeFileAtomic } from '../../io/atomic.ts';
import { ioError, readFileBytes } from '../../io/failure.ts';
import { findHubFile, parseHubName } from '../../io/hub.ts';
import { decodeUtf8, type Json, parseJson, readJson } from '../../io/json.ts';
import { parseTokenizerConfig, type SpecialRole, specialRoles, type TokenizerConfig } from './special-tokens.ts';
import { Tokenizer } from './tokenizer.ts';
import { bertJson, byteLevelJson } from './tokenizer-parts.ts';

export interface LoadTokenizerOptions {
  /** Of vocab.txt; true unless told or written in tokenizer_config.json. Chinese and cased English models say false. */
  readonly lowercase?: boolean;
  /** Of vocab.txt; as `lowercase` unless told. */
  readonly stripAccents?: boolean;
  /** Of vocab.txt: each Chinese character alone. Default true. */
  readonly chineseCharacters?: boolean;
  /** Of vocab.json and merges.txt: a blank before the first word. Default false, as GPT-2. */
  readonly addPrefixSpace?: boolean;
  /** Parts of tokens, where the files do not tell. */
  readonly specialTokens?: { readonly [R in SpecialRole]?: string };
}

const MAX_BYTES = 2 ** 28;

/**
 * The tokenizer of a folder, of one of its files, or of a repository on the hub (`hf:owner/name@revision`).
 * @throws IoError TOKENIZER_NOT_FOUND; DataError for damaged files, with file and line where there is one.
 */
export async function loadTokenizer(path: string, options: LoadTokenizerOptions = {}): Promise<Tokenizer> {
  if (path.startsWith('hf:')) return loadTokenizer(await fetchTokenizer(path), options);
  const folder = await isDirectory(path);
  const dir = folder ? path : dirname(path);
  const config = await readConfig(dir, options);
  const first = async (...names: string[]): Promise<string | undefined> => {
    for (const name of names) if (await exists(join(dir, name))) return join(dir, name);
    return undefined;
  };
  const name = folder ? undefined : basename(path);
  const json = folder ? await first('tokenizer.json') : undefined;
  if (json) return new Tokenizer(await readJson(json, { maxBytes: MAX_BYTES }), { file: json, config });
  const wordPiece =
    name?.endsWith('.txt') && !/merges/.test(name) ? path : folder ? await first('vocab.txt') : undefined;
  if (wordPiece) return fromVocabTxt(wordPiece, config, options);
  if (folder || /merges|\.bpe$/.test(name ?? '') || /^(vocab|encoder)\.json$/.test(name ?? '')) {
    const vocab = name?.endsWith('.json') ? path : await first('vocab.json', 'encoder.json');
    const merges = name && !name.endsWith('.json') ? path : await first('merges.txt', 'vocab.bpe');
    if (vocab && merges) return fromMerges(vocab, merges, config, options);
    throw new IoError('TOKENIZER_NOT_FOUND', `${printable(dir)} holds no tokenizer`, {
      file: dir,
      expected: 'tokenizer.json, vocab.txt, or vocab.json with merges.txt',
    });
  }
  return new Tokenizer(await readJson(path, { maxBytes: MAX_BYTES }), { file: path, config });
}

/** The folder of a repository's snapshot, with the tokenizer's files in it. */
async function fetchTokenizer(text: string): Promise<string> {
  let at = text;
  const fetch = async (name: string): Promise<string | undefined> => {
    const path = await findHubFile(at, name);
    // A branch may move between two requests: the rest comes from the commit of the first answer.
    if (path !== undefined) at = `hf:${parseHubName(text).repo}@${basename(dirname(path))}`;
    return path;
  };
  const main = (await fetch('tokenizer.json')) ?? (await fetch('vocab.txt')) ?? (await fetch('vocab.json'));
  if (main === undefined || (main.endsWith('vocab.json') && !(await fetch('merges.txt'))))
    throw new NetworkError('HUB_NOT_FOUND', `${printable(text)} has no tokenizer`, {
      expected: 'tokenizer.json, vocab.txt, or vocab.json with merges.txt',
    });
  for (const name of ['tokenizer_config.json', 'special_tokens_map.json']) await fetch(name);
  return dirname(main);
}

async function isDirectory(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch (cause) {
    throw ioError(cause, 'read', path);
  }
}

async function readConfig(dir: string, { specialTokens = {} }: LoadTokenizerOptions): Promise<TokenizerConfig> {
  let config: TokenizerConfig = { tokens: {} };
  for (const name of ['special_tokens_map.json', 'tokenizer_config.json']) {
    const file = join(dir, name);
    if (!(await exists(file))) continue;
    const read = parseTokenizerConfig(await readJson(file), file);
    config = { ...config, ...read, tokens: { ...config.tokens, ...read.tokens } };
  }
  return { ...config, tokens: { ...config.tokens, ...specialTokens } };
}

/** One token a line, its id the line's number from 0. */
async function fromVocabTxt(file: string, config: TokenizerConfig, options: LoadTokenizerOptions): Promise<Tokenizer> {
  const lines = linesOf(await readText(file));
  const vocab = new Map<string, number>();
  for (const [i, token] of lines.entries()) {
    if (token === '')
      throw new DataError('TOKENIZER_INVALID', `${printable(file)}: line ${i + 1} is empty`, { file, line: i + 1 });
    const before = vocab.get(token);
    if (before !== undefined)
      throw new DataError(
        'TOKENIZER_INVALID',
        `${printable(file)}: line ${i + 1}: ${printable(token)} was line ${before + 1} already`,
        { file, line: i + 1, got: token },
      );
    vocab.set(token, i);
  }
  const unk = config.tokens.unk ?? '[UNK]';
  if (!vocab.has(unk))
    throw new DataError('TOKENIZER_INVALID', `${printable(file)}: there is no ${unk} among ${vocab.size} tokens`, {
      file,
      expected: unk,
      hint: 'vocab.txt of a WordPiece model has one token a line; for vocab.json and merges.txt give their folder',
    });
  const special = { unk, ...config.tokens };
  const json = bertJson(vocab, special, {
    lowercase: options.lowercase ?? config.doLowerCase ?? true,
    stripAccents: options.stripAccents ?? config.stripAccents ?? null,
    handleChineseChars: options.chineseCharacters ?? config.tokenizeChineseChars ?? true,
  });
  return new Tokenizer(json, { file, config });
}

/** GPT-2's (and RoBERTa's) two files: tokens with ids, and the pairs to merge in order of their rank. */
async function fromMerges(
  vocabFile: string,
  mergesFile: string,
  config: TokenizerConfig,
  { addPrefixSpace = config.addPrefixSpace ?? false }: LoadTokenizerOptions,
): Promise<Tokenizer> {
  const vocab = await readJson(vocabFile, { maxBytes: MAX_BYTES });
  const lines = linesOf(await readText(mergesFile));
  const merges: string[] = [];
  for (const [i, line] of lines.entries()) {
    if (line === '' || (i === 0 && line.startsWith('#version'))) continue;
    if (line.split(' ').length !== 2)
      throw new DataError(
        'TOKENIZER_INVALID',
        `${printable(mergesFile)}: line ${i + 1}: expected two tokens and a blank between, found ${printable(line)}`,
        { file: mergesFile, line: i + 1, got: line.slice(0, 200) },
      );
    merges.push(line);
  }
  return new Tokenizer(byteLevelJson(vocab as { [token: string]: Json }, merges, { addPrefixSpace }), {
    file: vocabFile,
    config,
  });
}

const readText = async (file: string): Promise<string> =>
  decodeUtf8(await readFileBytes(file, { maxBytes: MAX_BYTES }), file);

function linesOf(text: string): string[] {
  const lines = text.replace(/^\ufeff/, '').split('\n');
  if (lines.at(-1) === '') lines.pop();
  return lines.map((line) => (line.endsWith('\r') ? line.slice(0, -1) : line));
}

/** A tokenizer from the text of a tokenizer.json. */
export const parseTokenizer = (text: string, file?: string): Tokenizer =>
  new Tokenizer(parseJson(text, { file }), { file });

/** Writes tokenizer.json and tokenizer_config.json into `dir`, as transformers' AutoTokenizer reads them. @throws IoError. */
export async function saveTokenizer(dir: string, tokenizer: Tokenizer): Promise<void> {
  await writeFileAtomic(join(dir, 'tokenizer.json'), `${JSON.stringify(tokenizer.json)}\n`);
  const { modelMaxLength, paddingSide } = tokenizer.config;
  const roles = specialRoles.flatMap((role) => {
    const found = tokenizer.specialTokens[role];
    return found ? [[`${role}_token`, found.token]] : [];
  });
  const config = {
    tokenizer_class: 'PreTrainedTokenizerFast',
    ...Object.fromEntries(roles),
    ...(modelMaxLength !== undefined && { model_max_length: modelMaxLength }),
    ...(paddingSide !== undefined && { padding_side: paddingSide }),
    clean_up_tokenization_spaces: false,
  };
  await writeFileAtomic(join(dir, 'tokenizer_config.json'), `${JSON.stringify(config, null, 2)}\n`);
}
