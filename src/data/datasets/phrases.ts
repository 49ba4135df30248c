/**
 * `phrases`: short reviews in English and Chinese, made by our own grammar, so that text recipes run offline. Each is a
 * function of (seed, split, index). Negation turns the sentiment round, so counting words is not enough.
 */
import { ArgumentError } from '../../base/errors.ts';
import { SampleRandom } from '../random.ts';
import { InMemoryTextDataset } from '../text/dataset.ts';

export interface PhrasesOptions {
  split: 'train' | 'test';
  /** Number of reviews; 4,000 for train and 1,000 for test. */
  size?: number;
  /** 0 unless told; every seed is another set. */
  seed?: number;
}

const defaultSize = { train: 4000, test: 1000 } as const;
// Places in a sample's random stream; train and test never share one.
const place = { train: 0xd2_0000, test: 0xd2_0001 } as const;
export const phraseClasses: readonly string[] = ['negative', 'positive'];

interface Grammar {
  readonly subjects: readonly string[];
  /** Of a positive and of a negative sentence. */
  readonly words: readonly [negative: readonly string[], positive: readonly string[]];
  readonly degrees: readonly string[];
  readonly openings: readonly string[];
  /** A clause that tells nothing. */
  readonly asides: readonly string[];
  sentence(parts: {
    opening: string;
    subject: string;
    degree: string;
    word: string;
    negated: boolean;
    aside: string;
  }): string;
}

const english: Grammar = {
  subjects: [
    'the food',
    'the room',
    'the service',
    'this film',
    'the phone',
    'the battery',
    'the plot',
    'the breakfast',
    'the delivery',
    'the screen',
    'the hotel',
    'the story',
  ],
  words: [
    ['bad', 'awful', 'boring', 'dirty', 'slow', 'broken', 'terrible', 'cold', 'noisy', 'disappointing'],
    ['good', 'great', 'lovely', 'clean', 'fast', 'excellent', 'wonderful', 'warm', 'charming', 'impressive'],
  ],
  degrees: ['', '', 'very ', 'really ', 'quite ', 'so '],
  openings: ['', '', 'honestly, ', 'in short, ', 'we thought ', 'to me '],
  asides: ['', '', ' and we stayed two nights', ' , bought last week', ' after 3 days', ' as my friend said'],
  sentence: ({ opening, subject, degree, word, negated, aside }) =>
    `${opening}${subject} was ${negated ? 'not ' : ''}${degree}${word}${aside}`,
};

const chinese: Grammar = {
  subjects: ['饭菜', '房间', '服务', '这部电影', '手机', '电池', '剧情', '早餐', '送餐', '屏幕', '酒店', '味道'],
  words: [
    ['差', '糟糕', '无聊', '脏', '慢', '难吃', '失望', '冷', '吵', '麻烦'],
    ['好', '棒', '有趣', '干净', '快', '好吃', '满意', '温馨', '舒服', '方便'],
  ],
  degrees: ['', '很', '非常', '特别', '真', '挺'],
  openings: ['', '', '说实话，', '总的来说，', '我觉得', '这次'],
  asides: ['', '', '，住了两晚', '，上周买的', '，等了30分钟', '，朋友推荐的'],
  sentence: ({ opening, subject, degree, word, negated, aside }) =>
    `${opening}${subject}${negated ? '不' : degree}${word}${aside}。`,
};

/** Balanced classes, half of the reviews in each language. Ids are indices; a longer set begins with the shorter one. */
export function phrases({ split, size = defaultSize[split], seed = 0 }: PhrasesOptions): InMemoryTextDataset {
  if (!Number.isInteger(size) || size < 0 || size > 1e7)
    throw new ArgumentError('OPTION_INVALID', `size: expected a whole number of reviews, found ${size}`, {
      field: 'size',
      got: size,
    });
  const random = new SampleRandom();
  const texts: string[] = [];
  const labels = new Int32Array(size);
  for (let i = 0; i < size; i++) {
    random.start(seed, 0, i, place[split]);
    const pick = <T>(list: readonly T[]): T => list[Math.floor(random.uniform() * list.length)] as T;
    const label = random.uniform() < 0.5 ? 0 : 1;
    const negated = random.uniform() < 0.3;
    const grammar = random.uniform() < 0.5 ? english : chinese;
    labels[i] = label;
    texts.push(
      grammar.sentence({
        opening: pick(grammar.openings),
        subject: pick(grammar.subjects),
        degree: pick(grammar.degrees),
        // "Not bad" is praise.
        word: pick(grammar.words[negated ? ((1 - label) as 0 | 1) : label]),
        negated,
        aside: pick(grammar.asides),
      }),
    );
  }
  return new InMemoryTextDataset({ name: `phrases/${split}`, texts, labels, classes: phraseClasses });
}
