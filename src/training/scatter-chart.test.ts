import { expect, test } from 'vitest';
import { colourOf, scatterChart } from './scatter-chart.ts';

test('points keep their distances, in the colours of their classes, and every name is escaped', () => {
  const html = scatterChart(
    [
      { x: 0, y: 0, name: 'a"><script>', label: 0 },
      { x: 2, y: 0, name: 'b', label: 1 },
      { x: 0, y: 1, name: 'c' },
      { x: Number.NaN, y: 1, name: 'd' },
    ],
    { classes: ['<b>', 'dog'], width: 228, height: 228 },
  );
  const places = [...html.matchAll(/cx="([\d.]+)" cy="([\d.]+)"[^>]*fill="([^"]+)"/g)].map(([, x, y, fill]) => [
    Number(x),
    Number(y),
    fill,
  ]);
  expect(places).toEqual([
    [14, 164, colourOf(0)],
    [214, 164, colourOf(1)],
    [14, 64, '#777'],
  ]);
  expect(html).toContain('&lt;b&gt; (1)');
  expect(html).not.toMatch(/<script|<b>/);
});

test('no points, points at one place, more classes than a legend has room for', () => {
  expect(scatterChart([])).toContain('no points');
  expect(scatterChart([{ x: 5, y: 5, name: 'a' }])).toContain('cx="380.0" cy="300.0"');
  const many = Array.from({ length: 50 }, (_, i) => ({ x: i, y: i * i, name: String(i), label: i }));
  expect(scatterChart(many)).toContain('and 10 more');
  expect(new Set(many.map(({ label }) => colourOf(label))).size).toBe(50);
});
