/**
 * VGG16 training steps against PyTorch eager, alternately in one run.
 * usage: npm run bench:vgg16 -- [tutorial|pooled] [batch] [steps]; CAMBIUM_PYTHON names a Python with torch.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { createModel } from '../src/models/index.ts';
import { crossEntropy } from '../src/nn/index.ts';
import { AdamW } from '../src/optim/index.ts';
import { manualSeed, tensor, uniform } from '../src/tensor/index.ts';

const [kind = 'tutorial', batchText = kind === 'tutorial' ? '16' : '64', stepsText = '10'] = process.argv.slice(2);
const batch = Number(batchText);
const steps = Number(stepsText);
const python = process.env.CAMBIUM_PYTHON;

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1] as number;

manualSeed(0);
const model = createModel('vgg16', { numClasses: 10, classifier: kind === 'tutorial' ? 'torchvision' : 'pooled' });
const optimizer = new AdamW(model.parameters(), { lr: 2e-5 });
const images = uniform([batch, 3, 32, 32]);
await images.realize();
const labels = tensor(new Int32Array(batch).map((_, i) => i % 10));

async function ours(count: number): Promise<number[]> {
  const times: number[] = [];
  for (let i = 0; i < count; i++) {
    const start = performance.now();
    const loss = crossEntropy(model.forward(images), labels);
    optimizer.zeroGrad();
    loss.backward();
    optimizer.step();
    await loss.item();
    times.push(performance.now() - start);
  }
  return times;
}

interface Peer {
  times: number[];
  peakMB: number;
}
function peer(): Peer | undefined {
  if (!python) return undefined;
  const script = fileURLToPath(new URL('./peers/vgg16_torch.py', import.meta.url));
  const { stdout, stderr, status } = spawnSync(python, [script, kind, String(batch), String(steps)], {
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`the peer failed: ${stderr}`);
  return JSON.parse(stdout) as Peer;
}

const first = performance.now();
await ours(1);
const compiled = performance.now() - first;
await ours(1);
const mine: number[] = [];
const theirs: number[] = [];
let peerPeak = 0;
for (let round = 0; round < 2; round++) {
  mine.push(...(await ours(steps)));
  const result = peer();
  if (result) {
    theirs.push(...result.times);
    peerPeak = Math.max(peerPeak, result.peakMB);
  }
}
const peak = process.resourceUsage().maxRSS / 1024;
const line = (name: string, times: readonly number[], mb: number): string =>
  `${name.padEnd(16)} median ${median(times).toFixed(1)} ms (${Math.min(...times).toFixed(1)} - ${Math.max(...times).toFixed(1)}), ` +
  `${((1000 * batch) / median(times)).toFixed(1)} images/s, peak ${mb.toFixed(0)} MB`;
console.log(`VGG16 ${kind}, batch ${batch}, 3x32x32, AdamW; first step with compilation ${compiled.toFixed(0)} ms`);
console.log(line('cambium', mine, peak));
if (theirs.length > 0) {
  console.log(line('pytorch eager', theirs, peerPeak));
  console.log(`ratio ${(median(theirs) / median(mine)).toFixed(2)}x`);
} else console.log('no peer: set CAMBIUM_PYTHON to a Python that has torch');
