// Your own training loop. In your project, import from 'cambium/data', 'cambium/nn' and so on.
import { DataLoader, digits, loadMnist, type Transform, take } from '../src/data/index.ts';
import { MnistCnn } from '../src/models/index.ts';
import { AdamW } from '../src/optim/index.ts';
import { imageClassification } from '../src/tasks/index.ts';
import { manualSeed } from '../src/tensor/index.ts';

/** Learns MNIST from `dataDir`, or the built-in digits; returns the accuracy on 500 test pictures. */
export async function learnDigits({ dataDir = '', samples = 6000, lr = 2e-3 } = {}): Promise<number> {
  manualSeed(1);
  const open = (split: 'train' | 'test') => (dataDir ? loadMnist({ split, dataDir }) : digits({ split }));
  const [train, test] = [take(await open('train'), samples), take(await open('test'), 500)];
  const transforms: Transform[] = [{ kind: 'normalize', mean: [0.1307], std: [0.3081] }];
  const loader = new DataLoader(train, { batchSize: 32, shuffle: true, seed: 1, transforms });

  const model = new MnistCnn({ numClasses: 10 });
  const task = imageClassification({ classes: ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'], transforms });
  const optimizer = new AdamW(model.namedParameters(), { lr, weightDecay: 0.01 });

  for await (const batch of loader.epoch(0)) {
    const loss = task.loss(model, batch);
    optimizer.zeroGrad();
    loss.backward();
    optimizer.step();
    const value = await loss.item();
    if (batch.index % 20 === 0) console.log(`batch ${batch.index} of ${loader.length}, loss ${value.toFixed(3)}`);
  }

  let correct = 0;
  for await (const batch of new DataLoader(test, { batchSize: 100, transforms }).epoch(0)) {
    const [{ predictions }] = task.evaluate(model, batch);
    const answers = await predictions.data();
    correct += answers.filter((answer, i) => answer === batch.label.data[i]).length;
  }
  return correct / test.length;
}

if (process.argv[1]?.endsWith('mnist-loop.ts')) console.log(await learnDigits({ dataDir: process.argv[2] }));
