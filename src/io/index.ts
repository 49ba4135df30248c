export * from './atomic.ts';
export * from './byte-source.ts';
export * from './cache.ts';
export * from './directory.ts';
export * from './download.ts';
export * from './failure.ts';
export * from './host-array.ts';
export * from './hub.ts';
export * from './json.ts';
export * from './npy.ts';
export * from './paths.ts';
export { refuseFilled, replaceFolder } from './replace-folder.ts';
export {
  parseHeader,
  type ReadOptions,
  readSafetensors,
  readSafetensorsHeader,
  readSafetensorsSource,
  type Safetensors,
  type SafetensorsEntry,
  type SafetensorsHeader,
  safetensorsHead,
  writeSafetensors,
} from './safetensors.ts';
export { readTorch, readTorchSource, type TorchReadOptions } from './torch-file.ts';
export * from './weights.ts';
export { readZipDirectory, readZipEntry, writeZip, type ZipEntry } from './zip.ts';
