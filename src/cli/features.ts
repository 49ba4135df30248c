/** `cambium features`: vectors of a layer for every sample of a part of the data, written to a file. */
import { readFile } from 'node:fs/promises';
import { parseDocument } from 'yaml';
import { ConfigError, printable } from '../base/errors.ts';
import { parseTransforms, type Transform } from '../data/index.ts';
import {
  featureFormat,
  type LayerShape,
  layerShapes,
  type Pooling,
  resolveLayer,
  writeFeatures,
} from '../features/index.ts';
import { ioError } from '../io/index.ts';
import { openFeatureData } from '../training/feature-data.ts';
import { openFeatureModel } from '../training/feature-model.ts';
import { applySettings, parseSetting } from '../training/recipe-set.ts';
import { partRequest } from './evaluate.ts';
import type { PartOptions } from './options.ts';
import { note, print, printJson } from './output.ts';
import { columnOf } from './table-options.ts';

export interface FeaturesCommandOptions extends PartOptions {
  out?: string;
  layers?: boolean;
  layer?: string;
  pooling: string;
  model?: string;
  set: string[];
  transforms?: string;
  tokenizer?: string;
  imageColumn?: string;
  imageDir?: string;
}

export async function featuresCommand(
  path: string,
  data: string | undefined,
  options: FeaturesCommandOptions,
): Promise<void> {
  const { out, pooling, split, json = false, tokenizer, imageDir, layers = false } = options;
  // What can be told from the words alone, before anything is opened.
  if (out === undefined && !layers)
    throw new ConfigError('USAGE', "required option '--out <file>' not specified", {
      field: '--out',
      hint: 'or list the layers: --layers',
    });
  if (out !== undefined) featureFormat(out);
  if (data !== undefined && options.file !== undefined)
    throw new ConfigError(
      'OPTION_INVALID',
      `both ${printable(data)} and --file ${printable(options.file)} name the data`,
      {
        field: '--file',
        got: options.file,
        hint: `name them once: cambium features MODEL ${printable(options.file)}`,
      },
    );
  const transforms = options.transforms === undefined ? undefined : await transformsOf(options.transforms);
  const model = await openFeatureModel(path, {
    model: options.model,
    options: applySettings({}, options.set.map(parseSetting)) as Record<string, unknown>,
    transforms,
    tokenizer,
  });
  const layer = options.layer ?? model.layer;
  resolveLayer(model.module, layer);
  const found = await openFeatureData(model, data, {
    ...partRequest(options),
    ...(options.imageColumn !== undefined && { imageColumn: columnOf(options.imageColumn) }),
    imageDir,
  });
  if (layers || out === undefined) return listLayers(await layerShapes(model, found.part, found), json);
  const bar = !json && process.stderr.isTTY;
  const written = await writeFeatures(out, model, found.part, {
    layer,
    pooling: pooling as Pooling,
    batchSize: options.batchSize ?? found.batchSize,
    nameOf: found.nameOf,
    ...(found.transforms && { transforms: found.transforms }),
    ...(bar && {
      onProgress: (done, total) => process.stderr.write(`\r${done}/${total}${done === total ? '\r\n' : ''}`),
    }),
  });
  const { preprocessing } = model;
  if (json)
    return printJson({
      ...written,
      ...(model.folder && data === undefined && { split }),
      data: found.part.name,
      preprocessing,
      ...(found.transforms && { transforms: found.transforms }),
      model: model.folder?.dir ?? path,
      weights: model.weightsHash,
    });
  const [rows, width] = written.shape;
  if (!model.folder || transforms) await note(`inputs: ${preprocessing}`);
  await note(
    `saved: ${written.files.map((file) => file.path).join(', ')} (${rows} vectors of ${width}, ${written.layer}, ` +
      `${written.labelled ? 'with labels' : 'without labels'})`,
  );
}

async function listLayers(layers: readonly LayerShape[], json: boolean): Promise<void> {
  if (json) return printJson(layers);
  const rows = layers.map(({ path, type, shape }) => [path, type, shape ? `(${['N', ...shape].join(', ')})` : '-']);
  const width = (column: number): number => Math.max(...rows.map((row) => (row[column] as string).length));
  const [paths, types] = [width(0), width(1)];
  await print(
    rows.map(([path = '', type = '', shape]) => `${path.padEnd(paths)}  ${type.padEnd(types)}  ${shape}`).join('\n'),
  );
}

/** A list in YAML or JSON, or the file that holds it. */
async function transformsOf(text: string): Promise<Transform[]> {
  const inline = text.trimStart().startsWith('[');
  const source = inline
    ? text
    : await readFile(text, 'utf8').catch((cause: unknown) => {
        throw ioError(cause, 'read', text, { hint: "or pass the list itself: --transforms '[{kind: resize, ...}]'" });
      });
  const document = parseDocument(source, { prettyErrors: false });
  const [error] = document.errors;
  if (error)
    throw new ConfigError('TRANSFORM_INVALID', `--transforms: ${printable(error.message.split('\n')[0])}`, {
      field: '--transforms',
      expected: 'a list in YAML or JSON, or a file that holds one',
      cause: error,
    });
  const value: unknown = document.toJS({ maxAliasCount: 0 });
  const list = typeof value === 'object' && value !== null && 'transforms' in value ? value.transforms : value;
  return parseTransforms(list);
}
