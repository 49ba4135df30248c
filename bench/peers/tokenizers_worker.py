"""Tokenises the lines of a file by Hugging Face's Rust library, one text a call on one thread, cold; prints least seconds and tokens.

usage: python tokenizers_worker.py TOKENIZER.json LINES.txt ROUNDS
"""
import json
import os
import sys
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
from tokenizers import Tokenizer

path, lines, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
with open(lines, encoding="utf-8") as file:
    texts = file.read().split("\n")
best, tokens = float("inf"), 0
for _ in range(rounds):
    # A new one each time: it remembers nothing of the round before.
    tokenizer = Tokenizer.from_file(path)
    start = time.process_time()
    tokens = sum(len(tokenizer.encode(text).ids) for text in texts)
    best = min(best, time.process_time() - start)
print(json.dumps({"seconds": best, "tokens": tokens}))
