/**
 * Tokenising texts against Hugging Face's Rust library in the same run:
 * `npm run bench:tokenize -- --tokenizer DIR --file texts.txt[.gz] [--column N] [--rounds 5]`.
 * Processor time of one thread, nothing remembered from round to round, one text a call; the least of the rounds. The peer needs
 * CAMBIUM_PYTHON, a Python with `tokenizers`; both must give as many tokens.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { loadTokenizer, readTexts, saveTokenizer } from '../src/data/index.ts';

const { values } = parseArgs({
  options: {
    tokenizer: { type: 'string' },
    file: { type: 'string' },
    column: { type: 'string', default: '0' },
    rounds: { type: 'string', default: '5' },
  },
});
const { tokenizer: dir, file, column } = values;
if (dir === undefined || file === undefined) {
  console.error('usage: npm run bench:tokenize -- --tokenizer DIR --file texts.txt[.gz] [--column N] [--rounds 5]');
  process.exit(2);
}
const rounds = Number(values.rounds);

const texts: string[] = [];
for await (const text of readTexts(file, { textColumn: Number(column), delimiter: '\t', quote: null }))
  texts.push(text.replaceAll('\n', ' '));

let [best, tokens] = [Number.POSITIVE_INFINITY, 0];
for (let round = 0; round < rounds; round++) {
  const tokenizer = await loadTokenizer(dir);
  const start = process.cpuUsage();
  tokens = texts.reduce((sum, text) => sum + tokenizer.encode(text).inputIds.length, 0);
  const { user, system } = process.cpuUsage(start);
  best = Math.min(best, (user + system) / 1e6);
}
const ms = (seconds: number): string => `${(1000 * seconds).toFixed(0)} ms`;
console.log(`${texts.length.toLocaleString('en')} texts, ${tokens.toLocaleString('en')} tokens: ours ${ms(best)}`);

const python = process.env.CAMBIUM_PYTHON;
if (python === undefined) console.log('set CAMBIUM_PYTHON to a Python with tokenizers for the ratio');
else {
  const work = mkdtempSync(join(tmpdir(), 'cambium-tokenize-'));
  try {
    await saveTokenizer(work, await loadTokenizer(dir));
    writeFileSync(join(work, 'texts.txt'), texts.join('\n'));
    const worker = fileURLToPath(new URL('peers/tokenizers_worker.py', import.meta.url));
    const args = [worker, join(work, 'tokenizer.json'), join(work, 'texts.txt'), String(rounds)];
    const peer = JSON.parse(execFileSync(python, args, { encoding: 'utf8' })) as { seconds: number; tokens: number };
    if (peer.tokens !== tokens) throw new Error(`the peer gives ${peer.tokens} tokens`);
    console.log(`Hugging Face's Rust library: ${ms(peer.seconds)}, ${(peer.seconds / best).toFixed(1)} times as long`);
  } finally {
    rmSync(work, { recursive: true });
  }
}
