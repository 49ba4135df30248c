"""Pickles that would run something, as Python itself writes them: python test/golden/scripts/gadgets.py > test/golden/weights/gadgets.json"""

import base64
import builtins
import codecs
import copyreg
import ctypes
import functools
import importlib
import json
import operator
import os
import pickle
import runpy
import shutil
import socket
import subprocess
import sys
import webbrowser


class Reduce:
    def __init__(self, *parts):
        self.parts = parts

    def __reduce__(self):
        return self.parts


class State:
    """BUILD: __setstate__ or an update of __dict__."""

    def __getstate__(self):
        return {"__class__": "x"}


class NewArgs:
    """NEWOBJ_EX from protocol 4 on."""

    def __new__(cls, *args, **kwargs):
        return object.__new__(cls)

    def __getnewargs_ex__(self):
        return (1,), {"a": 2}


calls = {
    "os.system": (os.system, ("id",)),
    "os.popen": (os.popen, ("id",)),
    "os.execv": (os.execv, ("/bin/sh", ["sh"])),
    "builtins.eval": (eval, ("1",)),
    "builtins.exec": (exec, ("1",)),
    "builtins.compile": (compile, ("1", "", "eval")),
    "builtins.__import__": (__import__, ("os",)),
    "builtins.getattr": (getattr, ("x", "upper")),
    "builtins.open": (open, ("/tmp/cambium-gadget", "w")),
    "builtins.input": (input, ()),
    "builtins.map": (map, (len, [])),
    "subprocess.Popen": (subprocess.Popen, (["id"],)),
    "subprocess.check_output": (subprocess.check_output, (["id"],)),
    "importlib.import_module": (importlib.import_module, ("os",)),
    "runpy.run_path": (runpy.run_path, ("x.py",)),
    "functools.partial": (functools.partial, (len,)),
    "operator.attrgetter": (operator.attrgetter, ("system",)),
    "codecs.encode": (codecs.encode, ("x", "rot13")),
    "copyreg._reconstructor": (copyreg._reconstructor, (object, object, None)),
    "shutil.rmtree": (shutil.rmtree, ("/tmp/cambium-gadget",)),
    "socket.create_connection": (socket.create_connection, (("127.0.0.1", 1),)),
    "webbrowser.open": (webbrowser.open, ("http://127.0.0.1",)),
    "ctypes.CDLL": (ctypes.CDLL, ("x.so",)),
    "sys.exit": (sys.exit, (1,)),
    "pickle.loads": (pickle.loads, (b".",)),
}
copyreg.add_extension(os.system.__module__, "system", 0x12)
copyreg.add_extension("builtins", "exec", 0x1234)
copyreg.add_extension("builtins", "eval", 0x123456)

out = {}
for name, parts in calls.items():
    for protocol in range(6):
        out[f"{name} {protocol}"] = base64.b64encode(pickle.dumps(Reduce(*parts), protocol)).decode()
others = {
    "a state": State(),
    "arguments by name": NewArgs(),
    "a call on the result of a call": Reduce(functools.partial, (functools.partial, eval)),
    "items of a call": Reduce(list, (), None, iter([1, 2])),
    "pairs of a call": Reduce(dict, (), None, None, iter([("a", 1)])),
}
for name, value in others.items():
    for protocol in (0, 2, 4, 5):
        try:
            out[f"{name} {protocol}"] = base64.b64encode(pickle.dumps(value, protocol)).decode()
        except pickle.PicklingError as error:
            print(name, protocol, error, file=sys.stderr)
json.dump(out, sys.stdout, indent=0, sort_keys=True)
