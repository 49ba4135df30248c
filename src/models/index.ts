export * from './bert.ts';
export * from './dcgan.ts';
export * from './generate.ts';
export * from './gpt2.ts';
export * from './gpt2-classifier.ts';
export * from './lstm-classifier.ts';
// After the models they are put on: listModels() goes by the order of registration.
export * from './masked-autoencoder.ts';
export * from './mlp.ts';
export * from './mnist-cnn.ts';
export * from './pretrained-config.ts';
export { createModel, listModels, type ModelEntry, modelEntry, registerModel } from './registry.ts';
export * from './resnet.ts';
export * from './self-supervised.ts';
export * from './squeezenet.ts';
export * from './structure.ts';
export * from './vae.ts';
export * from './vgg.ts';
export * from './vit.ts';
