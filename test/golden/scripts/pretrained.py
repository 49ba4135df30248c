"""Equal logits of BERT and GPT-2 folders, and of our model folders, on both sides. Three commands, the second ours:

    python test/golden/scripts/pretrained.py write FOLDER
    npx jiti scripts/pretrained.ts FOLDER [MODEL_FOLDER ...]
    python test/golden/scripts/pretrained.py check FOLDER

and `pretrained.py golden`, for src/training/pretrained.test.ts.
`write` saves small random models with transformers 5; ours reads each, compares logits, and saves it again (and answers for
given model folders of ours with torchvision's names); `check` loads what we saved with transformers and PyTorch.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertModel,
    BertTokenizerFast,
    GPT2Config,
    GPT2LMHeadModel,
)

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz", *[f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz"], *"好坏新闻股市"]
BERT = dict(
    vocab_size=len(WORDS), hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=48,
    max_position_embeddings=24, layer_norm_eps=1e-7, classifier_dropout=0.2,
)  # fmt: skip
TEXTS = ["good news 好新闻", "bad", "股市 坏 zzz!"]
CLASSES = {
    "bert-mlm": BertForMaskedLM, "bert-sequence": BertForSequenceClassification,
    "bert-token": BertForTokenClassification, "bert-trunk": BertModel, "gpt2": GPT2LMHeadModel,
}  # fmt: skip


def answer(model, ids, mask):
    with torch.no_grad():
        out = model.eval()(input_ids=ids, attention_mask=mask)
    return (out.logits if hasattr(out, "logits") else out.last_hidden_state).numpy()


def write(folder):
    torch.manual_seed(7)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    tokenizer = BertTokenizerFast(str(folder / "vocab.txt"), do_lower_case=True)
    batch = tokenizer(TEXTS, padding=True, return_tensors="pt")
    ids, mask = batch["input_ids"], batch["attention_mask"]
    (folder / "texts.json").write_text(json.dumps(TEXTS))
    np.save(folder / "ids.npy", ids.numpy().astype(np.int32))
    np.save(folder / "mask.npy", mask.numpy().astype(np.int32))
    for name, kind in CLASSES.items():
        if name == "gpt2":
            model = kind(GPT2Config(vocab_size=len(WORDS), n_positions=24, n_embd=32, n_layer=2, n_head=4))
        else:
            model = kind(BertConfig(**BERT, id2label={0: "bad", 1: "good", 2: "none"}))
        with torch.no_grad():
            for p in model.parameters():
                p.add_(0.05 * torch.randn_like(p))
        model.save_pretrained(folder / name)
        if name != "gpt2":
            tokenizer.save_pretrained(folder / name)
        # The older format of the same weights, as most folders have it.
        if name == "bert-sequence":
            (folder / name / "model.safetensors").unlink()
            torch.save(model.state_dict(), folder / name / "pytorch_model.bin")
        np.save(folder / name / "logits.npy", answer(model, ids, torch.ones_like(mask) if name == "gpt2" else mask))


def check(folder):
    ids, mask = (torch.from_numpy(np.load(folder / f"{n}.npy")).long() for n in ("ids", "mask"))
    for name, kind in CLASSES.items():
        ours = folder / f"{name}-ours"
        model, info = kind.from_pretrained(ours, output_loading_info=True)
        theirs = np.load(folder / name / "logits.npy")
        again = answer(model, ids, torch.ones_like(mask) if name == "gpt2" else mask)
        missing = [k for k in info["missing_keys"] if "decoder" not in k and k != "lm_head.weight"]
        print(f"{name}: ours -> transformers: logits differ by {np.abs(again - theirs).max():.3g}, missing {missing}, unexpected {info['unexpected_keys']}")
        if name != "gpt2":
            tokenizer = AutoTokenizer.from_pretrained(ours)
            same = tokenizer(TEXTS, padding=True)["input_ids"] == ids.tolist()
            print(f"{name}: the tokenizer we saved gives {'equal' if same else 'OTHER'} ids; labels {model.config.id2label}")
    for answers in sorted(folder.glob("model-*")):
        check_vision(answers)


def check_vision(answers):
    import vision_models
    from safetensors.torch import load_file

    source = Path((answers / "source.txt").read_text())
    options = json.loads((source / "config.json").read_text())["model"]
    classes, name = options.get("numClasses", 10), options["name"]
    if name == "squeezenet1_1":
        model = vision_models.SqueezeNet(classes)
    elif name in ("resnet20", "resnet56"):
        n = 3 if name == "resnet20" else 9
        model = vision_models.ResNet(vision_models.BasicBlock, [n] * 3, [16, 32, 64], classes, small=True, pad=options.get("shortcut") == "pad")
    else:
        print(f"{name}: no PyTorch twin here")
        return
    model.load_state_dict(load_file(source / "model.safetensors"), strict=True)
    with torch.no_grad():
        theirs = model.eval()(torch.from_numpy(np.load(answers / "input.npy"))).numpy()
    ours = np.load(answers / "logits.npy")
    print(f"{name} of a run: ours -> PyTorch: logits differ by {np.abs(ours - theirs).max():.3g} of {np.abs(theirs).max():.3g}")


def golden():
    """Two tiny folders as transformers saves them, one in each weight format, with their logits."""
    torch.manual_seed(3)
    out = Path(__file__).resolve().parents[1] / "pretrained"
    ids = torch.tensor([[2, 7, 9, 31, 3], [2, 40, 3, 0, 0]])
    mask = (ids != 0).long()
    tiny = dict(BERT, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=12, max_position_embeddings=8)
    bert = BertForSequenceClassification(BertConfig(**tiny, id2label={0: "bad", 1: "good", 2: "none"}))
    gpt2 = GPT2LMHeadModel(GPT2Config(vocab_size=48, n_positions=6, n_embd=8, n_layer=1, n_head=2))
    for name, model, m in (("bert", bert, mask), ("gpt2", gpt2, torch.ones_like(mask))):
        with torch.no_grad():
            for p in model.parameters():
                p.add_(0.2 * torch.randn_like(p))
        model.save_pretrained(out / name)
        rows = answer(model, ids, m).reshape(-1).tolist()
        (out / name / "answer.json").write_text(json.dumps({"ids": ids.tolist(), "mask": m.tolist(), "logits": rows}))
    (out / "bert" / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    for name in ("model.safetensors", "generation_config.json"):
        (out / "gpt2" / name).unlink()
    torch.save(gpt2.state_dict(), out / "gpt2" / "pytorch_model.bin")


if sys.argv[1] == "golden":
    golden()
else:
    {"write": write, "check": check}[sys.argv[1]](Path(sys.argv[2]))
