/**
 * Feeds mutated files to every weight parser: `npx jiti scripts/fuzz-weights.ts [cases] [seed]`; a million unless told.
 * A case may be accepted or end in a typed error with an offset inside the file; anything else stops the run and prints
 * seed and case. Memory is watched too: the heap and array buffers may not pass 1.5 GiB.
 */
import { fuzzWeights } from '../test/fuzz/weights.ts';

const cases = Number(process.argv[2] ?? 1_000_000);
const seed = Number(process.argv[3] ?? 1);
const begun = Date.now();
for (const [parser, counts] of await fuzzWeights(cases, seed)) {
  const rejected = Object.entries(counts.rejected).sort(([, a], [, b]) => b - a);
  console.log(`${parser}: ${cases} cases, ${counts.accepted} accepted, slowest ${counts.slowest.toFixed(1)} ms`);
  console.log(`  ${rejected.map(([code, n]) => `${code} ${n}`).join(', ')}`);
}
console.log(
  `${((Date.now() - begun) / 1000).toFixed(0)} s, peak RSS ${Math.round(process.resourceUsage().maxRSS / 1024)} MiB`,
);
