"""Writes test/golden/weights: files of torch.save and numpy.save that the readers are checked against."""
import collections, json, os
import numpy as np, torch
d=os.path.join(os.path.dirname(__file__),'..','weights'); os.makedirs(d,exist_ok=True)
torch.manual_seed(0)
m=torch.nn.Sequential(torch.nn.Conv2d(3,4,3),torch.nn.BatchNorm2d(4),torch.nn.Linear(4,2))
sd=m.state_dict()
sd['view']=torch.arange(12.).reshape(3,4).t()[1:]
sd['half']=torch.tensor([1.5,-2.25,0.0],dtype=torch.float16)
sd['bf16']=torch.tensor([1.5,-2.25,3.0],dtype=torch.bfloat16)
sd['i64']=torch.tensor([[1,-2],[3,4]]); sd['mask']=torch.tensor([True,False]); sd['scalar']=torch.tensor(2.5,dtype=torch.float64)
sd['tied']=sd['2.weight']
sd['u16']=torch.tensor([1,65535],dtype=torch.uint16)
torch.save(sd,f'{d}/state.pth')
leg={k:v for k,v in sd.items() if k!='u16'}
torch.save(collections.OrderedDict(leg),f'{d}/legacy.pth',_use_new_zipfile_serialization=False)
torch.save({'epoch':3,'best_acc':0.5,'args':None,'state_dict':m.state_dict(),'optimizer':torch.optim.Adam(m.parameters()).state_dict()},f'{d}/checkpoint.pt')
torch.save(torch.nn.Linear(2,2),f'{d}/whole-module.pt')
np.save(f'{d}/fortran.npy',np.asfortranarray(np.arange(12,dtype=np.float32).reshape(3,4)))
np.save(f'{d}/big-endian.npy',np.arange(5,dtype='>i4'))
np.save(f'{d}/half.npy',np.array([[1.5,-2]],dtype=np.float16))
np.save(f'{d}/object.npy',np.array([{},1],dtype=object))
np.savez_compressed(f'{d}/compressed.npz',a=np.zeros((50,3),np.float32),b=np.arange(4,dtype=np.int64))
out={k:{'shape':list(v.shape),'values':v.detach().double().reshape(-1).tolist()} for k,v in sd.items() if v.numel()<200}
json.dump(out,open(f'{d}/expected.json','w'))
