// Runs the engine's own C++ tests, plain and then under AddressSanitizer and UBSan.
//
//   node scripts/test-native.mjs [--plain | --tsan] [--ops] [--full]
//   --full: every case of the kernel tests under sanitizers too, not every third; --plain: no sanitizers; --tsan: under ThreadSanitizer alone; --ops: the op tables too (not under ThreadSanitizer,
//   which only instruments whole programs, not an addon of Node)
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const options = new Set(process.argv.slice(2));
const tsan = options.has('--tsan');
const builds = tsan
  ? [{ name: 'tsan', folder: 'native-tsan', flags: ['--tsan'], env: { TSAN_OPTIONS: 'halt_on_error=1' } }]
  : [{ name: 'plain', folder: 'native', flags: [], env: {} }];
if (!tsan && !options.has('--plain'))
  builds.push({ name: 'sanitized', folder: 'native-asan', flags: ['--sanitize'], env: sanitizers() });

/** What an unsanitized program (node) needs to load a sanitized addon. */
function sanitizers() {
  const library = (name) => spawnSync('c++', [`-print-file-name=${name}`], { encoding: 'utf8' }).stdout.trim();
  return {
    LD_PRELOAD: `${library('libasan.so')} ${library('libubsan.so')}`,
    ASAN_OPTIONS: 'detect_leaks=0', // node itself frees little at exit
    UBSAN_OPTIONS: 'print_stacktrace=1',
  };
}

const programs = readdirSync(`${root}native/test`)
  .flatMap((file) => (file.endsWith('.cpp') && !file.endsWith('_bench.cpp') ? [file.slice(0, -4)] : []))
  .sort();

let failed = 0;
function run(name, command, args, extra = {}) {
  const env = { ...process.env, ...extra };
  const { status, signal, stdout, stderr } = spawnSync(command, args, { cwd: root, encoding: 'utf8', env });
  const last = stdout.trimEnd().split('\n').at(-1);
  console.log(`${name}: ${last}${status === 0 ? '' : ` (exit ${status ?? signal})`}`);
  if (status === 0) return;
  failed++;
  process.stderr.write(`${stdout}${stderr}`);
}

for (const { name, folder, flags, env } of builds) {
  const build = ['scripts/build-native.mjs', '--strict', '--tests', ...flags];
  const built = spawnSync(process.execPath, build, { cwd: root, stdio: 'inherit' });
  if (built.status !== 0) process.exit(1);
  const tests = `${root}build/${folder}/test`;
  const sample = flags.length > 0 && !options.has('--full') ? ['3'] : [];
  for (const test of programs)
    run(`${name} ${test}`, `${tests}/${test}`, /^(gemm|conv)/.test(test) ? sample : [], tsan ? env : {});
  if (tsan) continue;
  const addon = { ...env, CAMBIUM_ADDON: `${root}build/${folder}/cambium.node` };
  for (const isa of process.arch === 'x64' ? ['avx2', 'portable', undefined] : [undefined])
    run(`${name} vm_fuzz ${isa ?? ''}`, process.execPath, ['native/test/vm_fuzz.mjs', '1', '300'], {
      ...addon,
      ...(isa ? { CAMBIUM_ISA: isa } : {}),
    });
  if (options.has('--ops')) run(`${name} ops`, 'npx', ['vitest', 'run', 'test/ops'], addon);
}
if (failed > 0) console.error(`${failed} native test programs failed`);
process.exitCode = failed > 0 ? 1 : 0;
