"""transformers' answers for BERT and GPT-2 of test/parity, by the streams of parity.py beside this file.

usage: python test/golden/scripts/language_models.py   (torch 2.13, transformers 5, CPU)
"""

import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertForTokenClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
)

from parity import integers, numbers, uniform, write

BERT = dict(
    vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
    max_position_embeddings=12, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
)  # fmt: skip
GPT2 = dict(
    vocab_size=40, n_positions=24, n_embd=16, n_layer=2, n_head=2, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0
)
TOKENS = integers(1, [3, 8], 50)
MASK = torch.tensor([[1] * 8, [1] * 5 + [0] * 3, [1] * 3 + [0] * 5])
TYPES = torch.tensor([[0] * 4 + [1] * 4, [0] * 8, [0, 1, 1, 1, 0, 0, 0, 0]])


def fill(model):
    """Parameter number i is stream 100 + i, in [-0.4, 0.4]."""
    with torch.no_grad():
        for i, (_, p) in enumerate(model.named_parameters()):
            p.copy_(uniform(100 + i, p.shape, -0.4, 0.4))


def bert(build, call, labels, **config):
    model = build(BertConfig(**BERT, **config))
    fill(model)
    losses, out = [], {}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for step in range(3):
        logits = call(model)
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, -2), labels.flatten(), ignore_index=-100)
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            out = {
                "logits": numbers(logits),
                "names": [name for name, _ in model.named_parameters()],
                "grads": {n: float(p.grad.double().abs().sum()) for n, p in model.named_parameters()},
                "dpositions": numbers(model.bert.embeddings.position_embeddings.weight.grad),
            }
        optimizer.step()
        losses.append(loss.item())
    return {**out, "losses": losses}


def gpt2():
    model = GPT2LMHeadModel(GPT2Config(**GPT2)).train()
    fill(model)
    tokens = integers(2, [2, 10], 40)
    losses, out = [], {}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    prompt = integers(3, [1, 4], 40)
    model.eval()
    text = model.generate(prompt, max_new_tokens=16, do_sample=False, pad_token_id=0, eos_token_id=None)
    model.train()
    for step in range(3):
        logits = model(tokens).logits
        loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            out = {
                "logits": numbers(logits),
                "names": [name for name, _ in model.named_parameters()],
                "grads": {n: float(p.grad.double().abs().sum()) for n, p in model.named_parameters()},
            }
        optimizer.step()
        losses.append(loss.item())
    return {**out, "losses": losses, "text": text[0, 4:].tolist()}


def gpt2_classes():
    """Rows of 8, 5 and 3 tokens below 39, padded by 39: transformers looks for the last token that is not the pad token."""
    model = GPT2ForSequenceClassification(GPT2Config(**GPT2, num_labels=3, pad_token_id=39)).train()
    fill(model)
    tokens = torch.where(MASK.bool(), integers(7, [3, 8], 39), 39)
    labels = integers(4, [3], 3)
    losses, out = [], {}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for step in range(3):
        logits = model(tokens, attention_mask=MASK).logits
        loss = torch.nn.functional.cross_entropy(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            out = {
                "logits": numbers(logits),
                "names": [name for name, _ in model.named_parameters()],
                "grads": {n: float(p.grad.double().abs().sum()) for n, p in model.named_parameters()},
            }
        optimizer.step()
        losses.append(loss.item())
    return {**out, "losses": losses}


def main():
    given = dict(input_ids=TOKENS, attention_mask=MASK, token_type_ids=TYPES)
    masked = torch.where(MASK.bool() & (integers(5, [3, 8], 3) == 0), integers(6, [3, 8], 50), -100)
    write(
        "language-models",
        {
            "sequence": bert(
                BertForSequenceClassification, lambda m: m(**given).logits, integers(4, [3], 3), num_labels=3
            ),
            "plain": bert(
                BertForSequenceClassification,
                lambda m: m(input_ids=TOKENS).logits,
                integers(4, [3], 3),
                num_labels=3,
                hidden_act="gelu_new",
            ),
            "token": bert(
                BertForTokenClassification, lambda m: m(**given).logits, integers(4, [3, 8], 3), num_labels=3
            ),
            "masked": {**bert(BertForMaskedLM, lambda m: m(**given).logits, masked), "labels": masked.flatten().tolist()},
            "gpt2": gpt2(),
            "gpt2Classes": gpt2_classes(),
        },
    )


if __name__ == "__main__":
    main()
