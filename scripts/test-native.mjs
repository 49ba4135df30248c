// Runs the engine's own C++ tests, plain and then under AddressSanitizer and UBSan (--plain leaves those out).
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const builds = [{ name: 'plain', folder: 'native', flags: [] }];
if (!process.argv.includes('--plain')) builds.push({ name: 'sanitized', folder: 'native-asan', flags: ['--sanitize'] });

let failed = 0;
function run(name, command, args, env) {
  const { status, signal, stdout, stderr } = spawnSync(command, args, { cwd: root, encoding: 'utf8', env });
  const last = stdout.trimEnd().split('\n').at(-1);
  console.log(`${name}: ${last}${status === 0 ? '' : ` (exit ${status ?? signal})`}`);
  if (status === 0) return;
  failed++;
  process.stderr.write(`${stdout}${stderr}`);
}

for (const { name, folder, flags } of builds) {
  const build = ['scripts/build-native.mjs', '--strict', '--tests', ...flags];
  const built = spawnSync(process.execPath, build, { cwd: root, stdio: 'inherit' });
  if (built.status !== 0) process.exit(1);
  const tests = `${root}build/${folder}/test`;
  for (const test of readdirSync(tests).sort()) run(`${name} ${test}`, `${tests}/${test}`, [], process.env);
  // These hold all instruction sets in one program and are built by a script of their own.
  const env = { ...process.env, CAMBIUM_TEST_OUT: `${root}build/kernel-tests` };
  for (const test of ['gemm_test', 'conv_test'])
    run(`${name} ${test}`, 'sh', ['native/test/gemm_build.sh', test, ...(flags.length > 0 ? ['asan'] : [])], env);
}
if (failed > 0) console.error(`${failed} native test programs failed`);
process.exitCode = failed > 0 ? 1 : 0;
