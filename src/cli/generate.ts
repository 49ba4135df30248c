/** `cambium generate`: goes on with a text, by a causal language model. */
import { ConfigError } from '../base/errors.ts';
import { generate } from '../models/index.ts';
import { loadLanguageModel } from '../training/language-folder.ts';
import type { CommonOptions } from './options.ts';
import { print, printJson } from './output.ts';

export interface GenerateCommandOptions extends CommonOptions {
  prompt: string;
  maxNewTokens?: number;
  temperature?: number;
  topK?: number;
  topP?: number;
  beams?: number;
  seed?: number;
}

export async function generateCommand(dir: string, options: GenerateCommandOptions): Promise<void> {
  const { prompt, maxNewTokens = 100, temperature, topK, topP, beams, seed, json = false } = options;
  const { model, tokenizer } = await loadLanguageModel(dir);
  const ids = [...tokenizer.ids(prompt)];
  const room = model.options.nPositions - ids.length;
  if (ids.length === 0)
    throw new ConfigError('OPTION_INVALID', '--prompt: expected a text of at least one token', { field: '--prompt' });
  if (room < 1)
    throw new ConfigError(
      'OPTION_INVALID',
      `--prompt has ${ids.length} tokens, the model has room for ${model.options.nPositions}`,
      {
        field: '--prompt',
        expected: `fewer than ${model.options.nPositions} tokens`,
        got: ids.length,
      },
    );
  const tokens = await generate(model, ids, {
    maxNewTokens: Math.min(room, maxNewTokens),
    seed,
    eosTokenId: tokenizer.specialTokens.eos?.id,
    ...(temperature !== undefined && { temperature }),
    ...(topK !== undefined && { topK }),
    ...(topP !== undefined && { topP }),
    ...(beams !== undefined && { numBeams: beams }),
  });
  const text = tokenizer.decode([...ids, ...tokens]);
  if (json) return printJson({ prompt, text, tokens, seed: seed ?? 0 });
  await print(text);
}
