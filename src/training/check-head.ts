/** What became of the head of pretrained weights: kept, or new for other classes. Said plainly, for nobody sees it in a loss. */
import { join } from 'node:path';
import { exists, readJson, readWeights } from '../io/index.ts';
import { isOfHead, type ModelStructure, structureOf } from '../models/index.ts';
import type { Module } from '../nn/index.ts';
import type { Finding, Origin } from './check-data.ts';
import type { FineTuneOptions } from './fine-tune-options.ts';
import { weightsPath } from './init.ts';

/** `classes` are the names of the data's one label, where that is all there is. Nothing where the head was asked to be new. */
export async function checkHead(
  model: Module,
  { weights, report }: Origin,
  classes: readonly string[] | undefined,
  { init, optimizer, freeze }: Pick<FineTuneOptions, 'init' | 'optimizer' | 'freeze'>,
): Promise<Finding[]> {
  if (init?.head === 'new' || !('structure' in model)) return [];
  const structure = structureOf(model);
  const { head } = structure;
  if (head === undefined) return [];
  if (report.loaded.some((name) => isOfHead(name, structure))) return checkKept(weights, head, classes);
  const [theirs, ours] = [await outputsOf(weights, head), model.stateDict().get(`${head}.weight`)?.shape[0]];
  const why =
    theirs === undefined
      ? 'the weights have none'
      : theirs === ours
        ? `that of the weights is of ${theirs} other classes`
        : `that of the weights has ${theirs} outputs, the data need ${ours}`;
  const faster = (optimizer?.groups?.length ?? 0) > 0 || optimizer?.layerDecay !== undefined;
  const alone = freeze !== undefined && !Array.isArray(freeze) && 'belowDepth' in freeze;
  return [
    {
      code: 'HEAD_NEW',
      severity: 'note',
      message: `the head (${head}) is new, of random values: ${why}`,
      fix:
        faster || alone
          ? 'none is needed: it learns faster than the rest, or alone'
          : `it must learn from nothing: --set 'optimizer.groups=[{params: ${outermost(head, structure)}, lrScale: 10}]', or the head alone first: --set freeze={belowDepth: head}`,
    },
  ];
}

/** What a group of rates names: `classifier` of `classifier.1`, where nothing but the head is in it. */
const outermost = (head: string, { stages }: ModelStructure): string => {
  const [first = head] = head.split('.');
  const others = stages.flat().filter((path) => !path.startsWith(head) && path.startsWith(`${first}.`));
  return others.length === 0 ? first : head;
};

/** Where the weights name their classes, `init` has compared them. */
async function checkKept(weights: string, head: string, classes: readonly string[] | undefined): Promise<Finding[]> {
  if (!classes || (await namesClasses(weights))) return [];
  return [
    {
      code: 'HEAD_KEPT',
      severity: 'note',
      message: `the head (${head}) is that of the weights, which have ${classes.length} outputs too; they do not say which classes those are`,
      fix: `see that they are ${listed(classes)}, in this order; --set init.head=new where they are not`,
    },
  ];
}

const listed = (names: readonly string[]): string =>
  names.length <= 6 ? names.join(', ') : `${names.slice(0, 5).join(', ')} ... ${names.at(-1)}`;

/** Whether a config.json beside the weights names classes, and does not only number them. */
async function namesClasses(weights: string): Promise<boolean> {
  if (weights.startsWith('hf:')) return false;
  const file = join(await weightsPath(weights), 'config.json');
  const config = (await exists(file)) ? await readJson(file) : undefined;
  if (typeof config !== 'object' || config === null || Array.isArray(config)) return false;
  const { id2label } = config;
  if (typeof id2label !== 'object' || id2label === null || Array.isArray(id2label)) return false;
  return Object.entries(id2label).some(([i, name]) => name !== `LABEL_${i}`);
}

/** Outputs of the weights' own head, by its shape. */
async function outputsOf(weights: string, head: string): Promise<number | undefined> {
  const isHead = (name: string): boolean => name === `${head}.weight` || name.endsWith(`.${head}.weight`);
  const { tensors } = await readWeights(await weightsPath(weights), { only: isHead });
  const [found] = tensors.values();
  return found?.shape[0];
}
