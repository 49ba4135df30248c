// Compiles src/ to dist/ with tsc; says so in one line when there is no TypeScript (an installed package).
import { spawnSync } from 'node:child_process';
import { existsSync, renameSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const tsc = `${root}node_modules/typescript/bin/tsc`;
if (!existsSync(tsc)) {
  console.log('cambium: no TypeScript here, dist/ is left as it is');
} else {
  // Built aside and swapped in: a command that starts meanwhile finds the old build or the new one.
  const [fresh, old] = ['fresh', 'old'].map((name) => `${root}build/dist-${name}-${process.pid}`);
  const options = ['-p', `${root}tsconfig.build.json`, '--outDir', fresh];
  const { status } = spawnSync(process.execPath, [tsc, ...options], { stdio: 'inherit' });
  if (status === 0) {
    if (existsSync(`${root}dist`)) renameSync(`${root}dist`, old);
    renameSync(fresh, `${root}dist`);
    rmSync(old, { recursive: true, force: true });
  } else rmSync(fresh, { recursive: true, force: true });
  process.exitCode = status ?? 1;
}
