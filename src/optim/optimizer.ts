/** What every optimizer shares: parameter groups, state as named variables, the learning rate as a program input. */
import { ArgumentError, DataError } from '../base/index.ts';
import { scalar, type Tensor, Variable, zeros } from '../tensor/index.ts';

/** Parameters that share options. */
export interface ParameterGroup<Options> {
  params: readonly Variable[];
  options?: Partial<Options>;
}

/** A variable with the name its module gave it. */
interface Named {
  readonly name: string;
  readonly variable: Variable;
}

/** Variables, named variables (bias and norm are then not decayed), or groups with options of their own. */
export type OptimizerParameters<Options> = readonly Variable[] | readonly Named[] | readonly ParameterGroup<Options>[];

export interface BaseOptions {
  /** Learning rate. */
  lr: number;
  /** Weight decay; see each optimizer for what it means there. */
  weightDecay: number;
}

/** Scalars that move with the step are inputs of the program, so that a schedule compiles nothing. */
export interface UpdateContext {
  readonly lr: number;
  /** 1 for the first update. */
  readonly step: number;
}

export abstract class Optimizer<Options extends BaseOptions = BaseOptions> {
  readonly groups: { params: readonly Variable[]; options: Options }[];
  /** Updates made so far. */
  stepCount = 0;
  readonly #state = new Map<Variable, Map<string, Variable>>();

  protected constructor(parameters: OptimizerParameters<Options>, defaults: Options) {
    this.groups = toGroups(parameters).map(({ params, options }) => ({ params, options: { ...defaults, ...options } }));
    const all = this.groups.flatMap((g) => g.params);
    if (all.length === 0) throw new ArgumentError('EMPTY', 'an optimizer needs at least one parameter');
    if (new Set(all).size !== all.length) throw new ArgumentError('DUPLICATE', 'a parameter is in two groups');
    for (const { options } of this.groups) this.check(options);
  }

  /** Validates options; throws ArgumentError naming the field. */
  protected check({ lr, weightDecay }: Options): void {
    inRange('lr', lr, 0, Number.MAX_VALUE);
    inRange('weightDecay', weightDecay, 0, Number.MAX_VALUE);
  }

  /** The new value of `p`; may assign its own state. */
  protected abstract update(p: Variable, grad: Tensor, options: Options, context: UpdateContext): Tensor;

  /** State tensors a parameter has, for checkpoints and memory plans. */
  protected abstract readonly stateNames: (options: Options) => readonly string[];

  /** Applies `.grad` of every trainable parameter that has one. The new values exist after the next flush. */
  step(): void {
    this.stepCount++;
    for (const { params, options } of this.groups)
      for (const p of params)
        if (p.grad && p.requiresGrad)
          p.assign(this.update(p, p.grad, options, { lr: options.lr, step: this.stepCount }));
  }

  zeroGrad(): void {
    for (const { params } of this.groups) for (const p of params) p.grad = null;
  }

  get lr(): number {
    return (this.groups[0] as { options: Options }).options.lr;
  }

  /** Sets the learning rate of every group; groups keep their ratio to the first. */
  setLr(lr: number): void {
    inRange('lr', lr, 0, Number.MAX_VALUE);
    const first = this.lr;
    for (const { options } of this.groups) options.lr = first === 0 ? lr : (options.lr / first) * lr;
  }

  /** A state tensor of `p`, zero at first. */
  protected stateOf(p: Variable, name: string): Variable {
    let named = this.#state.get(p);
    if (!named) {
      named = new Map();
      this.#state.set(p, named);
    }
    let variable = named.get(name);
    if (!variable) {
      variable = new Variable(zeros(p.shape), { label: `${p.label ?? 'parameter'}.${name}` });
      named.set(name, variable);
    }
    return variable;
  }

  /** State tensors by `<parameter>.<name>`; parameters without a label are numbered. Creates what does not exist yet. */
  stateDict(): Map<string, Variable> {
    const out = new Map<string, Variable>();
    let number = 0;
    for (const { params, options } of this.groups)
      for (const p of params) {
        const label = p.label ?? String(number);
        number++;
        if (p.requiresGrad)
          for (const name of this.stateNames(options)) out.set(`${label}.${name}`, this.stateOf(p, name));
      }
    return out;
  }

  /** Restores state saved by `stateDict()` and the number of updates made. Throws DataError if it is another optimizer's. */
  loadStateDict(tensors: ReadonlyMap<string, Tensor>, stepCount: number): void {
    const own = this.stateDict();
    for (const [name, variable] of own) {
      const value = tensors.get(name);
      if (!value || value.shape.join() !== variable.shape.join())
        throw new DataError(
          'OPTIMIZER_STATE',
          `the optimizer state has no ${name} of shape ${variable.shape.join(' x ')}`,
          {
            tensor: name,
            expected: variable.shape,
            got: value?.shape,
            hint: 'it was saved by another optimizer or model',
          },
        );
      variable.assign(value);
    }
    this.stepCount = stepCount;
  }
}

/** A number as an input of the program. */
export const input = (value: number): Tensor => scalar(value);

export function inRange(field: string, value: number, low: number, high: number): void {
  if (!(value >= low && value <= high))
    throw new ArgumentError('OPTION_INVALID', `${field} must be in [${low}, ${high}], got ${value}`, {
      field,
      expected: [low, high],
      got: value,
    });
}

function toGroups<Options>(parameters: OptimizerParameters<Options>): ParameterGroup<Options>[] {
  const first = parameters[0];
  if (first === undefined) return [];
  if ('params' in first) return [...(parameters as readonly ParameterGroup<Options>[])];
  if ('variable' in first) return parameterGroups(parameters as readonly Named[]);
  return [{ params: parameters as readonly Variable[] }];
}

/** Two groups: matrices and filters with the optimizer's decay, bias and norm parameters without. */
export function parameterGroups<Options>(parameters: readonly Named[]): ParameterGroup<Options>[] {
  // One dimension: biases and the scales of normalisation layers, whatever they are called.
  const decayed = parameters.filter(({ variable }) => variable.rank > 1).map((p) => p.variable);
  const plain = parameters.filter(({ variable }) => variable.rank <= 1).map((p) => p.variable);
  const none = { weightDecay: 0 } as unknown as Partial<Options>;
  return [
    ...(decayed.length > 0 ? [{ params: decayed }] : []),
    ...(plain.length > 0 ? [{ params: plain, options: none }] : []),
  ];
}
