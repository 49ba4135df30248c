/** Ten thousand training steps of a small model: resident memory must be flat after warm-up. usage: npm run soak:memory */
import { MLP } from '../src/models/index.ts';
import { crossEntropy } from '../src/nn/index.ts';
import { AdamW } from '../src/optim/index.ts';
import { manualSeed, tensor } from '../src/tensor/index.ts';

const steps = Number(process.argv[2] ?? 10_000);
const batch = 64;
manualSeed(1);
const model = new MLP();
const optimizer = new AdamW(model.namedParameters(), { lr: 1e-3 });
const megabytes = (): number => process.memoryUsage.rss() / 2 ** 20;
let warm = 0;
let peak = 0;
for (let step = 1; step <= steps; step++) {
  const pixels = new Float32Array(batch * 784).map((_, i) => Math.sin(i * 0.37 + step));
  const labels = new Int32Array(batch).map((_, i) => (i + step) % 10);
  const loss = crossEntropy(model.forward(tensor(pixels, { shape: [batch, 1, 28, 28] })), tensor(labels));
  optimizer.zeroGrad();
  loss.backward();
  optimizer.step();
  const value = await loss.item();
  if (step === Math.floor(steps / 5)) warm = megabytes();
  if (step > steps / 5) peak = Math.max(peak, megabytes());
  if (step % Math.ceil(steps / 10) === 0)
    console.log(`step ${step}: loss ${value.toFixed(4)}, ${megabytes().toFixed(1)} MB resident`);
}
console.log(
  `after warm-up ${warm.toFixed(1)} MB, at most ${peak.toFixed(1)} MB, at the end ${megabytes().toFixed(1)} MB`,
);
