"""PyTorch's answers for attention and transformer layers of test/parity, by the streams of parity.py beside this file.

usage: python test/golden/scripts/transformer.py   (torch 2.13, CPU)
"""

import torch
from torch import nn

from parity import fill, numbers, uniform, write

SIZES = dict(d_model=8, nhead=2, dim_feedforward=12, dropout=0.0)


def flags(rows):
    return torch.tensor([[c == "1" for c in row] for row in rows])


# Batch 2; padding marks the last keys of the second sequence.
PADDING = flags(["0000", "0011"])
PADDING5 = flags(["00000", "00001"])
BAND = flags(["0110", "0011", "1001", "0100", "0000"])  # 5 queries, 4 keys
CAUSAL4, CAUSAL5 = (torch.triu(torch.ones(n, n, dtype=torch.bool), 1) for n in (4, 5))


def attention(batch_first=True, **options):
    return nn.MultiheadAttention(8, 2, batch_first=batch_first, **options)


def cross(module, q, k, v):
    return module(q, k, v, need_weights=False)[0]


def transformer(**options):
    return nn.Transformer(num_encoder_layers=2, num_decoder_layers=2, **SIZES, **options)


# How each is made, the shapes of its inputs, and the call.
CASES = {
    "attentionSelf": (attention, [[2, 4, 8]], lambda m, x: cross(m, x, x, x)),
    "attentionStepsFirst": (lambda: attention(False), [[4, 2, 8]], lambda m, x: cross(m, x, x, x)),
    "attentionCross": (lambda: attention(bias=False), [[2, 5, 8], [2, 4, 8], [2, 4, 8]], cross),
    "attentionWidths": (lambda: attention(kdim=6, vdim=3), [[2, 5, 8], [2, 4, 6], [2, 4, 3]], cross),
    "attentionPadding": (
        attention,
        [[2, 4, 8]],
        lambda m, x: m(x, x, x, key_padding_mask=PADDING, need_weights=False)[0],
    ),
    "attentionMasks": (
        lambda: attention(False),
        [[5, 2, 8], [4, 2, 8]],
        lambda m, q, k: m(q, k, k, key_padding_mask=PADDING, attn_mask=BAND, need_weights=False)[0],
    ),
    "attentionAdded": (
        attention,
        [[2, 4, 8], [4, 4, 4]],
        lambda m, x, mask: m(x, x, x, attn_mask=mask, need_weights=False)[0],
    ),
    "attentionCausal": (
        attention,
        [[2, 4, 8]],
        lambda m, x: m(x, x, x, attn_mask=CAUSAL4, is_causal=True, need_weights=False)[0],
    ),
    "encoderLayer": (lambda: nn.TransformerEncoderLayer(**SIZES), [[4, 2, 8]], lambda m, x: m(x)),
    "encoderLayerGelu": (
        lambda: nn.TransformerEncoderLayer(
            **SIZES, activation="gelu", batch_first=True, norm_first=True, layer_norm_eps=1e-3
        ),
        [[2, 4, 8]],
        lambda m, x: m(x, src_mask=CAUSAL4, src_key_padding_mask=PADDING),
    ),
    "decoderLayer": (lambda: nn.TransformerDecoderLayer(**SIZES), [[5, 2, 8], [4, 2, 8]], lambda m, x, y: m(x, y)),
    "decoderLayerMasks": (
        lambda: nn.TransformerDecoderLayer(**SIZES, activation="gelu", batch_first=True, norm_first=True),
        [[2, 5, 8], [2, 4, 8]],
        lambda m, x, y: m(
            x,
            y,
            tgt_mask=CAUSAL5,
            tgt_key_padding_mask=PADDING5,
            memory_mask=BAND,
            memory_key_padding_mask=PADDING,
        ),
    ),
    "transformer": (
        lambda: transformer(batch_first=True),
        [[2, 4, 8], [2, 5, 8]],
        lambda m, x, y: m(x, y, tgt_mask=CAUSAL5, src_key_padding_mask=PADDING, memory_key_padding_mask=PADDING),
    ),
    "transformerNormFirst": (
        lambda: transformer(norm_first=True, activation="gelu"),
        [[4, 2, 8], [5, 2, 8]],
        lambda m, x, y: m(x, y),
    ),
}


def main():
    out = {}
    for name, (build, shapes, call) in CASES.items():
        module = build()
        fill(module)
        inputs = [uniform(200 + i, shape, -1, 1).requires_grad_() for i, shape in enumerate(shapes)]
        y = call(module, *inputs)
        y.backward(uniform(2, y.shape, -1, 1))
        out[name] = {
            "inputs": shapes,
            "shape": list(y.shape),
            "y": numbers(y),
            "dx": [numbers(x.grad) for x in inputs],
            "grads": {k: numbers(p.grad) for k, p in module.named_parameters()},
        }
    write("transformer", out)


if __name__ == "__main__":
    main()
