/** `cambium pipeline`: the stages of a flow, one after the other; or its chart. */
import { loadPipeline } from '../training/pipeline/index.ts';
import type { CommonOptions } from './options.ts';
import { note, print, printJson } from './output.ts';
import { eventListener } from './train.ts';

export interface PipelineCommandOptions extends CommonOptions {
  dataDir?: string;
  out?: string;
  chart?: boolean;
}

export async function pipelineCommand(source: string, options: PipelineCommandOptions): Promise<void> {
  const { dataDir, out: wanted, chart, json = false } = options;
  const flow = await loadPipeline(source);
  if (chart) return json ? printJson({ name: flow.name, mermaid: flow.mermaid() }) : print(flow.mermaid());
  const request = { dataDir, out: wanted, signals: true, listeners: [await eventListener(json)] };
  const { out, results, table } = await flow.run(request);
  if (json) return printJson({ event: 'pipeline-end', out, results });
  await print(`\n${table}`);
  await note(`saved: ${out}: report.md, report.html and a folder or file a stage`);
}
