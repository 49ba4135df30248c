/**
 * Where the time of a training step goes: every kernel timed inside its one native call, given to the layer it works for
 * and held against what the machine could do; and what is spent outside kernels.
 */
import type { Backend, Executable } from '../backend/index.ts';
import { NativeBackend, type NativeExecutable } from '../backend/native/backend.ts';
import { type MeasuredCeilings, measureCeilings } from '../backend/native/ceilings.ts';
import { type StepClass, stepBytes, stepClass, stepClasses, stepFlops } from '../backend/native/step-cost.ts';
import { ArgumentError, InternalError, UnsupportedError } from '../base/errors.ts';
import type { LabelledBatch } from '../data/index.ts';
import { recordLayers } from '../graph/index.ts';
import { withLayers } from '../nn/index.ts';
import { currentBackend, type Tensor, useBackend } from '../tensor/index.ts';
import type { FineTuneOptions } from './fine-tune-options.ts';
import { prepare } from './prepare.ts';
import { TrainStep } from './train-step.ts';

export interface ProfileOptions {
  /** Steps measured, after three that warm up; 10 unless told. */
  readonly steps?: number;
}

/** Times are milliseconds of one step. */
export interface Cost {
  readonly ms: number;
  /** Of the direct algorithm, without products with padding zeros: Winograd's needs fewer. */
  readonly flops: number;
  /** Read and written, each value once. */
  readonly bytes: number;
  /** What the machine would take at least: the larger of flops and bytes by its measured rates, kernel by kernel. */
  readonly limitMs: number;
}

export interface KernelCost extends Cost {
  readonly kernel: string;
  /** The graph ops inside. */
  readonly name: string;
  /** Sizes, for products and convolutions. */
  readonly shape: string;
  readonly class: StepClass;
  readonly layer: string;
  readonly direction: 'forward' | 'backward' | 'update';
}

export interface LayerCost extends Cost {
  /** Module path; `loss`, and `update` for optimizer, clipping and what else belongs to no layer. */
  readonly layer: string;
  readonly forwardMs: number;
  readonly backwardMs: number;
}

export interface StepProfile {
  readonly model: string;
  readonly batchSize: number;
  readonly accumulate: number;
  readonly precision: string;
  readonly isa: string;
  readonly threads: number;
  readonly ceilings: MeasuredCeilings;
  /** Steps measured, and how many of them (the fastest) the means are over. */
  readonly steps: number;
  readonly averaged: number;
  readonly stepMs: number;
  readonly total: Cost;
  readonly classes: readonly (Cost & { readonly class: StepClass; readonly kernels: number })[];
  readonly overhead: {
    /** Making the nodes of forward, backward and update. */
    readonly graphMs: number;
    /** Ordering and hashing them, finding the program, and handing over the arrays. */
    readonly lookupMs: number;
    /** The native call, without its kernels. */
    readonly callMs: number;
    /** Of the step, outside the three: promises and the loss. */
    readonly restMs: number;
    readonly totalMs: number;
  };
  readonly layers: readonly LayerCost[];
  /** Slowest first. */
  readonly kernels: readonly KernelCost[];
}

/** @throws UnsupportedError PROFILE_NATIVE_ONLY where the reference backend would run. */
export function requireNative(): NativeBackend {
  const backend = currentBackend();
  if (backend instanceof NativeBackend) return backend;
  throw new UnsupportedError(
    'PROFILE_NATIVE_ONLY',
    `profiles time the kernels of the native engine; this is the ${backend.name} backend, which has none`,
    { hint: 'cambium doctor says why it is in use; unset CAMBIUM_BACKEND, or run: npm run build:native' },
  );
}

const WARM_UP = 3;

/** Trains a few steps of the same batches and throws the result away: the model is not the one it was afterwards. */
export async function profileTraining(
  options: FineTuneOptions,
  { steps = 10 }: ProfileOptions = {},
): Promise<StepProfile> {
  if (!Number.isInteger(steps) || steps < 1)
    throw new ArgumentError('OPTION_INVALID', `steps: expected a whole number above 0, found ${steps}`, {
      field: 'steps',
      got: steps,
    });
  const native = requireNative();
  const recorder = new Recorder(native);
  native.addon.setProfiling(true);
  try {
    const ceilings = await measureCeilings(native);
    useBackend(recorder);
    const prepared = prepare(options);
    const { plan, loader, accumulate, seed, stepOptions } = prepared;
    const batches: LabelledBatch[] = [];
    for await (const batch of loader.epoch(0)) {
      batches.push(batch);
      if (batches.length === accumulate) break;
    }
    const { model, lossOf } = stepOptions;
    model.train();
    // Layers are wanted when the program is compiled; recording them would lengthen the graph building that is measured.
    let compiling = true;
    const step = new TimedStep({
      ...stepOptions,
      lossOf: (batch) => (compiling ? withLayers(model, () => lossOf(batch)) : lossOf(batch)),
    });
    const samples: Sample[] = [];
    for (let i = 0; i < WARM_UP + steps; i++) {
      if (i === 1) {
        compiling = false;
        recordLayers(false);
      }
      recorder.runs = [];
      step.graphMs = 0;
      const start = performance.now();
      const context = { seed, step: i, microStep: i * accumulate, lr: prepared.schedule(0) };
      await step.run(batches, context);
      const ms = performance.now() - start;
      if (i >= WARM_UP)
        samples.push({ ms, graphMs: step.graphMs, lookupMs: step.lookupMs(recorder), runs: recorder.runs });
    }
    step.release();
    const { isa, threads } = native.addon.info();
    const head = { model: plan.model, batchSize: plan.batchSize, accumulate, precision: options.precision ?? 'fp32' };
    return summarise({ ...head, isa, threads, ceilings }, samples);
  } finally {
    recordLayers(false);
    native.addon.setProfiling(false);
    useBackend(native);
  }
}

interface Run {
  readonly executable: NativeExecutable;
  readonly startedAt: number;
  readonly ms: number;
  /** Nanoseconds of each step of the program. */
  readonly kernels: Float64Array;
}

interface Sample {
  readonly ms: number;
  readonly graphMs: number;
  readonly lookupMs: number;
  readonly runs: readonly Run[];
}

/** The native backend, with a note of every run. */
class Recorder implements Backend {
  readonly name = 'native';
  readonly #native: NativeBackend;
  runs: Run[] = [];

  constructor(native: NativeBackend) {
    this.#native = native;
  }

  allocate(...args: Parameters<Backend['allocate']>): ReturnType<Backend['allocate']> {
    return this.#native.allocate(...args);
  }

  compile(...args: Parameters<Backend['compile']>): Executable {
    const executable = this.#native.compile(...args);
    return {
      plan: executable.plan,
      run: async (inputs, outputs) => {
        const startedAt = performance.now();
        const check = await executable.run(inputs, outputs);
        const ms = performance.now() - startedAt;
        this.runs.push({ executable, startedAt, ms, kernels: this.#native.addon.profile(executable.handle) });
        return check;
      },
    };
  }
}

/** A step that knows when its graphs were begun and finished. */
class TimedStep extends TrainStep {
  graphMs = 0;
  #built: number[] = [];

  override build(...args: Parameters<TrainStep['build']>): Tensor {
    const start = performance.now();
    const loss = super.build(...args);
    const end = performance.now();
    if (this.graphMs === 0) this.#built = [];
    this.graphMs += end - start;
    this.#built.push(end);
    return loss;
  }

  /** From each finished graph to the start of its run. */
  lookupMs({ runs }: Recorder): number {
    if (runs.length !== this.#built.length)
      throw new InternalError('INTERNAL', `internal error: ${this.#built.length} graphs made ${runs.length} runs`);
    return runs.reduce((sum, { startedAt }, i) => sum + startedAt - (this.#built[i] as number), 0);
  }
}

type Head = Pick<StepProfile, 'model' | 'batchSize' | 'accumulate' | 'precision' | 'isa' | 'threads' | 'ceilings'>;

/** Means over the faster half of the steps: they add up, and a busy moment of the machine is not in them. */
function summarise(head: Head, all: readonly Sample[]): StepProfile {
  const samples = [...all].sort((a, b) => a.ms - b.ms).slice(0, Math.ceil(all.length / 2));
  const mean = (of: (sample: Sample) => number): number => samples.reduce((sum, s) => sum + of(s), 0) / samples.length;
  const first = (samples[0] as Sample).runs;
  const kernels = first.flatMap(({ executable: { program } }, run) =>
    program.steps.map((step, i): KernelCost => {
      const ms = mean((sample) => ((sample.runs[run] as Run).kernels[i] as number) / 1e6);
      const [flops, bytes] = [stepFlops(step), stepBytes(step, program)];
      const { ceilings } = head;
      const peak = step.attrs.bf16 ? ceilings.bf16Flops : ceilings.flops;
      return {
        kernel: step.kernel,
        name: step.name,
        shape: shapeText(step.attrs),
        class: stepClass(step),
        layer: step.layer?.path ?? 'update',
        direction: step.layer?.direction ?? 'update',
        ms,
        flops,
        bytes,
        limitMs: 1000 * Math.max(flops / peak, bytes / ceilings.bandwidth),
      };
    }),
  );
  const total = costOf(kernels);
  const stepMs = mean((s) => s.ms);
  const graphMs = mean((s) => s.graphMs);
  const lookupMs = mean((s) => s.lookupMs);
  const callMs = mean((s) => s.runs.reduce((sum, run) => sum + run.ms, 0)) - total.ms;
  const totalMs = stepMs - total.ms;
  return {
    ...head,
    steps: all.length,
    averaged: samples.length,
    stepMs,
    total,
    classes: stepClasses.map((name) => {
      const of = kernels.filter((k) => k.class === name);
      return { class: name, kernels: of.length, ...costOf(of) };
    }),
    overhead: { graphMs, lookupMs, callMs, restMs: totalMs - graphMs - lookupMs - callMs, totalMs },
    layers: layersOf(kernels),
    kernels: kernels.sort((a, b) => b.ms - a.ms),
  };
}

function costOf(kernels: readonly Cost[]): Cost {
  const sum = (of: (cost: Cost) => number): number => kernels.reduce((total, kernel) => total + of(kernel), 0);
  return {
    ms: sum((k) => k.ms),
    flops: sum((k) => k.flops),
    bytes: sum((k) => k.bytes),
    limitMs: sum((k) => k.limitMs),
  };
}

function layersOf(kernels: readonly KernelCost[]): LayerCost[] {
  const byLayer = new Map<string, KernelCost[]>();
  for (const kernel of kernels) byLayer.set(kernel.layer, [...(byLayer.get(kernel.layer) ?? []), kernel]);
  return [...byLayer].map(([layer, of]) => ({
    layer,
    ...costOf(of),
    forwardMs: costOf(of.filter((k) => k.direction === 'forward')).ms,
    backwardMs: costOf(of.filter((k) => k.direction === 'backward')).ms,
  }));
}

function shapeText(a: Readonly<Record<string, number>>): string {
  if (a.M !== undefined) return `${(a.batch ?? 1) > 1 ? `${a.batch}x ` : ''}${a.M}x${a.N}x${a.K}`;
  if (a.oc !== undefined) return `${a.n}x${a.ih}x${a.iw} ${a.ic}->${a.oc} ${a.kh}x${a.kw}`;
  if (a.tq !== undefined) return `${a.batch}x${a.heads} ${a.tq}x${a.tk}x${a.d}`;
  return a.hidden === undefined ? '' : `${a.steps}x${a.batch}x${a.hidden}`;
}
