export * from './check-report.ts';
export {
  type AverageRow,
  type ClassificationReport,
  type ClassRow,
  classificationReport,
  formatReport,
  type ReportOptions,
  type ReportRows,
  reportRows,
} from './classification-report.ts';
export * from './confusion-matrix.ts';
export * from './confusion-text.ts';
export * from './mean.ts';
export * from './multi-label.ts';
export * from './regression.ts';
export * from './tags.ts';
export * from './wilson.ts';
