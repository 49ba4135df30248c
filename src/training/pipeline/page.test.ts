import { describe, expect, it } from 'vitest';
import { wilsonInterval } from '../metrics/index.ts';
import { againstScratch } from './against-scratch.ts';
import { flowGraph } from './chart.ts';
import { flowPicture } from './flow-picture.ts';
import { builtinPipelines, pipeline } from './index.ts';
import { pipelinePage, pipelineTable } from './page.ts';
import type { PipelineInput } from './schema.ts';
import type { TrainStageResult } from './stages.ts';

const flow = await pipeline(builtinPipelines['flow-quickstart'] as PipelineInput);

const trained = (right: number, n: number, part?: 'validation'): TrainStageResult => ({
  kind: 'train',
  run: 'x',
  steps: 10,
  parameters: 1,
  trainable: 1,
  history: [{ epoch: 1, step: 10, trainLoss: 1, lr: 1, validation: { loss: 1, accuracy: 0.5 } }],
  validation: { loss: 1, accuracy: 0.5 },
  test: { ...(part && { part }), accuracy: right / n, interval: wilsonInterval(right, n), n, loss: 1 },
  weights: null,
});

describe('against random weights', () => {
  it('says the difference in points and whether the intervals overlap', () => {
    const far = { tuned: trained(450, 500), random: trained(400, 500) };
    const [found] = againstScratch(flow.stages, far);
    expect(found).toMatchObject({
      figure: '50 labels',
      tuned: 'tuned',
      scratch: 'random',
      part: 'test',
      overlap: false,
    });
    expect(found?.points).toBeCloseTo(10, 10);
    expect(pipelineTable(flow.stages, far)).toContain('+10.00 points; the intervals do not overlap');
    const near = { tuned: trained(45, 50), random: trained(46, 50) };
    expect(pipelineTable(flow.stages, near)).toContain('-2.00 points; the intervals overlap');
    const page = pipelinePage(flow.definition, flow.stages, near);
    expect(page).toContain('<td><b>-2.00</b></td><td>overlap</td>');
  });

  it('compares what was measured on the same part alone, and names validation', () => {
    const results = { tuned: trained(45, 50, 'validation'), random: trained(46, 50) };
    expect(againstScratch(flow.stages, results)).toEqual([]);
    expect(pipelineTable(flow.stages, results)).not.toContain('worth');
    expect(pipelineTable(flow.stages, results)).toContain('validation accuracy 90.00 %');
    // A stage without a figure stands alone.
    expect(againstScratch(flow.stages, { pretrain: trained(1, 2), random: trained(1, 2) })).toEqual([]);
  });
});

describe('the flow as a picture', () => {
  it('holds what the Mermaid chart holds: every box, arrow and word', () => {
    const graph = flowGraph(flow.stages);
    const picture = flowPicture(graph);
    expect(picture.match(/<rect /g)).toHaveLength(graph.nodes.length);
    expect(picture.match(/marker-end/g)).toHaveLength(graph.edges.length);
    expect(flow.mermaid().match(/-->/g)).toHaveLength(graph.edges.length);
    for (const { title } of graph.nodes) expect(picture).toContain(`>${title}</text>`);
    for (const text of ['50 labels', 'without labels', 'weights']) expect(picture).toContain(`>${text}</text>`);
    expect(pipelinePage(flow.definition, flow.stages, {})).toContain(picture);
  });

  it('escapes names, breaks long ones, and keeps columns apart', () => {
    const picture = flowPicture({
      nodes: [
        { id: 'a', kind: 'data', title: `</svg><script>${'x'.repeat(60)}` },
        { id: 'b', kind: 'stage', title: 'b', text: 'trains', what: 'train' },
        { id: 'c', kind: 'stage', title: 'c', text: 'trains', what: 'train' },
      ],
      edges: [
        { from: 'a', to: 'b' },
        { from: 'b', to: 'c' },
        { from: 'a', to: 'c' },
      ],
    });
    expect(picture).not.toContain('<script');
    expect(picture).not.toMatch(/x{26}/);
    const columns = [...picture.matchAll(/<rect x="(\d+)"/g)].map(([, x]) => Number(x));
    expect(columns).toEqual([...columns].sort((p, q) => p - q));
    expect(new Set(columns).size).toBe(3);
  });
});
