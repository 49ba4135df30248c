/** A run's report as one HTML file that opens offline: no script, nothing fetched, every name from the data escaped. */
import { stringify } from 'yaml';
import { escapeHtml, facts, htmlPage, plural } from './html-page.ts';
import { duration } from './progress.ts';
import type { Recipe } from './recipe.ts';
import { type Curves, curves, epochTable } from './report-curves.ts';
import { classSection, headSection } from './report-tables.ts';
import { gapText, overfitText, parametersText, partText, type RunFacts, tuningText } from './run-facts.ts';
import { type ClassReport, type HeadReport, type ReportJson, significant } from './run-report.ts';

/** What a page of a run shows besides what was measured. */
export interface RunPage extends Pick<Curves, 'metrics' | 'history'> {
  readonly title: string;
  readonly description?: string | undefined;
  /** When the run ended. */
  readonly finished?: Date | undefined;
  /** Of the process that ended it. */
  readonly seconds?: number | undefined;
  readonly recipe?: Recipe | undefined;
  /** sha256 by part of the data. */
  readonly hashes?: Readonly<Record<string, string>>;
}

/** Curves, tables by head, summary, recipe and hashes of a run that was measured. */
export function htmlReport(report: ReportJson, page: RunPage): string {
  const { heads = {} } = report;
  const own = isClassReport(report) ? report : undefined;
  const sections = Object.entries(heads).map(
    ([field, head]) => `<h2>${escapeHtml(field)}</h2>\n${cards(headCards(head))}\n${headSection(head, 3)}`,
  );
  return htmlPage(
    page.title,
    [
      lead(page),
      cards(
        own
          ? ownCards(report, own)
          : [...Object.entries(heads).flatMap(firstCard), ['loss', report.loss.toFixed(4), partWord(report)]],
      ),
      `<h2>Summary</h2>${facts(summaryRows(report, page))}`,
      trainingSection(page, report),
      own ? classSection(own, 2) : sections.join('\n'),
      closing(page, report),
    ].join('\n'),
  );
}

const isClassReport = (report: ReportJson): report is ReportJson & ClassReport => report.accuracy !== undefined;

/** Description, date and time. */
export function lead({ description, finished, seconds }: RunPage): string {
  const when = [
    // Seconds are enough, and the zone is not the reader's.
    ...(finished ? [`finished ${finished.toISOString().slice(0, 16).replace('T', ' ')} UTC`] : []),
    ...(seconds === undefined ? [] : [`${duration(seconds)} of computing since it was started or resumed`]),
  ].join(', ');
  return `${description === undefined ? '' : `<p>${escapeHtml(description)}</p>\n`}${when && `<p class="note">${when}</p>`}`;
}

type Card = readonly [name: string, value: string, note?: string];

/** Figures to be seen first. */
export const cards = (list: readonly Card[]): string =>
  `<div class="cards">${list
    .map(
      ([name, value, note = '']) =>
        `<div><span>${escapeHtml(name)}</span><b>${escapeHtml(value)}</b><span>${escapeHtml(note)}</span></div>`,
    )
    .join('\n')}</div>`;

const share = (value: number): string => `${(100 * value).toFixed(2)} %`;
const partWord = ({ part }: ReportJson): string => (part === undefined ? '' : `on the ${part} part`);

const accuracyCard = ({ accuracy, interval }: ClassReport): Card => [
  'accuracy',
  share(accuracy),
  `95 % interval: ${share(interval.low)} to ${share(interval.high)}`,
];
const majorityCard = ({ baseline }: ClassReport): Card => [
  'majority baseline',
  share(baseline.accuracy),
  `by always answering ${baseline.label}`,
];

const ownCards = (report: ReportJson, own: ClassReport): Card[] => [
  accuracyCard(own),
  majorityCard(own),
  ...(report.naiveBayes === undefined
    ? []
    : [['naive Bayes baseline', share(report.naiveBayes), 'by counting words'] as const]),
  ['macro F1', macroF1(own).toFixed(4), 'mean over the classes'],
  ['loss', report.loss.toFixed(4), partWord(report)],
];

const macroF1 = ({ report }: ClassReport): number => (report['macro avg'] as { 'f1-score': number })['f1-score'];

function headCards(head: HeadReport): Card[] {
  const loss: Card = ['loss', head.loss.toFixed(4)];
  if (head.kind === 'class')
    return [accuracyCard(head), majorityCard(head), ['macro F1', macroF1(head).toFixed(4)], loss, samplesCard(head.n)];
  if (head.kind === 'classes')
    return [
      ['micro F1', head.microF1.toFixed(4)],
      ['macro F1', head.macroF1.toFixed(4)],
      ['all labels right', share(head.subsetAccuracy), `wrong answers: ${share(head.hammingLoss)}`],
      ...(head.meanAveragePrecision === null
        ? []
        : [['mean average precision', head.meanAveragePrecision.toFixed(4)] as const]),
      loss,
      samplesCard(head.n),
    ];
  if (head.kind === 'tags')
    return [
      ['micro F1', head.microF1.toFixed(4), `of ${head.of}`],
      ['macro F1', head.macroF1.toFixed(4)],
      ['accuracy of words', share(head.accuracy), `always ${head.baseline.label}: ${share(head.baseline.accuracy)}`],
      loss,
      ['words', head.words.toLocaleString('en')],
    ];
  const numbers = Object.entries(head.numbers);
  const [only] = numbers.length === 1 ? numbers : [];
  if (!only) return [loss, ['numbers', String(numbers.length)]];
  const [, { rmse, r2, baseline, n }] = only;
  return [
    ['RMSE', significant(rmse), `always the mean: ${significant(baseline.rmse)}`],
    ['R2', significant(r2), 'share of the variance explained'],
    loss,
    samplesCard(n),
  ];
}

/** What a head is judged by, under its name. */
function firstCard([field, head]: readonly [string, HeadReport]): Card[] {
  const [first] = headCards(head);
  return first ? [[`${field}: ${first[0]}`, first[1], first[2]]] : [];
}

const samplesCard = (n: number): Card => ['samples', n.toLocaleString('en')];

function summaryRows(report: ReportJson, { recipe }: RunPage): [string, string][] {
  if (!hasFacts(report)) return [['samples', report.n.toLocaleString('en')]];
  const { n, task, model, samples, epochs, steps, best } = report;
  const rows: [string, string][] = [
    ['measured on', partText(report, n)],
    ['task', task],
    ['model', `${model}: ${parametersText(report)}`],
    ['trained', tuningText(report)],
    ['data', dataText(recipe, samples)],
    ['length', lengthText(epochs, steps, best)],
  ];
  return rows.map(([name, value]) => [name, escapeHtml(value)]);
}

const hasFacts = (report: ReportJson): report is ReportJson & RunFacts => report.part !== undefined;

/** `mnist: 5,000 training, 1,000 validation and 1,000 test samples`. */
export const dataText = (recipe: Recipe | undefined, { train, validation, test }: RunFacts['samples']): string => {
  const counts = { training: train, validation, test };
  const words = Object.entries(counts).map(([part, n]) => `${n === 0 ? 'no' : n.toLocaleString('en')} ${part}`);
  return `${recipe ? `${recipe.data.file ?? recipe.data.name}: ` : ''}${words.join(', ')} samples`;
};

export const lengthText = (epochs: number, steps: number, best: number | null): string =>
  `${plural(epochs, 'epoch')}, ${plural(steps, 'step')}${best === null ? '' : `; the weights of epoch ${best} were kept`}`;

/** Curves, the gap, and the epochs. */
export function trainingSection(
  { metrics, history }: RunPage,
  { gap, overfit, best }: Partial<Pick<RunFacts, 'gap' | 'overfit' | 'best'>>,
): string {
  if (history.length === 0) return '<h2>Training</h2><p>No epoch was trained.</p>';
  const sentences = [
    ...(gap
      ? [
          `<p>Gap of validation and training at ${gapText(gap)}. <span class="note">The training loss is the mean over the epoch, ` +
            'while the weights changed, with augmentation, dropout and smoothed labels where the recipe has them.</span></p>',
        ]
      : []),
    ...(overfit ? [`<p class="warn">${capital(overfitText(overfit))}.</p>`] : []),
  ];
  return `<h2>Training</h2>
${curves({ metrics, history, best: best ?? undefined })}
${sentences.join('\n')}
${epochTable(history, best ?? undefined)}`;
}

const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

/** The recipe as a file that trains it again, and what exactly was read and written. */
export function closing(
  { recipe, hashes = {} }: RunPage,
  { data, weights }: Pick<ReportJson, 'data' | 'weights'>,
): string {
  const named = Object.keys(hashes).length > 0 ? hashes : { data: data ?? 'unknown' };
  const rows = [
    ...Object.entries(named).map(([part, hash]) => [part === 'data' ? part : `${part} samples`, hash] as const),
    ['weights', weights ?? 'unknown'] as const,
  ].map(([name, hash]) => [name, `<code>${escapeHtml(hash)}</code>`] as const);
  // Line by line, for ends of lines are to stay.
  const text = recipe && stringify(recipe).trimEnd().split('\n').map(escapeHtml).join('\n');
  return `${text === undefined ? '' : `<h2>Recipe</h2><pre>${text}</pre>\n`}<h2>sha256</h2>${facts(rows)}`;
}
