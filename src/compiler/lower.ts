/**
 * From a graph to a native program: passes in processing order, then units of work, their order, the places of
 * their values, and the steps themselves.
 */

import type { Graph } from '../backend/backend.ts';
import { byteSize, InternalError, isFloat, sizeOf, UnsupportedError } from '../base/index.ts';
import { type Attrs, type Node, type Storage, topologicalOrder } from '../graph/index.ts';
import { type EmitContext, emitFused, operandKind } from './emit.ts';
import { freeNodes, fuse, type Group, isContraction, linear } from './fuse.ts';
import { heavyKernel, stridedOperand } from './heavy.ts';
import { channelsLast } from './layout.ts';
import { type Interval, planMemory } from './memory.ts';
import { overlapAdd } from './overlap.ts';
import type { Fused, NativeProgram, Step } from './program.ts';
import { recompute } from './recompute.ts';
import { type Rewritten, rematerialize } from './rematerialize.ts';
import { DepthFirst, freeEarly, type Unit } from './schedule.ts';
import { simplify } from './simplify.ts';
import {
  collapse,
  constantStep,
  depths,
  layerOfUnit,
  loneGroup,
  nameOf,
  offsetOf,
  readsStorage,
  weightBytes,
} from './steps.ts';
import { isContiguous, joinViews, throughMovement, type View, wholeView } from './view.ts';

/** Passes that may be switched off: each is an acceleration, and its test is that results stay the same. */
export interface PassOptions {
  /** Apply elementwise work to the tiles of products and convolutions. */
  epilogues?: boolean;
  /** Compute cheap values again in the kernel that wants them where that saves more memory traffic than it costs. */
  recomputation?: boolean;
  /** Run what frees memory as soon as it can. */
  freeEarly?: boolean;
  /** Bytes the intermediates may take: values are dropped and computed again where they would take more. */
  arenaLimit?: number;
}

export interface Lowered {
  readonly program: NativeProgram;
  readonly scratchBytes: number;
}

/**
 * The program's arrays are the graph's inputs followed by its fresh outputs (those that overwrite nothing).
 * Throws UnsupportedError for what only the reference backend computes.
 */
export function lower(graph: Graph, options: PassOptions = {}): Lowered {
  const roots = simplify(overlapAdd(channelsLast(simplify([...graph.outputs, ...graph.checks]))));
  const plain = new Lowering(graph, { roots, phases: new Map() }, options);
  const { arenaLimit = Number.POSITIVE_INFINITY } = options;
  if (plain.arenaBytes <= arenaLimit) return plain.emit();
  const wanted = roots.filter((_, i) => graph.overwrites[i] === -1);
  const arrange = (rewritten: Rewritten): Lowering => new Lowering(graph, rewritten, options);
  return rematerialize(plain, roots, wanted, arenaLimit, arrange).emit();
}

class Lowering {
  readonly #graph: Graph;
  readonly #outputs: readonly Node[];
  readonly #checks: readonly Node[];
  readonly #order = new Map<Node, number>();
  readonly #free: ReadonlySet<Node>;
  readonly #barriers: ReadonlySet<Node>;
  readonly #groupOf: ReadonlyMap<Node, Group>;
  readonly #inputOf = new Map<Storage, number>();

  #units: Unit[] = [];
  readonly #maker = new Map<Node, Unit>();
  readonly #views = new Map<Node, View>();

  readonly #buffers: NativeProgram['buffers'] = [];
  readonly #lengths: number[] = [];
  /** Where a value lies; made on demand. */
  readonly #home = new Map<Node, number>();
  readonly #inputBuffers: number[] = [];
  readonly #steps: Step[] = [];
  #scratch = 0;

  /** Units that the wanted values need, in order; and all others. */
  readonly forward: readonly Unit[];
  readonly backward: readonly Unit[];
  readonly arenaBytes: number;
  readonly #copies: readonly { from: number; to: number; bytes: number }[];

  /** Decides everything but how the steps are written. */
  constructor(graph: Graph, { roots, phases }: Rewritten, options: PassOptions) {
    const { epilogues = true, recomputation = true, freeEarly: early = true } = options;
    this.#graph = graph;
    this.#outputs = roots.slice(0, graph.outputs.length);
    this.#checks = roots.slice(graph.outputs.length);
    const order = topologicalOrder(roots);
    for (const node of order) {
      this.#order.set(node, this.#order.size);
      if (node.dtype === 'f64')
        throw new UnsupportedError('DTYPE_UNSUPPORTED', `[${node.op}] f64 is computed by the reference backend only`, {
          op: node.op,
          hint: 'use f32, or CAMBIUM_BACKEND=reference',
        });
    }
    this.#free = freeNodes(order);
    this.#barriers = new Set([
      ...this.#checks.map(linear),
      ...order.filter((n) => n.op === 'cast' && n.dtype === 'u8'),
    ]);
    const fusion = fuse(order, this.#barriers, epilogues, phases);
    if (recomputation) recompute(order, roots, fusion, { free: this.#free, barriers: this.#barriers });
    this.#groupOf = fusion.groupOf;
    graph.inputs.forEach((node, i) => {
      if (!this.#inputOf.has(node.storage as Storage)) this.#inputOf.set(node.storage as Storage, i);
    });
    const { forward, backward } = this.#demand(phases.size > 0);
    this.forward = forward;
    this.backward = backward;
    this.#units = early ? this.#freeEarly([...forward, ...backward], phases) : [...forward, ...backward];
    this.#copies = this.#placeOutputs();
    this.arenaBytes = this.#placeIntermediates(this.#copies);
  }

  /** Values in the arena. */
  get stored(): ReadonlySet<Node> {
    return new Set(this.#slots);
  }

  emit(): Lowered {
    for (const unit of this.#units) {
      const before = this.#steps.length;
      this.#emitUnit(unit);
      const layer = layerOfUnit(unit);
      if (layer) for (const step of this.#steps.slice(before)) step.layer = layer;
    }
    for (const { from, to, bytes } of this.#copies)
      this.#steps.push({ kernel: 'copy', name: 'update', in: [from], out: [to], attrs: { bytes } });
    return {
      program: { arenaBytes: this.arenaBytes, buffers: this.#buffers, lengths: this.#lengths, steps: this.#steps },
      scratchBytes: this.#scratch,
    };
  }

  // --- values in memory ------------------------------------------------------------------------------------------

  /** Where the elements of `node` lie: itself, or the value it is a view of. Marks that value as wanted in memory. */
  #resolve(node: Node): View {
    const known = this.#views.get(node);
    if (known) return known;
    let view: View;
    if (['reshape', 'permute', 'expand', 'slice'].includes(node.op)) {
      const x = node.inputs[0] as Node;
      view = throughMovement(this.#resolve(x), node) ?? (throughMovement(wholeView(this.#copy(x)), node) as View);
    } else if (node.op === 'concat') {
      // Neighbouring cuts of one value put together again are a view of it.
      const parts = node.inputs.map((x) => this.#resolve(x));
      view = joinViews(parts, (node.attrs as Attrs<'concat'>).axis, node.shape) ?? wholeView(node);
    } else view = wholeView(node);
    this.#views.set(node, view);
    return view;
  }

  /** A contiguous value with exactly the elements of `node`. */
  #dense(node: Node): Node {
    const view = this.#resolve(node);
    return isContiguous(view) && view.offset === 0 && sizeOf(view.base.shape) === sizeOf(node.shape)
      ? view.base
      : this.#copy(node);
  }

  /** What the kernel of `heavy` reads: views where it walks them, contiguous values elsewhere. */
  #operands(heavy: Node): View[] {
    return heavy.inputs.map((x, i) => stridedOperand(heavy, i, this.#resolve(x)) ?? wholeView(this.#dense(x)));
  }

  /** `node`, a view, as a value of its own. */
  #copy(node: Node): Node {
    if (!this.#maker.has(node) && node.op !== 'source') {
      const { base } = this.#resolve(node);
      this.#maker.set(node, { makes: [node], reads: new Set([base]), move: node });
    }
    return node;
  }

  #unitOf(node: Node): Unit | undefined {
    if (node.op === 'source') return undefined;
    const known = this.#maker.get(node);
    if (known) return known;
    let unit: Unit;
    if (node.op === 'pad' || node.op === 'concat')
      unit = { makes: [node], reads: new Set(node.inputs.map((x) => this.#resolve(x).base)), move: node };
    else {
      const group = this.#groupOf.get(node) ?? loneGroup(node);
      unit = {
        makes: [...group.members, ...group.terminals, ...(group.heavy ? [group.heavy] : [])],
        reads: this.#readsOf(group),
        group,
      };
    }
    for (const made of unit.makes) this.#maker.set(made, unit);
    return unit;
  }

  #readsOf(group: Group): Set<Node> {
    const reads = new Set<Node>();
    const seen = new Set<Node>();
    const read = (x: Node): void => {
      const m = linear(x);
      const kind = operandKind(x, group, { free: this.#free, barriers: this.#barriers });
      if (kind === 'memory') reads.add(this.#resolve(m).base);
      else if (kind === 'free' && !seen.has(m)) {
        seen.add(m);
        m.inputs.forEach(read);
      }
    };
    for (const node of [...group.members, ...group.terminals]) node.inputs.forEach(read);
    if (group.heavy) for (const { base } of this.#operands(group.heavy)) reads.add(base);
    return reads;
  }

  // --- order -------------------------------------------------------------------------------------------------------

  /** Units by need: for what is wanted, then for what is checked, the checks, updates. */
  #demand(deepFirst: boolean): { forward: Unit[]; backward: Unit[] } {
    const rank = deepFirst ? depths(this.#order.keys()) : this.#order;
    const order = new DepthFirst(
      (node) => this.#unitOf(node),
      (node) => rank.get(node) ?? 0,
    );
    const needed = this.#outputs.map((node) => this.#dense(node));
    needed.forEach((node, i) => {
      if ((this.#graph.overwrites[i] as number) < 0) order.need(node);
    });
    const { length } = order.units;
    order.units.push(...this.#checks.flatMap((node, id) => this.#checkUnit(node, id, order) ?? []));
    for (const node of needed) order.need(node);
    return { forward: order.units.slice(0, length), backward: order.units.slice(length) };
  }

  #freeEarly(units: readonly Unit[], phases: Rewritten['phases']): Unit[] {
    const fresh = new Set<Node>();
    const updates = new Map<Node, Storage[]>();
    this.#outputs.forEach((output, i) => {
      const node = this.#dense(output);
      const input = this.#graph.inputs[this.#graph.overwrites[i] as number];
      if (input) updates.set(node, [...(updates.get(node) ?? []), input.storage as Storage]);
      else fresh.add(node);
    });
    const late = new Set(units.filter(({ makes }) => makes.some((node) => phases.get(node) === 'again')));
    return freeEarly({ units, fresh, updates, late });
  }

  /** A value that lives only inside an epilogue is checked through the factors of its product. */
  #checkUnit(node: Node, id: number, order: DepthFirst): Unit | undefined {
    const m = linear(node);
    if (!isFloat(m.dtype) || sizeOf(m.shape) === 0) return undefined;
    if (m.op === 'constant') return undefined;
    const group = this.#groupOf.get(m);
    const reads = new Set<Node>();
    if (group?.heavy === m && m.op === 'matmul' && group.members.size > 0 && !(m.attrs as Attrs<'matmul'>).precision)
      for (const x of m.inputs) reads.add(this.#dense(x));
    else reads.add(this.#dense(node));
    for (const read of reads) order.need(read);
    return { makes: [], reads, check: { node: m, id } };
  }

  // --- places ------------------------------------------------------------------------------------------------------

  #buffer(place: NativeProgram['buffers'][number], bytes: number): number {
    this.#buffers.push(place);
    this.#lengths.push(bytes);
    return this.#buffers.length - 1;
  }

  #inputBuffer(index: number): number {
    const node = this.#graph.inputs[index] as Node;
    this.#inputBuffers[index] ??= this.#buffer({ input: index }, sizeOf(node.shape) * byteSize(node.dtype));
    return this.#inputBuffers[index] as number;
  }

  /** Decides which values are written straight to their output; the rest are copied there at the end. */
  #placeOutputs(): { from: number; to: number; bytes: number }[] {
    const last: { value: Node; to: number; bytes: number }[] = [];
    const position = new Map(this.#units.map((unit, i) => [unit, i]));
    const lastCheck = this.#units.findLastIndex((unit) => unit.check);
    let freshIndex = this.#graph.inputs.length;
    const lastRead = new Map<Storage, number>();
    this.#units.forEach((unit, i) => {
      for (const { storage } of unit.reads) if (storage) lastRead.set(storage, i);
    });
    // The old value itself may be an output that is copied at the end.
    const kept = new Set(this.#outputs.map((node) => this.#dense(node).storage));
    const needed = (input: Node, at: number): boolean =>
      (lastRead.get(input.storage as Storage) ?? -1) > at || kept.has(input.storage);
    this.#outputs.forEach((node, i) => {
      const bytes = sizeOf(node.shape) * byteSize(node.dtype);
      const overwrites = this.#graph.overwrites[i] as number;
      const to = overwrites >= 0 ? this.#inputBuffer(overwrites) : this.#buffer({ input: freshIndex++ }, bytes);
      if (bytes === 0) return;
      const value = this.#dense(node);
      const unit = this.#maker.get(value);
      const direct =
        unit !== undefined &&
        !this.#home.has(value) &&
        (overwrites < 0 ||
          this.#mayOverwrite(
            unit,
            position.get(unit) as number,
            lastCheck,
            needed,
            this.#graph.inputs[overwrites] as Node,
          ));
      if (direct) this.#home.set(value, to);
      else if (value.op !== 'source' || this.#sourceBuffer(value) !== to) last.push({ value, to, bytes });
    });
    return last.map(({ value, to, bytes }) => ({ from: this.#bufferOf(value), to, bytes }));
  }

  /** A value may go straight over an input if nothing needs the old contents from then on. */
  #mayOverwrite(
    unit: Unit,
    at: number,
    lastCheck: number,
    needed: (input: Node, at: number) => boolean,
    input: Node,
  ): boolean {
    if (at < lastCheck || needed(input, at)) return false;
    return !readsStorage(unit, input) || this.#readsInPlace(unit, input);
  }

  /** Whether the unit reads the input only lane by lane, each before the same lane is written. */
  #readsInPlace(unit: Unit, input: Node): boolean {
    const { group } = unit;
    if (!group || group.terminals.size > 0) return false;
    if (group.heavy && this.#operands(group.heavy).some((x) => x.base.storage === input.storage)) return false;
    for (const node of group.members)
      for (const x of node.inputs) {
        if (operandKind(x, group, { free: this.#free, barriers: this.#barriers }) !== 'memory') continue;
        const view = this.#resolve(linear(x));
        if (view.base.storage !== input.storage) continue;
        if (!isContiguous(view) || view.offset !== 0 || sizeOf(view.shape) !== group.size) return false;
      }
    return true;
  }

  #sourceBuffer(node: Node): number {
    return this.#inputBuffer(this.#inputOf.get(node.storage as Storage) as number);
  }

  readonly #slots: Node[] = [];

  #bufferOf(base: Node): number {
    if (base.op === 'source') return this.#sourceBuffer(base);
    let home = this.#home.get(base);
    if (home === undefined) {
      home = this.#buffer({ arena: 0 }, sizeOf(base.shape) * byteSize(base.dtype));
      this.#home.set(base, home);
      this.#slots.push(base);
    }
    return home;
  }

  /** Lifetimes of everything that is neither input nor output, packed into the arena. */
  #placeIntermediates(copies: readonly { from: number }[]): number {
    for (const unit of this.#units) for (const read of unit.reads) this.#bufferOf(read);
    const first = new Map<Node, number>();
    const last = new Map<Node, number>();
    this.#units.forEach((unit, i) => {
      for (const made of unit.makes) if (!first.has(made)) first.set(made, i);
      for (const read of unit.reads) last.set(read, i);
    });
    const copied = new Set(copies.map(({ from }) => from));
    const intervals = this.#slots.map((node): Interval => {
      const born = first.get(node);
      if (born === undefined) throw new InternalError('INTERNAL', `internal error: nothing makes ${node.op}`);
      const buffer = this.#home.get(node) as number;
      return {
        bytes: this.#lengths[buffer] as number,
        first: born,
        last: copied.has(buffer) ? this.#units.length : (last.get(node) ?? born),
      };
    });
    const { offsets, bytes } = planMemory(intervals);
    this.#slots.forEach((node, i) => {
      this.#buffers[this.#home.get(node) as number] = { arena: offsets[i] as number };
    });
    return bytes;
  }

  // --- steps -------------------------------------------------------------------------------------------------------

  readonly #emitContext: EmitContext = ((self: Lowering) => ({
    get free() {
      return self.#free;
    },
    get barriers() {
      return self.#barriers;
    },
    resolve: (node: Node) => self.#resolve(node),
    bufferOf: (base: Node) => self.#bufferOf(base),
    storesOf: (member: Node) => {
      const home = self.#home.get(member);
      return home === undefined ? [] : [home];
    },
  }))(this);

  #emitUnit(unit: Unit): void {
    if (unit.check) this.#emitCheck(unit, unit.check);
    else if (unit.group) this.#emitGroup(unit.group);
    else if (unit.move) this.#emitMove(unit.move);
  }

  #emitGroup(group: Group): void {
    const { heavy } = group;
    const hasFused = group.members.size > 0 || group.terminals.size > 0;
    // A sum of nothing is zero; an index into nothing is still an error, which its kernel raises.
    const empty = heavy && isContraction(heavy) && heavy.inputs.some((x) => sizeOf(x.shape) === 0);
    if (group.size === 0 || empty) {
      for (const node of [...group.rows, ...group.terminals, ...(heavy ? [heavy] : [])]) this.#fill(node, 0);
      if (!heavy || !hasFused || group.size === 0) return;
    }
    const fused = hasFused ? emitFused(group, this.#order, this.#emitContext) : undefined;
    if (!heavy) {
      this.#steps.push({ kernel: 'fused', name: nameOf(group), in: [], out: [], attrs: {}, fused });
      return;
    }
    const operands = this.#operands(heavy);
    const { kernel, attrs, inputs = operands.keys() } = heavyKernel(heavy, operands);
    if (kernel.startsWith('conv2d')) this.#scratch = Math.max(this.#scratch, weightBytes(attrs));
    this.#steps.push({
      kernel,
      name: nameOf(group),
      in: [...inputs].map((i) => this.#bufferOf((operands[i] as View).base)),
      out: fused ? [] : [this.#bufferOf(heavy)],
      attrs,
      ...(fused && { fused }),
    });
  }

  #fill(node: Node, value: number): void {
    const home = this.#home.get(node);
    const length = sizeOf(node.shape);
    if (home !== undefined && length > 0)
      this.#steps.push({ kernel: 'fill', name: node.op, in: [], out: [home], attrs: { value, length } });
  }

  #emitCheck({ reads }: Unit, { node, id }: { node: Node; id: number }): void {
    const buffers = [...reads].map((read) => this.#bufferOf(read));
    const lengths = [...reads].map((read) => sizeOf(read.shape));
    if (buffers.length === 1)
      this.#steps.push({
        kernel: 'check-finite',
        name: 'check',
        in: buffers,
        out: [],
        attrs: { id, length: lengths[0] as number },
      });
    else {
      const terms = heavyKernel(node, node.inputs.map(wholeView)).attrs.K as number;
      const [lengthA, lengthB] = lengths as [number, number];
      this.#steps.push({
        kernel: 'check-product',
        name: 'check',
        in: buffers,
        out: [],
        attrs: { id, lengthA, lengthB, terms },
      });
    }
  }

  #emitMove(node: Node): void {
    const to = this.#bufferOf(node);
    const whole = wholeView(node);
    if (sizeOf(node.shape) === 0) return;
    if (node.op === 'pad') {
      const { before, value } = node.attrs as Attrs<'pad'>;
      this.#steps.push(constantStep(node, value, to));
      this.#copyStep(node.inputs[0] as Node, to, offsetOf(whole, before), whole.strides, node.op);
    } else if (node.op === 'concat') {
      const { axis } = node.attrs as Attrs<'concat'>;
      let start = 0;
      for (const x of node.inputs) {
        this.#copyStep(x, to, start * (whole.strides[axis] as number), whole.strides, node.op);
        start += x.shape[axis] as number;
      }
    } else this.#copyStep(node, to, 0, whole.strides, 'copy');
  }

  /** Moves the elements of a view into a strided place. */
  #copyStep(x: Node, to: number, offset: number, strides: readonly number[], name: string): void {
    if (sizeOf(x.shape) === 0) return;
    const view = this.#resolve(x);
    const fused: Fused = {
      dims: [...x.shape],
      cols: 0,
      inputs: [{ buffer: this.#bufferOf(view.base), dtype: x.dtype, offset: view.offset, strides: [...view.strides] }],
      outputs: [{ buffer: to, dtype: x.dtype, offset, strides: [...strides], reg: 0 }],
      registers: ['full'],
      code: [['load', 0, 0]],
    };
    this.#steps.push({ kernel: 'fused', name, in: [], out: [], attrs: {}, fused: collapse(fused) });
  }
}
