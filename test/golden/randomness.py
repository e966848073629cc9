"""Random numbers of PyTorch 1.13 on the CPU: each case seeds, then draws from one stream in the order given.

Run: /usr/bin/python3 test/golden/randomness.py
"""
import json
import os

import torch

from common import HERE, encode_tensor

cases = []


def case(seed, *draws):
    torch.manual_seed(seed)
    entry = {'seed': seed, 'draws': []}
    for kind, *args in draws:
        options = args.pop() if args and isinstance(args[-1], dict) else {}
        dtype = {'dtype': getattr(torch, options['dtype'])} if 'dtype' in options else {}
        t = getattr(torch, kind)(*args, **dtype)
        entry['draws'].append({'kind': kind, 'args': args, **options, 'result': encode_tensor(t)})
    cases.append(entry)


double = {'dtype': 'float64'}
for seed in [0, 1, 42, 4294967295, 4294967296 + 5, 67280421310721]:
    case(seed, ('rand', [5]))
    case(seed, ('randn', [1]), ('randn', [2]))
    case(seed, ('randn', [15]))
    case(seed, ('randn', [16]))
    case(seed, ('randperm', 20))
    case(seed, ('randint', 0, 10, [12]))
for n in [3, 16, 17, 24, 31, 32, 33, 40, 100]:
    case(7, ('randn', [n]), ('rand', [1]))
    case(8, ('randn', [n], double), ('rand', [1], double))
# A spare normal number waits over other draws; 16 and more do not touch it.
case(3, ('randn', [1]), ('rand', [2]), ('randn', [20]), ('randn', [2]))
case(3, ('randn', [3]), ('randperm', 5), ('randn', [2], double), ('randint', -5, 5, [4]), ('randn', [1]))
case(4, ('rand', [2, 3], double), ('rand', [2]))
case(5, ('randint', -1000000, 1000000, [4]), ('randint', 0, 4294967295, [4]))
case(5, ('randint', 0, 4294967296, [4]), ('rand', [1]))
case(6, ('randint', -(2 ** 52), 2 ** 52, [6]), ('rand', [1]))
case(9, ('randperm', 1), ('rand', [1]))
case(9, ('randperm', 0), ('rand', [1]))
case(9, ('randperm', 1000), ('rand', [1]))
# Past the first refill of the twister's 624 words.
case(10, ('rand', [700]))
case(11, ('randn', [700]))

path = os.path.join(HERE, 'data', 'randomness.json')
with open(path, 'w') as f:
    f.write('[\n' + ',\n'.join(json.dumps(c, separators=(',', ':')) for c in cases) + '\n]\n')
print(f'{path}: {len(cases)} cases, {os.path.getsize(path)} bytes (torch {torch.__version__})')
