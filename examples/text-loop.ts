// Your own training loop on texts. In your project, import from 'cambium/data', 'cambium/nn' and so on.
import { DataLoader, phrases, trainWordPiece } from '../src/data/index.ts';
import { createModel } from '../src/models/index.ts';
import { AdamW } from '../src/optim/index.ts';
import { NaiveBayes, textClassification } from '../src/tasks/index.ts';
import { manualSeed } from '../src/tensor/index.ts';

/** Learns the sentiment of short reviews in English and Chinese; returns the accuracies of BERT and of naive Bayes. */
export async function learnReviews({ samples = 2000, epochs = 3, lr = 1e-3 } = {}): Promise<[number, number]> {
  manualSeed(1);
  const [train, test] = [phrases({ split: 'train', size: samples }), phrases({ split: 'test', size: 500 })];
  const classes = ['negative', 'positive'];
  const tokenizer = await trainWordPiece(train.texts, { vocabSize: 1000 });
  const text = { tokenizer, maxLength: 32, bucketed: true };
  const loader = new DataLoader(train, { batchSize: 32, shuffle: true, seed: 1, text });

  const { vocabSize } = tokenizer;
  const size = { hiddenSize: 64, numHiddenLayers: 2, numAttentionHeads: 2, intermediateSize: 128 };
  const model = createModel('bert', { vocabSize, numClasses: 2, ...size });
  const task = textClassification({ classes });
  const optimizer = new AdamW(model.namedParameters(), { lr, weightDecay: 0.01 });

  for (let epoch = 0; epoch < epochs; epoch++)
    for await (const batch of loader.epoch(epoch)) {
      const loss = task.loss(model, batch);
      optimizer.zeroGrad();
      loss.backward();
      optimizer.step();
      const value = await loss.item();
      if (batch.index % 20 === 0) console.log(`epoch ${epoch}, batch ${batch.index}, loss ${value.toFixed(3)}`);
    }

  let correct = 0;
  for await (const batch of new DataLoader(test, { batchSize: 100, text }).epoch(0)) {
    const [{ predictions }] = task.evaluate(model, batch);
    const answers = await predictions.data();
    correct += answers.filter((answer, i) => answer === batch.label.data[i]).length;
  }
  return [correct / test.length, await (await NaiveBayes.fit(train)).accuracy(test)];
}

if (process.argv[1]?.endsWith('text-loop.ts')) console.log(await learnReviews());
