/** `cambium compare`: features of the same samples before and after tuning, from two files, or from two models and their data. */
import { stat } from 'node:fs/promises';
import { ConfigError } from '../base/errors.ts';
import { compareFeatures, type FeatureTable, features, type Pooling, readFeatures } from '../features/index.ts';
import { openPart } from '../training/model-data.ts';
import { featureLayer, loadForFeatures } from '../training/trunk-folder.ts';
import { partRequest } from './evaluate.ts';
import type { PartOptions } from './main.ts';
import { print, printJson } from './output.ts';

export interface CompareCommandOptions extends PartOptions {
  k: number;
  layer?: string;
  pooling?: string;
  json?: boolean;
}

export async function compareCommand(before: string, after: string, options: CompareCommandOptions): Promise<void> {
  const [was, is] = [await isFolder(before), await isFolder(after)];
  if (was !== is)
    throw new ConfigError('USAGE', 'compare needs two files of features, or two run or model folders', {
      field: was ? 'after' : 'before',
      got: was ? after : before,
    });
  const tables = was ? await tablesOf(before, after, options) : [await readFeatures(before), await readFeatures(after)];
  const { text, ...rest } = await compareFeatures(tables[0] as FeatureTable, tables[1] as FeatureTable, {
    k: options.k,
  });
  return options.json ? printJson(rest) : print(text);
}

/** Of the data the second was trained on, as each of them reads it. */
async function tablesOf(before: string, after: string, options: CompareCommandOptions): Promise<FeatureTable[]> {
  const tuned = await loadForFeatures(after);
  const { part, batchSize } = await openPart(tuned, partRequest(options));
  const tables: FeatureTable[] = [];
  for (const loaded of [await loadForFeatures(before), tuned])
    tables.push(
      await features(loaded, part, {
        layer: options.layer ?? featureLayer(loaded),
        pooling: options.pooling as Pooling,
        batchSize,
      }),
    );
  return tables;
}

const isFolder = (path: string): Promise<boolean> =>
  stat(path).then(
    (entry) => entry.isDirectory(),
    () => false,
  );
