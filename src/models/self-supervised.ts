/** A classifier's trunk with what an objective without labels puts on it: the trunk keeps its names, so that its weights fit the classifier again. */
import { DataError, type Shape } from '../base/index.ts';
import { Conv2d, Identity, interpolate, Linear, Module, ModuleList, ReLU, Sequential } from '../nn/index.ts';
import { type Tensor, zeros } from '../tensor/index.ts';
import { type ModelStructure, replaceModule, structureOf } from './structure.ts';

/** What begins the names of all that is not the trunk's. */
export const PRETRAINING = 'pretraining';

/** Channels, height and width of the pictures. */
export type PictureSize = readonly [channels: number, height: number, width: number];

/**
 * Pictures -> what `pretraining` makes of the trunk's features (N, D), those its head would read, or of its last maps (N, C, H', W').
 * The head is out of the trunk from construction to `restoreHead`. State: the trunk's tensors without its head, and `pretraining.*`.
 */
export class SelfSupervised extends Module {
  readonly trunk: Module;
  readonly pretraining: Module;
  readonly #head: Module;
  readonly #structure: ModelStructure;

  /** @param make what reads features of the shape given. @throws UnsupportedError STRUCTURE_UNKNOWN; DataError MODEL_OBJECTIVE. */
  constructor(trunk: Module, size: PictureSize, make: (parts: TrunkShapes) => Module) {
    super();
    const structure = structureOf(trunk);
    const { head } = structure;
    const found = head === undefined ? undefined : [...trunk.namedModules()].find(([path]) => path === head)?.[1];
    if (head === undefined || !found)
      throw new DataError('MODEL_OBJECTIVE', `${trunk.constructor.name} has no head apart from its trunk`, {
        got: trunk.constructor.name,
        hint: 'pre-train a classifier of pictures: its last layer is left out and comes back new',
      });
    this.trunk = trunk;
    this.#head = found;
    this.#structure = structure;
    replaceModule(trunk, head, new Identity());
    try {
      const x = zeros([2, ...size]);
      const [, width] = trunk.forward(x).shape as [number, number];
      const maps = 'featureMaps' in trunk ? (trunk as MappedModel).featureMaps(x).shape : undefined;
      this.pretraining = make({ width, maps });
    } catch (error) {
      this.restoreHead();
      throw error;
    }
  }

  /** The trunk's children under their own names, and `pretraining`. */
  override children(): [string, Module][] {
    return [...this.trunk.children(), [PRETRAINING, this.pretraining]];
  }

  override train(mode = true): this {
    this.trunk.train(mode);
    return super.train(mode);
  }

  /** (N, C, H, W) -> (N, D): what the head would read. */
  features(x: Tensor): Tensor {
    return this.trunk.forward(x);
  }

  forward(x: Tensor): Tensor {
    return this.pretraining.forward(this.features(x));
  }

  /** Puts the trunk's own head back: it is a classifier again. */
  restoreHead(): void {
    replaceModule(this.trunk, this.#structure.head as string, this.#head);
  }

  structure(): ModelStructure {
    const { stages, head, otherHeads } = this.#structure;
    const trunk = stages.map((paths) => paths.filter((path) => path !== head)).filter((paths) => paths.length > 0);
    const old = (head as string).replaceAll('.', '\\.');
    return {
      stages: [...trunk, [PRETRAINING]],
      mayBeNew: [PRETRAINING],
      otherHeads: new RegExp(`^${old}\\.${otherHeads ? `|${otherHeads.source}` : ''}`),
    };
  }
}

/** What the parts of a trunk deliver. */
export interface TrunkShapes {
  /** Of the features the head reads. */
  readonly width: number;
  /** (N, C, H', W') of the last maps, of convolutional trunks. */
  readonly maps?: Shape | undefined;
}

/** A convolutional trunk: `featureMaps` gives what its pooling or first linear layer reads. */
export interface MappedModel extends Module {
  featureMaps(x: Tensor): Tensor;
}

/** Predicts which of four rotations it sees (Gidaris et al. 2018). */
export const rotationModel = (trunk: Module, size: PictureSize): SelfSupervised =>
  new SelfSupervised(trunk, size, ({ width }) => new Linear(width, 4));

/** A perceptron with one hidden layer, whose outputs are compared (Chen et al. 2020). */
export const contrastiveModel = (trunk: Module, size: PictureSize, projectionSize = 128): SelfSupervised =>
  new SelfSupervised(
    trunk,
    size,
    ({ width }) => new Sequential(new Linear(width, width), new ReLU(), new Linear(width, projectionSize)),
  );

/** Draws the picture again from the last maps of a convolutional trunk. @throws DataError MODEL_OBJECTIVE for one without. */
export function denoisingModel(trunk: Module, size: PictureSize): Denoising {
  if (!('featureMaps' in trunk))
    throw new DataError('MODEL_OBJECTIVE', `${trunk.constructor.name} has no feature maps to draw a picture from`, {
      expected: 'a convolutional model with a method featureMaps(x)',
      got: trunk.constructor.name,
      hint: 'task: masked-autoencoder suits a Vision Transformer, rotation and contrastive suit every classifier',
    });
  return new Denoising(trunk, size, ({ maps }) => new ConvDecoder(maps as Shape, size));
}

export class Denoising extends SelfSupervised {
  override forward(x: Tensor): Tensor {
    return this.pretraining.forward((this.trunk as MappedModel).featureMaps(x));
  }
}

const NARROWEST = 32;

/** Doubles the sides, a convolution behind each doubling, until the picture's size is there.  (N, D, H', W') -> (N, C, H, W). */
class ConvDecoder extends Module {
  readonly layers: ModuleList<Conv2d>;
  readonly last: Conv2d;
  readonly #size: PictureSize;

  constructor([, depth = 1, height = 1, width = 1]: Shape, size: PictureSize) {
    super();
    this.#size = size;
    const doublings = Math.max(0, Math.ceil(Math.log2(Math.max(size[1] / height, size[2] / width))));
    let from = depth;
    const next = (): Conv2d => {
      const to = Math.max(NARROWEST, Math.min(256, from >> 1));
      const conv = new Conv2d(from, to, 3, { padding: 1 });
      from = to;
      return conv;
    };
    this.layers = new ModuleList(Array.from({ length: doublings }, next));
    this.last = new Conv2d(from, size[0], 3, { padding: 1 });
  }

  forward(x: Tensor): Tensor {
    const [, height, width] = this.#size;
    let h = x;
    for (const conv of this.layers) {
      const [, , rows, columns] = h.shape as [number, number, number, number];
      h = conv.forward(interpolate(h, { size: [2 * rows, 2 * columns] })).relu();
    }
    const [, , rows, columns] = h.shape as [number, number, number, number];
    if (rows !== height || columns !== width) h = interpolate(h, { size: [height, width] });
    return this.last.forward(h);
  }
}
