/** Which groups a group needs to have run, kept as sets of bits while groups grow and merge. */
import type { Node } from '../graph/index.ts';

interface Numbered {
  readonly number: number;
}

export class Reach<G extends Numbered> {
  readonly #groupOf: ReadonlyMap<Node, G>;
  /** By group number: the groups it needs, directly or not. */
  readonly #needs: (Uint32Array | undefined)[] = [];
  /** Groups that something needs. */
  readonly #needed = new Set<number>();
  /** Groups that have become part of another. */
  readonly #merged = new Map<G, G>();
  /** The groups a node outside of groups is made from. */
  readonly #makers = new Map<Node, readonly G[]>();

  constructor(groupOf: ReadonlyMap<Node, G>) {
    this.#groupOf = groupOf;
  }

  /** Whether computing `from` needs `target` to have run. */
  reaches(from: Node, target: G): boolean {
    return this.#makersOf(from).some((g) => g === target || this.#has(g.number, target.number));
  }

  /** `group` now reads `x`. */
  add(group: G, x: Node): void {
    for (const maker of this.#makersOf(x)) if (maker !== group) this.#need(group.number, maker.number);
  }

  /** `a` now does what `b` did; `groupOf` says so already. */
  merge(a: G, b: G): void {
    const needs = this.#needs[b.number];
    if (needs) this.#spread(a.number, needs);
    // Whoever needs either needs all of both.
    if (this.#needed.has(b.number)) {
      this.#needed.add(a.number);
      for (const [user, bits] of this.#needs.entries())
        if (bits && user !== a.number && has(bits, b.number) && !has(bits, a.number)) this.#need(user, a.number);
    }
    this.#needs[b.number] = undefined;
    this.#merged.set(b, a);
  }

  #makersOf(node: Node): readonly G[] {
    const group = this.#groupOf.get(node);
    if (group) return [group];
    const known = this.#makers.get(node);
    if (known) return known.some((g) => this.#merged.has(g)) ? known.map((g) => this.#current(g)) : known;
    // Inputs come first in the order nodes are placed in, so their own lists are short walks away.
    const found = new Set<G>();
    const seen = new Set<Node>([node]);
    const stack = [node];
    for (let x = stack.pop(); x; x = stack.pop())
      for (const input of x.inputs) {
        if (seen.has(input)) continue;
        seen.add(input);
        const maker = this.#groupOf.get(input);
        const makers = maker ? [maker] : this.#makers.get(input);
        if (makers) for (const g of makers) found.add(g);
        else stack.push(input);
      }
    const makers = [...found];
    this.#makers.set(node, makers);
    return makers;
  }

  #current(group: G): G {
    let g = group;
    for (let next = this.#merged.get(g); next; next = this.#merged.get(g)) g = next;
    return g;
  }

  #has(group: number, other: number): boolean {
    const bits = this.#needs[group];
    return bits !== undefined && has(bits, other);
  }

  #need(group: number, other: number): void {
    if (group === other || this.#has(group, other)) return;
    const theirs = this.#needs[other];
    const bits = new Uint32Array(Math.max((other >> 5) + 1, theirs?.length ?? 0));
    if (theirs) bits.set(theirs);
    bits[other >> 5] = (bits[other >> 5] as number) | (1 << (other & 31));
    this.#needed.add(other);
    this.#spread(group, bits);
  }

  /** Gives `bits` to `group` and to all who need it. */
  #spread(group: number, bits: Uint32Array): void {
    this.#needs[group] = union(this.#needs[group], bits);
    if (!this.#needed.has(group)) return;
    for (const [user, needs] of this.#needs.entries())
      if (needs && user !== group && has(needs, group)) this.#needs[user] = union(needs, bits);
  }
}

const has = (bits: Uint32Array, i: number): boolean => (((bits[i >> 5] ?? 0) >>> (i & 31)) & 1) === 1;

function union(into: Uint32Array | undefined, bits: Uint32Array): Uint32Array {
  let out = into;
  if (!out || out.length < bits.length) {
    // In steps of 512 groups, so that few sets are copied as groups are made.
    out = new Uint32Array(Math.ceil(bits.length / 16) * 16);
    if (into) out.set(into);
  }
  for (let i = 0; i < bits.length; i++) out[i] = (out[i] as number) | (bits[i] as number);
  return out;
}
