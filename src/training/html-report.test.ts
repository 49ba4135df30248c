import { expect, it } from 'vitest';
import { htmlReport } from './html-report.ts';
import { ConfusionMatrix, classificationReport } from './metrics/index.ts';

it('shows the counts, and escapes what names bring along', () => {
  const evil = '</title><script>alert(1)</script>\u202e';
  const confusion = new ConfusionMatrix([evil, 'b']);
  confusion.update([0, 0, 1], [0, 1, 1]);
  const page = htmlReport(
    evil,
    {
      n: 3,
      accuracy: 2 / 3,
      interval: { low: 0.2, high: 0.9 },
      loss: 0.5,
      report: classificationReport(confusion),
      confusion: confusion.toJSON(),
      baseline: { label: evil, accuracy: 2 / 3 },
      data: null,
      weights: null,
    },
    [{ step: 1, loss: 2 }, { step: 2, loss: 1 }, { step: 3, loss: Number.NaN }, { epoch: 1 }],
  );
  expect(page).not.toMatch(/<script|\u202e/);
  expect(page).toContain("default-src 'none'");
  expect(page).toContain('<td>1</td><td>1</td>');
  expect(page).toContain('points="320.0,0.0 640.0,100.0"');
});
