/** `cambium evaluate`: a trained model measured on a part of its data, or on other data of the same classes. */
import { dataHashes } from '../training/data-source.ts';
import { evaluate } from '../training/evaluate.ts';
import { openPart, type PartRequest } from '../training/model-data.ts';
import { findModelFolder, loadModelFolder } from '../training/model-folder.ts';
import { headline, percent } from '../training/progress.ts';
import { makeReport } from '../training/run-report.ts';
import type { PartOptions } from './options.ts';
import { note, print, printJson } from './output.ts';
import { tableOptionsOf } from './table-options.ts';

export type EvaluateCommandOptions = PartOptions;

/** Which samples, as options say it. */
export const partRequest = ({ split, limit, dataDir, file, ...flags }: PartOptions): PartRequest => ({
  split,
  limit,
  dataDir,
  file,
  ...tableOptionsOf(flags),
  notify: note,
});

export async function evaluateCommand(dir: string, options: EvaluateCommandOptions): Promise<void> {
  const { split, json = false } = options;
  const loaded = await loadModelFolder(await findModelFolder(dir));
  const { part, batchSize } = await openPart(loaded, partRequest(options));
  const hashes = await dataHashes({ train: part });
  const bar = !json && process.stderr.isTTY;
  const evaluation = await evaluate(loaded.module, loaded.task, part, {
    batchSize: options.batchSize ?? batchSize,
    ...('text' in loaded ? { text: loaded.text } : { transforms: loaded.transforms }),
    ...(bar && {
      onProgress: (done, total) => process.stderr.write(`\r${done}/${total}${done === total ? '\r\n' : ''}`),
    }),
  });
  if (!evaluation) return;
  const report = makeReport(evaluation, { data: hashes.train, weights: loaded.weightsHash });
  const { accuracy, n, loss, measures } = evaluation;
  if (json)
    return printJson({
      ...(accuracy === undefined ? { measures, heads: report.json.heads } : { accuracy }),
      n,
      loss,
      split,
      data: part.name,
      model: loaded.dir,
      report: report.json.report,
      interval: report.json.interval,
      confusion: report.json.confusion,
      weights: loaded.weightsHash,
      dataHash: report.json.data,
    });
  await print(report.text);
  const found = accuracy === undefined ? headline(measures) : `accuracy ${percent(accuracy)}`;
  await note(`${part.name}: ${found} of ${n}${split === 'test' ? '' : ` (${split})`}`);
}
