/** `cambium features`: vectors of a layer for every sample of a part of the data, written to a file. */
import { type Pooling, writeFeatures } from '../features/index.ts';
import { openPart } from '../training/model-data.ts';
import { featureLayer, loadForFeatures } from '../training/trunk-folder.ts';
import { partRequest } from './evaluate.ts';
import type { PartOptions } from './options.ts';
import { note, printJson } from './output.ts';

export interface FeaturesCommandOptions extends PartOptions {
  out: string;
  layer?: string;
  pooling: string;
}

export async function featuresCommand(dir: string, options: FeaturesCommandOptions): Promise<void> {
  const { out, layer, pooling, split, json = false } = options;
  const loaded = await loadForFeatures(dir);
  const { part, batchSize } = await openPart(loaded, { ...partRequest(options), unlabelled: true });
  const bar = !json && process.stderr.isTTY;
  const written = await writeFeatures(out, loaded, part, {
    layer: layer ?? featureLayer(loaded),
    pooling: pooling as Pooling,
    batchSize: options.batchSize ?? batchSize,
    ...(bar && {
      onProgress: (done, total) => process.stderr.write(`\r${done}/${total}${done === total ? '\r\n' : ''}`),
    }),
  });
  if (json) return printJson({ ...written, split, model: loaded.dir, weights: loaded.weightsHash });
  const [rows, width] = written.shape;
  await note(
    `saved: ${written.files.map(({ path }) => path).join(', ')} (${rows} vectors of ${width}, ${written.layer}, ` +
      `${written.labelled ? 'with labels' : 'without labels'})`,
  );
}
