/** What every optimizer shares: parameter groups, state as named variables, numbers that move as program inputs. */
import { ArgumentError, DataError, formatShape, sameShape } from '../base/index.ts';
import { scalar, type Tensor, Variable, zeros } from '../tensor/index.ts';
import { type Named, type OptimizerParameters, toGroups } from './groups.ts';

export interface BaseOptions {
  /** Learning rate. */
  lr: number;
  /** Weight decay; see each optimizer for what it means there. */
  weightDecay: number;
}

export type Group<Options> = { params: readonly Variable[] } & Options;

/** What an update may depend on besides gradients and state. */
export interface UpdateContext {
  readonly lr: number;
  /** Updates of this parameter, this one included: 1 at first. */
  readonly step: number;
  /**
   * A number that changes from step to step, as an input of the program, so that a new value compiles nothing. Parameters
   * with the same context share the input of one name.
   */
  input(name: string, value: number): Tensor;
}

/** How far an optimizer is: the part of its state that is plain JSON. */
export interface OptimizerProgress {
  readonly stepCount: number;
  /** Updates that went by without a parameter (frozen, or outside the graph), by its name. */
  readonly missed?: Readonly<Record<string, number>>;
}

/** A new optimizer is three short methods: which state it keeps, what it checks, and the new value of a parameter. */
export abstract class Optimizer<Options extends BaseOptions = BaseOptions> {
  readonly groups: Group<Options>[];
  /** Updates made so far. */
  stepCount = 0;
  #lr: number;
  // Each group's rate over the optimizer's own: setLr keeps it.
  readonly #ratios: number[];
  readonly #names = new Map<Variable, string>();
  readonly #state = new Map<Variable, Map<string, Variable>>();
  readonly #missed = new Map<Variable, number>();

  protected constructor(parameters: OptimizerParameters<Options>, defaults: Options) {
    const named = toGroups(parameters);
    this.groups = named.map(({ params, ...options }) => ({
      ...defaults,
      ...(options as Partial<Options>),
      params: params.map((p) => p.variable),
    }));
    for (const group of this.groups) this.check(group);
    this.#lr = defaults.lr;
    this.#ratios = this.groups.map(({ lr }) => (defaults.lr === 0 ? 1 : lr / defaults.lr));
    this.#nameAll(named.flatMap((g) => g.params));
  }

  #nameAll(all: readonly Named[]): void {
    if (all.length === 0) throw new ArgumentError('EMPTY', 'an optimizer needs at least one parameter');
    const taken = new Set<string>();
    all.forEach(({ name, variable }, i) => {
      if (this.#names.has(variable))
        throw new ArgumentError('DUPLICATE', `parameter ${name || i} is given twice`, { tensor: name });
      // Two models in one optimizer may use a name twice.
      const unique = name === '' ? String(i) : taken.has(name) ? `${i}.${name}` : name;
      taken.add(unique);
      this.#names.set(variable, unique);
    });
  }

  /** Validates a group's options; throws ArgumentError naming the field. */
  protected check({ lr, weightDecay }: Options): void {
    inRange('lr', lr, 0, Number.MAX_VALUE);
    inRange('weightDecay', weightDecay, 0, Number.MAX_VALUE);
  }

  /** The state tensors a parameter has. */
  protected abstract stateNames(options: Options): readonly string[];

  /** The new value of `p`; assigns its own state. */
  protected abstract update(p: Variable, grad: Tensor, options: Options, context: UpdateContext): Tensor;

  /** Applies `.grad` of every trainable parameter that has one. The new values exist after the next flush. */
  step(): void {
    this.stepCount++;
    for (const group of this.groups) {
      const contexts = new Map<number, UpdateContext>();
      for (const p of group.params) {
        const missed = this.#missed.get(p) ?? 0;
        if (!p.grad || !p.requiresGrad) {
          this.#missed.set(p, missed + 1);
          continue;
        }
        let context = contexts.get(missed);
        if (!context) {
          context = updateContext(group.lr, this.stepCount - missed);
          contexts.set(missed, context);
        }
        p.assign(this.update(p, p.grad, group, context));
      }
    }
  }

  zeroGrad(): void {
    for (const { params } of this.groups) for (const p of params) p.grad = null;
  }

  /** The learning rate of groups without one of their own. */
  get lr(): number {
    return this.#lr;
  }

  /** Moves every group's learning rate by the same factor: the optimizer's becomes `lr`, a group's keeps its ratio to it. */
  setLr(lr: number): void {
    inRange('lr', lr, 0, Number.MAX_VALUE);
    this.#lr = lr;
    this.groups.forEach((group, i) => {
      group.lr = lr * (this.#ratios[i] as number);
    });
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
      variable = new Variable(zeros(p.shape, p.dtype), { label: `${this.#names.get(p)}.${name}` });
      named.set(name, variable);
    }
    return variable;
  }

  /** State tensors of what is trainable by `<parameter>.<name>`. Creates what does not exist yet. */
  stateDict(): Map<string, Variable> {
    const out = new Map<string, Variable>();
    for (const group of this.groups)
      for (const p of group.params)
        if (p.requiresGrad)
          for (const name of this.stateNames(group)) out.set(`${this.#names.get(p)}.${name}`, this.stateOf(p, name));
    return out;
  }

  /** The rest of the state: save it beside `stateDict()`. */
  get progress(): OptimizerProgress {
    const missed = Object.fromEntries([...this.#missed].map(([p, count]) => [this.#names.get(p) as string, count]));
    return { stepCount: this.stepCount, ...(this.#missed.size > 0 && { missed }) };
  }

  /** Restores `stateDict()` and `progress` (or its step count alone). Throws DataError, before anything changes, for another optimizer's. */
  loadStateDict(tensors: ReadonlyMap<string, Tensor>, progress: OptimizerProgress | number): void {
    const own = this.stateDict();
    for (const [name, variable] of own) {
      const value = tensors.get(name);
      if (value && sameShape(value.shape, variable.shape)) continue;
      throw new DataError(
        'OPTIMIZER_STATE',
        `the optimizer needs ${name} ${formatShape(variable.shape)}, the saved state has ${value ? formatShape(value.shape) : 'none'}`,
        {
          tensor: name,
          expected: variable.shape,
          got: value?.shape,
          hint: 'it was saved by another optimizer or model, or with other layers frozen',
        },
      );
    }
    for (const [name, variable] of own) variable.assign((tensors.get(name) as Tensor).detach());
    this.restoreProgress(typeof progress === 'number' ? { stepCount: progress } : progress);
  }

  /** The part of `loadStateDict` that is not tensors. */
  restoreProgress({ stepCount, missed = {} }: OptimizerProgress): void {
    this.stepCount = stepCount;
    this.#missed.clear();
    for (const [p, name] of this.#names) if (Object.hasOwn(missed, name)) this.#missed.set(p, missed[name] as number);
  }
}

function updateContext(lr: number, step: number): UpdateContext {
  const inputs = new Map<string, Tensor>();
  return {
    lr,
    step,
    input(name, value) {
      let tensor = inputs.get(name);
      if (!tensor) {
        tensor = scalar(value);
        inputs.set(name, tensor);
      }
      return tensor;
    },
  };
}

export function inRange(field: string, value: number, low: number, high: number): void {
  if (!(value >= low && value <= high))
    throw new ArgumentError('OPTION_INVALID', `${field} must be in [${low}, ${high}], got ${value}`, {
      field,
      expected: [low, high],
      got: value,
    });
}
