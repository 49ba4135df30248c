/**
 * Entities from the tags of words, as seqeval reads them (`get_entities`, https://github.com/chakki-works/seqeval), which follows
 * conlleval: IOB1, IOB2, IOE and IOBES alike, and an entity whose beginning is tagged I- counts all the same.
 */

export interface Entity {
  readonly label: string;
  /** First word, and the one behind the last. */
  readonly start: number;
  readonly end: number;
}

/** BMES and BILOU in the letters of IOBES. */
const letters: Readonly<Record<string, string>> = { B: 'B', I: 'I', E: 'E', S: 'S', M: 'I', L: 'E', U: 'S', W: 'S' };

const PREFIXED = /^([BIESMLUW])(?:-(.+))?$/su;

/** Whether classes are tags of entities: every one is `O`, or a letter and a type, `B-PER`; without a type it is `_`, as seqeval's. */
export const areEntityTags = (names: readonly string[]): boolean =>
  names.some((name) => PREFIXED.test(name)) && names.every((name) => name === 'O' || PREFIXED.test(name));

const outside = { tag: 'O', label: '' };

function parse(name: string): { readonly tag: string; readonly label: string } {
  const [, letter, label] = PREFIXED.exec(name) ?? [];
  return letter === undefined ? outside : { tag: letters[letter] as string, label: label ?? '_' };
}

/** The entities of one sentence, in order. */
export function entitiesOf(tags: readonly string[]): Entity[] {
  const found: Entity[] = [];
  let before = outside;
  let start = 0;
  for (let i = 0; i <= tags.length; i++) {
    const now = i < tags.length ? parse(tags[i] as string) : outside;
    if (ends(before, now)) found.push({ label: before.label, start, end: i });
    if (starts(before, now)) start = i;
    before = now;
  }
  return found;
}

type Tag = typeof outside;

function ends(before: Tag, now: Tag): boolean {
  if (before.tag === 'O') return false;
  if (before.tag === 'E' || before.tag === 'S' || before.label !== now.label) return true;
  return now.tag === 'B' || now.tag === 'S' || now.tag === 'O';
}

function starts(before: Tag, now: Tag): boolean {
  if (now.tag === 'O') return false;
  if (now.tag === 'B' || now.tag === 'S' || before.label !== now.label) return true;
  return before.tag === 'E' || before.tag === 'S' || before.tag === 'O';
}
