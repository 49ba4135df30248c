// Refuses an import that goes up the floors: src/ folders in order, each may import only those before it.
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const src = fileURLToPath(new URL('../src', import.meta.url));
const floors = [
  ['base'],
  ['graph'],
  ['autograd'],
  ['compiler'],
  ['backend'],
  ['tensor'],
  ['io'],
  ['nn'],
  ['optim'],
  ['data'],
  ['models'],
  ['tasks'],
  ['features'],
  ['training'],
  ['cli', 'server'],
];
// The browser will bring its own backend, data and doors; the floors between must not know about Node.
const withoutNode = new Set(['base', 'graph', 'autograd', 'compiler', 'tensor', 'nn', 'optim', 'models']);
// The compiler knows the shape of a backend's graph, as a type only.
const typeOnly = new Set(['compiler -> backend']);

const floorOf = (folder) => floors.findIndex((names) => names.includes(folder));
const folderOf = (path) => relative(src, path).split('/')[0];
const problems = [];
for (const entry of readdirSync(src, { recursive: true })) {
  const file = join(src, entry);
  const from = folderOf(file);
  if (!entry.endsWith('.ts') || !entry.includes('/')) continue;
  if (floorOf(from) < 0) problems.push(`${entry}: folder ${from} is on no floor`);
  if (entry.endsWith('.test.ts')) continue;
  for (const [, kind, target] of readFileSync(file, 'utf8').matchAll(
    /^(?:import|export)\s+(type\s)?[^'"]*?from\s+['"]([^'"]+)['"]/gm,
  )) {
    if (target.startsWith('.')) {
      const to = folderOf(resolve(dirname(file), target));
      if (floorOf(to) > floorOf(from) && !(kind && typeOnly.has(`${from} -> ${to}`)))
        problems.push(`${entry}: ${from} may not import ${to} (${target})`);
    } else if (target.startsWith('node:') && withoutNode.has(from))
      problems.push(`${entry}: ${from} may not import ${target}`);
  }
}
for (const problem of problems) console.error(problem);
console.log(problems.length > 0 ? `${problems.length} upward imports` : 'floors: every import goes down');
process.exitCode = problems.length > 0 ? 1 : 0;
