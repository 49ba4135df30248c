/** The static memory plan: every intermediate gets a place in one arena, shared by values that do not live together. */

export interface Interval {
  readonly bytes: number;
  /** First and last step that needs the value, inclusive. */
  readonly first: number;
  readonly last: number;
}

// Cache lines, and room for vector loads that start on one.
const ALIGN = 64;

/** Byte offsets for the intervals, and the arena's size. Largest first, each at the lowest place that is free. */
export function planMemory(intervals: readonly Interval[]): { offsets: number[]; bytes: number } {
  const offsets = new Array<number>(intervals.length).fill(0);
  const order = intervals.map((_, i) => i).sort((a, b) => size(intervals, b) - size(intervals, a) || a - b);
  const placed: number[] = []; // by offset
  let total = 0;
  for (const i of order) {
    const { first, last } = intervals[i] as Interval;
    const need = size(intervals, i);
    let offset = 0;
    for (const j of placed) {
      const other = intervals[j] as Interval;
      if (other.last < first || other.first > last) continue;
      const start = offsets[j] as number;
      if (offset + need <= start) break;
      offset = Math.max(offset, start + size(intervals, j));
    }
    offsets[i] = offset;
    let at = placed.findIndex((j) => (offsets[j] as number) > offset);
    if (at < 0) at = placed.length;
    placed.splice(at, 0, i);
    total = Math.max(total, offset + need);
  }
  return { offsets, bytes: total };
}

const size = (intervals: readonly Interval[], i: number): number =>
  Math.ceil((intervals[i] as Interval).bytes / ALIGN) * ALIGN;
