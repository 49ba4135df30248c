/** From a recipe's `init` to weights on disk and what comes along with them: model options, transforms, tokenizer. */
import { isAbsolute, join, resolve } from 'node:path';
import { ConfigError, DataError, IoError, NetworkError, printable } from '../base/errors.ts';
import {
  loadTokenizer,
  parseTransforms,
  saveTokenizer,
  type TextCollateOptions,
  type Tokenizer,
} from '../data/index.ts';
import { exists, type Json, makeDirectory, parseHubName, readJson, writeJson } from '../io/index.ts';
import { bertOptions, type ConfigJson } from '../models/index.ts';
import { type InitOptions, type InitReport, lineageOf, locateWeights, type WeightsLineage } from './init.ts';
import type { Recipe } from './recipe.ts';
import { builtinRecipes } from './recipes.ts';
import { isTextData } from './text-source.ts';

/** What the folder of a trained model says besides its weights. */
interface Companions {
  readonly model?: { readonly name: string } & Readonly<Record<string, unknown>>;
  readonly transforms?: Recipe['transforms'];
  readonly maxLength?: number;
  readonly padToMultipleOf?: number;
  readonly tokenizer?: Tokenizer;
}

export interface OpenedInit {
  /** With the options, transforms and lengths that came along. */
  readonly recipe: Recipe;
  /** The weights' own tokenizer, unless the recipe names another. */
  readonly tokenizer?: Tokenizer;
  /** For `fineTune`. */
  readonly init: InitOptions & { readonly lineage: WeightsLineage };
}

/**
 * Finds the weights a recipe starts from.
 * @throws IoError WEIGHTS_NOT_FOUND naming the places looked at; DataError of damaged companions; ConfigError.
 */
export async function openInit(recipe: Recipe, dataDir?: string): Promise<OpenedInit | undefined> {
  if (!recipe.init) return undefined;
  const located = await locateWeights(await findWeights(recipe.init.weights, dataDir ?? recipe.data.dir));
  const { path } = located;
  const lineage = await lineageOf(recipe.init.weights, located);
  const companions = await companionsOf(path, recipe);
  return {
    recipe: withCompanions(recipe, companions),
    ...(companions.tokenizer && { tokenizer: companions.tokenizer }),
    init: { ...recipe.init, weights: path, lineage },
  };
}

async function findWeights(path: string, dataDir: string | undefined): Promise<string> {
  if (path.startsWith('hf:')) return path;
  const places = isAbsolute(path) ? [path] : [...(dataDir === undefined ? [] : [join(dataDir, path)]), resolve(path)];
  for (const place of places) {
    if (!(await exists(place))) continue;
    // A run's weights are in its model folder, which it has when it is finished.
    if ((await exists(join(place, 'recipe.json'))) && !(await exists(join(place, 'model', 'config.json'))))
      throw new IoError(
        'RUN_UNFINISHED',
        `init.weights: the run ${printable(place)} is unfinished: it has no model yet`,
        {
          field: 'init.weights',
          file: place,
          expected: join(place, 'model'),
          hint: `finish it first: cambium resume ${place}`,
        },
      );
    return place;
  }
  throw new IoError(
    'WEIGHTS_NOT_FOUND',
    `init.weights: there is no ${places.map((p) => printable(p)).join(', nor ')}`,
    {
      field: 'init.weights',
      file: places[0],
      expected: places,
      hint:
        recipeThatMakes(path) ??
        (dataDir === undefined && !isAbsolute(path)
          ? 'a relative path is looked for under --data-dir (not given), then in the working directory'
          : 'a relative path is looked for under --data-dir, then in the working directory'),
    },
  );
}

/** For the first run of a built-in recipe, what would make it. */
function recipeThatMakes(path: string): string | undefined {
  const name = /^runs\/(.+)-1$/.exec(path)?.[1];
  if (name === undefined || !(name in builtinRecipes)) return undefined;
  return `make it first: cambium train ${name} --data-dir DIR; or start from random weights: --set init=null`;
}

// Follow the data or are the head's, whatever the weights had.
const ofTheData = new Set([
  'name',
  'numClasses',
  'heads',
  'inChannels',
  'imageSize',
  'inFeatures',
  'dropout',
  'perToken',
]);

async function companionsOf(path: string, recipe: Recipe): Promise<Companions> {
  const file = join(path, 'config.json');
  if (!(await exists(file))) return {};
  const config = await readJson(file);
  const model = field(config, 'model');
  const type = field(config, 'model_type');
  const isOurs = type === 'cambium';
  const ours = isOurs ? await ourCompanions(path) : {};
  const wantsTokenizer = isTextData(recipe) && recipe.tokenizer === undefined;
  return {
    ...(isOurs && typeof field(model, 'name') === 'string' && { model: model as unknown as { name: string } }),
    ...(type === 'bert' && { model: bertModel(config as ConfigJson, file) }),
    ...ours,
    ...(wantsTokenizer && (await hasTokenizer(path)) && { tokenizer: await loadTokenizer(path) }),
  };
}

const field = (value: Json | undefined, name: string): Json | undefined =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? value[name] : undefined;

/** A folder of transformers as the registered model: one probability of dropout for all. */
function bertModel(config: ConfigJson, file: string): { readonly name: string } {
  const {
    hiddenDropoutProb: dropout,
    attentionProbsDropoutProb: _,
    initializerRange: __,
    ...options
  } = bertOptions(config, file);
  return { name: 'bert', ...options, ...(dropout !== undefined && { dropout }) };
}

async function ourCompanions(path: string): Promise<Companions> {
  const file = join(path, 'preprocessor_config.json');
  if (!(await exists(file))) return {};
  const preprocessor = await readJson(file);
  const [transforms, text] = [field(preprocessor, 'transforms'), field(preprocessor, 'text')];
  const whole = (name: string): number | undefined => {
    const value = field(text, name);
    if (value === undefined || value === null) return undefined;
    if (typeof value === 'number' && Number.isInteger(value) && value > 0) return value;
    throw new DataError('MODEL_CONFIG', `${printable(file)}: text.${name}: expected a whole number`, {
      file,
      field: `text.${name}`,
      got: value,
    });
  };
  const [maxLength, padToMultipleOf] = [whole('maxLength'), whole('padToMultipleOf')];
  return {
    ...(transforms !== undefined && { transforms: parseTransforms(transforms) as unknown as Recipe['transforms'] }),
    ...(maxLength !== undefined && { maxLength }),
    ...(padToMultipleOf !== undefined && { padToMultipleOf }),
  };
}

async function hasTokenizer(path: string): Promise<boolean> {
  for (const name of ['tokenizer.json', 'vocab.txt', 'vocab.json', 'encoder.json'])
    if (await exists(join(path, name))) return true;
  return false;
}

/** What the recipe says comes first; an empty list of transforms says nothing. */
function withCompanions(recipe: Recipe, { model, transforms, maxLength, padToMultipleOf }: Companions): Recipe {
  if (field(model as Json | undefined, 'quantized') !== undefined)
    throw new ConfigError('INIT_QUANTIZED', 'init.weights: weights in 8 bits are for inference', {
      field: 'init.weights',
      got: recipe.init?.weights,
      hint: 'start from the model they were made from',
    });
  if (field(model as Json | undefined, 'adapter') !== undefined)
    throw new ConfigError('INIT_ADAPTER', 'init.weights: the model stands on an adapter that cannot be merged', {
      field: 'init.weights',
      got: recipe.init?.weights,
      hint: 'start from the weights its adapter was trained on; runs with adapter: { name: lora } can be started from',
    });
  const same = model?.name === recipe.model.name;
  const inherited = Object.entries(same ? model : {}).filter(([key]) => !ofTheData.has(key));
  return {
    ...recipe,
    model: { ...Object.fromEntries(inherited), ...recipe.model },
    transforms: recipe.transforms.length === 0 && transforms && !isTextData(recipe) ? transforms : recipe.transforms,
    maxLength: recipe.maxLength ?? maxLength,
    padToMultipleOf: recipe.padToMultipleOf ?? padToMultipleOf,
  };
}

/** How texts become tokens by the weights' own tokenizer. */
export const textOf = ({ maxLength, padToMultipleOf }: Recipe, tokenizer: Tokenizer): TextCollateOptions => ({
  tokenizer,
  maxLength,
  padToMultipleOf,
});

/** Keeps the report and the tokenizer in the run folder, so that resuming does not need the weights. @throws IoError. */
export async function writeInit(run: string, { lineage, ...report }: Omit<InitReport, 'text'>): Promise<void> {
  await writeJson(join(run, 'init', 'report.json'), { lineage, ...report });
}

export async function keepCompanions(run: string, { tokenizer }: OpenedInit): Promise<void> {
  await makeDirectory(join(run, 'init'));
  if (tokenizer) await saveTokenizer(join(run, 'init'), tokenizer);
}

/** The `init` of an interrupted run, from its folder: the recipe is resolved already. */
export async function reopenInit(
  recipe: Recipe,
  run: string,
  lineage: WeightsLineage,
  dataDir?: string,
): Promise<OpenedInit> {
  const init = recipe.init as NonNullable<Recipe['init']>;
  const kept = join(run, 'init');
  const tokenizer =
    isTextData(recipe) && recipe.tokenizer === undefined && (await exists(join(kept, 'tokenizer.json')))
      ? await loadTokenizer(kept)
      : undefined;
  // A branch may have moved since.
  const isPinned = lineage.commit !== undefined && init.weights.startsWith('hf:');
  const weights = !isPinned ? init.weights : `hf:${parseHubName(init.weights).repo}@${lineage.commit}`;
  let now: OpenedInit | undefined;
  try {
    now = await openInit({ ...recipe, init: { ...init, weights } }, dataDir);
  } catch (error) {
    // Checkpoints hold everything: the weights may be gone, or out of reach.
    const gone = error instanceof IoError && error.code === 'WEIGHTS_NOT_FOUND';
    if (!gone && !(error instanceof NetworkError)) throw error;
  }
  if (now && now.init.lineage.sha256 !== lineage.sha256)
    throw new ConfigError('RESUME_CHANGED', `init.weights: ${printable(init.weights)} changed since the run began`, {
      field: 'init.weights',
      expected: lineage.sha256,
      got: now.init.lineage.sha256,
      hint: 'put the old file back, or move the new one away: resuming does not read it',
    });
  return {
    recipe,
    ...(tokenizer && { tokenizer }),
    init: { ...init, weights: now?.init.weights ?? init.weights, lineage },
  };
}
