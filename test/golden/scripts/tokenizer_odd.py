"""Odd texts and characters as tokens, from Hugging Face's Rust library.

    python test/golden/scripts/tokenizer_odd.py > test/golden/parity/tokenizers-odd.json
"""

import json
import random

import tokenizers
from tokenizers import (
    AddedToken, BertWordPieceTokenizer, ByteLevelBPETokenizer, Regex, Tokenizer, decoders, models, normalizers,
    pre_tokenizers, processors,
)  # fmt: skip

ODD = [
    "\ufeff", "\u0085", "\u180e", "\u200b", "\u200d", "\u2060", "\u3000", "\u00a0", "\u1680", "\u2028", "\u2029", "\u202f",
    "\u0000", "\u0001", "\u0007", "\u001b", "\u001c", "\u001f", "\u007f", "\u009f", "\t", "\n", "\r", "\r\n", "\v", "\f",
    "\U0001f600", "\U0001f468\u200d\U0001f469", "\U00020000", "\U0002a700", "\U0002b820", "\U0002b920", "\U0001d400", "\U000e0041", "\ufffd",
    "e\u0301", "\u0301", "\u0308", "n\u0303", "\u20dd", "\u0e33", "\u05b0", "\u0130", "\u03a3", "\u00df", "\u01c5",
]  # fmt: skip
PLAIN = ["a", "B", "word", "IT'S", "'ll", "7", "42", "x", "\u4e2d", "\u56fd\u4eba", "\uff0c", "!", "?!", "-", "$", " ", " ", "  "]


def texts():
    draw = random.Random(20260301)
    out = [a + c + b for c in ODD for a, b in (("a", "b"), (" ", " "))]
    out += ["".join(draw.choice(ODD if draw.random() < 0.5 else PLAIN) for _ in range(draw.randint(3, 9))) for _ in range(110)]
    return out


TEXTS = texts()
CORPUS = [
    "the word, the words: it's the word we'll keep",
    "\u4e2d\u56fd\u4eba\uff0c\u4e2d\u6587\u3002",
    "caf\u00e9 na\u00efve a b x 7 42",
    "First Citizen:\nSpeak, speak.\n\nAll:\r\n\tSpeak!",
]


def lean(tokenizer):
    j = json.loads(tokenizer.to_str())
    j["truncation"] = j["padding"] = None
    return j


def cases(tokenizer):
    plain = [tokenizer.encode(text, add_special_tokens=False).ids for text in TEXTS]
    return {"json": lean(tokenizer), "ids": plain, "decoded": [tokenizer.decode(ids) for ids in plain[:12]]}


def word_piece(**options):
    t = BertWordPieceTokenizer(**options)
    t.train_from_iterator(CORPUS + TEXTS, vocab_size=260, min_frequency=2, show_progress=False)
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    ordered = special + sorted(k for k in t.get_vocab() if k not in special)
    return BertWordPieceTokenizer(vocab={k: i for i, k in enumerate(ordered)}, **options)


def byte_level(lowercase):
    t = ByteLevelBPETokenizer(lowercase=lowercase)
    t.train_from_iterator(CORPUS + TEXTS, vocab_size=330, min_frequency=2, show_progress=False, special_tokens=["<|endoftext|>"])
    # Its own pipeline composes lower case with a Unicode form; a recipe's lowercase is lower case alone.
    if lowercase:
        t.normalizer = normalizers.Lowercase()
    return t


def characters(special, unknown, lowercase=False, frame=False):
    lower = normalizers.Lowercase().normalize_str
    found = sorted({c for text in CORPUS for c in (lower(text) if lowercase else text)})
    vocab = {token: i for i, token in enumerate(special + found)}
    t = Tokenizer(models.BPE(vocab, [], unk_token=unknown, fuse_unk=False))
    t.add_special_tokens([AddedToken(s, special=True, normalized=False) for s in special])
    if lowercase:
        t.normalizer = normalizers.Lowercase()
    t.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    t.decoder = decoders.Fuse()
    if frame:
        t.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]",
            pair="[CLS] $A [SEP] $B:1 [SEP]:1",
            special_tokens=[("[CLS]", vocab["[CLS]"]), ("[SEP]", vocab["[SEP]"])],
        )
    framed = [t.encode(text).ids for text in CORPUS]
    decoded = [t.decode(t.encode(text, add_special_tokens=False).ids) for text in CORPUS]
    return {**cases(t), "framed": framed, "corpus": decoded, "lowercase": lowercase, "special": special}


BERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
print(
    json.dumps(
        {
            "library": tokenizers.__version__,
            "corpus": CORPUS,
            "texts": TEXTS,
            "tokenizers": {
                "wordpiece": cases(word_piece(lowercase=True)),
                "wordpiece-cased": cases(word_piece(lowercase=False)),
                "wordpiece-unclean": cases(word_piece(lowercase=True, clean_text=False)),
                "wordpiece-whole-chinese": cases(word_piece(lowercase=True, handle_chinese_chars=False)),
                "byte-level": cases(byte_level(False)),
                "byte-level-lowercase": cases(byte_level(True)),
            },
            "characters": {
                "classifier": characters(BERT, "[UNK]", frame=True),
                "classifier-lowercase": characters(BERT, "[UNK]", lowercase=True, frame=True),
                "causal": characters(["<pad>", "<unk>", "<|endoftext|>"], "<unk>"),
            },
        },
        separators=(",", ":"),
    )
)
