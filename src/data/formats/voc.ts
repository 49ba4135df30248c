/** Annotations of Pascal VOC (Everingham et al. 2010): an XML file a picture, with the class and box of every object. */
import { SaxesParser } from 'saxes';
import { DataError, printable } from '../../base/errors.ts';

export interface VocObject {
  readonly name: string;
  /** Pixels, as the file counts them (from 1 in VOC itself): left, top, right, bottom. */
  readonly box: readonly [xmin: number, ymin: number, xmax: number, ymax: number];
  readonly difficult: boolean;
}

export interface VocAnnotation {
  /** The picture's file name; '' where it is not said. */
  readonly filename: string;
  readonly width: number;
  readonly height: number;
  readonly objects: readonly VocObject[];
}

const [MAX_CHARACTERS, MAX_DEPTH] = [2 ** 24, 64];
const corners = ['xmin', 'ymin', 'xmax', 'ymax'] as const;

/**
 * Parses one annotation; elements it does not know are passed over, entities but XML's own five are refused.
 * @throws DataError VOC_INVALID with line and column.
 */
export function parseVoc(xml: string, file: string): VocAnnotation {
  const parser = new SaxesParser({ fileName: '' });
  const fail = (what: string, field?: string, got?: unknown): never => {
    throw new DataError('VOC_INVALID', `${printable(file)}: line ${parser.line}: ${what}`, {
      file,
      line: parser.line,
      column: parser.column + 1,
      field,
      got,
    });
  };
  if (xml.length > MAX_CHARACTERS) fail(`an annotation of more than ${MAX_CHARACTERS} characters`);
  const path: string[] = [];
  const values = new Map<string, string>();
  const objects: VocObject[] = [];
  const number = (field: string, least: number): number => {
    const text = values.get(field);
    const value = Number(text);
    if (text === undefined || text === '' || !Number.isFinite(value) || value < least)
      fail(`${field} is ${printable(text ?? null)}, expected a number of at least ${least}`, field, text);
    return value;
  };
  const object = (): VocObject => {
    const name = values.get('object/name') ?? '';
    if (name === '') fail('an object without a name', 'object/name');
    const box = corners.map((corner) => number(`object/bndbox/${corner}`, 0)) as unknown as VocObject['box'];
    if (box[2] < box[0] || box[3] < box[1]) fail(`the box of ${printable(name)} is inside out`, 'object/bndbox', box);
    return { name, box, difficult: values.get('object/difficult') === '1' };
  };
  parser.on('error', (error) => fail(error.message.replace(/^[^:]*:\d+:\d+: /, '')));
  parser.on('opentag', ({ name }) => {
    if (path.length === 0 && name !== 'annotation') fail(`expected <annotation>, found <${name}>`);
    if (path.length >= MAX_DEPTH) fail(`elements nested deeper than ${MAX_DEPTH}`);
    path.push(name);
    const at = path.slice(1).join('/');
    if (at === 'object') for (const field of [...values.keys()]) if (field.startsWith('object/')) values.delete(field);
    values.set(at, '');
  });
  parser.on('text', (text) => {
    const at = path.slice(1).join('/');
    values.set(at, ((values.get(at) ?? '') + text).trim());
  });
  parser.on('closetag', ({ name }) => {
    if (path.length === 2 && name === 'object') objects.push(object());
    path.pop();
  });
  parser.write(xml).close();
  return {
    filename: values.get('filename') ?? '',
    width: number('size/width', 1),
    height: number('size/height', 1),
    objects,
  };
}
