/** From an inert pickle value to checked descriptions of tensors: which names may occur, and what their arguments must be. */
import { printable } from '../base/errors.ts';
import { MAX_ELEMENTS } from '../base/shape.ts';
import { malformed } from './byte-source.ts';
import {
  describe,
  PickleDict,
  PickleGlobal,
  PickleList,
  PicklePersistent,
  PickleRecord,
  PickleTuple,
  type PickleValue,
} from './pickle.ts';
import { type StoredDType, stored } from './stored-dtype.ts';

export interface TorchStorage {
  readonly key: string;
  readonly type: StoredDType;
  readonly itemSize: number;
  readonly bytes: number;
}

export interface TorchTensor {
  readonly storage: TorchStorage;
  readonly type: StoredDType;
  /** In elements. */
  readonly offset: number;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
  /** Byte of the file where the pickle describes it. */
  readonly at: number;
}

const storageTypes: { readonly [name: string]: StoredDType } = {
  DoubleStorage: 'F64',
  FloatStorage: 'F32',
  HalfStorage: 'F16',
  BFloat16Storage: 'BF16',
  LongStorage: 'I64',
  IntStorage: 'I32',
  ShortStorage: 'I16',
  CharStorage: 'I8',
  ByteStorage: 'U8',
  BoolStorage: 'BOOL',
};
const dtypeNames: { readonly [name: string]: StoredDType } = {
  float64: 'F64',
  double: 'F64',
  float32: 'F32',
  float: 'F32',
  float16: 'F16',
  half: 'F16',
  bfloat16: 'BF16',
  int64: 'I64',
  long: 'I64',
  int32: 'I32',
  int: 'I32',
  int16: 'I16',
  short: 'I16',
  int8: 'I8',
  uint8: 'U8',
  uint16: 'U16',
  uint32: 'U32',
  bool: 'BOOL',
};
const others = new Set([
  'collections.OrderedDict',
  'torch._utils._rebuild_tensor',
  'torch._utils._rebuild_tensor_v2',
  'torch._utils._rebuild_tensor_v3',
  'torch._utils._rebuild_parameter',
  'torch.Size',
  'torch.device',
  'torch.storage.UntypedStorage',
  'torch.UntypedStorage',
]);

/** Whether a pickle of PyTorch may name this. They stay names: nothing is looked up. */
export function isTorchName(name: string): boolean {
  if (others.has(name)) return true;
  const short = name.startsWith('torch.') ? name.slice(6) : '';
  return Object.hasOwn(storageTypes, short) || Object.hasOwn(dtypeNames, short);
}

const MAX_VISITS = 2_000_000;
const MAX_NESTING = 64;
/** Where checkpoints keep the model's weights, in this order. */
const NESTS = ['state_dict', 'model_state_dict', 'model', 'module', 'net', 'params', 'weights', 'ema_state_dict'];

/** The leaves of nested dicts and lists by dotted name, those of the model's own state dict if there is one. */
export function collectTensors(root: PickleValue, path: string): Map<string, PickleValue> {
  const leaves = new Map<string, PickleValue>();
  let visits = 0;
  const walk = (value: PickleValue, name: string, depth: number): void => {
    if (++visits > MAX_VISITS) malformed(path, 'PICKLE_LIMIT', 0, `at most ${MAX_VISITS} values`, 'more');
    if (depth > MAX_NESTING) malformed(path, 'PICKLE_LIMIT', 0, `at most ${MAX_NESTING} nested containers`, 'more');
    const under = (key: string): string => (name === '' ? key : `${name}.${key}`);
    if (value instanceof PickleDict)
      for (const [key, item] of value.map) {
        if (typeof key === 'string' || typeof key === 'number' || typeof key === 'bigint')
          walk(item, under(String(key)), depth + 1);
      }
    else if (value instanceof PickleList || value instanceof PickleTuple)
      value.items.forEach((item, i) => void walk(item, under(String(i)), depth + 1));
    else {
      if (name.length > 4096) malformed(path, 'TORCH_NAME', 0, 'a name of at most 4096 characters', `${name.length}`);
      if (leaves.has(name)) malformed(path, 'TORCH_NAME', 0, 'every name once', `${printable(name)} again`);
      leaves.set(name, value);
    }
  };
  walk(stateDictOf(root), '', 0);
  return leaves;
}

function stateDictOf(root: PickleValue): PickleValue {
  let value = root;
  for (let depth = 0; depth < 4 && value instanceof PickleDict; depth++) {
    const { map } = value;
    // A dict with tensors of its own is a state dict, whatever its other keys are called.
    if ([...map.values()].some((item) => item instanceof PickleRecord)) return value;
    const nest = NESTS.map((name) => map.get(name)).find((item) => item instanceof PickleDict && item.map.size > 0);
    if (!nest) return value;
    value = nest;
  }
  return value;
}

/** The tensors among leaves, each checked: storage type and size, shape, strides, and that all elements lie inside. */
export function torchTensors(leaves: ReadonlyMap<string, PickleValue>, path: string): Map<string, TorchTensor> {
  const tensors = new Map<string, TorchTensor>();
  const storages = new Map<string, TorchStorage>();
  const known = new Map<PickleRecord, TorchTensor>();
  for (const [name, leaf] of leaves) {
    let value: PickleValue | undefined = leaf;
    for (
      let depth = 0;
      value instanceof PickleRecord && value.callee.name === 'torch._utils._rebuild_parameter';
      depth++
    )
      value = depth < 4 ? value.args[0] : null;
    if (!(value instanceof PickleRecord) || !value.callee.name.startsWith('torch._utils._rebuild_tensor')) continue;
    let tensor = known.get(value);
    if (!tensor) {
      tensor = tensorOf(value, name, path, storages);
      known.set(value, tensor);
    }
    tensors.set(name, tensor);
  }
  return tensors;
}

function tensorOf(
  { args, callee, offset: at }: PickleRecord,
  tensor: string,
  path: string,
  storages: Map<string, TorchStorage>,
): TorchTensor {
  const bad = (code: string, expected: string, got: string): never =>
    malformed(path, code, at, expected, got, { tensor });
  const [reference, start, size, stride] = args;
  if (!(reference instanceof PicklePersistent)) return bad('TORCH_STORAGE', 'a storage', describe(reference));
  let storage = storageOf(reference, tensor, path);
  if (callee.name.endsWith('_v3')) {
    const dtype = args[6];
    const name = dtype instanceof PickleGlobal ? dtype.name.replace(/^torch\./, '') : '';
    const type = Object.hasOwn(dtypeNames, name) ? dtypeNames[name] : undefined;
    if (!type) return bad('TORCH_DTYPE', 'a dtype of torch', describe(dtype));
    storage = { ...storage, type, itemSize: stored[type].bytes };
    if (storage.bytes % storage.itemSize) bad('TORCH_STORAGE', `whole elements of ${type}`, `${storage.bytes} bytes`);
  }
  const before = storages.get(storage.key);
  if (before && (before.bytes !== storage.bytes || before.type !== storage.type))
    bad(
      'TORCH_STORAGE',
      `storage ${storage.key} as ${before.type} of ${before.bytes} bytes`,
      `${storage.type} of ${storage.bytes}`,
    );
  storages.set(storage.key, storage);
  const shape = countsOf(size);
  const strides = countsOf(stride);
  if (!shape || shape.length > 64) return bad('TORCH_SHAPE', 'a shape of at most 64 whole numbers', describe(size));
  if (!strides || strides.length !== shape.length)
    return bad('TORCH_STRIDES', `${shape.length} strides of 0 or more`, describe(stride));
  if (typeof start !== 'number' || !Number.isSafeInteger(start) || start < 0)
    return bad('TORCH_OFFSET', 'a storage offset of 0 or more', describe(start));
  const count = storage.bytes / storage.itemSize;
  const empty = shape.includes(0);
  let elements = 1;
  let last = start;
  for (const [i, length] of shape.entries()) {
    if (empty) break;
    elements *= length;
    last += (length - 1) * (strides[i] as number);
    if (elements > MAX_ELEMENTS) bad('TORCH_SHAPE', `at most ${MAX_ELEMENTS} elements`, 'more');
    if (!Number.isSafeInteger(last)) bad('TORCH_STRIDES', 'elements within the storage', 'places past 2^53');
  }
  if (empty ? start > count : last >= count)
    bad('TORCH_OFFSET', `elements within the ${count} of storage ${storage.key}`, `element ${last}`);
  return { storage, type: storage.type, offset: start, shape, strides, at };
}

// ('storage', type, key, location, number of elements[, view metadata]); UntypedStorage counts bytes.
function storageOf({ id, offset }: PicklePersistent, tensor: string, path: string): TorchStorage {
  const bad = (code: string, expected: string, got: string): never =>
    malformed(path, code, offset, expected, got, { tensor });
  if (!(id instanceof PickleTuple) || id.items[0] !== 'storage')
    return bad('TORCH_STORAGE', 'a persistent id of a storage', describe(id));
  const [, kind, key, , count, view] = id.items;
  const name = kind instanceof PickleGlobal ? kind.name : '';
  const untyped = name.endsWith('.UntypedStorage');
  const short = name.startsWith('torch.') ? name.slice(6) : '';
  const type = untyped ? 'U8' : Object.hasOwn(storageTypes, short) ? storageTypes[short] : undefined;
  if (!type) return bad('TORCH_DTYPE', 'a storage type of torch', describe(kind));
  if (typeof key !== 'string' || !/^[\w-]{1,64}$/.test(key))
    return bad('TORCH_STORAGE', 'a storage key', describe(key));
  if (typeof count !== 'number' || !Number.isSafeInteger(count) || count < 0 || count > Number.MAX_SAFE_INTEGER / 8)
    return bad('TORCH_STORAGE', 'a number of elements', describe(count));
  if (view !== undefined && view !== null) return bad('TORCH_STORAGE', 'a whole storage', 'a view of another one');
  return { key, type, itemSize: stored[type].bytes, bytes: count * stored[type].bytes };
}

function countsOf(value: PickleValue | undefined): number[] | undefined {
  const items = value instanceof PickleRecord && value.callee.name === 'torch.Size' ? value.args[0] : value;
  if (!(items instanceof PickleTuple)) return undefined;
  const good = items.items.every((d) => typeof d === 'number' && Number.isSafeInteger(d) && d >= 0);
  return good ? (items.items as number[]) : undefined;
}
