export * from './dcgan.ts';
export * from './mlp.ts';
export * from './mnist-cnn.ts';
export { createModel, listModels, type ModelEntry, modelEntry, registerModel } from './registry.ts';
export * from './resnet.ts';
export * from './squeezenet.ts';
export * from './vae.ts';
export * from './vgg.ts';
export * from './vit.ts';
