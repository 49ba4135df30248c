"""Three steps of AdamW of models and stacks of test/parity/steps.test.ts, and two parts alone: BERT's pooler, MAE's encoder.

usage: python test/golden/scripts/steps.py   (torch 2.13, transformers 5, CPU)
"""

import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from transformers import BertConfig, BertModel, ViTConfig, ViTForImageClassification, ViTMAEConfig, ViTMAEForPreTraining

from parity import fill, integers, numbers, uniform, write
from transformer import CAUSAL5, PADDING, SIZES
from vision import checksums

LENGTHS = [7, 4, 2]
RATE = 1e-2


def steps(model, call, loss_of):
    """Output, loss and gradients of the start, and the losses of four passes with three steps between them."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.05)
    losses, out = [], {}
    for step in range(4):
        y = call(model)
        loss = loss_of(y)
        losses.append(float(f"{loss.item():.9g}"))
        if step == 3:
            break
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            out = {"y": numbers(y), "grads": checksums((n, p.grad) for n, p in model.named_parameters())}
        optimizer.step()
    return {**out, "losses": losses}


def filled(model):
    with torch.no_grad():
        fill(model)
    return model.train()


class LSTMClassifier(nn.Module):
    """Embedding -> packed bidirectional LSTM of two layers -> last states, or mean of the outputs -> linear."""

    def __init__(self, pooling):
        super().__init__()
        self.embedding = nn.Embedding(20, 6)
        self.lstm = nn.LSTM(6, 5, num_layers=2, bidirectional=True, batch_first=True)
        self.fc = nn.Linear(10, 3)
        self.pooling = pooling

    def forward(self, tokens):
        packed = pack_padded_sequence(self.embedding(tokens), torch.tensor(LENGTHS), True, False)
        y, (h, _) = self.lstm(packed)
        if self.pooling == "last":
            return self.fc(torch.cat([h[-2], h[-1]], 1))
        y, _ = pad_packed_sequence(y, batch_first=True)
        return self.fc(y.sum(1) / torch.tensor(LENGTHS).view(-1, 1))


def classifier(pooling):
    tokens, labels = integers(1, [3, 7], 20), integers(4, [3], 3)
    return steps(filled(LSTMClassifier(pooling)), lambda m: m(tokens), lambda y: F.cross_entropy(y, labels))


def recurrent(kind, **options):
    x = uniform(200, [6, 3, 4], -1, 1)

    def call(m):
        packed = pack_padded_sequence(x, torch.tensor([6, 2, 4]), enforce_sorted=False)
        return pad_packed_sequence(m(packed)[0])[0]

    model = filled(getattr(nn, kind)(4, 5, num_layers=2, **options))
    return steps(model, call, lambda y: (y - uniform(2, y.shape, -1, 1)).square().mean())


def layers(build, shapes, call):
    x = [uniform(200 + i, shape, -1, 1) for i, shape in enumerate(shapes)]
    return steps(filled(build()), lambda m: call(m, *x), lambda y: (y - uniform(2, y.shape, -1, 1)).square().mean())


def encoder():
    layer = nn.TransformerEncoderLayer(**SIZES, batch_first=True)
    return nn.TransformerEncoder(layer, 2, nn.LayerNorm(8), enable_nested_tensor=False)


def decoder():
    layer = nn.TransformerDecoderLayer(**SIZES, batch_first=True, norm_first=True, activation="gelu")
    return nn.TransformerDecoder(layer, 2)


def seq2seq():
    return nn.Transformer(num_encoder_layers=2, num_decoder_layers=2, **SIZES, batch_first=True)


VIT = dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=40, image_size=12, patch_size=4)


def from_streams(model, folder, prefix=""):
    """transformers 5 names parts of a model anew: streams 1000 + i go by the names in its file, sorted, as in vision.py."""
    model.save_pretrained(folder)
    file = Path(folder) / "model.safetensors"
    tensors = load_file(file)
    names = sorted(k for k in tensors if k.startswith(prefix))
    for i, k in enumerate(names):
        tensors[k] = uniform(1000 + i, tensors[k].shape, -0.4, 0.4)
    save_file(tensors, file, {"format": "pt"})
    return type(model).from_pretrained(folder), [k.removeprefix(prefix) for k in names]


def gradients(model, folder, prefix):
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.zeros_like(p) if p.grad is None else p.grad)
    model.save_pretrained(folder)
    tensors = load_file(Path(folder) / "model.safetensors")
    return checksums((k.removeprefix(prefix), t) for k, t in sorted(tensors.items()) if k.startswith(prefix))


def vit():
    with tempfile.TemporaryDirectory() as folder:
        model = from_streams(ViTForImageClassification(ViTConfig(**VIT, num_labels=5)), folder)[0].train()
    x, labels = uniform(70, [3, 3, 12, 12], -1, 1), integers(40, [3], 5)
    out = steps(model, lambda m: m(x).logits, lambda y: F.cross_entropy(y, labels))
    # Its gradients are those of vit.json.
    return {"y": out["y"], "grads": {}, "losses": out["losses"]}


def pooler():
    config = BertConfig(vocab_size=5, hidden_size=12, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    model = filled(BertModel(config).pooler)
    x = uniform(200, [3, 4, 12], -1, 1).requires_grad_()
    y = model(x)
    y.backward(uniform(2, y.shape, -1, 1))
    return {"y": numbers(y), "dx": numbers(x.grad), "grads": {n: numbers(p.grad) for n, p in model.named_parameters()}}


def masked_autoencoder():
    """The encoder on the patches kept, patches as rows of pixels, and the loss of a drawing of them."""
    config = ViTMAEConfig(**VIT, decoder_hidden_size=16, decoder_num_hidden_layers=1, decoder_num_attention_heads=2,
                          decoder_intermediate_size=16, mask_ratio=0.5, norm_pix_loss=True)  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        model, names = from_streams(ViTMAEForPreTraining(config), folder, "vit.")
        x, noise = uniform(70, [3, 3, 12, 12], -1, 1), uniform(71, [3, 9], 0, 1)
        kept = (torch.argsort(noise, dim=1)[:, : 9 // 2] + 9 * torch.arange(3)[:, None]).flatten()
        out = model.vit(x, noise=noise)
        y, mask = out.last_hidden_state, out.mask
        y.backward(uniform(2, y.shape, -1, 1))
        grads = gradients(model, folder, "vit.")
    # Its positions do not learn; ours do.
    del grads["embeddings.position_embeddings"]
    drawing, target = uniform(72, [3, 9, 48], -1, 1), model.patchify(x)
    # As its forward, which draws with a decoder of another structure than ours.
    normal = (target - target.mean(-1, keepdim=True)) / (target.var(-1, keepdim=True) + 1e-6) ** 0.5
    loss = ((drawing - normal).square().mean(-1) * mask).sum() / mask.sum()
    return {
        "names": names, "kept": kept.tolist(), "mask": mask.flatten().int().tolist(), "y": numbers(y),
        "patches": numbers(target)[:288], "grads": grads, "loss": float(f"{loss.item():.9g}"),
    }  # fmt: skip


if __name__ == "__main__":
    one = lambda m, x: m(x, src_key_padding_mask=PADDING)  # noqa: E731
    write(
        "steps",
        {
            "lstmClassifierLast": classifier("last"),
            "lstmClassifierMean": classifier("mean"),
            "rnn": recurrent("RNN", nonlinearity="relu", bidirectional=True),
            "lstm": recurrent("LSTM", bidirectional=True),
            "gru": recurrent("GRU"),
            "encoder": layers(encoder, [[2, 4, 8]], one),
            "decoder": layers(decoder, [[2, 5, 8], [2, 4, 8]], lambda m, x, y: m(x, y, tgt_mask=CAUSAL5)),
            "seq2seq": layers(seq2seq, [[2, 4, 8], [2, 5, 8]], lambda m, x, y: m(x, y, tgt_mask=CAUSAL5)),
            "vit": vit(),
            "pooler": pooler(),
            "maskedAutoencoder": masked_autoencoder(),
        },
    )
