"""Golden values of tokenizers, from Hugging Face's Rust library.

    python test/golden/scripts/tokenizer_cases.py [data folder] > test/golden/parity/tokenizers.json

With the data folder (vocab/, thucnews-titles/, sst2/), also hashes of the ids of real texts by real vocabularies.
"""

import gzip
import hashlib
import json
import os
import struct
import sys

import tokenizers
from tokenizers import AddedToken, ByteLevelBPETokenizer, BertWordPieceTokenizer, Tokenizer, models, pre_tokenizers, trainers

corpus = [
    "The quick brown fox jumps over the lazy dog.",
    "The dogs were quicker than the brown foxes, weren't they?",
    "Learning rates, learning curves; unlearned learners keep learning.",
    "Tokenization splits words into wordpieces: token, tokens, tokenized, tokenizer.",
    "A model's weights aren't wordy. It's the tokens that we've counted.",
    "Crème brûlée, naïve café, Übergröße and jalapeño.",
    "ΟΔΥΣΣΕΥΣ and Σίσυφος went to ΣΠΑΡΤΗ.",
    "数据 训练 模型，模型学习数据。",
    "今天股市上涨3.5%，投资者信心增强。",
    "中国男足1:0战胜对手，球迷欢呼雀跃！",
    "深度学习模型需要大量训练数据和算力。",
    "Prices rose 12.5% in 2023, then fell 7% in 2024.",
    "email: someone@example.com, url: https://example.com/path?q=1&r=2",
    "tabs\tand\nnewlines\r\n  and   many    blanks ",
    "mixed中文and英文words混合在一起",
]

texts = corpus + [
    "",
    " ",
    "unseenword antidisestablishmentarianism quickly",
    "zero\u200bwidth and soft\u00adhyphen and nul\u0000 and \ufffd",
    "non\u00a0breaking\u3000ideographic\u2003em \u0085next",
    "𠀀𠀁 beyond the plane 𪜀, 豈 compatibility 豈更",
    "emoji 😀👍🏽 family 👨‍👩‍👧 flag 🇨🇳",
    "한국어 단어 and かな カナ",
    "ﬁ ligature ① ½ ™ ≠ ≮ ` ´ ~",
    "İstanbul ISPARTA ıĞ ΣΑΣ ΑΣ. ẞ ß",
    "a" * 101,
    "b" * 100,
    "don't can't I'll we've",
    "...!!!???，。！？「」",
    "[CLS] inside [MASK] text [SEP]",
    "combining e\u0301 a\u030a o\u0308 \u0301alone",
    "  leading and trailing  ",
    "١٢٣ ४५६ digits",
    "x\u1680y\u2028z\u2029w",
]

pairs = [(texts[0], texts[7]), (texts[4], texts[1]), ("short", texts[2] + " " + texts[3]), ("", "second")]


def encoding(e):
    return {"ids": e.ids, "types": e.type_ids}


def cases(tokenizer):
    out = {"texts": [], "pairs": [], "truncated": []}
    for text in texts:
        e = tokenizer.encode(text)
        plain = tokenizer.encode(text, add_special_tokens=False).ids
        out["texts"].append({"text": text, **encoding(e), "decoded": tokenizer.decode(plain), "plain": plain})
    for a, b in pairs:
        out["pairs"].append({"a": a, "b": b, **encoding(tokenizer.encode(a, b))})
    extra = tokenizer.num_special_tokens_to_add(True)
    for length in (4, 5, 8, 13, 24):
        for strategy in ("longest_first", "only_first", "only_second"):
            for a, b in pairs:
                tokenizer.enable_truncation(length, strategy=strategy)
                try:
                    e = encoding(tokenizer.encode(a, b))
                except Exception:  # noqa: BLE001: what is not truncated does not fit
                    continue
                finally:
                    tokenizer.no_truncation()
                # Which of two truncated texts keeps an odd token depends, since 0.23, on where its words end.
                kept = e["types"].count(0), e["types"].count(1)
                if strategy == "longest_first" and abs(kept[0] - kept[1]) <= 2 and b != "second" and length % 2 != extra % 2:
                    continue
                out["truncated"].append({"a": a, "b": b, "length": length, "strategy": strategy, **e})
        tokenizer.enable_truncation(length)
        out["truncated"].append({"a": texts[3], "b": None, "length": length, "strategy": "longest_first", **encoding(tokenizer.encode(texts[3]))})
        tokenizer.no_truncation()
    return out


def lean(tokenizer):
    j = json.loads(tokenizer.to_str())
    j["truncation"] = j["padding"] = None
    return j


def word_piece(**options):
    t = BertWordPieceTokenizer(**options)
    t.train_from_iterator(corpus, vocab_size=400, min_frequency=2, show_progress=False)
    # The trainer numbers "##" characters in an order that changes from run to run: sorted, so that this file does not.
    vocab = t.get_vocab()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    ordered = special + sorted(k for k in vocab if k not in special)
    return BertWordPieceTokenizer(vocab={k: i for i, k in enumerate(ordered)}, **options)


def pieces():
    """What the trainer learns always, and what it learns sometimes: ties are broken by numbers that change."""
    runs = []
    for _ in range(40):
        t = BertWordPieceTokenizer(lowercase=True)
        t.train_from_iterator(corpus, vocab_size=200, min_frequency=2, show_progress=False)
        runs.append(set(t.get_vocab()))
    always = set.intersection(*runs)
    return {"vocabSize": 200, "always": sorted(always), "sometimes": sorted(set.union(*runs) - always)}


def real(folder):
    def lines(path):
        with gzip.open(os.path.join(folder, path), "rt", encoding="utf-8", newline="\n") as f:
            return [line.rstrip("\n").split("\t")[0] for line in f]

    def digest(tokenizer, texts):
        h, n = hashlib.sha256(), 0
        for e in tokenizer.encode_batch(texts):
            h.update(struct.pack(f"<{len(e.ids)}i", *e.ids))
            n += len(e.ids)
        return {"texts": len(texts), "tokens": n, "sha256": h.hexdigest()}

    vocab = os.path.join(folder, "vocab")
    chinese = BertWordPieceTokenizer(os.path.join(vocab, "bert-base-chinese/vocab.txt"), lowercase=True)
    english = BertWordPieceTokenizer(os.path.join(vocab, "bert-base-uncased/vocab.txt"), lowercase=True)
    gpt2 = ByteLevelBPETokenizer(os.path.join(vocab, "gpt2/encoder.json"), os.path.join(vocab, "gpt2/vocab.bpe"))
    sst2, thuc = lines("sst2/dev.tsv.gz"), lines("thucnews-titles/test.txt.gz")
    return {
        "bert-base-chinese on thucnews-titles/test": digest(chinese, thuc),
        "bert-base-uncased on sst2/dev": digest(english, sst2),
        "bert-base-uncased on thucnews-titles/test": digest(english, thuc),
        "gpt2 on sst2/dev": digest(gpt2, sst2),
        "gpt2 on thucnews-titles/test": digest(gpt2, thuc[:2000]),
    }


golden = {"library": tokenizers.__version__, "corpus": corpus, "tokenizers": {}}
for name, tokenizer in {
    "wordpiece": word_piece(lowercase=True),
    "wordpiece-cased": word_piece(lowercase=False),
    "wordpiece-accents": word_piece(lowercase=True, strip_accents=False),
}.items():
    golden["tokenizers"][name] = {"json": lean(tokenizer), **cases(tokenizer)}

bpe = ByteLevelBPETokenizer()
bpe.train_from_iterator(corpus, vocab_size=360, min_frequency=2, show_progress=False, special_tokens=["<|endoftext|>"])
golden["tokenizers"]["byte-level"] = {"json": lean(bpe), **cases(bpe)}

golden["bpe"] = {"vocabSize": 360, "minFrequency": 2, "merges": json.loads(bpe.to_str())["model"]["merges"]}
golden["pieces"] = pieces()
if len(sys.argv) > 1:
    golden["real"] = real(sys.argv[1])
print(json.dumps(golden, ensure_ascii=True))
