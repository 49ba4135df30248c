/** `cambium compare`: features of the same samples before and after tuning, from two files, or from two models and their data. */
import { stat } from 'node:fs/promises';
import { ConfigError } from '../base/errors.ts';
import { compareFeatures, type Pooling, readFeatures } from '../features/index.ts';
import { compareRuns } from '../training/compare-runs.ts';
import { partRequest } from './evaluate.ts';
import type { PartOptions } from './options.ts';
import { print, printJson } from './output.ts';

export interface CompareCommandOptions extends PartOptions {
  k: number;
  layer?: string;
  pooling?: Pooling;
  json?: boolean;
}

export async function compareCommand(before: string, after: string, options: CompareCommandOptions): Promise<void> {
  const [was, is] = [await isFolder(before), await isFolder(after)];
  if (was !== is)
    throw new ConfigError('USAGE', 'compare needs two files of features, or two run or model folders', {
      field: was ? 'after' : 'before',
      got: was ? after : before,
    });
  const { k, layer, pooling } = options;
  const { text, ...rest } = was
    ? await compareRuns(before, after, { ...partRequest(options), layer, pooling, k })
    : await compareFeatures(await readFeatures(before), await readFeatures(after), { k });
  return options.json ? printJson(rest) : print(text);
}

const isFolder = (path: string): Promise<boolean> =>
  stat(path).then(
    (entry) => entry.isDirectory(),
    () => false,
  );
