/** Writes one group as a vector program: domain, loads, instructions, stores. */
import { type DType, invariant, sizeOf } from '../base/index.ts';
import { type Attrs, type Node, ops } from '../graph/index.ts';
import { type Group, linear, reductionForm, spreadBase } from './fuse.ts';
import type { Fused } from './program.ts';
import { breakpoints, dimsFrom, restride, type View } from './view.ts';

/** What the emitter asks of the rest of the lowering. */
export interface EmitContext {
  readonly free: ReadonlySet<Node>;
  /** Values looked at before anything after them runs; read from memory even inside their group. */
  readonly barriers: ReadonlySet<Node>;
  resolve(node: Node): View;
  bufferOf(base: Node): number;
  /** Buffers a member's value is written to; none if it stays inside. */
  storesOf(member: Node): readonly number[];
}

type Lanes = 'f' | 'i';
const lanesOf = (dtype: DType): Lanes => (dtype === 'i32' ? 'i' : 'f');

const SAME_NAME = new Set(
  [
    'neg abs sign exp log log1p expm1 sqrt rsqrt reciprocal sin cos tanh sigmoid erf relu floor ceil round not',
    'add sub mul div pow maximum minimum eq lt le and or where',
  ].flatMap((line) => line.split(' ')),
);
const INTEGER_NAMES: Record<string, string> = {
  add: 'addi',
  sub: 'subi',
  mul: 'muli',
  maximum: 'maximumi',
  minimum: 'minimumi',
  neg: 'negi',
  abs: 'absi',
  sign: 'signi',
  eq: 'eqi',
  lt: 'lti',
  le: 'lei',
};

interface Load {
  readonly view: View;
  readonly row: boolean;
  readonly dtype: DType;
}

type Code = [string, ...number[]][];

/** How an operand of a group member is had. */
export type OperandKind = 'inside' | 'heavy' | 'spread' | 'free' | 'memory';

export function operandKind(x: Node, group: Group, context: Pick<EmitContext, 'free' | 'barriers'>): OperandKind {
  const m = linear(x);
  if (m === group.heavy) return 'heavy';
  if (group.members.has(m) && !context.barriers.has(m)) return 'inside';
  if (group.cols > 0) {
    const base = spreadBase(x, group.cols);
    if (base && group.rows.has(base)) return 'spread';
  }
  return context.free.has(m) || group.recomputed.has(m) ? 'free' : 'memory';
}

/** The fused part of a group: all of it, or the epilogue of its heavy node. `order` sorts members, inputs first. */
export function emitFused(group: Group, order: ReadonlyMap<Node, number>, context: EmitContext): Fused {
  const byOrder = (a: Node, b: Node): number => (order.get(a) as number) - (order.get(b) as number);
  const members = [...group.members].sort(byOrder);
  const terminals = [...group.terminals].sort(byOrder);
  const builder = new Builder(group, context);
  for (const node of members) builder.member(node);
  for (const node of terminals) builder.value(node.inputs[0] as Node, false);
  return builder.finish(members, terminals);
}

class Builder {
  readonly #group: Group;
  readonly #context: EmitContext;
  readonly #code: Code = [];
  readonly #rowValue: boolean[] = []; // by value number
  readonly #values = new Map<string, number>(); // `${row}:${node id}` -> value
  readonly #loads: Load[] = [];
  readonly #loadKeys = new Map<string, number>();
  readonly #iotas: { instruction: number; node: Node }[] = [];

  constructor(group: Group, context: EmitContext) {
    this.#group = group;
    this.#context = context;
  }

  member(node: Node): void {
    const row = this.#group.rows.has(node);
    if (ops[node.op].kind === 'reduce') {
      const x = this.value(node.inputs[0] as Node, false);
      this.#set(node, row, this.#push([`row.${node.op}`, x], row));
    } else this.#set(node, row, this.#compute(node, row));
  }

  /** The value of operand `x`, one lane per element or per row. */
  value(x: Node, row: boolean): number {
    const m = linear(x);
    const kind = operandKind(x, this.#group, this.#context);
    const key = `${row}:${m.id}`;
    const known = this.#values.get(key);
    if (known !== undefined) return known;
    switch (kind) {
      case 'inside':
        throw invariantFailed(`member ${m.op} read before it is computed`);
      case 'heavy':
        return this.#set(m, row, this.#push(['acc'], false));
      case 'spread': {
        const base = spreadBase(x, this.#group.cols) as Node;
        return this.#set(m, false, this.#push(['spread', this.value(base, true)], false));
      }
      case 'free':
        return this.#set(m, row, this.#compute(m, row));
      case 'memory':
        return this.#set(m, row, this.#push(['load', this.#load(this.#context.resolve(m), row, m.dtype)], row));
    }
  }

  #compute(node: Node, row: boolean): number {
    if (node.op === 'constant') {
      const { value } = node.attrs as Attrs<'constant'>;
      return this.#push([lanesOf(node.dtype) === 'i' ? 'consti' : 'const', value], row);
    }
    if (node.op === 'iota') {
      this.#iotas.push({ instruction: this.#code.length, node });
      return this.#push(['iota', 0], row);
    }
    if (node.op === 'random') {
      const load = this.#load(this.#context.resolve(node.inputs[0] as Node), row, 'i32', true);
      return this.#push(['random', load], row);
    }
    const inputs = node.inputs.map((x) => this.value(x, row));
    if (node.op === 'cast') return this.#cast(node.inputs[0] as Node, node.dtype, inputs[0] as number, row);
    const integer = lanesOf((node.inputs[node.op === 'where' ? 1 : 0] as Node).dtype) === 'i';
    const name = integer && node.op !== 'where' ? INTEGER_NAMES[node.op] : SAME_NAME.has(node.op) ? node.op : undefined;
    if (!name) throw invariantFailed(`${node.op} on ${node.dtype} has no instruction`);
    return this.#push([name, ...inputs], row);
  }

  #cast(from: Node, to: DType, x: number, row: boolean): number {
    const integers = lanesOf(from.dtype) === 'i';
    if (to === 'i32') return integers ? x : this.#push(['f2i', x], row);
    if (to === 'bool') {
      if (from.dtype === 'bool') return x;
      const zero = integers ? this.#push(['eqi', x, this.#push(['consti', 0], row)], row) : this.#push(['not', x], row);
      return this.#push(['not', zero], row);
    }
    if (!integers) return x;
    if (to !== 'u8') return this.#push(['i2f', x], row);
    // Modulo 256 of any i32: the low byte, moved to the top where f32 holds it exactly; the store wraps it.
    const top = this.#push(['muli', x, this.#push(['consti', 2 ** 24], row)], row);
    return this.#push(['mul', this.#push(['i2f', top], row), this.#push(['const', 2 ** -24], row)], row);
  }

  #push([op, ...operands]: [string, ...number[]], row: boolean): number {
    const value = this.#rowValue.length;
    this.#rowValue.push(row);
    this.#code.push([op, value, ...operands]);
    return value;
  }

  #set(node: Node, row: boolean, value: number): number {
    this.#values.set(`${row}:${node.id}`, value);
    return value;
  }

  #load(view: View, row: boolean, dtype: DType, key = false): number {
    const id = `${key}:${row}:${view.base.id}:${view.offset}:${view.shape.join()}:${view.strides.join()}`;
    let load = this.#loadKeys.get(id);
    if (load === undefined) {
      load = this.#loads.length;
      this.#loadKeys.set(id, load);
      // A stream's key is read whole, not walked.
      this.#loads.push({ view: key ? { ...view, shape: [], strides: [] } : view, row, dtype });
    }
    return load;
  }

  finish(members: readonly Node[], terminals: readonly Node[]): Fused {
    const group = this.#group;
    const cols = group.cols;
    const points = new Set<number>(cols > 1 ? [cols] : []);
    for (const { view, row } of this.#loads)
      for (const p of breakpoints(view.shape, view.strides)) points.add(row ? p * cols : p);
    for (const { node } of this.#iotas) {
      const { axis } = node.attrs as Attrs<'iota'>;
      const inner = sizeOf(node.shape.slice(axis + 1));
      const scale = this.#rowIota(node) ? cols : 1;
      points.add(inner * scale);
      points.add(inner * (node.shape[axis] as number) * scale);
    }
    const dims = dimsFrom(group.size, points);
    invariant(dims !== undefined, `loops of ${group.size} do not nest: ${[...points].join()}`);

    const inputs = this.#loads.map(({ view, row, dtype }) => ({
      buffer: this.#context.bufferOf(view.base),
      dtype,
      offset: view.offset,
      strides: row ? rowStrides(view, dims, cols) : loopStrides(view, dims),
    }));
    this.#placeIotas(dims);
    const outputs = members.flatMap((node) =>
      this.#context.storesOf(node).map((buffer) => {
        const row = group.rows.has(node);
        const whole = { shape: [sizeOf(node.shape)], strides: [1] };
        return {
          buffer,
          dtype: node.dtype,
          offset: 0,
          strides: row ? rowStrides(whole, dims, cols) : (restride(whole.shape, whole.strides, dims) as number[]),
          value: this.#values.get(`${row}:${node.id}`) as number,
        };
      }),
    );
    if (group.heavy)
      for (const buffer of this.#context.storesOf(group.heavy))
        outputs.push({
          buffer,
          dtype: 'f32',
          offset: 0,
          strides: restride([group.size], [1], dims) as number[],
          value: this.value(group.heavy, false),
        });
    const ends = terminals.flatMap((node) =>
      this.#context.storesOf(node).map((buffer) => ({
        value: this.value(node.inputs[0] as Node, false),
        op: node.op,
        buffer,
        ...reductionForm(node),
      })),
    );
    const kept = [...outputs, ...ends].map((o) => o.value);
    const { code, registers, registerOf } = allocateRegisters(withoutUnused(this.#code, kept), this.#rowValue, kept);
    return {
      dims,
      cols,
      inputs,
      outputs: outputs.map(({ value, ...o }) => ({ ...o, reg: registerOf(value) })),
      registers,
      code,
      ...(ends.length > 0 && { terminal: ends.map(({ value, ...e }) => ({ ...e, reg: registerOf(value) })) }),
    };
  }

  #rowIota(node: Node): boolean {
    return this.#group.cols > 0 && sizeOf(node.shape) * this.#group.cols === this.#group.size;
  }

  // An index along an axis is a sum over the loop dimensions that axis was split into.
  #placeIotas(dims: readonly number[]): void {
    for (const { instruction, node } of this.#iotas) {
      const { axis } = node.attrs as Attrs<'iota'>;
      const scale = this.#rowIota(node) ? this.#group.cols : 1;
      const inner = sizeOf(node.shape.slice(axis + 1)) * scale;
      const dim = innerDim(dims, inner, (node.shape[axis] as number) * inner);
      const [, value] = this.#code[instruction] as [string, number];
      this.#code[instruction] = dim === undefined ? ['consti', value, 0] : ['iota', value, dim];
    }
  }
}

/** The loop dimension whose steps are `inner` elements and whose extent ends at `outer`; undefined for an axis of size 1. */
function innerDim(dims: readonly number[], inner: number, outer: number): number | undefined {
  if (inner === outer) return undefined;
  let product = 1;
  for (let i = dims.length - 1; i >= 0; i--) {
    if (product === inner) {
      invariant(product * (dims[i] as number) === outer, 'an index axis is one loop dimension');
      return i;
    }
    product *= dims[i] as number;
  }
  throw invariantFailed('an index axis is missing from the loops');
}

function loopStrides(view: Pick<View, 'shape' | 'strides'>, dims: readonly number[]): number[] {
  const strides = view.shape.length === 0 ? dims.map(() => 0) : restride(view.shape, view.strides, dims);
  invariant(strides !== undefined, 'a view fits the loops that were broken for it');
  return strides;
}

/** Strides of a one-per-row value over [rows..., cols...]. */
function rowStrides(view: Pick<View, 'shape' | 'strides'>, dims: readonly number[], cols: number): number[] {
  let inner = dims.length;
  for (let product = 1; product < cols; ) product *= dims[--inner] as number;
  return [...loopStrides(view, dims.slice(0, inner)), ...dims.slice(inner).map(() => 0)];
}

const operandsOf = ([op, , ...operands]: Code[number]): number[] =>
  ['load', 'const', 'consti', 'iota', 'random', 'acc'].includes(op) ? [] : operands;

/** The instructions that `kept` values follow from: what other kernels compute for themselves is not computed here. */
function withoutUnused(code: Code, kept: readonly number[]): Code {
  const used = new Set(kept);
  return code
    .toReversed()
    .filter((instruction) => {
      if (!used.has(instruction[1] as number)) return false;
      for (const value of operandsOf(instruction)) used.add(value);
      return true;
    })
    .toReversed();
}

/** Values to registers, each free again after its last use. `kept` values stay to the end. */
function allocateRegisters(
  code: Code,
  rowValue: readonly boolean[],
  kept: readonly number[],
): { code: Code; registers: ('full' | 'row')[]; registerOf: (value: number) => number } {
  const lastUse = new Map<number, number>();
  code.forEach((instruction, i) => {
    for (const value of operandsOf(instruction)) lastUse.set(value, i);
  });
  for (const value of kept) lastUse.set(value, code.length);
  const registers: ('full' | 'row')[] = [];
  const idle: { full: number[]; row: number[] } = { full: [], row: [] };
  const assigned = new Map<number, number>();
  const out = code.map((instruction, i): Code[number] => {
    const [op, value, ...rest] = instruction as [string, number, ...number[]];
    const operands = operandsOf(instruction);
    const mapped = operands.length > 0 ? operands.map((v) => assigned.get(v) as number) : rest;
    for (const v of new Set(operands))
      if (lastUse.get(v) === i) idle[rowValue[v] ? 'row' : 'full'].push(assigned.get(v) as number);
    const kind = rowValue[value] ? 'row' : 'full';
    let register = idle[kind].pop();
    if (register === undefined) {
      register = registers.length;
      registers.push(kind);
    }
    assigned.set(value, register);
    if (!lastUse.has(value)) idle[kind].push(register);
    return [op, register, ...mapped];
  });
  return { code: out, registers, registerOf: (value) => assigned.get(value) as number };
}

function invariantFailed(message: string): Error {
  try {
    invariant(false, message);
  } catch (error) {
    return error as Error;
  }
}
