/** The layers a model's features can be taken from, with the shapes they give for a data set. */
import type { Shape } from '../base/index.ts';
import type { Dataset } from '../data/index.ts';
import { take } from '../data/index.ts';
import { Module } from '../nn/index.ts';
import { Tensor } from '../tensor/index.ts';
import { evaluationMode, type FeatureModel, type InputOptions, inputsOf } from './extract.ts';
import { samplesFirst } from './layer.ts';

export interface LayerShape {
  /** Dotted path, as `layer` of `features` takes it. */
  readonly path: string;
  readonly type: string;
  /** Of one sample's output; lengths of texts are those of the first sample. Undefined: its output is no tensor of samples. */
  readonly shape?: Shape;
}

/**
 * Every module that runs for the first sample of `data`, in the order they end. Nothing is computed.
 * @throws as `features`.
 */
export async function layerShapes(
  given: FeatureModel,
  data: Dataset<unknown>,
  own: InputOptions = {},
): Promise<LayerShape[]> {
  const model = given instanceof Module ? given : given.module;
  const { transforms, text } = given instanceof Module ? own : { ...given, ...own };
  const layers = new Map<string, LayerShape>();
  const restore = evaluationMode(model);
  try {
    const inputs = inputsOf(model, take(data, 1), {
      ...(transforms && { transforms }),
      ...(text && { text }),
      batchSize: 1,
    });
    for await (const { input } of inputs)
      model.withForwardHook(
        (path, module, output) => {
          if (path === '') return;
          const value = output instanceof Tensor && samplesFirst(model, { path, side: 'output' }, output);
          // Of a layer that runs several times, the last counts, as for features.
          layers.delete(path);
          layers.set(path, {
            path,
            type: module.constructor.name,
            ...(value && value.shape[0] === 1 && { shape: value.shape.slice(1) }),
          });
        },
        () => model.forward(input as Tensor),
      );
  } finally {
    restore();
  }
  return [...layers.values()];
}
