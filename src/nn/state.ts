/** Copying stored weights into a module: what fitted, what did not, and the errors that say so. */
import { DataError, formatShape, nearest, type Shape, sameShape, type TypedArray } from '../base/index.ts';
import { Tensor, tensor, type Variable } from '../tensor/index.ts';

/** A tensor as weight files give it. */
export interface StoredTensor {
  readonly shape: Shape;
  readonly dtype: string;
  /** Used as it is: do not change it afterwards. */
  readonly data: TypedArray;
}

/** What `loadStateDict` did with every tensor. */
export interface LoadReport {
  loaded: string[];
  /** In the model but not in the weights: keeps its value. */
  missing: string[];
  /** In the weights but not in the model. */
  unused: string[];
  /** In both, with different shapes; never loaded. */
  mismatched: { name: string; expected: Shape; got: Shape }[];
}

/** Differences that `strict` lets pass. */
export interface Allowances {
  /** The weights may lack this tensor of the model. */
  readonly missing?: (name: string) => boolean;
  /** The model may lack this tensor of the weights. */
  readonly unused?: (name: string) => boolean;
}

/** Copies `tensors` over `own`; those whose memory is `owned`, given to nobody else, become the variables' own without a copy. Throws DataError, before anything changes, when `strict` and the names or shapes differ. */
export function loadState(
  own: ReadonlyMap<string, Variable>,
  tensors: ReadonlyMap<string, StoredTensor | Tensor>,
  strict: boolean | Allowances,
  owned: (data: TypedArray) => boolean = () => false,
): LoadReport {
  const report: LoadReport = { loaded: [], missing: [], unused: [], mismatched: [] };
  for (const [name, variable] of own) {
    const stored = tensors.get(name);
    if (!stored) report.missing.push(name);
    else if (!sameShape(stored.shape, variable.shape))
      report.mismatched.push({ name, expected: variable.shape, got: stored.shape });
    else report.loaded.push(name);
  }
  for (const name of tensors.keys()) if (!own.has(name)) report.unused.push(name);
  if (strict) {
    const { missing = () => false, unused = () => false } = strict === true ? {} : strict;
    refuse(
      {
        ...report,
        missing: report.missing.filter((name) => !missing(name)),
        unused: report.unused.filter((name) => !unused(name)),
      },
      own,
    );
  }
  for (const name of report.loaded) {
    const stored = tensors.get(name) as StoredTensor | Tensor;
    const variable = own.get(name) as Variable;
    // Host data replace an initialisation that was not computed yet, so random numbers are not drawn for nothing.
    // A tensor is assigned: the update is made before its own storage can change.
    if (stored instanceof Tensor) variable.assign(stored.detach().cast(variable.dtype));
    else if (owned(stored.data) && variable.adopt(stored.data)) continue;
    else variable.initialize(tensor(stored.data, { shape: stored.shape, dtype: variable.dtype }));
  }
  return report;
}

function refuse({ missing, unused, mismatched }: LoadReport, own: ReadonlyMap<string, Variable>): void {
  const bad = mismatched[0];
  if (bad)
    throw new DataError(
      'WEIGHTS_SHAPE',
      `${bad.name} is ${formatShape(bad.expected)} in the model and ${formatShape(bad.got)} in the weights` +
        (mismatched.length > 1 ? ` (and ${mismatched.length - 1} more differ)` : ''),
      {
        tensor: bad.name,
        layer: layerOf(bad.name),
        expected: bad.expected,
        got: bad.got,
        mismatched: mismatched.slice(0, 20),
        hint: 'build the model with the options of the weights (numClasses, inChannels), or load with { strict: false } to keep the new layer as it is',
      },
    );
  const name = missing[0] ?? unused[0];
  if (name === undefined) return;
  const list = missing.length > 0 ? missing : unused;
  const where = missing.length > 0 ? 'missing from the weights' : 'not in the model';
  const near = missing.length > 0 ? nearest(name, unused) : nearest(name, own.keys());
  throw new DataError(
    'WEIGHTS_KEYS',
    `${name}${list.length > 1 ? ` and ${list.length - 1} more tensors are` : ' is'} ${where}`,
    {
      tensor: name,
      layer: layerOf(name),
      expected: missing.slice(0, 20),
      got: unused.slice(0, 20),
      hint: `${near ? `the ${missing.length > 0 ? 'weights have' : 'model has'} "${near}"; ` : ''}the weights belong to another model, or load them with { strict: false }`,
    },
  );
}

/** The module a tensor belongs to. */
const layerOf = (name: string): string => name.slice(0, Math.max(0, name.lastIndexOf('.')));
