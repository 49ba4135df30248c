/** Features of the same samples through two models of one architecture's line: before and after tuning. */
import {
  compareFeatures,
  type FeatureComparison,
  type FeatureTable,
  features,
  type Pooling,
} from '../features/index.ts';
import { openPart, type PartRequest } from './model-data.ts';
import { featureLayer, loadForFeatures } from './trunk-folder.ts';

export interface CompareRunsRequest extends PartRequest {
  readonly layer?: string | undefined;
  readonly pooling?: Pooling | undefined;
  /** Neighbours: 5 unless told. */
  readonly k?: number | undefined;
}

/**
 * Compares what two run or model folders see in a part of the data the second was trained on, as each of them reads it.
 * @example const { cka, before, after } = await compareRuns('runs/pretrained', 'runs/tuned', { split: 'test' });
 * @throws what `features`, `compareFeatures` and the readers of folders and data throw.
 */
export async function compareRuns(
  before: string,
  after: string,
  { layer, pooling, k, ...request }: CompareRunsRequest,
): Promise<FeatureComparison> {
  const tuned = await loadForFeatures(after);
  const { part, batchSize } = await openPart(tuned, request);
  const vectors = (loaded: typeof tuned): Promise<FeatureTable> =>
    features(loaded, part, { layer: layer ?? featureLayer(loaded), batchSize, ...(pooling && { pooling }) });
  const was = await vectors(await loadForFeatures(before));
  return compareFeatures(was, await vectors(tuned), k === undefined ? {} : { k });
}
