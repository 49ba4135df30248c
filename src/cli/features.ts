/** `cambium features`: vectors of a layer for every sample of a part of the data, written to a file. */
import { type Pooling, writeFeatures } from '../features/index.ts';
import { findModelFolder, loadModelFolder } from '../training/model-folder.ts';
import { loadTrunk } from '../training/trunk-folder.ts';
import { openPart } from './evaluate.ts';
import type { FeaturesCommandOptions } from './main.ts';
import { note, printJson } from './output.ts';

export async function featuresCommand(dir: string, options: FeaturesCommandOptions): Promise<void> {
  const { out, layer, pooling, split, json = false } = options;
  const folder = await findModelFolder(dir);
  const loaded = (await loadTrunk(folder)) ?? (await loadModelFolder(folder));
  const { part, batchSize } = await openPart(loaded, options, { unlabelled: true });
  const bar = !json && process.stderr.isTTY;
  const written = await writeFeatures(out, loaded, part, {
    layer: layer ?? ('layer' in loaded ? loaded.layer : undefined),
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
