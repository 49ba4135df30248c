/** A pipeline's flow as an SVG picture, for pages that open offline: columns by depth, from the data on the left. */
import { escapeHtml } from '../html-page.ts';
import type { FlowGraph, FlowNode } from './chart.ts';

const [BOX_WIDTH, LINE, GAP_X, GAP_Y, MARGIN] = [172, 16, 96, 22, 8];
/** Letters of a line. */
const LETTERS = 25;

/** Height an arrow keeps free where it passes a column. */
const LANE = 4;

interface Place {
  readonly id: string;
  readonly column: number;
  readonly height: number;
  readonly x: number;
  readonly y: number;
}

/** Same content as the Mermaid chart. Fits the width of the page. @returns HTML. */
export function flowPicture({ nodes, edges }: FlowGraph): string {
  const columns = depths({ nodes, edges });
  const ways = edges.map((edge, i) => {
    const [first, last] = [columns.get(edge.from) as number, columns.get(edge.to) as number];
    const lanes = Array.from({ length: last - first - 1 }, (_, k) => ({ id: `lane ${i} ${k}`, column: first + 1 + k }));
    return { ...edge, lanes, stops: [edge.from, ...lanes.map(({ id }) => id), edge.to] };
  });
  const sized = nodes.map(({ id, ...one }) => ({
    id,
    column: columns.get(id) as number,
    height: linesOf({ id, ...one }).length * LINE + 14,
  }));
  const lanes = ways.flatMap((way) => way.lanes.map((lane) => ({ ...lane, height: LANE })));
  const links = ways.flatMap(({ stops }) => stops.slice(1).map((to, i) => ({ from: stops[i] as string, to })));
  const places = placed([...sized, ...lanes], links);
  const at = (id: string): Place => places.get(id) as Place;
  // Arrows into one box end beside one another, in the order they come from.
  const arrows = ways.map(({ stops, to, text }) => {
    const before = (way: { stops: readonly string[] }): number => middleOf(at(way.stops.at(-2) as string));
    const incoming = ways.filter((way) => way.to === to).sort((a, b) => before(a) - before(b));
    const rank = incoming.findIndex((way) => way.stops === stops);
    const end = at(to).y + (at(to).height * (rank + 1)) / (incoming.length + 1);
    return arrow(stops.map(at), end, text);
  });
  const all = [...places.values()];
  const [width, height] = [
    Math.max(...all.map(({ x }) => x + BOX_WIDTH)) + MARGIN,
    Math.max(...all.map(({ y, height: own }) => y + own)) + MARGIN,
  ];
  return (
    `<svg viewBox="0 0 ${width} ${height}" width="${width}" style="max-width:100%;height:auto" role="img" aria-label="the flow">` +
    '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">' +
    '<path d="M0 0L8 4L0 8z" fill="#666"/></marker></defs>' +
    `${arrows.map(({ line }) => line).join('\n')}\n${nodes.map((one) => boxText(one, at(one.id))).join('\n')}\n` +
    `${arrows.map(({ label }) => label).join('')}</svg>`
  );
}

const middleOf = ({ y, height }: Place): number => y + height / 2;

const linesOf = ({ kind, title, text = '' }: FlowNode): string[] =>
  kind === 'data' ? wrapped(title) : [...wrapped(title), ...wrapped(text)];

/** The longest way from the data to each node: arrows go to the right. */
function depths({ nodes, edges }: FlowGraph): Map<string, number> {
  const depth = new Map<string, number>();
  // A stage reads earlier ones only.
  for (const { id } of nodes) {
    const before = edges.filter(({ to }) => to === id).map(({ from }) => depth.get(from) ?? 0);
    depth.set(id, before.length === 0 ? 0 : Math.max(...before) + 1);
  }
  return depth;
}

/** Column by column; what is in one stands as high as what it reads, so that arrows cross less. */
function placed(
  sized: readonly Omit<Place, 'x' | 'y'>[],
  links: readonly { readonly from: string; readonly to: string }[],
): Map<string, Place> {
  const last = Math.max(...sized.map(({ column }) => column));
  const columns = Array.from({ length: last + 1 }, (_, k) => sized.filter(({ column }) => column === k));
  const heightOf = (list: readonly { height: number }[]): number =>
    list.reduce((sum, { height }) => sum + height + GAP_Y, -GAP_Y);
  const tallest = Math.max(...columns.map(heightOf));
  const places = new Map<string, Place>();
  const source = (id: string): number => {
    const from = links.flatMap(({ from: one, to }) => (to === id ? [middleOf(places.get(one) as Place)] : []));
    return from.reduce((a, b) => a + b, 0) / Math.max(1, from.length);
  };
  for (const [column, own] of columns.entries()) {
    let y = MARGIN + (tallest - heightOf(own)) / 2;
    for (const one of [...own].sort((a, b) => source(a.id) - source(b.id))) {
      places.set(one.id, { ...one, x: MARGIN + column * (BOX_WIDTH + GAP_X), y });
      y += one.height + GAP_Y;
    }
  }
  return places;
}

/** At blanks, or where a word is longer than a line. */
function wrapped(text: string): string[] {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const [before] = lines.slice(-1);
    if (before !== undefined && [...before, ...word].length < LETTERS) lines[lines.length - 1] = `${before} ${word}`;
    else
      for (let rest = [...word]; rest.length > 0; rest = rest.slice(LETTERS))
        lines.push(rest.slice(0, LETTERS).join(''));
  }
  return lines;
}

const FILLS = {
  data: '#f3f0e6',
  train: '#e3edfb',
  features: '#e7f4ea',
  labels: '#f5e9f7',
  compare: '#f5e9f7',
} as const;

function boxText(one: FlowNode, { x, y, height }: Place): string {
  const { kind, what = 'train', title } = one;
  const names = wrapped(title).length;
  // As in the Mermaid chart data are round, and what only measures too.
  const round = kind === 'data' || what === 'labels' || what === 'compare' ? 14 : 4;
  const texts = linesOf(one).map(
    (line, i) =>
      `<text x="${x + BOX_WIDTH / 2}" y="${(y + 19 + i * LINE).toFixed(1)}" text-anchor="middle"${i < names ? ' font-weight="600"' : ''}>${escapeHtml(line)}</text>`,
  );
  return (
    `<rect x="${x}" y="${y.toFixed(1)}" width="${BOX_WIDTH}" height="${height}" rx="${round}" ` +
    `fill="${FILLS[kind === 'data' ? 'data' : what]}" stroke="#8a8f98"/>${texts.join('')}`
  );
}

/** From box to box through the lanes between. */
function arrow(stops: readonly Place[], end: number, text: string | undefined): { line: string; label: string } {
  const [first] = stops as [Place];
  const bend = GAP_X / 2;
  let [x, y] = [first.x + BOX_WIDTH, middleOf(first)];
  let path = `M${x} ${y.toFixed(1)}`;
  for (const [i, stop] of stops.slice(1).entries()) {
    const arrives = i === stops.length - 2;
    const to = arrives ? end : middleOf(stop);
    path += `C${x + bend} ${y.toFixed(1)} ${stop.x - bend} ${to.toFixed(1)} ${stop.x - (arrives ? 1 : 0)} ${to.toFixed(1)}`;
    [x, y] = [stop.x + BOX_WIDTH, to];
    if (!arrives) path += `H${x}`;
  }
  const line = `<path fill="none" stroke="#666" marker-end="url(#head)" d="${path}"/>`;
  const label =
    text === undefined
      ? ''
      : `<text class="flow" x="${(stops.at(-1) as Place).x - 9}" y="${(end - 4).toFixed(1)}" text-anchor="end">${escapeHtml(text)}</text>`;
  return { line, label };
}
