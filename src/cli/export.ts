/** `cambium export`: a trained model of texts as a folder that transformers' from_pretrained reads. */
import { UnsupportedError } from '../base/errors.ts';
import { refuseFilled } from '../io/index.ts';
import { BertForSequenceClassification, BertForTokenClassification } from '../models/index.ts';
import { isLanguageFolder, loadLanguageModel } from '../training/language-folder.ts';
import { findModelFolder, loadModelFolder } from '../training/model-folder.ts';
import { refuseChanged, savePretrained } from '../training/pretrained.ts';
import type { CommonOptions } from './options.ts';
import { note, printJson } from './output.ts';

export interface ExportCommandOptions extends CommonOptions {
  out: string;
}

export async function exportCommand(dir: string, { out, json = false }: ExportCommandOptions): Promise<void> {
  await refuseFilled(out);
  const folder = await findModelFolder(dir);
  if (await isLanguageFolder(folder)) {
    const { model: language, tokenizer } = await loadLanguageModel(folder);
    await savePretrained(out, language, { tokenizer });
    if (json) return printJson({ out, architecture: 'GPT2LMHeadModel' });
    return note(`saved: ${out} (GPT2LMHeadModel.from_pretrained)`);
  }
  const loaded = await loadModelFolder(folder);
  const { module, classes, model } = loaded;
  refuseChanged(module);
  const isBert = module instanceof BertForSequenceClassification || module instanceof BertForTokenClassification;
  if (!('text' in loaded) || !isBert)
    throw new UnsupportedError('EXPORT_UNSUPPORTED', `transformers has no ${model.name} under the names it has here`, {
      field: 'model',
      got: model.name,
      hint: `PyTorch reads the weights as they are: load_state_dict(safetensors.torch.load_file("${loaded.dir}/model.safetensors"))`,
    });
  await savePretrained(out, module, { tokenizer: loaded.text.tokenizer, labels: classes });
  const architecture =
    module instanceof BertForTokenClassification ? 'BertForTokenClassification' : 'BertForSequenceClassification';
  if (json) return printJson({ out, architecture, classes });
  await note(`saved: ${out} (${architecture}.from_pretrained)`);
}
