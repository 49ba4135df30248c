// What a trained model sees: features, what is found in them, nearest pictures, a map. In your project, import from 'cambium/features'.
import { digits } from '../src/data/index.ts';
import {
  clusterScores,
  features,
  kMeans,
  linearProbe,
  project,
  rowsOf,
  similaritySearch,
} from '../src/features/index.ts';
import { MnistCnn } from '../src/models/index.ts';
import { manualSeed } from '../src/tensor/index.ts';
import { fineTune } from '../src/training/index.ts';

/** Trains on the built-in digits, then looks at the features of others; returns the linear probe's accuracy. */
export async function lookAtFeatures({ samples = 3000, epochs = 1 } = {}): Promise<number> {
  manualSeed(1);
  const transforms = [{ kind: 'normalize', mean: [0.1307], std: [0.3081] }] as const;
  const train = digits({ split: 'train', size: samples });
  const { model } = await fineTune({ model: new MnistCnn(), data: { train }, transforms, epochs, batchSize: 32 });

  const table = await features(model, digits({ split: 'test', size: 600 }), { transforms });
  const rows = Array.from({ length: 600 }, (_, i) => i);
  const [fitted, held] = [rowsOf(table, rows.slice(0, 400)), rowsOf(table, rows.slice(400))];
  const { accuracy = 0 } = await linearProbe(fitted, held);
  console.log(`${table.shape[0]} vectors of ${table.shape[1]} (${table.layer}); a linear classifier: ${accuracy}`);

  const { clusters } = await kMeans(table, { k: 10, seed: 1 });
  console.log('ten clusters against the digits:', clusterScores(clusters, table.labels as Int32Array));

  const [nearest = []] = await similaritySearch(table, rowsOf(table, [0]), { k: 5, excludeSelf: true });
  console.log(`nearest to picture ${table.ids[0]} (a ${table.labels?.[0]}):`, nearest);

  const { points } = await project(table, { method: 'pca' });
  console.log(`the first point of the map: ${points[0]}, ${points[1]}`);
  return accuracy;
}

if (process.argv[1]?.endsWith('features.ts')) await lookAtFeatures();
