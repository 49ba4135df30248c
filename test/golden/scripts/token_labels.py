"""Words to pieces and labels as transformers' token-classification example aligns them: the first piece has the label, the rest -100."""

import json
from pathlib import Path

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

pieces = "[PAD] [UNK] [CLS] [SEP] [MASK] An ##na lives in Ber ##lin . 王 明 在 U N ##s 30 ##0 , - 1".split()
vocab = {piece: i for i, piece in enumerate(pieces)}
tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
tokenizer.post_processor = processors.TemplateProcessing(
    single="[CLS] $A [SEP]",
    pair="[CLS] $A [SEP] $B:1 [SEP]:1",
    special_tokens=[("[CLS]", vocab["[CLS]"]), ("[SEP]", vocab["[SEP]"])],
)
fast = PreTrainedTokenizerFast(
    tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]"
)
sentences = [
    ["Anna", "lives", "in", "Berlin", "."],
    ["王", "明", "在", "Berlin"],
    ["U.N.", "Uns", "300", "zzz"],
    ["Anna", "\u200b", "Berlin", "-", "1,300"],
    ["在"],
]
cases = []
for max_length in (None, 7):
    labels = [[i % 3 for i in range(len(words))] for words in sentences]
    batch = fast(sentences, is_split_into_words=True, truncation=max_length is not None, max_length=max_length, padding=True)
    aligned = []
    for i, label in enumerate(labels):
        before, row = None, []
        for word in batch.word_ids(batch_index=i):
            row.append(-100 if word is None or word == before else label[word])
            before = word
        aligned.append(row)
    cases.append(
        {
            "maxLength": max_length,
            "tags": labels,
            "inputIds": batch["input_ids"],
            "attentionMask": batch["attention_mask"],
            "labels": aligned,
        }
    )

path = Path(__file__).parent.parent / "text" / "token-labels.json"
golden = {"tokenizer": json.loads(tokenizer.to_str()), "sentences": sentences, "cases": cases}
path.write_text(json.dumps(golden, ensure_ascii=False) + "\n")
