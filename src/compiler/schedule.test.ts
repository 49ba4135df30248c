import fc from 'fast-check';
import { expect, test } from 'vitest';
import { makeNode, type Node, Storage, sourceNode } from '../graph/index.ts';
import { freeEarly, type Unit } from './schedule.ts';

const vector = (size: number): Node => sourceNode(new Storage('f32', size), [size]);
const made = (size: number): Node => makeNode('neg', [vector(size)]);
const unit = (makes: Node[], reads: Node[] = []): Unit => ({ makes, reads: new Set(reads) });

test('what is read stands before its reader, and nothing is lost', () => {
  const graph = fc.array(
    fc.record({ size: fc.integer({ min: 1, max: 50 }), from: fc.array(fc.nat(), { maxLength: 3 }) }),
    {
      maxLength: 40,
    },
  );
  fc.assert(
    fc.property(graph, (specification) => {
      const units: Unit[] = [];
      for (const { size, from } of specification)
        units.push(
          unit([made(size)], units.length > 0 ? from.map((i) => units[i % units.length]?.makes[0] as Node) : []),
        );
      const order = freeEarly({ units, fresh: new Set(), updates: new Map() });
      expect(new Set(order)).toEqual(new Set(units));
      const done = new Set<Node>();
      for (const { makes, reads } of order) {
        for (const read of reads) expect(done.has(read)).toBe(true);
        for (const node of makes) done.add(node);
      }
    }),
  );
});

test('gradients of weights are taken as their layers are done, updates after the last reader of the old value', () => {
  const [w1, w2] = [vector(5), vector(5)];
  const [x1, x2] = [made(100), made(100)] as const;
  const [g2, g1] = [made(100), made(100)];
  const [n1, n2] = [made(5), made(5)];
  const forward = [unit([x1], [w1]), unit([x2], [x1, w2])];
  const back2 = unit([g2], [x2]);
  const back1 = unit([g1], [g2, w2]);
  const [update1, update2] = [unit([n1], [g1, w1]), unit([n2], [g2, x1, w2])];
  const updates = new Map([n1, n2].map((n, i) => [n, [[w1, w2][i]?.storage as Storage]]));
  const units = [...forward, back2, back1, update1, update2];
  const order = freeEarly({ units, fresh: new Set(), updates }).map((u) => units.indexOf(u));
  expect(order).toEqual([0, 1, 2, 3, 5, 4]);
});

test('nothing is written over an input before the checks are done', () => {
  const w = vector(5);
  const [g, n, checked] = [made(100), made(5), made(100)] as const;
  const check: Unit = { ...unit([], [checked]), check: { node: checked, id: 0 } };
  const units = [unit([g]), unit([checked], [g]), check, unit([n], [g, w])];
  const order = freeEarly({ units, fresh: new Set(), updates: new Map([[n, [w.storage as Storage]]]) });
  expect(order).toEqual(units);
});
