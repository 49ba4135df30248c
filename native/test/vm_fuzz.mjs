// Random fused programs through the addon, against plain loops in JavaScript, with one thread and with two.
//
//   node native/test/vm_fuzz.mjs [seed] [programs]      CAMBIUM_ADDON and CAMBIUM_ISA choose what is tested
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const path = process.env.CAMBIUM_ADDON ?? fileURLToPath(new URL('../../build/native/cambium.node', import.meta.url));
const addon = createRequire(import.meta.url)(path);
let state = Number(process.argv[2] ?? 1);
const programs = Number(process.argv[3] ?? 300);
const GUARD = 8; // elements after each array that nothing may touch

const random = () => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return state / 2 ** 32;
};
const integer = (least, most) => least + Math.floor(random() * (most - least + 1));
const pick = (list) => list[Math.floor(random() * list.length)];
const product = (sizes) => sizes.reduce((a, b) => a * b, 1);
const rowMajor = (dims) => dims.map((_, i) => product(dims.slice(i + 1)));

const unary = {
  neg: (a) => -a,
  abs: Math.abs,
  relu: (a) => Math.max(0, a),
  floor: Math.floor,
  ceil: Math.ceil,
  not: (a) => (a !== 0 ? 0 : 1),
  sign: Math.sign,
  tanh: Math.tanh,
  sigmoid: (a) => 1 / (1 + Math.exp(-a)),
};
const binary = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  maximum: Math.max,
  minimum: Math.min,
  eq: (a, b) => +(a === b),
  lt: (a, b) => +(a < b),
  le: (a, b) => +(a <= b),
  and: (a, b) => +(a !== 0 && b !== 0),
  or: (a, b) => +(a !== 0 || b !== 0),
};
const fold = { sum: (a, b) => a + b, max: (a, b) => Math.max(a, b), min: (a, b) => Math.min(a, b) };
const start = { sum: 0, max: Number.NEGATIVE_INFINITY, min: Number.POSITIVE_INFINITY };
// Values differ in the last place from JavaScript's, so that a comparison or rounding after them may fall either way.
const inexact = new Set(['tanh', 'sigmoid', 'row.sum']);
const steps = new Set(['floor', 'ceil', 'eq', 'lt', 'le', 'not', 'sign', 'where', 'and', 'or']);

function makeArray(dtype, length) {
  const size = Math.max(1, length) + GUARD;
  const type = dtype === 'f32' ? Float32Array : dtype === 'i32' ? Int32Array : Uint8Array;
  const whole = dtype === 'f32' ? new type(addon.allocate(size * 4)) : new type(size);
  const rounded = random() < 0.3;
  for (let i = 0; i < size; i++) {
    const value = (random() - 0.5) * 4;
    whole[i] =
      dtype === 'f32'
        ? rounded
          ? Math.round(value)
          : value
        : dtype === 'i32'
          ? integer(-5, 5)
          : integer(0, dtype === 'bool' ? 1 : 255);
  }
  return whole;
}

/** A random program: shape, views (permuted, broadcast, reversed), code, outputs (some in place) and terminals. */
function makeProgram() {
  const large = random() < 0.25;
  const dims = Array.from({ length: integer(0, 4) }, () => (random() < 0.04 ? 0 : integer(1, large ? 40 : 9)));
  if (random() < 0.15) dims.push(integer(500, 3000));
  else if (random() < 0.1 && dims.length) dims[0] *= 300;
  const total = product(dims);
  if (total > 300000) return undefined;
  const rowDims = dims.length && random() < 0.5 ? integer(0, dims.length - 1) : dims.length;
  const cols = rowDims < dims.length ? product(dims.slice(rowDims)) : 0;
  if (cols === 0 && rowDims < dims.length) return undefined;

  const arrays = [];
  const fused = { dims, cols, inputs: [], outputs: [], registers: [], code: [], terminal: [] };
  const full = [];
  const rows = [];
  const register = (kind, usable = true) => {
    const reg = fused.registers.push(kind) - 1;
    if (usable) (kind === 'row' ? rows : full).push(reg);
    return reg;
  };
  const randomView = (row) => {
    const axes = [...dims.keys()];
    if (random() < 0.4) axes.sort(() => random() - 0.5);
    const strides = dims.map(() => 0);
    let step = random() < 0.15 ? integer(1, 3) : 1;
    let offset = random() < 0.2 ? integer(0, 5) : 0;
    for (const axis of axes.reverse()) {
      if ((row && axis >= rowDims) || random() < 0.2) continue;
      strides[axis] = step;
      step *= Math.max(1, dims[axis]);
    }
    const size = offset + step + 10;
    const flipped = integer(0, Math.max(0, dims.length - 1));
    if (random() < 0.1 && dims[flipped] > 0) {
      offset += strides[flipped] * (dims[flipped] - 1);
      strides[flipped] = -strides[flipped];
    }
    return { offset, strides, size };
  };
  const load = (kind) => {
    const dtype = pick(['f32', 'f32', 'f32', 'u8', 'bool', 'i32']);
    const plain = kind === 'full' && random() < 0.5;
    const { size, ...view } = plain ? { offset: 0, strides: rowMajor(dims), size: total } : randomView(kind === 'row');
    const buffer = arrays.push(makeArray(dtype, size)) - 1;
    const input = fused.inputs.push({ buffer, dtype, ...view, plain: plain && dtype === 'f32' }) - 1;
    const reg = register(kind, dtype !== 'i32');
    fused.code.push(['load', reg, input]);
    if (dtype === 'i32') fused.code.push(['i2f', register(kind), reg]);
  };

  load('full');
  for (let left = integer(1, 14); left > 0; left--) {
    const kind = cols && rows.length && random() < 0.35 ? 'row' : 'full';
    const pool = kind === 'row' ? rows : full;
    const choice = random();
    if (choice < 0.15) load(cols && random() < 0.3 ? 'row' : 'full');
    else if (choice < 0.22) fused.code.push(['const', register(kind), Math.fround((random() - 0.5) * 3)]);
    else if (choice < 0.27) {
      const dim = integer(0, (kind === 'row' ? rowDims : dims.length) - 1);
      if (dim < 0 || dims.length === 0 || (kind === 'row' && rowDims === 0)) continue;
      const reg = register(kind, false);
      fused.code.push(['iota', reg, dim], ['i2f', register(kind), reg]);
    } else if (cols && choice < 0.42) {
      const source = pick(full);
      fused.code.push([pick(['row.sum', 'row.max', 'row.min']), register('row'), source]);
    } else if (cols && rows.length && choice < 0.55) {
      const source = pick(rows);
      fused.code.push(['spread', register('full'), source]);
    } else {
      const [a, b, c] = [pick(pool), pick(pool), pick(pool)];
      if (choice < 0.7) fused.code.push([pick(Object.keys(unary)), register(kind), a]);
      else if (choice < 0.93) fused.code.push([pick(Object.keys(binary)), register(kind), a, b]);
      else fused.code.push(['where', register(kind), a, b, c]);
    }
  }

  const overwritable = fused.inputs.filter((input) => input.plain);
  for (let left = integer(1, 3); left > 0; left--) {
    const row = cols && rows.length && random() < 0.4;
    const reg = pick(row ? rows : full);
    if (!row && overwritable.length && random() < 0.4) {
      fused.outputs.push({ ...overwritable.pop(), reg });
      continue;
    }
    const kept = row ? dims.slice(0, rowDims) : dims;
    const strides = rowMajor(kept);
    if (random() < 0.3) {
      let step = 1;
      for (const axis of [...kept.keys()].sort(() => random() - 0.5)) {
        strides[axis] = step;
        step *= kept[axis];
      }
    }
    while (strides.length < dims.length) strides.push(0);
    const dtype = pick(['f32', 'f32', 'f32', 'bool']);
    const buffer = arrays.push(makeArray(dtype, product(kept))) - 1;
    fused.outputs.push({ buffer, dtype, offset: 0, strides, reg });
  }
  const shared = integer(0, dims.length);
  for (let left = random() < 0.5 ? integer(1, 3) : 0; left > 0; left--) {
    const row = cols && rows.length && random() < 0.4;
    const seen = row ? dims.slice(0, rowDims) : dims;
    const from = Math.min(seen.length, random() < 0.7 ? shared : integer(0, dims.length));
    const to = integer(from, seen.length);
    const [outer, count, inner] = [seen.slice(0, from), seen.slice(from, to), seen.slice(to)].map(product);
    const buffer = arrays.push(makeArray('f32', outer * inner)) - 1;
    fused.terminal.push({ reg: pick(row ? rows : full), op: pick(['sum', 'max', 'min']), buffer, outer, count, inner });
  }
  return { fused, arrays };
}

/** What the program means: one element after the other, rounded to f32 after every instruction. */
function interpret({ dims, cols, inputs, outputs, registers, code, terminal }, arrays) {
  const total = product(dims);
  const place = rowMajor(dims);
  const isRow = (reg) => registers[reg] === 'row';
  const lanes = (reg) => (isRow(reg) ? total / cols : total);
  const coordinate = (linear, dim) => Math.floor(linear / place[dim]) % dims[dim];
  const element = (operand, linear) =>
    operand.strides.reduce((sum, stride, dim) => sum + stride * coordinate(linear, dim), operand.offset);
  const values = [];
  for (const [op, dst, a, b, c] of code) {
    const out = new Float64Array(lanes(dst));
    for (let i = 0; i < out.length; i++) {
      const linear = isRow(dst) ? i * cols : i;
      if (op === 'load') out[i] = arrays[inputs[a].buffer][element(inputs[a], linear)];
      else if (op === 'const') out[i] = a;
      else if (op === 'iota') out[i] = coordinate(linear, a);
      else if (op === 'i2f') out[i] = values[a][i];
      else if (op === 'spread') out[i] = values[a][Math.floor(i / cols)];
      else if (op === 'where') out[i] = values[a][i] !== 0 ? values[b][i] : values[c][i];
      else if (op.startsWith('row.')) {
        const kind = op.slice(4);
        out[i] = values[a].subarray(i * cols, (i + 1) * cols).reduce(fold[kind], start[kind]);
      } else out[i] = Math.fround(unary[op] ? unary[op](values[a][i]) : binary[op](values[a][i], values[b][i]));
    }
    values[dst] = out;
  }
  for (const { reg, op, buffer, outer, count, inner } of terminal)
    for (let o = 0; o < outer; o++)
      for (let j = 0; j < inner; j++) {
        let result = start[op];
        for (let k = 0; k < count; k++) result = fold[op](result, values[reg][(o * count + k) * inner + j]);
        arrays[buffer][o * inner + j] = result;
      }
  for (const output of outputs)
    for (let i = 0; i < lanes(output.reg); i++) {
      const value = values[output.reg][i];
      arrays[output.buffer][element(output, isRow(output.reg) ? i * cols : i)] =
        output.dtype === 'bool' ? +(value !== 0) : value;
    }
}

const close = (x, y) =>
  x === y || (Number.isNaN(x) && Number.isNaN(y)) || Math.abs(x - y) <= 2e-3 * Math.max(1, Math.abs(x), Math.abs(y));
const bytes = (array) => Buffer.from(array.buffer, array.byteOffset, array.byteLength);

let passed = 0;
for (let round = 0; round < programs; round++) {
  const made = makeProgram();
  if (!made) continue;
  const { fused, arrays } = made;
  const complain = (what) => {
    console.log(`program ${round}: ${what}\n${JSON.stringify(fused)}\n${passed} passed, 1 failed`);
    process.exit(1);
  };
  const handle = addon.createProgram({
    arenaBytes: 0,
    buffers: arrays.map((_, input) => ({ input })),
    lengths: arrays.map((array) => array.byteLength - GUARD * array.BYTES_PER_ELEMENT),
    steps: [{ kernel: 'fused', name: 'fuzz', in: [], out: [], attrs: {}, fused }],
  });
  const want = arrays.map((array) => array.slice());
  const again = arrays.map((array) => array.slice());
  addon.setThreads(1);
  await addon.run(handle, arrays);
  addon.setThreads(2);
  await addon.run(handle, again);
  interpret(fused, want);
  const either = fused.code.some(([op]) => inexact.has(op)) && fused.code.some(([op]) => steps.has(op));
  for (let b = 0; b < arrays.length; b++) {
    if (!bytes(arrays[b]).equals(bytes(again[b]))) complain(`buffer ${b}: the thread count matters`);
    const checked = either ? arrays[b].length - GUARD : 0; // guards always
    for (let i = checked; i < arrays[b].length; i++)
      if (!close(arrays[b][i], want[b][i])) complain(`buffer ${b}[${i}] is ${arrays[b][i]}, not ${want[b][i]}`);
  }
  passed++;
}
console.log(`${passed} passed, 0 failed`);
