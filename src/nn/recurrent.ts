/** Recurrent layers over whole sequences: LSTM, GRU and the Elman network, with torch's names, keys and results. */
import { ArgumentError, formatShape, ShapeError } from '../base/index.ts';
import type { RecurrentCell } from '../graph/index.ts';
import { concat, iota, recurrence, Tensor, tensor, type Variable, where, zeros } from '../tensor/index.ts';
import { dropout, linear } from './functional.ts';
import { Module } from './module.ts';
import { positive, probability } from './options.ts';
import { recurrentUniform } from './recurrent-cell.ts';

export interface RecurrentOptions {
  /** Layers, each reading the outputs of the one before. Default 1. */
  numLayers?: number;
  bias?: boolean;
  /** Inputs and outputs are (B, T, features) instead of (T, B, features). States never change. */
  batchFirst?: boolean;
  /** Probability of dropping outputs between layers, in training. */
  dropout?: number;
  /** A second direction reads each sequence from its end; outputs are side by side. */
  bidirectional?: boolean;
}

/** States (numLayers * directions, B, hiddenSize); `c` of LSTM only. */
export interface RecurrentState {
  h: Tensor;
  c?: Tensor;
}

export interface RecurrentInput {
  /** Initial states; zeros by default. */
  state?: RecurrentState;
  /**
   * Steps of each sequence, 1 .. T. Steps past it are not read and their output is 0, and the final state is the one after a
   * sequence's own last step: torch's packed sequences. Those of a tensor (i32, (B)) are checked when the program runs.
   */
  lengths?: readonly number[] | Int32Array | Tensor;
}

export interface RecurrentOutput extends RecurrentState {
  /** h after each step: (T, B, directions * hiddenSize), or (B, T, ...) with batchFirst. */
  output: Tensor;
}

const gatesOf: Readonly<Record<RecurrentCell, number>> = { lstm: 4, gru: 3, tanh: 1, relu: 1 };

/** Parameters of one direction of one layer. */
interface Direction {
  weightIh: Variable; // (gates * hiddenSize, inputs)
  weightHh: Variable; // (gates * hiddenSize, hiddenSize)
  biasIh: Variable | undefined; // (gates * hiddenSize)
  biasHh: Variable | undefined;
}

/** What LSTM, GRU and RNN share. Parameters are `weight_ih_l0`, `weight_hh_l0_reverse` and so on, as torch calls them. */
export abstract class Recurrent extends Module {
  readonly inputSize: number;
  readonly hiddenSize: number;
  readonly numLayers: number;
  readonly batchFirst: boolean;
  readonly bidirectional: boolean;
  readonly dropout: number;
  readonly #op: string;
  readonly #cell: RecurrentCell;
  readonly #directions: Direction[] = [];

  constructor(op: string, cell: RecurrentCell, inputSize: number, hiddenSize: number, options: RecurrentOptions = {}) {
    super();
    const { numLayers = 1, bias = true, batchFirst = false, dropout = 0, bidirectional = false } = options;
    positive(op, 'inputSize', inputSize);
    positive(op, 'hiddenSize', hiddenSize);
    positive(op, 'numLayers', numLayers);
    probability(op, 'dropout', dropout);
    this.#op = op;
    this.#cell = cell;
    this.inputSize = inputSize;
    this.hiddenSize = hiddenSize;
    this.numLayers = numLayers;
    this.batchFirst = batchFirst;
    this.bidirectional = bidirectional;
    this.dropout = dropout;
    const rows = gatesOf[cell] * hiddenSize;
    const own = (name: string, shape: number[]): Variable => {
      const variable = this.parameter(recurrentUniform(shape, hiddenSize));
      (this as Record<string, unknown>)[name] = variable;
      return variable;
    };
    for (let layer = 0; layer < numLayers; layer++)
      for (const suffix of bidirectional ? ['', '_reverse'] : ['']) {
        const inputs = layer === 0 ? inputSize : hiddenSize * this.directions;
        const key = `l${layer}${suffix}`;
        this.#directions.push({
          weightIh: own(`weight_ih_${key}`, [rows, inputs]),
          weightHh: own(`weight_hh_${key}`, [rows, hiddenSize]),
          biasIh: bias ? own(`bias_ih_${key}`, [rows]) : undefined,
          biasHh: bias ? own(`bias_hh_${key}`, [rows]) : undefined,
        });
      }
  }

  override get drawsRandom(): boolean {
    return this.dropout > 0 && this.numLayers > 1;
  }

  /** 2 if bidirectional, else 1. */
  get directions(): number {
    return this.bidirectional ? 2 : 1;
  }

  /** The output alone; `run` gives the final states as well. */
  forward(x: Tensor, input: RecurrentInput = {}): Tensor {
    return this.#run(x, input).output;
  }

  /**
   * x (T, B, inputSize), or (B, T, inputSize) with batchFirst -> outputs and final states. Throws ShapeError for sizes that
   * do not fit and ArgumentError for lengths outside 1 .. T.
   */
  run(x: Tensor, input: RecurrentInput = {}): RecurrentOutput {
    let result: RecurrentOutput | undefined;
    // Through `forward`, so that hooks see the layer and errors name it.
    this.#keep = (r) => {
      result = r;
    };
    try {
      this.forward(x, input);
    } finally {
      this.#keep = undefined;
    }
    return result as RecurrentOutput;
  }
  #keep: ((result: RecurrentOutput) => void) | undefined;

  #run(x: Tensor, { state, lengths }: RecurrentInput): RecurrentOutput {
    const op = this.#op;
    if (x.rank !== 3 || x.shape[2] !== this.inputSize)
      throw new ShapeError(
        'FEATURES_MISMATCH',
        `[${op}] takes (${this.batchFirst ? 'B, T' : 'T, B'}, ${this.inputSize}), got ${formatShape(x.shape)}`,
        { op, expected: this.inputSize, got: x.shape },
      );
    const [steps, batch] = (this.batchFirst ? [x.shape[1], x.shape[0]] : x.shape) as [number, number];
    if (steps < 1)
      throw new ShapeError('SHAPE_MISMATCH', `[${op}] a sequence has at least one step, got ${formatShape(x.shape)}`, {
        op,
        got: x.shape,
      });
    const cell = this.#cell;
    if (state?.c && cell !== 'lstm')
      throw new ArgumentError('STATE_INVALID', `[${op}] has no cell state`, { op, field: 'state.c' });
    const h0 = this.#initial('h', state?.h, batch);
    const c0 = cell === 'lstm' ? this.#initial('c', state?.c, batch) : undefined;
    const ends = lengths === undefined ? undefined : this.#lengths(lengths, batch, steps);

    let y = this.batchFirst ? x.permute(1, 0, 2) : x;
    const last: { h: Tensor; c: Tensor | undefined }[] = [];
    for (let layer = 0; layer < this.numLayers; layer++) {
      if (layer > 0) y = dropout(y, this.dropout, this.training);
      const outputs = Array.from({ length: this.directions }, (_, d) => {
        const index = layer * this.directions + d;
        const at = (s: Tensor): Tensor => s.slice(0, index, index + 1).reshape([batch, this.hiddenSize]);
        const p = this.#directions[index] as Direction;
        const { output, h, c } = recurrence(this.#projections(y, p), p.weightHh, {
          cell,
          h0: at(h0),
          ...(c0 && { c0: at(c0) }),
          ...(cell === 'gru' && { biasN: p.biasHh?.slice(0, 2 * this.hiddenSize) ?? zeros([this.hiddenSize]) }),
          ...(ends && { lengths: ends }),
          reverse: d === 1,
        });
        last.push({ h, c });
        return output;
      });
      y = outputs.length === 1 ? (outputs[0] as Tensor) : concat(outputs, 2);
      // A state is held past its sequence's end; what is given out there is 0.
      if (ends) y = where(iota([steps, batch, 1], 0).lt(ends.reshape([1, batch, 1])), y, 0);
    }
    const join = (states: Tensor[]): Tensor =>
      concat(
        states.map((s) => s.reshape([1, batch, this.hiddenSize])),
        0,
      );
    const result: RecurrentOutput = {
      output: this.batchFirst ? y.permute(1, 0, 2) : y,
      h: join(last.map((s) => s.h)),
      ...(c0 && { c: join(last.map((s) => s.c as Tensor)) }),
    };
    this.#keep?.(result);
    return result;
  }

  /** x W_ih^T with every bias that can be added before the recurrence; r multiplies the recurrent bias of a GRU's n. */
  #projections(x: Tensor, { weightIh, biasIh, biasHh }: Direction): Tensor {
    if (!biasIh || !biasHh) return linear(x, weightIh);
    const n = 2 * this.hiddenSize;
    const before = this.#cell === 'gru' ? concat([biasHh.slice(0, 0, n), zeros([this.hiddenSize])]) : biasHh;
    return linear(x, weightIh, biasIh.add(before));
  }

  #initial(name: string, given: Tensor | undefined, batch: number): Tensor {
    const expected = [this.numLayers * this.directions, batch, this.hiddenSize];
    if (!given) return zeros(expected);
    if (given.shape.join() !== expected.join())
      throw new ShapeError(
        'STATE_MISMATCH',
        `[${this.#op}] state.${name} should be ${formatShape(expected)}, got ${formatShape(given.shape)}`,
        {
          op: this.#op,
          expected,
          got: given.shape,
          hint: '(numLayers * directions, B, hiddenSize), also with batchFirst',
        },
      );
    return given;
  }

  #lengths(lengths: NonNullable<RecurrentInput['lengths']>, batch: number, steps: number): Tensor {
    const op = this.#op;
    const shape = lengths instanceof Tensor ? lengths.shape : [lengths.length];
    if (shape.length !== 1 || shape[0] !== batch)
      throw new ShapeError('SHAPE_MISMATCH', `[${op}] needs ${batch} lengths, got ${formatShape(shape)}`, {
        op,
        expected: [batch],
        got: shape,
      });
    if (lengths instanceof Tensor) return lengths.cast('i32');
    lengths.forEach((n, i) => {
      if (!Number.isInteger(n) || n < 1 || n > steps)
        throw new ArgumentError('LENGTH_INVALID', `[${op}] lengths[${i}] must be in 1..${steps}, got ${n}`, {
          op,
          field: 'lengths',
          position: i,
          expected: `1..${steps}`,
          got: n,
        });
    });
    return tensor(Int32Array.from(lengths), { shape: [batch] });
  }

  override describe(): string {
    const words = [`${this.inputSize} -> ${this.hiddenSize}`];
    if (this.numLayers > 1) words.push(`${this.numLayers} layers`);
    if (this.bidirectional) words.push('bidirectional');
    if (this.dropout > 0) words.push(`dropout ${this.dropout}`);
    return words.join(', ');
  }
}

/**
 * Long short-term memory (Hochreiter and Schmidhuber 1997), torch.nn.LSTM without projections:
 * c' = f c + i g, h' = o tanh(c'), with i, f, o = sigmoid and g = tanh of affine maps of x and h.
 */
export class LSTM extends Recurrent {
  constructor(inputSize: number, hiddenSize: number, options?: RecurrentOptions) {
    super('lstm', 'lstm', inputSize, hiddenSize, options);
  }
}

/**
 * Gated recurrent units (Cho et al. 2014) in torch's form: h' = (1 - z) n + z h, n = tanh(W x + b + r (U h + c)), with
 * r, z = sigmoid of affine maps of x and h.
 */
export class GRU extends Recurrent {
  constructor(inputSize: number, hiddenSize: number, options?: RecurrentOptions) {
    super('gru', 'gru', inputSize, hiddenSize, options);
  }
}

/** Elman network: h' = tanh (or relu) of W x + b + U h + c. */
export class RNN extends Recurrent {
  constructor(
    inputSize: number,
    hiddenSize: number,
    { nonlinearity = 'tanh', ...options }: RecurrentOptions & { nonlinearity?: 'tanh' | 'relu' } = {},
  ) {
    if (nonlinearity !== 'tanh' && nonlinearity !== 'relu')
      throw new ArgumentError('OPTION_INVALID', `[rnn] nonlinearity is 'tanh' or 'relu', got ${String(nonlinearity)}`, {
        op: 'rnn',
        field: 'nonlinearity',
        got: nonlinearity,
      });
    super('rnn', nonlinearity, inputSize, hiddenSize, options);
  }
}
