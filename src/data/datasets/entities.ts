/**
 * `entities`: sentences in English and Chinese with people, organisations and places, made by our own grammar, so that recipes of
 * token classification run offline. Each is a function of (seed, split, index). The same name is a person, a place or part of an
 * organisation by what stands around it, and a quarter of the pieces of names occur in the test part only.
 */
import { ArgumentError } from '../../base/errors.ts';
import { SampleRandom } from '../random.ts';
import { InMemoryTokenDataset, type TokenSample } from '../text/token-dataset.ts';

export interface EntitiesOptions {
  split: 'train' | 'test';
  /** Number of sentences; 4,000 for train and 1,000 for test. */
  size?: number | undefined;
  /** 0 unless told; every seed is another set. */
  seed?: number;
}

const defaultSize = { train: 4000, test: 1000 } as const;
// Places in a sample's random stream; train and test never share one.
const place = { train: 0xe7_0000, test: 0xe7_0001 } as const;
/** IOB2, in the order of CoNLL-2003. */
export const entityClasses: readonly string[] = ['O', 'B-PER', 'I-PER', 'B-ORG', 'I-ORG', 'B-LOC', 'I-LOC'];

/** `{PER}` and the like stand for entities; names are `{first}` and the like, made of other names or their pieces, and shared between the kinds of entities. */
interface Grammar {
  readonly names: Readonly<Record<string, readonly string[]>>;
  readonly kinds: Readonly<Record<'PER' | 'ORG' | 'LOC', readonly string[]>>;
  readonly sentences: readonly string[];
  readonly words: (text: string) => string[];
}

const english: Grammar = {
  names: {
    first: (
      'Anna Paul Maria Victor Grace Peter Sofia Daniel Helen Martin Paris Jordan Austin Florence Sydney Oscar Nina Felix ' +
      'Laura Simon Alice Bruno Carla David Emma Frank Clara Hugo Irene Savannah Chelsea Lucia Omar Priya Theo Yara'
    ).split(' '),
    last: ['{onset}{coda}', '{onset}{coda}', 'Lincoln', 'Washington', 'Stone', 'Hill'],
    city: ['{onset}{ending}', '{onset}{ending}', '{onset}{coda}', 'New {onset}{ending}', 'San {first}', '{first}'],
    onset: 'Bar Kel Nov Riv Mor Hud Lan Ort Ber Dun Cal Fen Gar Has Jen Lov Mar Nor Pel Quin Ros Sal Tor Win Zam'.split(
      ' ',
    ),
    coda: 'ker ak era eau son ga ega ell en is etti man ley wood ova'.split(' '),
    ending: 'lin ton ville burg port field mouth stad grad ham'.split(' '),
    trade: ['Bank', 'Motors', 'Industries', 'Airlines', 'Group', 'Foods', 'Partners', 'Records'],
  },
  kinds: {
    PER: ['{first} {last}', '{first} {last}', '{first}', '{last}', '{first} {first} {last}'],
    ORG: [
      '{last} {trade}',
      '{city} {trade}',
      '{last} & Sons',
      'University of {city}',
      'Bank of {city}',
      '{city} United',
    ],
    LOC: ['{city}', '{city}', '{last} Street', 'Lake {last}', 'Mount {first}'],
  },
  sentences: [
    '{PER} works for {ORG} in {LOC} .',
    '{PER} moved from {LOC} to {LOC} last year .',
    '{ORG} will open an office in {LOC} , said {PER} .',
    'Yesterday {PER} met {PER} near {LOC} .',
    '{ORG} bought {ORG} for 3 million .',
    'The mayor of {LOC} , {PER} , spoke for an hour .',
    'In {LOC} it rained for two days .',
    'Doctor {PER} left {ORG} after 12 years .',
    'Shares of {ORG} fell while {ORG} rose .',
    '" We like {LOC} , " said {PER} of {ORG} .',
    'Nobody in {LOC} had heard of {PER} .',
    '{LOC} is two hours from {LOC} by train .',
    'The road to {LOC} is closed .',
    'Call {PER} before you write to {ORG} .',
    'The bank by the river was green and the hill was steep .',
    'A stone fell into the lake near the street .',
    'The bell rang , and nobody moved .',
    'Our university has a new group of partners .',
  ],
  words: (text) => text.split(' '),
};

const chinese: Grammar = {
  names: {
    family: [...'王李张刘陈杨赵黄周吴高白金江林石马叶孙朱'],
    given: [...'伟芳娜敏静强磊洋勇艳杰娟涛明超秀霞平刚桂英华玉红军文斌燕建国志丽山海兰云雪峰宁波'],
    city: ['{near}{far}'],
    near: [...'北上广成西长黄金白南东海石昆高青安平新临江云'],
    far: [...'京海州都安江山城口林明平阳宁'],
    trade: ['大学', '银行', '集团', '航空公司', '医院', '出版社', '足球队', '日报'],
  },
  kinds: {
    PER: ['{family}{given}', '{family}{given}{given}', '{family}{given}{given}'],
    ORG: ['{city}{trade}', '{city}{trade}', '{family}氏{trade}', '{city}第一{trade}'],
    LOC: ['{city}', '{city}', '{city}市', '{city}路'],
  },
  sentences: [
    '{PER}在{LOC}的{ORG}工作。',
    '{PER}去年从{LOC}搬到了{LOC}。',
    '{ORG}将在{LOC}开设分店，{PER}说。',
    '昨天{PER}在{LOC}见到了{PER}。',
    '{ORG}以300万元收购了{ORG}。',
    '{LOC}下了两天雨。',
    '{PER}离开{ORG}已经12年了。',
    '记者{PER}从{LOC}报道。',
    '{LOC}离{LOC}很远，坐火车要两个小时。',
    '{ORG}的{PER}认为明年会更好。',
    '请先给{PER}打电话，再写信给{ORG}。',
    '山上的石头很高，江水是白的。',
    '大学里的医院今天不开门。',
    '黄色的叶子落在路上，海很平静。',
    '他很高兴地说马上就来。',
  ],
  words: (text) => [...text],
};

/** Half of the sentences in each language; a Chinese character is a token. A longer set begins with the shorter one. */
export function entities({ split, size = defaultSize[split], seed = 0 }: EntitiesOptions): InMemoryTokenDataset {
  if (!Number.isInteger(size) || size < 0 || size > 1e7)
    throw new ArgumentError('OPTION_INVALID', `size: expected a whole number of sentences, found ${size}`, {
      field: 'size',
      got: size,
    });
  const random = new SampleRandom();
  const sentences = Array.from({ length: size }, (_, i) => {
    random.start(seed, 0, i, place[split]);
    const pick = <T>(list: readonly T[], share = 1): T =>
      list[Math.floor(random.uniform() * Math.ceil(share * list.length))] as T;
    return sentence(random.uniform() < 0.5 ? english : chinese, pick, split === 'test' ? 1 : 0.75);
  });
  return new InMemoryTokenDataset({ name: `entities/${split}`, sentences, classes: entityClasses });
}

const SLOT = /\{(\w+)\}/;

function sentence(grammar: Grammar, pick: <T>(list: readonly T[], share?: number) => T, share: number): TokenSample {
  const tokens: string[] = [];
  const tags: number[] = [];
  const add = (text: string, kind: string | undefined): void => {
    if (text === '') return;
    for (const [i, word] of grammar.words(text).entries()) {
      tokens.push(word);
      tags.push(kind === undefined ? 0 : entityClasses.indexOf(`${i === 0 ? 'B' : 'I'}-${kind}`));
    }
  };
  const named = (pattern: string): string =>
    pattern
      .split(SLOT)
      .map((part, i) => (i % 2 === 1 ? named(pick(grammar.names[part] as readonly string[], share)) : part))
      .join('');
  for (const [i, part] of pick(grammar.sentences).split(SLOT).entries()) {
    if (i % 2 === 0) add(part.trim(), undefined);
    else add(named(pick(grammar.kinds[part as 'PER' | 'ORG' | 'LOC'])), part);
  }
  return { tokens, tags: Int32Array.from(tags) };
}
