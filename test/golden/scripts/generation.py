"""transformers' answers for test/parity/generation.test.ts: beam search on a tiny GPT-2, and what sampling may draw.

usage: python test/golden/scripts/generation.py   (torch 2.13, transformers 5, CPU)
"""

import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from language_models import GPT2, fill
from parity import integers, numbers, uniform, write


def beams():
    model = GPT2LMHeadModel(GPT2Config(**GPT2)).eval()
    fill(model)
    out = []
    # Narrow distributions end late, wide ones early: the head's table is scaled for both.
    for scale in (1.0, 0.3):
        with torch.no_grad():
            model.transformer.wte.weight.copy_(uniform(100, model.transformer.wte.weight.shape, -0.4, 0.4) * scale)
        for stream, eos in ((3, None), (3, 7), (4, 12), (5, 3), (6, 30)):
            prompt = integers(stream, [1, 4], 40)
            for count, penalty, early in (
                (2, 1.0, False), (3, 1.0, True), (4, 0.0, "never"), (4, 2.0, "never"), (5, -1.0, False), (3, 0.6, "never"),
            ):  # fmt: skip
                found = model.generate(
                    prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=14, do_sample=False, num_beams=count,
                    num_return_sequences=count, length_penalty=penalty, early_stopping=early, pad_token_id=39,
                    eos_token_id=eos, return_dict_in_generate=True, output_scores=True,
                )  # fmt: skip
                rows = []
                for row in found.sequences[:, 4:].tolist():
                    rows.append(row[: row.index(eos) + 1] if eos in row else row)
                out.append({
                    "scale": scale, "stream": stream, "eos": eos, "beams": count, "penalty": penalty, "early": early,
                    "tokens": rows, "scores": numbers(found.sequences_scores),
                })  # fmt: skip
    return out


def sampling():
    """Each distribution after the filters, as [token, probability] of what is left."""
    out = []
    for stream, width in ((20, 3.0), (21, 8.0), (22, 0.5)):
        logits = uniform(stream, [1, 60], -width, width)
        for temperature, top_k, top_p in (
            (1.0, None, None), (0.7, None, None), (1.8, None, None), (1.0, 5, None), (1.0, None, 0.9), (0.5, 10, 0.8),
            (1.5, 40, 0.3), (1.0, 1, 0.5), (1.0, 200, 1.0), (2.0, None, 0.05),
        ):  # fmt: skip
            steps = LogitsProcessorList()
            if temperature != 1.0:
                steps.append(TemperatureLogitsWarper(temperature))
            if top_k is not None:
                steps.append(TopKLogitsWarper(top_k))
            if top_p is not None:
                steps.append(TopPLogitsWarper(top_p))
            p = steps(None, logits.clone()).double().softmax(-1)[0]
            kept = p.nonzero().flatten().tolist()
            out.append({
                "stream": stream, "width": width, "temperature": temperature, "topK": top_k, "topP": top_p,
                "kept": kept, "probabilities": numbers(p[kept]),
            })  # fmt: skip
    return out


if __name__ == "__main__":
    write("generation", {"beams": beams(), "sampling": sampling()})
