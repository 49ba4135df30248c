/** Finds a pipeline: a built-in name, or a YAML, JSON or TypeScript file. */
import { readSource } from '../source-file.ts';
import { builtinPipelines } from './builtin.ts';
import { type Pipeline, pipeline } from './pipeline.ts';
import type { PipelineInput } from './schema.ts';

/** @throws ConfigError PIPELINE_NOT_FOUND, PIPELINE_SYNTAX and those of `pipeline`, with file, line and column; IoError. */
export async function loadPipeline(source: string): Promise<Pipeline> {
  const { value, locate } = await readSource(source, { kind: 'pipeline', builtin: builtinPipelines });
  return pipeline(value as PipelineInput, locate);
}
