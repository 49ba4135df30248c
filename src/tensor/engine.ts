/**
 * Where lazy values become numbers: collects what is asked for and every pending update into one graph,
 * finds or compiles its program, and runs it. Nothing above this file knows that programs exist.
 */
import {
  type Backend,
  type CompileOptions,
  type Executable,
  type ExecutablePlan,
  type Graph,
  selectBackend,
} from '../backend/index.ts';
import { byteSize, NumericError, type Shape, StaleTensorError, type TypedArray } from '../base/index.ts';
import { type Node, Storage, sourceNode, topologicalOrder, withInputs } from '../graph/index.ts';

/** Something whose storage is replaced in place: parameters, buffers, optimizer state. */
export interface Assignable {
  readonly storage: Storage;
  /** The value now: a source, or the expression of an initialisation or pending update. */
  node: Node;
}

/** What one program is asked to do. */
interface Request {
  /** Fresh values. */
  readonly wanted: readonly Node[];
  readonly owners: readonly Assignable[];
  /** The new value of each owner. */
  readonly values: readonly Node[];
  readonly checks: readonly Node[];
  readonly options: CompileOptions;
}

interface CompiledProgram {
  readonly key: readonly number[];
  readonly executable: Executable;
}

/** Counters for profiles and tests: programs compiled, found again, run. */
export const engineStats = { compiled: 0, cached: 0, runs: 0 };

// Each distinct set of shapes is a program; a training run needs a handful.
const MAX_PROGRAMS = 64;

let backend: Backend | undefined;
/** By storage: who is updated, and the node it had before. */
const pending = new Map<Storage, { owner: Assignable; before: Node }>();
const initial = new WeakMap<Node, Assignable>();
/** Values already computed: later graphs read them instead of computing them again. */
const realized = new WeakMap<Node, Node>();
const labels = new WeakMap<Storage, string>();
/** Most recently used last. */
const programs = new Map<string, CompiledProgram>();
let tail: Promise<unknown> = Promise.resolve();
let failure: unknown;
let checks: Node[] = [];

/** The backend in use; chosen at first need. */
export function currentBackend(): Backend {
  if (!backend) backend = selectBackend();
  return backend;
}

/** Switches backends (tests, comparisons); undefined chooses anew. Storages stay valid, programs are dropped. */
export function useBackend(next: Backend | undefined): void {
  backend = next;
  programs.clear();
}

/** Names a storage in error messages. */
export function labelStorage(storage: Storage, label: string): void {
  labels.set(storage, label);
}

/** The array of a storage, allocated now if it was not yet. */
export function dataOf(storage: Storage): TypedArray {
  storage.data ??= currentBackend().allocate(storage.dtype, storage.length);
  return storage.data;
}

/** `owner` starts as `value`: computed in a program of its own, just before the first that reads it. */
export function scheduleInitial(owner: Assignable, value: Node): void {
  initial.delete(owner.node);
  owner.node = value;
  initial.set(value, owner);
}

/**
 * `owner` has the value in `data`, which becomes the memory of its storage: nobody else may hold it. False, and nothing done, where
 * a value was computed for it or is about to be, or `data` is no array the backend would have made.
 */
export function adopt(owner: Assignable, data: TypedArray, shape: Shape): boolean {
  const { storage } = owner;
  if (storage.data !== undefined || pending.has(storage) || data.length !== storage.length) return false;
  if (data.constructor !== currentBackend().allocate(storage.dtype, 0).constructor) return false;
  initial.delete(owner.node);
  storage.data = data;
  owner.node = sourceNode(storage, shape);
  return true;
}

/** Memory as the backend makes it, aligned for its kernels: what `adopt` may be given views of. */
export const backendMemory = (bytes: number): ArrayBuffer =>
  currentBackend().allocate('u8', bytes).buffer as ArrayBuffer;

/** `owner` becomes `value` at the next flush. */
export function scheduleUpdate(owner: Assignable, value: Node): void {
  const before = pending.get(owner.storage)?.before ?? owner.node;
  // A loop that never reads its loss must still advance: what nobody flushes in this turn is flushed after it.
  if (pending.size === 0) queueMicrotask(flushPending);
  pending.set(owner.storage, { owner, before });
  owner.node = value;
}

/** Nodes that must be finite for the next flush to update anything. */
export function requireFinite(nodes: readonly Node[]): void {
  checks.push(...nodes);
}

/** The source that holds a node's value, if it has been computed. */
export const realizedNode = (node: Node): Node | undefined => (node.op === 'source' ? node : realized.get(node));

/**
 * Computes `nodes` together with all pending updates, in one program; settles when the values are in place.
 * Programs run in the order they were asked for; when one fails, those queued behind it fail too.
 */
export async function flush(nodes: readonly Node[], options: CompileOptions = {}): Promise<void> {
  await submit(nodes, options);
}

/** Starts the pending updates without waiting; an error surfaces at the next `flush`. */
function flushPending(): void {
  if (pending.size > 0)
    submit([], {}).catch((error: unknown) => {
      failure ??= error;
    });
}

function takeRequest(nodes: readonly Node[], options: CompileOptions): Request {
  const owners = [...pending.values()].map(({ owner }) => owner);
  const values = owners.map((owner) => owner.node);
  const wanted = [...new Set(nodes)].filter((node) => !realizedNode(node) && !values.includes(node));
  return { wanted, owners, values, checks, options };
}

async function submit(nodes: readonly Node[], options: CompileOptions): Promise<unknown> {
  if (failure !== undefined) {
    const error = failure;
    failure = undefined;
    throw error;
  }
  let request = takeRequest(nodes, options);
  let reached = order(request);
  const unborn = reached.filter((node) => initial.has(node));
  if (unborn.length > 0) {
    const owners = unborn.map((node) => initial.get(node) as Assignable);
    for (const node of unborn) initial.delete(node);
    const born = { wanted: [], owners, values: unborn, checks: [], options: {} };
    execute(born, order(born)).catch(() => {});
    request = takeRequest(nodes, options);
    reached = order(request);
  }
  // A value assigned before the first was ever computed: nothing may write the first over it later.
  for (const { before } of pending.values()) initial.delete(before);
  pending.clear();
  checks = [];
  return request.wanted.length + request.owners.length > 0 ? execute(request, reached) : tail;
}

/** Inputs first; stops at values already in memory and checks that those are still the ones meant. */
function order(request: Request, replace = (node: Node): Node | undefined => realized.get(node)): Node[] {
  const nodes = topologicalOrder([...request.wanted, ...request.values, ...request.checks], replace);
  for (const { storage, version } of nodes)
    if (storage && version !== storage.version) {
      const label = labels.get(storage);
      throw new StaleTensorError(
        'STALE_TENSOR',
        `this value depends on ${label ? `"${label}"` : 'a tensor'} as it was before an update overwrote it`,
        {
          tensor: label,
          expected: `version ${version}`,
          got: `version ${storage.version}`,
          hint: 'read the value before optimizer.step(), or compute it again from the updated parameters',
        },
      );
    }
  return nodes;
}

/** Runs `nodes`, the request's in order. */
function execute(request: Request, nodes: readonly Node[]): Promise<unknown> {
  const { wanted, owners, values } = request;
  const { key, storages } = programKey(nodes, request);
  const { executable } = findProgram(key) ?? compileProgram(key, nodes, request);

  const fresh = wanted.map(
    (node) =>
      new Storage(
        node.dtype,
        node.shape.reduce((a, b) => a * b, 1),
      ),
  );
  const inputs = storages.map(dataOf);
  const outputs = [...fresh, ...owners.map((owner) => owner.storage)].map(dataOf);
  wanted.forEach((node, i) => {
    realized.set(node, sourceNode(fresh[i] as Storage, node.shape));
  });
  owners.forEach((owner, i) => {
    const value = values[i] as Node;
    owner.storage.version++;
    const source = sourceNode(owner.storage, value.shape);
    if (value.op !== 'source') realized.set(value, source);
    if (owner.node === value) owner.node = source;
  });

  const run = tail.then(async () => {
    engineStats.runs++;
    const failed = await executable.run(inputs, outputs);
    if (failed >= 0)
      throw new NumericError('NON_FINITE', 'a value that must be finite is NaN or infinite; nothing was updated', {
        check: failed,
      });
  });
  tail = run;
  run.catch(() => {
    for (const node of [...wanted, ...values]) realized.delete(node);
    if (tail === run) tail = Promise.resolve();
  });
  return run;
}

/** A structural key: the same for equal graphs whatever arrays they read. Also lists the storages read or written. */
function programKey(nodes: readonly Node[], request: Request): { key: number[]; storages: Storage[] } {
  const storages = new Map<Storage, number>();
  const numberOf = (storage: Storage): number => {
    let number = storages.get(storage);
    if (number === undefined) {
      number = storages.size;
      storages.set(storage, number);
    }
    return number;
  };
  const index = new Map<Node, number>();
  // A value computed before stands here as the source that replaced it.
  const at = (node: Node): number => index.get(node) ?? (index.get(realized.get(node) as Node) as number);
  const key: number[] = [];
  for (const node of nodes) {
    index.set(node, index.size);
    key.push(node.structure);
    if (node.storage) key.push(numberOf(node.storage));
    for (const input of node.inputs) key.push(at(input));
  }
  for (const owner of request.owners) key.push(-2, numberOf(owner.storage));
  if (request.options.arenaLimit !== undefined) key.push(-3, request.options.arenaLimit);
  key.push(-1, ...request.wanted.map(at), -1, ...request.values.map(at), -1, ...request.checks.map(at));
  return { key, storages: [...storages.keys()] };
}

function hash(key: readonly number[]): string {
  let a = 0x811c9dc5;
  let b = key.length;
  for (const value of key) {
    a = Math.imul(a ^ value, 0x01000193);
    b = (Math.imul(b, 31) + value) | 0;
  }
  return `${a}:${b}`;
}

function findProgram(key: readonly number[]): CompiledProgram | undefined {
  const bucket = hash(key);
  const found = programs.get(bucket);
  if (!found || found.key.length !== key.length || !found.key.every((value, i) => value === key[i])) return undefined;
  programs.delete(bucket);
  programs.set(bucket, found);
  engineStats.cached++;
  return found;
}

function compileProgram(key: readonly number[], nodes: readonly Node[], request: Request): CompiledProgram {
  const graph = buildGraph(nodes, request, (node) => realized.get(node) ?? node);
  const executable = currentBackend().compile(graph, request.options);
  engineStats.compiled++;
  const program = { key, executable };
  programs.set(hash(key), program);
  const oldest = programs.keys().next();
  if (programs.size > MAX_PROGRAMS && !oldest.done) programs.delete(oldest.value);
  return program;
}

/** The request as a closed graph: computed values become sources, one input per storage. */
function buildGraph(nodes: readonly Node[], request: Request, resolve: (node: Node) => Node): Graph {
  const inputs: Node[] = [];
  const inputOf = new Map<Storage, number>();
  const addInput = (storage: Storage, node: Node): Node => {
    const known = inputOf.get(storage);
    if (known !== undefined) {
      const shared = inputs[known] as Node;
      return shared.structure === node.structure ? shared : node;
    }
    inputOf.set(storage, inputs.length);
    inputs.push(node);
    return node;
  };
  const built = new Map<Node, Node>();
  const of = (node: Node): Node => built.get(resolve(node)) as Node;
  for (const node of nodes)
    built.set(node, node.storage ? addInput(node.storage, node) : withInputs(node, node.inputs.map(of)));
  request.owners.forEach(({ storage }, i) => {
    addInput(storage, sourceNode(storage, (request.values[i] as Node).shape));
  });
  return {
    inputs,
    outputs: [...request.wanted, ...request.values].map(of),
    overwrites: [
      ...request.wanted.map(() => -1),
      ...request.owners.map((owner) => inputOf.get(owner.storage) as number),
    ],
    checks: request.checks.map(of),
  };
}

/** What a program will need, known before it runs. */
export interface ProgramPlan extends ExecutablePlan {
  /** Bytes of everything it reads or overwrites. */
  readonly inputBytes: number;
}

/** Plans the program that would compute `nodes` and all pending updates, then forgets those updates. Allocates nothing. */
export function planAndDiscard(nodes: readonly Node[], options: CompileOptions = {}): ProgramPlan {
  const request = takeRequest(nodes, options);
  const placeholders = new Map<Node, Node>();
  const resolve = (node: Node): Node => {
    const owner = initial.get(node);
    if (!owner) return realized.get(node) ?? node;
    const source = placeholders.get(node) ?? sourceNode(owner.storage, node.shape);
    placeholders.set(node, source);
    return source;
  };
  const graph = buildGraph(order(request, resolve), request, resolve);
  for (const { owner, before } of pending.values()) owner.node = before;
  pending.clear();
  checks = [];
  const { plan } = currentBackend().compile(graph, options);
  const inputBytes = graph.inputs.reduce((sum, n) => sum + (n.storage as Storage).length * byteSize(n.dtype), 0);
  return { ...plan, inputBytes };
}
