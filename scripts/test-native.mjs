// Runs the engine's own C++ tests, plain and then under AddressSanitizer and UBSan (--plain leaves those out).
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const builds = [{ name: 'plain', folder: 'native', flags: [] }];
if (!process.argv.includes('--plain')) builds.push({ name: 'sanitized', folder: 'native-asan', flags: ['--sanitize'] });

let failed = 0;
for (const { name, folder, flags } of builds) {
  const built = spawnSync(process.execPath, ['scripts/build-native.mjs', '--strict', '--tests', ...flags], {
    cwd: root,
    stdio: 'inherit',
  });
  if (built.status !== 0) process.exit(1);
  const tests = `${root}build/${folder}/test`;
  for (const test of existsSync(tests)
    ? readdirSync(tests)
        .filter((file) => file.endsWith('_test'))
        .sort()
    : []) {
    const env = { ...process.env, CAMBIUM_TEST_SHORT: name === 'sanitized' ? '1' : '' };
    const { status, signal, stdout, stderr } = spawnSync(`${tests}/${test}`, { encoding: 'utf8', env });
    if (status !== 0) {
      failed++;
      process.stderr.write(`${stdout}${stderr}`);
    }
    console.log(
      `${name} ${test}: ${stdout.trimEnd().split('\n').at(-1)}${status === 0 ? '' : ` (exit ${status ?? signal})`}`,
    );
  }
}
if (failed > 0) console.error(`${failed} native test programs failed`);
process.exitCode = failed > 0 ? 1 : 0;
