/** One step of a recurrent layer: what the cells of torch compute, as compositions. */
import { formatShape, ShapeError } from '../base/index.ts';
import { type Tensor, uniform, type Variable, zeros } from '../tensor/index.ts';
import { linear } from './functional.ts';
import { Module } from './module.ts';
import { positive } from './options.ts';

interface CellOptions {
  bias?: boolean;
}

/** torch's initial values of recurrent layers: uniform in +-1 / sqrt(hiddenSize), biases too. */
export const recurrentUniform = (shape: readonly number[], hiddenSize: number): Tensor =>
  uniform(shape, { low: -1 / Math.sqrt(hiddenSize), high: 1 / Math.sqrt(hiddenSize) });

/** What the three cells share: weights by torch's names, and the two affine maps of a step. */
abstract class RecurrentCellBase extends Module {
  readonly weightIh: Variable; // (gates * hiddenSize, inputSize)
  readonly weightHh: Variable; // (gates * hiddenSize, hiddenSize)
  readonly biasIh: Variable | undefined; // (gates * hiddenSize)
  readonly biasHh: Variable | undefined; // (gates * hiddenSize)
  readonly inputSize: number;
  readonly hiddenSize: number;
  protected abstract readonly op: string;

  constructor(op: string, gates: number, inputSize: number, hiddenSize: number, { bias = true }: CellOptions = {}) {
    super();
    positive(op, 'inputSize', inputSize);
    positive(op, 'hiddenSize', hiddenSize);
    this.inputSize = inputSize;
    this.hiddenSize = hiddenSize;
    const rows = gates * hiddenSize;
    this.weightIh = this.parameter(recurrentUniform([rows, inputSize], hiddenSize));
    this.weightHh = this.parameter(recurrentUniform([rows, hiddenSize], hiddenSize));
    if (bias) {
      this.biasIh = this.parameter(recurrentUniform([rows], hiddenSize));
      this.biasHh = this.parameter(recurrentUniform([rows], hiddenSize));
    }
  }

  /** (B, inputSize) and a state (B, hiddenSize), zeros if it is not given. */
  protected checked(x: Tensor, state: Tensor | undefined): Tensor {
    if (x.rank !== 2 || x.shape[1] !== this.inputSize)
      throw new ShapeError(
        'FEATURES_MISMATCH',
        `[${this.op}] takes (B, ${this.inputSize}), got ${formatShape(x.shape)}`,
        {
          op: this.op,
          expected: this.inputSize,
          got: x.shape,
        },
      );
    const expected = [x.shape[0] as number, this.hiddenSize];
    if (state && state.shape.join() !== expected.join())
      throw new ShapeError(
        'STATE_MISMATCH',
        `[${this.op}] the state should be ${formatShape(expected)}, got ${formatShape(state.shape)}`,
        { op: this.op, expected, got: state.shape },
      );
    return state ?? zeros(expected);
  }

  protected gate(x: Tensor, k: number): Tensor {
    return x.slice(1, k * this.hiddenSize, (k + 1) * this.hiddenSize);
  }
  protected fromInput(x: Tensor): Tensor {
    return linear(x, this.weightIh, this.biasIh);
  }
  protected fromState(h: Tensor): Tensor {
    return linear(h, this.weightHh, this.biasHh);
  }
  override describe(): string {
    return `${this.inputSize} -> ${this.hiddenSize}${this.biasIh ? '' : ', no bias'}`;
  }
}

/** One LSTM step (torch.nn.LSTMCell). x (B, inputSize), h and c (B, hiddenSize) -> the next h; `step` gives c as well. */
export class LSTMCell extends RecurrentCellBase {
  protected override readonly op = 'lstmCell';

  constructor(inputSize: number, hiddenSize: number, options?: CellOptions) {
    super('lstmCell', 4, inputSize, hiddenSize, options);
  }
  /** Throws ShapeError for a wrong size. */
  step(x: Tensor, h?: Tensor, c?: Tensor): { h: Tensor; c: Tensor } {
    const [before, cell] = [this.checked(x, h), this.checked(x, c)];
    const gates = this.fromInput(x).add(this.fromState(before));
    const [i, f, o] = [0, 1, 3].map((k) => this.gate(gates, k).sigmoid()) as [Tensor, Tensor, Tensor];
    const next = f.mul(cell).add(i.mul(this.gate(gates, 2).tanh()));
    return { h: o.mul(next.tanh()), c: next };
  }
  forward(x: Tensor, h?: Tensor, c?: Tensor): Tensor {
    return this.step(x, h, c).h;
  }
}

/** One GRU step (torch.nn.GRUCell). x (B, inputSize), h (B, hiddenSize) -> the next h. */
export class GRUCell extends RecurrentCellBase {
  protected override readonly op = 'gruCell';

  constructor(inputSize: number, hiddenSize: number, options?: CellOptions) {
    super('gruCell', 3, inputSize, hiddenSize, options);
  }
  /** Throws ShapeError for a wrong size. */
  forward(x: Tensor, h?: Tensor): Tensor {
    const before = this.checked(x, h);
    const [a, b] = [this.fromInput(x), this.fromState(before)];
    const [r, z] = [0, 1].map((k) => this.gate(a, k).add(this.gate(b, k)).sigmoid()) as [Tensor, Tensor];
    const n = this.gate(a, 2)
      .add(r.mul(this.gate(b, 2)))
      .tanh();
    return n.add(z.mul(before.sub(n)));
  }
}

/** One step of an Elman network (torch.nn.RNNCell). x (B, inputSize), h (B, hiddenSize) -> the next h. */
export class RNNCell extends RecurrentCellBase {
  protected override readonly op = 'rnnCell';
  readonly nonlinearity: 'tanh' | 'relu';

  constructor(
    inputSize: number,
    hiddenSize: number,
    { nonlinearity = 'tanh', ...options }: CellOptions & { nonlinearity?: 'tanh' | 'relu' } = {},
  ) {
    super('rnnCell', 1, inputSize, hiddenSize, options);
    this.nonlinearity = nonlinearity;
  }
  /** Throws ShapeError for a wrong size. */
  forward(x: Tensor, h?: Tensor): Tensor {
    return this.fromInput(x)
      .add(this.fromState(this.checked(x, h)))
      [this.nonlinearity]();
  }
}
