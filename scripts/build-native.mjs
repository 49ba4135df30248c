// Builds the native engine with the compiler at hand: native/ -> build/native/cambium.node.
// Plain Node, no network. Without a compiler it warns once and the framework runs on its reference backend.
//
//   node scripts/build-native.mjs [--force] [--strict] [--sanitize | --tsan] [--tests] [--bench] [--verbose]
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const native = join(root, 'native');
const options = new Set(process.argv.slice(2));
const tsan = options.has('--tsan');
const sanitize = tsan || options.has('--sanitize');
const output = join(root, 'build', tsan ? 'native-tsan' : sanitize ? 'native-asan' : 'native');
const addon = join(output, 'cambium.node');

// The instruction sets each kernel is compiled for; runtime/dispatch.cpp picks one when the addon loads.
const isas =
  process.arch === 'arm64'
    ? { neon: [], portable: [] }
    : process.arch === 'x64'
      ? {
          avx512: ['-mavx512f', '-mavx512dq', '-mavx512bw', '-mavx512vl', '-mfma', '-mavx2'],
          avx2: ['-mavx2', '-mfma'],
          portable: [],
        }
      : { portable: [] };

// Kernels named here are compiled once more for processors with bf16 dot products; avx512's table chooses.
const variants = process.arch === 'x64' ? { avx512bf16: [...isas.avx512, '-mavx512bf16'] } : {};
const hasVariant = (file) => /_bf16.*\.cpp$/.test(file);

const common = [
  '-std=c++20',
  '-fPIC',
  '-fvisibility=hidden',
  '-ffp-contract=off',
  '-fno-math-errno',
  '-Wall',
  '-Wextra',
];
const sanitizers = tsan ? ['-fsanitize=thread'] : ['-fsanitize=address,undefined', '-fno-sanitize-recover=undefined'];
// Only kernels have loops worth -O3; the rest compiles faster without. The loops of a kernel's test stay bare under
// ASan (blocks of the heap keep their guards): the kernels are what is looked at.
const optimise = (unit) => {
  if (unit.bare && !tsan) return ['-O3', '-g0'];
  if (sanitize) return ['-O1', '-g1', '-fno-omit-frame-pointer', ...sanitizers];
  return [unit.isa ? '-O3' : '-O2', '-g0'];
};
const defines = [
  '-DNAPI_VERSION=8',
  ...Object.keys({ ...isas, ...variants }).map((isa) => `-DCAMBIUM_HAS_${isa.toUpperCase()}`),
];

async function main() {
  if (process.platform === 'win32') return fail('Windows is not supported yet');
  const compiler = findCompiler();
  if (!compiler) return fail('no C++ compiler found (tried $CXX, c++, g++, clang++)');
  const started = Date.now();
  mkdirSync(join(output, 'objects'), { recursive: true });
  await lock(join(output, 'lock'));

  const objects = sources().map((unit) => prepare(unit, compiler));
  const linkKey = hash(JSON.stringify([objects.map((unit) => unit.key), compiler.version]));
  const stamp = join(output, 'stamp');
  const fresh = !options.has('--force') && existsSync(addon) && read(stamp) === linkKey;
  if (!fresh) {
    const stale = objects.filter((unit) => options.has('--force') || read(`${unit.object}.key`) !== unit.key);
    await inParallel(stale, (unit) => compile(unit, compiler));
    await link(addon, inLinkOrder(objects), ['-shared'], compiler);
    writeFileSync(stamp, linkKey);
    console.log(
      `cambium: built the native engine in ${((Date.now() - started) / 1000).toFixed(1)} s (${compiler.name})`,
    );
  }
  if (options.has('--tests') || options.has('--bench')) await tests(objects, compiler);
}

/** One build at a time: two would link each other's half-replaced objects. The lock of a dead process is taken over. */
async function lock(path) {
  process.on('exit', () => read(path) === String(process.pid) && rmSync(path, { force: true }));
  for (;;) {
    try {
      return writeFileSync(path, String(process.pid), { flag: 'wx' });
    } catch {
      try {
        process.kill(Number(read(path)) || process.pid, 0);
      } catch {
        rmSync(path, { force: true });
      }
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

/**
 * native/test/<name>.cpp become build/native/test/<name>, linked against the engine. Those named runtime_ and vm_ are
 * compiled for the best instruction set; the others call the kernels of every one. The benchmark only when asked for.
 */
async function tests(objects, compiler) {
  mkdirSync(join(output, 'test'), { recursive: true });
  const library = inLinkOrder(objects.filter((unit) => !unit.file.startsWith('binding/')));
  const [isa, flags] = Object.entries(isas)[0];
  const programs = list('test')
    .filter((file) => /_bench\.cpp$/.test(file) === options.has('--bench'))
    .map((file) => (/\/(vm|runtime)_/.test(file) ? { file, isa, flags } : { file, isa: '', flags: [], bare: true }))
    .map((unit) => prepare(unit, compiler));
  await inParallel(programs, async (unit) => {
    if (options.has('--force') || read(`${unit.object}.key`) !== unit.key) await compile(unit, compiler);
    await link(join(output, 'test', unit.file.slice(5, -4)), [unit.object, ...library], [], compiler);
  });
}

/**
 * Of equal inline functions the linker keeps the first: the baseline's must win, or a template of the standard
 * library compiled for AVX-512 would run on every machine.
 */
function inLinkOrder(objects) {
  const order = ['', 'portable', 'neon', 'avx2', 'avx512', 'avx512bf16'];
  return [...objects].sort((a, b) => order.indexOf(a.isa) - order.indexOf(b.isa)).map((unit) => unit.object);
}

function list(folder) {
  return readdirSync(join(native, folder))
    .filter((name) => name.endsWith('.cpp'))
    .sort()
    .map((name) => `${folder}/${name}`);
}

function sources() {
  const units = [...list('runtime'), ...list('binding')].map((file) => ({ file, isa: '', flags: [] }));
  // The slowest files first, so that two jobs end together.
  for (const [isa, flags] of Object.entries(isas))
    for (const file of list('kernels')) units.unshift({ file, isa, flags });
  for (const [isa, flags] of Object.entries(variants))
    for (const file of list('kernels').filter(hasVariant)) units.unshift({ file, isa, flags });
  return units;
}

function prepare(unit, compiler) {
  const flags = [...optimise(unit), ...common, ...defines, ...unit.flags];
  // GCC 12 sees uninitialised vectors inside its own intrinsics.
  if (compiler.gnu) flags.push('-Wno-maybe-uninitialized', '-Wno-uninitialized');
  if (unit.isa) flags.push(`-DCAMBIUM_ISA=${unit.isa}`, `-DCAMBIUM_ISA_${unit.isa.toUpperCase()}`);
  if (unit.file.startsWith('binding/')) flags.push('-I', nodeHeaders());
  const texts = [...withIncludes(join(native, unit.file))].map((path) => readFileSync(path, 'utf8'));
  const key = hash(JSON.stringify([texts, flags, compiler.version]));
  const object = join(output, 'objects', `${unit.file.replace('/', '-').slice(0, -4)}${unit.isa && `-${unit.isa}`}.o`);
  return { ...unit, flags, key, object };
}

/** A source and every header of ours that it includes, directly or not. */
function withIncludes(path, seen = new Set()) {
  if (seen.has(path) || !existsSync(path)) return seen;
  seen.add(path);
  for (const [, name] of readFileSync(path, 'utf8').matchAll(/^#include "(.+)"/gm))
    withIncludes(join(path, '..', name), seen);
  return seen;
}

async function compile(unit, compiler) {
  // Written aside and renamed: two builds at once must not read each other's halves.
  const temporary = `${unit.object}.${process.pid}`;
  try {
    await execute(compiler.command, [...unit.flags, '-c', join(native, unit.file), '-o', temporary]);
    renameSync(temporary, unit.object);
    writeFileSync(`${unit.object}.key`, unit.key);
  } finally {
    rmSync(temporary, { force: true });
  }
}

async function link(target, objects, flags, compiler) {
  const temporary = `${target}.${process.pid}`;
  const system = process.platform === 'darwin' ? ['-undefined', 'dynamic_lookup'] : ['-pthread'];
  // The C++ library travels inside, so that one binary runs on systems with another one.
  if (process.platform === 'linux' && !sanitize && compiler.gnu)
    system.push('-static-libstdc++', '-static-libgcc', '-Wl,--exclude-libs,ALL');
  const fsanitize = sanitize ? sanitizers : [];
  await execute(compiler.command, [...flags, ...fsanitize, ...objects, ...system, '-o', temporary]);
  renameSync(temporary, target);
}

function findCompiler() {
  for (const name of [process.env.CXX, 'c++', 'g++', 'clang++']) {
    if (!name) continue;
    const command = name.split(' ');
    const { status, stdout } = spawnSync(command[0], [...command.slice(1), '--version'], { encoding: 'utf8' });
    if (status === 0) return { name, command, version: stdout, gnu: !stdout.includes('clang') };
  }
  return undefined;
}

function nodeHeaders() {
  return createRequire(join(root, 'package.json'))('node-api-headers').include_dir;
}

function execute(command, args) {
  const [file, ...first] = command;
  if (options.has('--verbose')) console.log(file, ...first, ...args);
  return new Promise((resolve, reject) => {
    const child = spawn(file, [...first, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    let text = '';
    child.stdout.on('data', (chunk) => (text += chunk));
    child.stderr.on('data', (chunk) => (text += chunk));
    child.on('error', reject);
    child.on('close', (code) => {
      if (code !== 0) return reject(new Error(`the compiler failed\n${text.slice(0, 4000)}`));
      if (text) console.error(text.trimEnd());
      resolve();
    });
  });
}

async function inParallel(items, work) {
  const queue = [...items];
  const workers = Math.min(Math.max(2, availableParallelism()), 16);
  await Promise.all(
    Array.from({ length: workers }, async () => {
      for (let item = queue.shift(); item; item = queue.shift()) await work(item);
    }),
  );
}

function read(path) {
  return existsSync(path) ? readFileSync(path, 'utf8') : undefined;
}

function hash(text) {
  return createHash('sha256').update(text).digest('hex');
}

function fail(reason) {
  console.warn(
    `cambium: the native engine was not built: ${reason}\n` +
      '  cambium still works, on its reference backend, much slower. ' +
      'Install g++ or clang++ and run: npm run build:native',
  );
  if (options.has('--strict')) process.exitCode = 1;
}

await main().catch((error) => fail(error.message));
