/** Which value of a forward pass is meant by a layer's name, and how it is caught without computing what lies above it. */
import { ArgumentError, nearest, UnsupportedError } from '../base/index.ts';
import { structureOf } from '../models/index.ts';
import { type Module, Recurrent } from '../nn/index.ts';
import { Tensor } from '../tensor/index.ts';

/** One value of a forward pass: what enters or what leaves a module. */
export interface LayerPoint {
  /** Dotted module path; '' is the model itself. */
  readonly path: string;
  readonly side: 'input' | 'output';
}

const INPUT_OF = 'input of ';

/** `features.30`, or `input of classifier.1`. */
export const layerText = ({ path, side }: LayerPoint): string =>
  side === 'input' ? `${INPUT_OF}${path}` : path || 'output';

/**
 * The point called `layer`: a module's dotted path (its output), `input of PATH`, `head` for the last layer's output (the
 * logits), `output` for the model's. `input of head`, the default, is what the model knows before it names a class.
 * @throws ArgumentError NO_SUCH_MODULE, with the nearest name; UnsupportedError where the model does not declare its head.
 */
export function resolveLayer(model: Module, layer = `${INPUT_OF}head`): LayerPoint {
  const side = layer.startsWith(INPUT_OF) ? 'input' : 'output';
  const name = side === 'input' ? layer.slice(INPUT_OF.length).trim() : layer.trim();
  const paths = [...model.namedModules()].map(([path]) => path);
  if (name === 'output' && !paths.includes(name)) return { path: '', side };
  if (paths.includes(name)) return { path: name, side };
  if (name === 'head') return { path: headOf(model), side };
  const near = nearest(name, [...paths, 'head', 'output']);
  throw new ArgumentError('NO_SUCH_MODULE', `the model has no layer ${JSON.stringify(name)}`, {
    field: 'layer',
    got: layer,
    expected: paths.slice(1, 200),
    hint: near ? `did you mean "${side === 'input' ? INPUT_OF : ''}${near}"?` : someOf(paths.slice(1)),
  });
}

// The outermost first: they are few, and the others begin with their names.
function someOf(paths: readonly string[]): string {
  const depth = (path: string): number => path.split('.').length;
  const sorted = [...paths].sort((a, b) => depth(a) - depth(b));
  const more = sorted.length > SHOWN ? ' ...; cambium features MODEL --layers lists them all' : '';
  return `it has ${sorted.slice(0, SHOWN).join(', ')}${more}`;
}

const SHOWN = 12;

function headOf(model: Module): string {
  const { head } = structureOf(model);
  if (head !== undefined) return head;
  throw new UnsupportedError('HEAD_UNKNOWN', `${model.constructor.name} has no head of its own`, {
    field: 'layer',
    hint: someOf([...model.namedModules()].map(([path]) => path).slice(1)),
  });
}

/**
 * The value at `point` while `forward` runs; of a layer that runs several times, the last. Only a graph is made: what
 * nobody reads is never computed, so the layers above cost nothing.
 * @throws ArgumentError LAYER_NOT_RUN; UnsupportedError LAYER_INPUT where a module's input is no tensor.
 */
export function captureLayer(model: Module, point: LayerPoint, forward: () => unknown): Tensor {
  let found: unknown;
  model.withForwardHook((path, _, output, args) => {
    if (path === point.path) found = point.side === 'input' ? args[0] : output;
  }, forward);
  if (found instanceof Tensor) return found;
  if (found === undefined)
    throw new ArgumentError('LAYER_NOT_RUN', `layer "${layerText(point)}" is not run by the model's forward`, {
      field: 'layer',
      got: layerText(point),
      hint: 'name a layer inside it, or one around it',
    });
  throw new UnsupportedError('LAYER_INPUT', `what enters "${point.path}" is not one tensor`, {
    field: 'layer',
    got: layerText(point),
    hint: 'take the output of a layer instead',
  });
}

/** Steps first, (T, N, ...), to samples first, (N, T, ...), where the layer at `point` is one that has them so. */
export const samplesFirst = (model: Module, point: LayerPoint, value: Tensor): Tensor =>
  value.rank === 3 && hasStepsFirst(model, point) ? value.permute(1, 0, 2) : value;

function hasStepsFirst(model: Module, { path, side }: LayerPoint): boolean {
  const [, module] = [...model.namedModules()].find(([name]) => name === path) ?? [];
  if (module instanceof Recurrent) return !module.batchFirst;
  if (side === 'input' || !('structure' in model)) return false;
  return structureOf(model).stepsFirst?.includes(path) ?? false;
}

/** Runs `body` with `value` in place of what the module at `path` gives: what lies below it is then not computed. */
export const withLayerOutput = <T>(model: Module, path: string, value: Tensor, body: () => T): T =>
  model.withForwardHook((at) => (at === path ? value : undefined), body);
