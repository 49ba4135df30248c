/** What a finished run leaves to read: report.json, report.txt and report.html. */
import { join } from 'node:path';
import { writeFileAtomic } from '../io/index.ts';
import { NaiveBayes } from '../tasks/index.ts';
import type { RunData } from './data-source.ts';
import type { FineTuneResult } from './fine-tune.ts';
import { htmlReport } from './html-report.ts';
import { taskName } from './inputs.ts';
import type { PretrainResult } from './pretrain.ts';
import { pretrainPage, pretrainReport } from './pretrain-report.ts';
import type { RunFolder } from './run/index.ts';
import { runFacts } from './run-facts.ts';
import { makeReport, type Report } from './run-report.ts';
import type { Texts } from './text-source.ts';

interface Finished<Result> {
  readonly data: RunData;
  /** By part. */
  readonly hashes: Record<string, string>;
  readonly result: Result;
}

/** Of the test part, or of the validation part where there is none; undefined where nothing was measured. @throws IoError. */
export async function writeRunReport(
  run: RunFolder,
  { data, hashes, result }: Finished<FineTuneResult>,
): Promise<Report | undefined> {
  const evaluation = result.test ?? result.validated;
  if (!evaluation) return undefined;
  const part = result.test ? 'test' : 'validation';
  const { recipe } = data;
  const facts = runFacts({ recipe, task: taskName(data.train.schema), part, samples: samplesOf(data), result });
  const naiveBayes = await naiveBayesOf(data, part);
  const report = makeReport(evaluation, { data: hashes[part], weights: result.weightsHash, naiveBayes, facts });
  await run.writeReport(report.json, report.text);
  await writePage(run, htmlReport(report.json, await pageOf(run, { data, hashes, result })));
  return report;
}

/** @returns the text. @throws IoError. */
export async function writePretrainReport(
  run: RunFolder,
  { data, hashes, result }: Finished<PretrainResult>,
): Promise<string> {
  const { json, text } = pretrainReport(result, hashes);
  await run.writeReport(json, text);
  await writePage(run, pretrainPage(result, samplesOf(data), await pageOf(run, { data, hashes, result })));
  return text;
}

const samplesOf = ({ train, validation, test }: RunData) => ({
  train: train.length,
  validation: validation?.length ?? 0,
  test: test?.length ?? 0,
});

const pageOf = async (run: RunFolder, { data, hashes, result }: Finished<FineTuneResult | PretrainResult>) => ({
  title: data.recipe.name,
  description: data.recipe.description,
  finished: new Date(),
  seconds: result.seconds,
  metrics: await run.metrics.read(),
  history: result.history,
  recipe: data.recipe,
  hashes,
});

const writePage = async (run: RunFolder, page: string): Promise<void> => {
  await writeFileAtomic(join(run.path, 'report.html'), page);
};

/** What counting words would have reached: the figure a text model is held against. */
async function naiveBayesOf(
  { text, train, ...parts }: RunData,
  part: 'test' | 'validation',
): Promise<number | undefined> {
  const measured = parts[part];
  // Its table of word pairs grows with the texts; beyond this it would cost more than it tells.
  if (!text || !measured || train.length > 300_000 || taskName(train.schema) !== 'text-classification')
    return undefined;
  // It counts by the label of that name.
  if (!train.schema.labels.label) return undefined;
  return (await NaiveBayes.fit(train as Texts)).accuracy(measured as Texts);
}
