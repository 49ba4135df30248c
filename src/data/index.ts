export * from './block-loader.ts';
export * from './card.ts';
export * from './card-text.ts';
export * from './dataset.ts';
export * from './datasets/any-pictures.ts';
export * from './datasets/digit-attributes.ts';
export * from './datasets/digits.ts';
export * from './datasets/entities.ts';
export * from './datasets/image-archive.ts';
export {
  type ImageFolderDataset,
  type ImageFolderOptions,
  imageFolder,
  pictureExtensions,
} from './datasets/image-folder.ts';
export * from './datasets/mnist.ts';
export * from './datasets/phrases.ts';
export * from './datasets/pictures.ts';
export * from './datasets/text-sets.ts';
export * from './datasets/voc.ts';
export * from './decode.ts';
export * from './formats/csv.ts';
export * from './formats/idx.ts';
export * from './formats/jsonl.ts';
export * from './formats/parquet.ts';
export { parseTar, readTar, type TarEntry, type TarOptions } from './formats/tar.ts';
export { readTextChunks, type TextFileOptions } from './formats/text-chunks.ts';
export * from './formats/voc.ts';
export { asImage, fitImage, type ImageSize, type ImageU8, LUMA, resize, toChannels } from './image.ts';
export * from './iterable.ts';
export * from './join.ts';
export { type LabelColumn, type LabelSpec, weightSpec, withClasses } from './label-columns.ts';
export type { ClassNames } from './label-reader.ts';
export * from './labelled-table.ts';
export * from './loader.ts';
export { PatchMasking } from './patch-masking.ts';
export { HostPipeline } from './pipeline.ts';
export * from './sampler.ts';
export * from './schema.ts';
export * from './split.ts';
export * from './stream-loader.ts';
export * from './text/index.ts';
export * from './transforms.ts';
