/** The root of the package: tensors and errors. Layers, data, models and training have entries of their own. */
export {
  ArgumentError,
  CambiumError,
  ConfigError,
  DataError,
  type DType,
  DTypeError,
  type ErrorDetails,
  IoError,
  LockedError,
  MemoryError,
  NetworkError,
  NumericError,
  type Shape,
  ShapeError,
  StaleTensorError,
  type TypedArray,
  UnsupportedError,
} from './base/index.ts';
export * from './tensor/index.ts';
