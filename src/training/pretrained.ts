/** Models in transformers' folders: config.json, weights and tokenizer files, read and written so that logits are equal on both sides. */
import { basename, dirname, join } from 'node:path';
import { ArgumentError, DataError, IoError, NetworkError, printable, UnsupportedError } from '../base/index.ts';
import { loadTokenizer, saveTokenizer, type Tokenizer } from '../data/index.ts';
import {
  exists,
  type HostArray,
  hubFile,
  parseHubName,
  readJson,
  replaceFolder,
  writeJson,
  writeSafetensors,
} from '../io/index.ts';
import {
  BertForMaskedLM,
  BertForSequenceClassification,
  BertForTokenClassification,
  BertModel,
  bertClasses,
  bertConfig,
  bertOptions,
  type ConfigJson,
  GPT2,
  gpt2Config,
  gpt2Names,
  gpt2Options,
  labelFields,
  labelsOf,
  type ModelStructure,
  mayBeNew,
  type PretrainedHead,
  structureOf,
} from '../models/index.ts';
import { adapterNames, isQuantized, loadWeights, type Module, type WeightsReport } from '../nn/index.ts';
import { headsOfWeights, planHeads } from './head-classes.ts';

export type PretrainedModel =
  | BertModel
  | BertForMaskedLM
  | BertForSequenceClassification
  | BertForTokenClassification
  | GPT2;

export interface FromPretrainedOptions {
  /** What the model shall predict; what the folder's weights were saved for unless told. */
  readonly head?: PretrainedHead;
  /**
   * Classes of the head, 'sequence' or 'token'; the folder's own unless told. Where they are the folder's in another order its rows
   * are moved; where they are others the head is new.
   */
  readonly labels?: readonly string[];
  /** Receives the report's text; console.log unless told, nothing for false. */
  readonly print?: ((text: string) => void) | false;
}

export interface Pretrained {
  readonly model: PretrainedModel;
  /** Undefined where the folder holds none. */
  readonly tokenizer?: Tokenizer;
  /** Of the head, where it has classes. */
  readonly labels?: readonly string[];
  readonly report: WeightsReport;
  /** config.json as it was read. */
  readonly config: ConfigJson;
}

/**
 * BERT or GPT-2 from a folder of transformers' (or `hf:owner/name@revision`), with its tokenizer.
 * @example const { model, tokenizer } = await fromPretrained('bert-base-chinese', { head: 'sequence', labels: ['bad', 'good'] });
 * @throws DataError MODEL_CONFIG, WEIGHTS_*, TOKENIZER_MISMATCH; UnsupportedError PRETRAINED_UNSUPPORTED; IoError; NetworkError.
 */
export async function fromPretrained(path: string, options: FromPretrainedOptions = {}): Promise<Pretrained> {
  const file = path.startsWith('hf:') ? await hubFile(path, 'config.json') : join(path, 'config.json');
  if (!path.startsWith('hf:') && !(await exists(file)))
    throw new IoError('MODEL_NOT_FOUND', `${printable(path)} holds no config.json`, {
      file,
      expected: 'config.json, weights, and the files of a tokenizer',
    });
  // A branch may move between two requests: everything comes from the commit that config.json came from.
  const from = path.startsWith('hf:') ? `hf:${parseHubName(path).repo}@${basename(dirname(file))}` : path;
  const json = await readJson(file);
  if (typeof json !== 'object' || json === null || Array.isArray(json))
    throw new DataError('MODEL_CONFIG', `${printable(file)}: expected an object`, { file, got: json });
  const config = json as ConfigJson;
  const head = options.head ?? headOf(config, file);
  const hasClasses = head === 'sequence' || head === 'token';
  const labels = hasClasses ? (options.labels ?? labelsOf(config, file)) : undefined;
  const model = build(config, head, labels?.length, file);
  const structure = pretrainedStructure(model);
  const plan =
    hasClasses && options.labels && structure.head !== undefined
      ? planHeads(model, structure.head, {
          from: await headsOfWeights(dirname(file)),
          to: [{ field: 'label', names: options.labels }],
        })
      : undefined;
  const report = await loadWeights(model, from, {
    print: options.print,
    // Another length of positions or other tokens are another model.
    adapt: false,
    ...(model instanceof GPT2 && { rename: gpt2Names }),
    strict: {
      missing: (name) => mayBeNew(name, structure) || (options.head !== undefined && name.startsWith('cls.')),
      unused: (name) => structure.otherHeads?.test(name) ?? false,
    },
    replace: (name) => options.labels !== undefined && mayBeNew(name, structure),
    fresh: plan?.fresh,
    rows: plan?.rows,
  });
  const tokenizer = await tokenizerOf(from, file);
  tokenizer?.checkFits(Number(config.vocab_size ?? Number.POSITIVE_INFINITY));
  return { model: model.eval(), ...(tokenizer && { tokenizer }), ...(labels && { labels }), report, config };
}

function headOf({ architectures, model_type: type }: ConfigJson, file: string): PretrainedHead {
  if (type === 'gpt2') return 'causalLM';
  const name = Array.isArray(architectures) ? architectures[0] : undefined;
  if (name === undefined) return 'none';
  const head = bertClasses[String(name)];
  if (head) return head;
  throw new UnsupportedError('PRETRAINED_UNSUPPORTED', `${printable(file)} is of ${printable(String(name))}`, {
    file,
    field: 'architectures',
    expected: Object.keys(bertClasses),
    got: name,
    hint: "say what it shall predict: { head: 'sequence' }",
  });
}

function build(config: ConfigJson, head: PretrainedHead, classes: number | undefined, file: string): PretrainedModel {
  const wrongHead = (heads: readonly PretrainedHead[]): never => {
    throw new ArgumentError('OPTION_INVALID', `${String(config.model_type)} has no head '${head}'`, {
      field: 'head',
      expected: heads,
      got: head,
    });
  };
  if (config.model_type === 'gpt2')
    return head === 'causalLM' ? new GPT2(gpt2Options(config, file)) : wrongHead(['causalLM']);
  if (config.model_type !== 'bert')
    throw new UnsupportedError(
      'PRETRAINED_UNSUPPORTED',
      `${printable(file)}: model_type is ${printable(config.model_type ?? null)}`,
      {
        file,
        field: 'model_type',
        expected: ['bert', 'gpt2'],
        got: config.model_type,
        hint:
          config.model_type === 'cambium'
            ? 'a folder of ours is read by loadModelFolder'
            : 'loadWeights reads the tensors of any model',
      },
    );
  const options = bertOptions(config, file);
  const dropout = config.classifier_dropout;
  const classifier = {
    ...options,
    numClasses: classes ?? 2,
    ...(typeof dropout === 'number' && { classifierDropout: dropout }),
  };
  switch (head) {
    case 'none':
      return new BertModel(options);
    case 'maskedLM':
      return new BertForMaskedLM(options);
    case 'sequence':
      return new BertForSequenceClassification(classifier);
    case 'token':
      return new BertForTokenClassification(classifier);
    case 'causalLM':
      return wrongHead(['none', 'maskedLM', 'sequence', 'token']);
  }
}

function pretrainedStructure(model: PretrainedModel): ModelStructure {
  if (!(model instanceof BertModel)) return structureOf(model);
  return { stages: [], mayBeNew: ['pooler'], otherHeads: /^cls\.|position_ids$|^classifier\.|^qa_outputs\./ };
}

async function tokenizerOf(path: string, config: string): Promise<Tokenizer | undefined> {
  if (path.startsWith('hf:'))
    return loadTokenizer(path).catch((error) => {
      // A repository of weights alone, as a folder of weights alone.
      if (error instanceof NetworkError && error.code === 'HUB_NOT_FOUND') return undefined;
      throw error;
    });
  for (const name of ['tokenizer.json', 'vocab.txt', 'vocab.json'])
    if (await exists(join(dirname(config), name))) return loadTokenizer(path);
  return undefined;
}

export interface SavePretrainedOptions {
  readonly tokenizer?: Tokenizer;
  /** Names of a classifier's classes; LABEL_0 ... unless told. */
  readonly labels?: readonly string[];
  /** The config the model came from: what we do not know of it is kept. */
  readonly config?: ConfigJson;
}

/**
 * Writes config.json, model.safetensors and the tokenizer as transformers' `from_pretrained` reads them; whole or not at all.
 * @throws ArgumentError LABELS_INVALID; UnsupportedError EXPORT_ADAPTER, EXPORT_QUANTIZED; DataError TOKENIZER_MISMATCH; IoError.
 */
export async function savePretrained(
  dir: string,
  model: PretrainedModel,
  options: SavePretrainedOptions = {},
): Promise<void> {
  const { tokenizer, labels } = options;
  refuseChanged(model);
  const config = { ...options.config, ...configOf(model, labels) };
  tokenizer?.checkFits(Number(config.vocab_size));
  await replaceFolder(dir, async (draft) => {
    const arrays = new Map<string, HostArray>();
    for (const [name, v] of model.stateDict())
      arrays.set(name, { dtype: v.dtype, shape: v.shape, data: await v.data() } as HostArray);
    await writeSafetensors(join(draft, 'model.safetensors'), arrays, { format: 'pt' });
    await writeJson(join(draft, 'config.json'), config);
    if (tokenizer) await saveTokenizer(draft, tokenizer);
  });
}

/** @throws UnsupportedError EXPORT_ADAPTER, EXPORT_QUANTIZED: others would not know what to make of such weights. */
export function refuseChanged(model: Module): void {
  const adapters = adapterNames(model);
  if (adapters.length > 0)
    throw new UnsupportedError('EXPORT_ADAPTER', 'other libraries read no model with adapters in it', {
      field: 'model',
      got: adapters,
      hint: 'a run with adapter: { name: lora } ends with a model that has it merged',
    });
  if (isQuantized(model))
    throw new UnsupportedError('EXPORT_QUANTIZED', 'other libraries read no weights in 8 bits as they are kept here', {
      field: 'model',
      hint: 'export the model they were made from',
    });
}

function configOf(model: PretrainedModel, labels: readonly string[] | undefined): ConfigJson {
  const common = { dtype: 'float32', torch_dtype: 'float32' };
  if (model instanceof GPT2) return { architectures: ['GPT2LMHeadModel'], ...gpt2Config(model.options), ...common };
  if (model instanceof BertModel) return { architectures: ['BertModel'], ...bertConfig(model.options), ...common };
  const config = { ...bertConfig(model.bert.options), ...common };
  if (model instanceof BertForMaskedLM) return { architectures: ['BertForMaskedLM'], ...config };
  const classes = model.classifier.outFeatures;
  if (labels && labels.length !== classes)
    throw new ArgumentError('LABELS_INVALID', `${labels.length} labels for a head of ${classes} classes`, {
      field: 'labels',
      expected: classes,
      got: labels.length,
    });
  const name =
    model instanceof BertForSequenceClassification ? 'BertForSequenceClassification' : 'BertForTokenClassification';
  const named = labels ?? Array.from({ length: classes }, (_, i) => `LABEL_${i}`);
  return { architectures: [name], ...config, classifier_dropout: model.dropout.p, ...labelFields(named) };
}
