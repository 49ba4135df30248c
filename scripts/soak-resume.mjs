// Kills a training run at random moments, resumes it until it ends, and compares the weights with an uninterrupted run.
// usage: node scripts/soak-resume.mjs [rounds=20] [seed=1]; needs the built package (npm run build).
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const rounds = Number(process.argv[2] ?? 20);
let state = Number(process.argv[3] ?? 1);
const cli = fileURLToPath(new URL('../bin/cambium.js', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'cambium-soak-'));
// Dropout, augmentation, shuffling, a schedule, AdamW and accumulation: everything a resume could get wrong.
const recipe = ['quickstart', '--set', 'data.name=digits', '--set', 'limit.train=1200', '--set', 'limit.test=200'];
for (const change of ['data.validation=200', 'epochs=2', 'batchSize=32', 'accumulate=2', 'checkpoint.everySteps=3'])
  recipe.push('--set', change);
recipe.push(
  '--set',
  'transforms=[{"kind":"randomAffine","degrees":10},{"kind":"normalize","mean":[0.13],"std":[0.31]}]',
);

const random = () => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return state / 4294967296;
};

/** Resolves to the exit code, or 'killed'. */
function run(args, killAfter) {
  const child = spawn(process.execPath, [cli, ...args], { stdio: ['ignore', 'ignore', 'pipe'] });
  let text = '';
  child.stderr.on('data', (chunk) => (text += chunk));
  const timer = killAfter === undefined ? undefined : setTimeout(() => child.kill('SIGKILL'), killAfter);
  return new Promise((resolve) => {
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      resolve(signal ? { code: 'killed', text } : { code, text });
    });
  });
}
const weights = (dir) =>
  createHash('sha256')
    .update(readFileSync(join(dir, 'model/model.safetensors')))
    .digest('hex');
const fail = (message, text = '') => {
  console.error(`${message}\n${text}`);
  process.exit(1);
};

const started = Date.now();
const whole = join(folder, 'whole');
const first = await run(['train', ...recipe, '--out', whole]);
if (first.code !== 0) fail('the uninterrupted run failed', first.text);
const length = Date.now() - started;
const expected = weights(whole);
let kills = 0;
let equal = 0;
for (let round = 0; round < rounds; round++) {
  const dir = join(folder, `round-${round}`);
  for (let attempt = 0; ; attempt++) {
    if (attempt > 50) fail(`round ${round} did not end`);
    const args = existsSync(join(dir, 'recipe.json')) ? ['resume', dir] : ['train', ...recipe, '--out', dir];
    // Early moments catch start-up and loading, later ones steps and saves; each life is longer than the last.
    const { code, text } = await run(args, 200 + random() * length * (0.7 + 0.2 * attempt));
    if (code === 'killed') kills++;
    else if (code === 0) break;
    else fail(`round ${round} ended with exit code ${code}`, text);
    if (!existsSync(join(dir, 'recipe.json'))) rmSync(dir, { recursive: true, force: true });
  }
  if (weights(dir) === expected) equal++;
  else console.error(`round ${round}: weights differ`);
  rmSync(dir, { recursive: true, force: true });
}
rmSync(folder, { recursive: true, force: true });
console.log(
  `${equal} of ${rounds} runs, killed ${kills} times in all, ended with the weights of the uninterrupted run (${expected.slice(0, 16)})`,
);
process.exitCode = equal === rounds ? 0 : 1;
