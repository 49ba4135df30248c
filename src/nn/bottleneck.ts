/**
 * Bottleneck adapters (Houlsby et al. 2019, https://arxiv.org/abs/1902.00751): behind each half of a Transformer block two thin linear
 * layers with an activation between them, and a way around them. They stay in the model: they cannot be merged into its weights.
 */
import { type Tensor, type Variable, zeros } from '../tensor/index.ts';
import { type AdapterPlace, Branch, linearTargets, placeBranches } from './adapters.ts';
import { gelu, relu } from './functional.ts';
import { Linear } from './linear.ts';
import { widthsOf } from './matrix-layers.ts';
import type { Module } from './module.ts';
import { invalidOption, layerNames, wholeSize } from './options.ts';

export interface BottleneckOptions {
  /** Features between the two layers; 16 unless told. */
  readonly size?: number | undefined;
  readonly activation?: 'relu' | 'gelu' | undefined;
  /** Linear layers behind which an adapter stands, named as for LoRA: the last of attention and of the perceptron unless told. */
  readonly targets?: readonly string[] | undefined;
}

export interface ResolvedBottleneck {
  readonly name: 'bottleneck';
  readonly size: number;
  readonly activation: 'relu' | 'gelu';
  readonly targets: readonly string[];
}

/** The last layers of both halves of a block: BERT and ViT, GPT-2, torch.nn's Transformer, others by their common names. */
const ENDS = ['output.dense', 'c_proj', 'out_proj', 'o_proj', 'down_proj', 'linear2'];

/** y + up(activation(down(y))).  y (..., features). `up` is zero at first: nothing changes until it learns. */
class Bottleneck extends Branch {
  readonly down: Linear; // features -> size
  readonly up: Linear; // size -> features
  readonly options: ResolvedBottleneck;

  constructor(features: number, options: ResolvedBottleneck) {
    super();
    this.options = options;
    this.down = new Linear(features, options.size);
    this.up = new Linear(options.size, features);
    this.up.reset(zeros([features, options.size]), zeros([features]));
  }
  override forward(x: Tensor, y: Tensor = x): Tensor {
    const activation = this.options.activation === 'relu' ? relu : gelu;
    return y.add(this.up.forward(activation(this.down.forward(y))));
  }
  override tensors(): Record<string, Variable> {
    const { down, up } = this;
    return {
      'adapter_down.weight': down.weight,
      'adapter_down.bias': down.bias as Variable,
      'adapter_up.weight': up.weight,
      'adapter_up.bias': up.bias as Variable,
    };
  }
  override describe(): string {
    return `${this.options.size} ${this.options.activation}`;
  }
}

/**
 * Puts bottleneck adapters behind linear layers of `model` and stops training everything else but `modulesToSave`. Applied again
 * with the same name and options, it changes nothing. Returns the paths adapted.
 * @throws ArgumentError ADAPTER_TARGETS where no linear layer is named; ADAPTER_EXISTS; ADAPTER_MERGED; OPTION_INVALID.
 */
export function applyBottleneck(model: Module, options: BottleneckOptions & AdapterPlace = {}): string[] {
  const resolved = resolveBottleneck(options);
  const layers = linearTargets(model, resolved.targets, options.modulesToSave);
  placeBranches(model, options, layers, (layer) => new Bottleneck(widthsOf(layer).to, resolved));
  return layers.map(([path]) => path);
}

/** @throws ArgumentError OPTION_INVALID. */
export function resolveBottleneck(options: BottleneckOptions): ResolvedBottleneck {
  const { size = 16, activation = 'relu', targets = ENDS } = options;
  wholeSize('bottleneck.size', size);
  if (activation !== 'relu' && activation !== 'gelu')
    throw invalidOption('bottleneck.activation', 'relu or gelu', activation);
  layerNames('bottleneck.targets', targets);
  return { name: 'bottleneck', size, activation, targets };
}
