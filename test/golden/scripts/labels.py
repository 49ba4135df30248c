"""Several labels a sample, and numbers: scikit-learn's and scipy's metrics, PyTorch's losses.
usage: python test/golden/scripts/labels.py   (writes test/golden/metrics/labels.json)"""
import json
import pathlib

import numpy as np
import torch
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    classification_report,
    hamming_loss,
    mean_absolute_error,
    mean_squared_error,
    r2_score,
)

rng = np.random.default_rng(7)
names = ["news", "sport", "never", "always"]
n = 41
labels = (rng.random((n, 4)) < [0.4, 0.2, 0.0, 1.0]).astype(np.float32)
# Rounded, so that scores tie; some lie on the threshold itself.
scores = np.round(np.clip(0.5 * labels + 0.7 * rng.random((n, 4)), 0, 1), 1).astype(np.float32)
said = (scores >= np.float32(0.5)).astype(int)
report = classification_report(labels.astype(int), said, target_names=names, output_dict=True, zero_division=0)
text = classification_report(labels.astype(int), said, target_names=names, digits=4, zero_division=0)
present = [k for k in range(4) if labels[:, k].any()]
multi = {
    "names": names,
    "scores": scores.ravel().tolist(),
    "labels": labels.ravel().tolist(),
    "report": report,
    "text": text,
    "subsetAccuracy": accuracy_score(labels.astype(int), said),
    "hammingLoss": hamming_loss(labels.astype(int), said),
    "averagePrecision": {
        names[k]: float(average_precision_score(labels[:, k], scores[:, k])) if k in present else None for k in range(4)
    },
}

y = np.round(rng.normal(50, 20, n)).astype(np.float32)
p = np.round(y + rng.normal(0, 9, n)).astype(np.float32)
regression = {
    "values": y.tolist(),
    "predictions": p.tolist(),
    "mse": float(mean_squared_error(y.astype(float), p.astype(float))),
    "mae": float(mean_absolute_error(y.astype(float), p.astype(float))),
    "r2": float(r2_score(y.astype(float), p.astype(float))),
    "pearson": float(pearsonr(y.astype(float), p.astype(float)).statistic),
    "spearman": float(spearmanr(y.astype(float), p.astype(float)).statistic),
}

x = torch.tensor(rng.normal(0, 4, (5, 3)), dtype=torch.float32, requires_grad=True)
t = torch.tensor((rng.random((5, 3)) < 0.5).astype(np.float32))
weight = torch.tensor([0.5, 1.0, 4.0])
loss = torch.nn.functional.binary_cross_entropy_with_logits(x, t, pos_weight=weight)
loss.backward()
bce = {
    "logits": x.detach().ravel().tolist(),
    "targets": t.ravel().tolist(),
    "posWeight": weight.tolist(),
    "loss": loss.item(),
    "gradient": x.grad.ravel().tolist(),
}

path = pathlib.Path(__file__).parents[1] / "metrics" / "labels.json"
path.write_text(json.dumps({"multiLabel": multi, "regression": regression, "bce": bce}) + "\n")
