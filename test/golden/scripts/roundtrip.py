"""
Equal logits on both sides of a weight file. Run after `npx jiti scripts/roundtrip.ts write FOLDER`:

    python test/golden/scripts/roundtrip.py FOLDER

loads ours.safetensors into PyTorch's SqueezeNet and compares with our logits, then writes theirs.pth, theirs.safetensors
(if the package is there) and its logits, for `npx jiti scripts/roundtrip.ts check FOLDER`.
"""
import json, os, sys
import numpy as np, torch
sys.path.insert(0, os.path.dirname(__file__))
from vision_models import SqueezeNet

folder = sys.argv[1]
x = torch.from_numpy(np.load(f'{folder}/input.npy'))


def read_safetensors(path):
    with open(path, 'rb') as f:
        head = json.loads(f.read(int.from_bytes(f.read(8), 'little')))
        data = f.read()
    head.pop('__metadata__', None)
    kinds = {'F32': np.float32, 'I32': np.int32}
    return {
        name: torch.from_numpy(np.frombuffer(data[slice(*row['data_offsets'])], kinds[row['dtype']]).reshape(row['shape']).copy())
        for name, row in head.items()
    }


model = SqueezeNet(10).eval()
model.load_state_dict(read_safetensors(f'{folder}/ours.safetensors'), strict=True)
ours = torch.from_numpy(np.load(f'{folder}/ours.npy'))
with torch.no_grad():
    theirs = model(x)
print(f'ours -> PyTorch: largest difference {(ours - theirs).abs().max():.3g} of {theirs.abs().max():.3g}')
torch.manual_seed(1)
model = SqueezeNet(10).eval()
torch.save(model.state_dict(), f'{folder}/theirs.pth')
torch.save({'epoch': 1, 'state_dict': {f'module.{k}': v for k, v in model.state_dict().items()}}, f'{folder}/wrapped.pth')
torch.save(model.state_dict(), f'{folder}/legacy.pth', _use_new_zipfile_serialization=False)
try:
    from safetensors.torch import save_file
    save_file(model.state_dict(), f'{folder}/theirs.safetensors')
except ImportError:
    pass
with torch.no_grad():
    np.save(f'{folder}/theirs.npy', model(x).numpy())
