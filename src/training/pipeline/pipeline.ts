/**
 * The whole flow as one object: pre-train, fine-tune, extract features, apply labels, compare. Stages run in order, each
 * leaves its results in the pipeline's folder, and a pipeline that was interrupted goes on where it stopped.
 */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { ConfigError, DataError, IoError, nearest, printable } from '../../base/errors.ts';
import { exists, type Json, makeDirectory, readJson, sha256, writeFileAtomic, writeJson } from '../../io/index.ts';
import type { Listener } from '../events.ts';
import type { Recipe } from '../recipe.ts';
import { loadRecipe } from '../recipe-file.ts';
import { type Locate, parseAs, parseRecipe } from '../recipe-parse.ts';
import { applySettings, type Setting, setting } from '../recipe-set.ts';
import { acquireLock } from '../run/lock.ts';
import { RunStopped } from '../signals.ts';
import { mermaidChart } from './chart.ts';
import { pipelinePage, pipelineTable } from './page.ts';
import {
  type PipelineDefinition,
  type PipelineInput,
  pipelineSchema,
  readsOf,
  type Stage,
  type StageOf,
} from './schema.ts';
import { isThere, runStage, type StageResult, type StageResults } from './stages.ts';

export interface PipelineRequest {
  /** Where the data files are. */
  readonly dataDir?: string | undefined;
  /** The pipeline's folder; `runs/<name>` unless told. One that holds this pipeline goes on. */
  readonly out?: string | undefined;
  /** Called for the events of training runs, and for a notice at the beginning of every stage. */
  readonly listeners?: readonly Listener[];
  /** Whether Ctrl-C and SIGTERM save a checkpoint and end the pipeline; it goes on when run again. */
  readonly signals?: boolean;
}

export interface PipelineOutcome {
  readonly out: string;
  /** By stage. */
  readonly results: StageResults;
  /** A row a stage, in Markdown. */
  readonly table: string;
}

/** A stage ready to run: recipes are read and checked before the first one begins. */
export interface PlannedStage {
  readonly name: string;
  readonly stage: Stage;
  /** Of a training stage. */
  readonly recipe?: Recipe;
  /** Changes where anything the result depends on does: the stage, its recipe, what it reads. */
  readonly key: string;
}

/**
 * A pipeline from its definition; every mistake in it is found here.
 * @example const flow = await pipeline({ name: 'flow', stages: { ... } }); await flow.run({ out: 'runs/flow' });
 * @throws ConfigError PIPELINE_INVALID, PIPELINE_UNKNOWN_FIELD; RECIPE_* naming the stage; IoError for a recipe file.
 */
export async function pipeline(definition: PipelineInput, locate: Locate = () => undefined): Promise<Pipeline> {
  const parsed = parseAs({ kind: 'pipeline', schema: pipelineSchema }, definition, locate);
  const entries = Object.entries(parsed.stages);
  const planned = new Map<string, PlannedStage>();
  for (const [name, stage] of entries) {
    const reads = readsOf(stage);
    for (const { field, name: source, kind } of reads) {
      const found = planned.get(source);
      if (found?.stage.kind === kind) continue;
      const known = [...planned.values()].filter((other) => other.stage.kind === kind).map((other) => other.name);
      const near = nearest(source, known);
      const at = locate(['stages', name, field]);
      throw new ConfigError(
        'PIPELINE_INVALID',
        `${at ? `${at.text}: ` : ''}stages.${name}.${field}: there is no earlier stage ${printable(source)} of kind ${kind}`,
        {
          field: `stages.${name}.${field}`,
          expected: known,
          got: source,
          hint: near ? `did you mean ${near}?` : `earlier ones: ${known.join(', ') || 'none'}`,
        },
      );
    }
    const recipe = stage.kind === 'train' ? await recipeOf(name, stage) : undefined;
    const sources = reads.map(({ name: source }) => planned.get(source)?.key);
    const { figure: _, ...what } = stage as Partial<StageOf<'train'>>;
    planned.set(name, { name, stage, ...(recipe && { recipe }), key: sha256(JSON.stringify([what, recipe, sources])) });
  }
  if (entries.length === 0)
    throw new ConfigError('PIPELINE_INVALID', 'stages: expected at least one stage', { field: 'stages' });
  return new Pipeline(parsed, [...planned.values()]);
}

/** Weights of a stage stand under its name until the folder is known. */
async function recipeOf(name: string, { recipe, from, set }: StageOf<'train'>): Promise<Recipe> {
  const settings: Setting[] = [
    ...Object.entries(set).map(([path, value]) => setting(path, value)),
    ...(from === undefined ? [] : [setting('init.weights', from)]),
  ];
  try {
    return typeof recipe === 'string'
      ? await loadRecipe(recipe, settings)
      : parseRecipe(applySettings(recipe, settings));
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new ConfigError(error.code, `stages.${name}: ${error.message}`, { ...error.details, cause: error });
  }
}

interface State {
  readonly pipeline: string;
  readonly stages: Record<string, { readonly key: string; readonly result: StageResult | null }>;
}

export class Pipeline {
  readonly name: string;
  readonly definition: PipelineDefinition;
  readonly stages: readonly PlannedStage[];

  constructor(definition: PipelineDefinition, stages: readonly PlannedStage[]) {
    this.name = definition.name;
    this.definition = definition;
    this.stages = stages;
  }

  /** Its own chart in Mermaid's language. */
  mermaid(): string {
    return mermaidChart(this.stages);
  }

  /**
   * Runs the stages that are not done, in order; writes report.md and report.html.
   * @throws ConfigError PIPELINE_CHANGED where the folder holds results of other stages under these names; LockedError; what
   * the stages throw; RunStopped.
   */
  async run({
    out = join('runs', this.name),
    dataDir,
    listeners = [],
    signals,
  }: PipelineRequest = {}): Promise<PipelineOutcome> {
    await makeDirectory(out);
    const lock = await acquireLock(join(out, 'lock'));
    try {
      const state = await this.#open(out);
      const emit: Listener = async (event) => {
        for (const listener of listeners) await listener(event);
      };
      const results: Record<string, StageResult> = {};
      for (const [i, planned] of this.stages.entries()) {
        const { name, key, stage } = planned;
        const place = `stage ${i + 1} of ${this.stages.length}, ${name} (${stage.kind})`;
        const done = state.stages[name]?.result;
        if (done && (await isThere(out, done))) {
          await emit({ type: 'notice', text: `${place}: done before` });
          results[name] = done;
          continue;
        }
        await emit({ type: 'notice', text: place });
        state.stages[name] = { key, result: null };
        await this.#save(out, state);
        const result = await runStage(planned, { out, results, dataDir, listeners, signals }).catch(
          (error: unknown) => {
            if (!(error instanceof RunStopped)) throw error;
            throw new RunStopped(
              error.signal,
              error.step,
              error.run,
              'run the same command again: it goes on from there',
            );
          },
        );
        state.stages[name] = { key, result };
        await this.#save(out, state);
        results[name] = result;
      }
      const table = pipelineTable(this.stages, results);
      const text = `# ${this.name}\n\n\`\`\`mermaid\n${this.mermaid()}\`\`\`\n\n${table}`;
      await writeFileAtomic(join(out, 'report.md'), text);
      await writeFileAtomic(join(out, 'report.html'), pipelinePage(this.definition, this.stages, results));
      return { out, results, table };
    } finally {
      await lock.release();
    }
  }

  async #open(out: string): Promise<State> {
    const file = join(out, 'pipeline.json');
    if (!(await exists(file))) {
      await this.#refuseOthers(out);
      return { pipeline: this.name, stages: {} };
    }
    const state = (await readJson(file)) as unknown as Partial<State> | null;
    if (typeof state?.stages !== 'object' || state.stages === null)
      throw new DataError('NOT_A_PIPELINE', `${printable(file)} is not the state of a pipeline`, { file });
    for (const { name, key } of this.stages) {
      const before = state.stages[name];
      if (before === undefined || before.key === key) continue;
      // A stage that failed before it left anything may be mended.
      if (before.result === null && !(await exists(join(out, name)))) continue;
      throw new ConfigError('PIPELINE_CHANGED', `stages.${name}: changed since ${printable(out)} was begun`, {
        field: `stages.${name}`,
        file,
        hint: 'choose another folder with --out, or give the changed stage, and those that read it, another name',
      });
    }
    return { pipeline: this.name, stages: { ...state.stages } };
  }

  /** Results of something else are never mixed with ours. */
  async #refuseOthers(out: string): Promise<void> {
    const foreign = (await readdir(out)).find((entry) => !/^lock(\.|$)/.test(entry));
    if (foreign === undefined) return;
    throw new IoError('FOLDER_NOT_EMPTY', `${printable(out)} holds no pipeline, but ${printable(foreign)}`, {
      file: out,
      got: foreign,
      hint: 'choose a folder that is new or empty, with --out',
    });
  }

  #save(out: string, state: State): Promise<unknown> {
    return writeJson(join(out, 'pipeline.json'), state as unknown as Json);
  }
}
