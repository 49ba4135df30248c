"""alpha T^2 kl_div(log_softmax(student / T), softmax(teacher / T), batchmean) + (1 - alpha) cross_entropy, and its gradient."""

import json
from pathlib import Path

import torch
import torch.nn.functional as F

torch.manual_seed(3)
cases = []
for temperature, alpha in [(1.0, 1.0), (4.0, 0.5), (10.0, 0.9)]:
    student = (3 * torch.randn(5, 4, dtype=torch.float64)).requires_grad_()
    teacher = 3 * torch.randn(5, 4, dtype=torch.float64)
    labels = torch.randint(0, 4, (5,))
    soft = F.kl_div(F.log_softmax(student / temperature, 1), F.softmax(teacher / temperature, 1), reduction="batchmean")
    loss = alpha * temperature**2 * soft + (1 - alpha) * F.cross_entropy(student, labels)
    loss.backward()
    cases.append(
        {
            "temperature": temperature,
            "alpha": alpha,
            "student": student.tolist(),
            "teacher": teacher.tolist(),
            "labels": labels.tolist(),
            "loss": loss.item(),
            "gradient": student.grad.flatten().tolist(),
        }
    )
path = Path(__file__).parent.parent / "metrics" / "distillation.json"
path.write_text(json.dumps(cases) + "\n")
