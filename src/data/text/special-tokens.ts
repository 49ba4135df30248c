/** Which token plays which part: read from the files beside tokenizer.json, else known by its usual name. */
import { DataError, printable } from '../../base/errors.ts';
import type { Json } from '../../io/json.ts';

export const specialRoles = ['unk', 'cls', 'sep', 'pad', 'mask', 'bos', 'eos'] as const;
export type SpecialRole = (typeof specialRoles)[number];

/** A part's token, where the tokenizer has one. */
export type SpecialTokens = { readonly [R in SpecialRole]?: { readonly token: string; readonly id: number } };

/** tokenizer_config.json, as far as it matters here; anything else in it is ignored. */
export interface TokenizerConfig {
  readonly modelMaxLength?: number;
  readonly doLowerCase?: boolean;
  readonly stripAccents?: boolean | null;
  readonly tokenizeChineseChars?: boolean;
  readonly addPrefixSpace?: boolean;
  readonly paddingSide?: 'left' | 'right';
  readonly tokens: { readonly [R in SpecialRole]?: string };
}

const usual: { readonly [R in SpecialRole]: readonly string[] } = {
  unk: ['[UNK]', '<unk>'],
  cls: ['[CLS]', '<s>'],
  sep: ['[SEP]', '</s>'],
  pad: ['[PAD]', '<pad>'],
  mask: ['[MASK]', '<mask>'],
  bos: ['<s>', '<|endoftext|>', '<|startoftext|>'],
  eos: ['</s>', '<|endoftext|>'],
};

/** Parses tokenizer_config.json (and special_tokens_map.json, which has the same keys). @throws DataError. */
export function parseTokenizerConfig(json: Json, file?: string): TokenizerConfig {
  if (typeof json !== 'object' || json === null || Array.isArray(json))
    throw new DataError('TOKENIZER_INVALID', `${printable(file ?? 'tokenizer_config.json')} is not an object`, {
      file,
    });
  const tokens: { [R in SpecialRole]?: string } = {};
  for (const role of specialRoles) {
    const value = json[`${role}_token`];
    const content = typeof value === 'object' && value !== null && !Array.isArray(value) ? value.content : value;
    if (typeof content === 'string') tokens[role] = content;
  }
  const flag = (key: string): boolean | undefined => (typeof json[key] === 'boolean' ? json[key] : undefined);
  const max = json.model_max_length;
  const side = json.padding_side;
  return {
    tokens,
    doLowerCase: flag('do_lower_case'),
    stripAccents: flag('strip_accents'),
    tokenizeChineseChars: flag('tokenize_chinese_chars'),
    addPrefixSpace: flag('add_prefix_space'),
    // transformers writes 1e30 for "no limit".
    ...(typeof max === 'number' && max >= 1 && max < 1e9 && { modelMaxLength: Math.floor(max) }),
    ...((side === 'left' || side === 'right') && { paddingSide: side }),
  };
}

/** The tokens of the parts that `vocab` has. @throws DataError when the config names one that it has not. */
export function findSpecialTokens(
  vocab: ReadonlyMap<string, number>,
  named: TokenizerConfig['tokens'],
  unkToken: string | null,
): SpecialTokens {
  const found: { [R in SpecialRole]?: { token: string; id: number } } = {};
  for (const role of specialRoles) {
    const wanted = named[role];
    if (wanted !== undefined && !vocab.has(wanted))
      throw new DataError('TOKENIZER_INVALID', `the ${role} token ${printable(wanted)} is not in the vocabulary`, {
        field: `${role}_token`,
        got: wanted,
      });
    const names = wanted !== undefined ? [wanted] : role === 'unk' && unkToken !== null ? [unkToken] : usual[role];
    const token = names.find((name) => vocab.has(name));
    if (token !== undefined) found[role] = { token, id: vocab.get(token) as number };
  }
  return found;
}
