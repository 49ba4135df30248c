/** A listener that shows a run on a terminal: a bar with rate, loss and time left; a line an epoch where nobody watches. */
import type { SingleBar } from 'cli-progress';
import { type Listener, type Measures, on } from './events.ts';
import { cacheText } from './feature-cache/feature-set.ts';
import { planText } from './plan.ts';

export interface ProgressOptions {
  /** stderr unless told. */
  stream?: NodeJS.WriteStream;
  /** A bar; when the stream is a terminal and CI is not set, unless told. */
  bar?: boolean;
}

/** @example await fineTune({ ..., listeners: [await terminalProgress()] }) */
export async function terminalProgress(options: ProgressOptions = {}): Promise<Listener> {
  const { stream = process.stderr, bar: wanted = Boolean(stream.isTTY) && !process.env.CI } = options;
  const { default: cli } = wanted ? await import('cli-progress') : { default: undefined };
  let bar: SingleBar | undefined;
  let epochs = 1;
  let shown = 0;
  const say = (text: string): void => {
    bar?.stop();
    bar = undefined;
    stream.write(`${text}\n`);
  };

  return on({
    'run-start': (event) => {
      epochs = event.epochs;
      say(planText(event.plan));
      const { train, validation, test, unit = 'samples' } = event.samples;
      const from = event.step > 0 ? `, continuing after step ${event.step}` : '';
      say(`${unit}: ${train} train, ${validation} validation, ${test} test${from}`);
      if (event.run) say(`run folder: ${event.run}`);
    },
    init: ({ report }) => say(report.text),
    'feature-cache': (event) => say(cacheText(event)),
    step: (event) => {
      if (!cli) return;
      if (!bar) {
        bar = new cli.SingleBar({
          format: 'epoch {epoch} {bar} {value}/{total}  {rate}  loss {loss}  ETA {left}',
          barsize: 24,
          hideCursor: true,
          stream,
          clearOnComplete: true,
          barCompleteChar: '=',
          barIncompleteChar: ' ',
        });
        bar.start(event.stepsPerEpoch, event.stepInEpoch - 1, { epoch: '', rate: '', loss: '', left: '' });
      }
      const now = performance.now();
      if (now - shown < 100 && event.stepInEpoch < event.stepsPerEpoch) return;
      shown = now;
      const perStep = event.epochLoss;
      const stepsLeft = event.stepsPerEpoch - event.stepInEpoch + (epochs - event.epoch) * event.stepsPerEpoch;
      bar.update(event.stepInEpoch, {
        epoch: `${event.epoch}/${epochs}`,
        rate: `${rate(event.samplesPerSecond)}/s`,
        loss: perStep.toFixed(4),
        left: duration(stepsLeft * event.secondsPerStep),
      });
    },
    'epoch-end': (event) => {
      const validation = event.validation ? `  validation ${headline(event.validation)}` : '';
      const best = event.best ? '  best so far' : '';
      say(
        `epoch ${event.epoch}/${epochs}  train loss ${event.trainLoss.toFixed(4)}${validation}  ` +
          `${rate(event.samplesPerSecond)} samples/s  ${duration(event.seconds)}${best}`,
      );
    },
    checkpoint: (event) => {
      if (event.reason === 'signal') say(`checkpoint saved after step ${event.step}: ${event.name}`);
    },
    'early-stop': ({ epoch, bestEpoch, patience }) =>
      say(`stopped after epoch ${epoch}: no improvement for ${patience} epochs (best was epoch ${bestEpoch})`),
    notice: ({ text }) => say(text),
    'run-end': () => {
      bar?.stop();
      bar = undefined;
    },
  });
}

const rate = (value: number): string => (value >= 100 ? value.toFixed(0) : value.toFixed(1));

/** `loss 0.1234  accuracy 98.76 %`. */
export const measuresText = (measures: Measures): string =>
  Object.entries(measures)
    // Of one class a sample the accuracy is what people read.
    .filter(([name, value]) => value !== undefined && !(name === 'macroF1' && measures.accuracy !== undefined))
    .map(([name, value]) => `${name} ${measureText(name, value as number)}`)
    .join('  ');

/** The same of several heads in short: the loss of all, and the first figure of each. */
export function headline(measures: Measures): string {
  const names = Object.keys(measures).filter((name) => name.split('.').length === 2);
  if (!names.some((name) => name.endsWith('.loss'))) return measuresText(measures);
  const first = new Map<string, string>();
  for (const name of names) {
    const [field, what] = name.split('.') as [string, string];
    if (what !== 'loss' && !first.has(field)) first.set(field, name);
  }
  return measuresText(
    Object.fromEntries(['loss', ...first.values()].map((name) => [name, measures[name]])) as Measures,
  );
}

/** A measure as people read it. */
export const measureText = (name: string, value: number): string => {
  if (/accuracy$/i.test(name)) return percent(value);
  if (name === 'predictions') return value.toLocaleString('en');
  return name === 'perplexity' ? value.toPrecision(4) : value.toFixed(4);
};

export const percent = (share: number): string => `${(100 * share).toFixed(2)} %`;

/** 75 -> `1m15s`. */
export function duration(seconds: number): string {
  if (!Number.isFinite(seconds)) return '?';
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 1 : 0)}s`;
  const whole = Math.round(seconds);
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60), whole % 60];
  return h > 0 ? `${h}h${String(m).padStart(2, '0')}m` : `${m}m${String(s).padStart(2, '0')}s`;
}
