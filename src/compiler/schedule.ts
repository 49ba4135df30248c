/**
 * The order in which units of work run. Any order that respects what they read gives the same numbers; this one keeps few
 * bytes alive: a weight's gradient is taken as soon as that frees what it is made from, not when its turn comes.
 */
import { byteSize, sizeOf } from '../base/index.ts';
import type { Node, Storage } from '../graph/index.ts';
import type { Group } from './fuse.ts';

/** Something that runs as one or a few steps and makes the values of `makes`. */
export interface Unit {
  readonly makes: readonly Node[];
  /** Contiguous values it reads from memory. */
  readonly reads: Set<Node>;
  readonly group?: Group;
  /** A strided view to be made contiguous, or a pad or concat. */
  readonly move?: Node;
  readonly check?: { node: Node; id: number };
}

/** Units by need: what a value is made from stands before it. */
export class DepthFirst {
  readonly units: Unit[] = [];
  readonly #makerOf: (node: Node) => Unit | undefined;
  readonly #rank: (node: Node) => number;
  readonly #scheduled = new Set<Unit>();

  /** Of what a unit reads, the value of lowest `rank` is made first. */
  constructor(makerOf: (node: Node) => Unit | undefined, rank: (node: Node) => number) {
    this.#makerOf = makerOf;
    this.#rank = rank;
  }

  /** Appends the unit that makes `node` and everything it needs. */
  need(node: Node): void {
    const root = this.#makerOf(node);
    if (!root || this.#scheduled.has(root)) return;
    const stack: { unit: Unit; reads: Node[]; next: number }[] = [];
    const open = (unit: Unit): void => {
      this.#scheduled.add(unit);
      stack.push({ unit, reads: [...unit.reads].sort((a, b) => this.#rank(a) - this.#rank(b)), next: 0 });
    };
    open(root);
    while (stack.length > 0) {
      const top = stack[stack.length - 1] as { unit: Unit; reads: Node[]; next: number };
      const read = top.reads[top.next++];
      if (read === undefined) {
        this.units.push(top.unit);
        stack.pop();
        continue;
      }
      const unit = this.#makerOf(read);
      if (unit && !this.#scheduled.has(unit)) open(unit);
    }
  }
}

export interface ScheduleRequest {
  /** In an order that respects what they read; checks before every unit that may write over an input. */
  readonly units: readonly Unit[];
  /** Wanted at the end, in places of their own. */
  readonly fresh: ReadonlySet<Node>;
  /** New values of inputs, with the storage each may be written over. */
  readonly updates: ReadonlyMap<Node, readonly Storage[]>;
  /** Units that never run before their turn. */
  readonly late?: ReadonlySet<Unit>;
}

const bytesOf = (node: Node): number => sizeOf(node.shape) * byteSize(node.dtype);

/** The same units; whatever frees more than it makes runs at once, the rest in the order given. */
export function freeEarly(request: ScheduleRequest): Unit[] {
  return new EarlyFree(request).run();
}

class EarlyFree {
  readonly #units: readonly Unit[];
  readonly #position: ReadonlyMap<Unit, number>;
  /** Bytes of the arena a value takes. */
  readonly #bytes = new Map<Node, number>();
  /** Units that have yet to read a value. */
  readonly #readers = new Map<Node, Set<Unit>>();
  readonly #users = new Map<Unit, Unit[]>();
  readonly #waits = new Map<Unit, number>();
  readonly #ready = new Set<Unit>();
  readonly #done: Unit[] = [];
  readonly #late: ReadonlySet<Unit>;

  constructor({ units, fresh, updates, late = new Set() }: ScheduleRequest) {
    this.#units = units;
    this.#late = late;
    this.#position = new Map(units.map((unit, i) => [unit, i]));
    for (const unit of units)
      for (const read of unit.reads) this.#readers.set(read, (this.#readers.get(read) ?? new Set()).add(unit));
    for (const { makes } of units)
      for (const node of makes) {
        // What nothing reads stays inside its kernel; outputs have places of their own.
        const inArena = this.#readers.has(node) && !fresh.has(node) && !updates.has(node);
        this.#bytes.set(node, inArena ? bytesOf(node) : 0);
      }
    this.#link(updates);
  }

  run(): Unit[] {
    for (const unit of this.#units) if (this.#waits.get(unit) === 0) this.#ready.add(unit);
    for (let next = 0; this.#done.length < this.#units.length; ) {
      const batch = this.#freeing();
      if (batch) for (const unit of batch) this.#place(unit);
      else {
        while (!this.#ready.has(this.#units[next] as Unit)) next++;
        this.#place(this.#units[next] as Unit);
      }
    }
    return this.#done;
  }

  #link(updates: ScheduleRequest['updates']): void {
    const makers = new Map<Node, Unit>();
    for (const unit of this.#units) for (const node of unit.makes) makers.set(node, unit);
    const before = new Map(this.#units.map((unit) => [unit, new Set<Unit>()]));
    for (const unit of this.#units)
      for (const read of unit.reads) {
        const maker = makers.get(read);
        if (maker && maker !== unit) before.get(unit)?.add(maker);
      }
    const readersOf = new Map<Storage, Unit[]>();
    for (const [node, readers] of this.#readers)
      if (node.storage) readersOf.set(node.storage, [...(readersOf.get(node.storage) ?? []), ...readers]);
    const checks = this.#units.filter(({ check }) => check);
    const at = (unit: Unit): number => this.#position.get(unit) as number;
    // An update writes in place if nothing after it wants the old value and every check has passed.
    for (const [node, storages] of updates) {
      const unit = makers.get(node);
      if (!unit) continue;
      const earlier = [...checks, ...storages.flatMap((storage) => readersOf.get(storage) ?? [])];
      for (const other of earlier) if (at(other) < at(unit)) before.get(unit)?.add(other);
    }
    for (const [unit, others] of before) {
      this.#waits.set(unit, others.size);
      for (const other of others) this.#users.set(other, [...(this.#users.get(other) ?? []), unit]);
    }
  }

  #place(unit: Unit): void {
    this.#ready.delete(unit);
    this.#done.push(unit);
    for (const read of unit.reads) this.#readers.get(read)?.delete(unit);
    for (const user of this.#users.get(unit) ?? []) {
      const left = (this.#waits.get(user) as number) - 1;
      this.#waits.set(user, left);
      if (left === 0) this.#ready.add(user);
    }
  }

  /** Ready units that together free more than they make; of several such those that make least. */
  #freeing(): Unit[] | undefined {
    let best: Unit[] | undefined;
    let [least, most] = [Number.POSITIVE_INFINITY, 0];
    const seen = new Set<Node>();
    for (const unit of this.#ready)
      for (const read of unit.reads) {
        if (seen.has(read) || !this.#bytes.get(read)) continue;
        seen.add(read);
        const batch = this.#readers.get(read) as Set<Unit>;
        if (![...batch].every((reader) => this.#ready.has(reader) && !this.#late.has(reader))) continue;
        const made = this.#made(batch);
        const freed = this.#freed(batch);
        if (made < freed && (made < least || (made === least && freed > most))) {
          [least, most] = [made, freed];
          best = [...batch];
        }
      }
    return best?.sort((a, b) => (this.#position.get(a) as number) - (this.#position.get(b) as number));
  }

  #made(batch: ReadonlySet<Unit>): number {
    let bytes = 0;
    for (const { makes } of batch) for (const node of makes) bytes += this.#bytes.get(node) as number;
    return bytes;
  }

  /** Bytes of what only `batch` has yet to read. */
  #freed(batch: ReadonlySet<Unit>): number {
    let bytes = 0;
    const reads = new Set<Node>();
    for (const unit of batch) for (const read of unit.reads) reads.add(read);
    for (const read of reads) {
      const size = this.#bytes.get(read);
      if (size && [...(this.#readers.get(read) as Set<Unit>)].every((reader) => batch.has(reader))) bytes += size;
    }
    return bytes;
  }
}
