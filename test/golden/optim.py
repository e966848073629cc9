"""Twenty steps of every optimizer and schedule in PyTorch: python3 test/golden/optim.py > test/golden/data/optim.json"""
import json
import torch
from torch.optim import SGD, Adam, AdamW, RMSprop
from torch.optim import lr_scheduler as S

torch.manual_seed(0)
STEPS = 20
initial = [torch.randn(3, 4), torch.randn(5)]
gradients = [[torch.randn(3, 4) * 0.5, torch.randn(5) * 2] for _ in range(STEPS)]

OPTIMIZERS = {
    'SGD': (SGD, [
        dict(lr=0.1), dict(lr=0.1, weight_decay=0.01), dict(lr=0.05, momentum=0.9),
        dict(lr=0.05, momentum=0.9, dampening=0.5, weight_decay=0.1),
        dict(lr=0.05, momentum=0.9, nesterov=True), dict(lr=0.05, momentum=0.5, maximize=True, weight_decay=0.1)]),
    'Adam': (Adam, [
        dict(), dict(lr=0.05, betas=(0.8, 0.95), eps=1e-4), dict(lr=0.05, weight_decay=0.1),
        dict(lr=0.05, amsgrad=True), dict(lr=0.05, maximize=True, weight_decay=0.1)]),
    'AdamW': (AdamW, [dict(), dict(lr=0.05, weight_decay=0.2), dict(lr=0.05, amsgrad=True)]),
    'RMSprop': (RMSprop, [
        dict(), dict(lr=0.02, alpha=0.9, momentum=0.8), dict(lr=0.02, centered=True, weight_decay=0.1)]),
}

SCHEDULERS = {
    'StepLR': lambda o: S.StepLR(o, 3, 0.5),
    'MultiStepLR': lambda o: S.MultiStepLR(o, [2, 5, 5], 0.3),
    'ExponentialLR': lambda o: S.ExponentialLR(o, 0.9),
    'CosineAnnealingLR': lambda o: S.CosineAnnealingLR(o, 6, 0.01),
    'LambdaLR': lambda o: S.LambdaLR(o, lambda e: 1 / (1 + e)),
    'LinearLR': lambda o: S.LinearLR(o, 0.25, 1.0, 4),
    'OneCycleLR': lambda o: S.OneCycleLR(o, 0.5, total_steps=20),
    'OneCycleLR linear': lambda o: S.OneCycleLR(o, 0.5, epochs=4, steps_per_epoch=5, anneal_strategy='linear',
                                                pct_start=0.4, div_factor=10., final_div_factor=100.),
}


def flat(t):
    return [float(v) for v in t.flatten()]


def run(cls, options):
    params = [torch.nn.Parameter(t.clone()) for t in initial]
    optimizer = cls(params, **options)
    for grads in gradients:
        for p, g in zip(params, grads):
            p.grad = g.clone()
        optimizer.step()
    state = optimizer.state_dict()['state']
    return {
        'options': options,
        'params': [flat(p.data) for p in params],
        'stateKeys': sorted(state[0]) if state else [],
        'state': {k: flat(v) if torch.is_tensor(v) else v for k, v in (state[1] if state else {}).items() if v is not None},
        'groupKeys': sorted(optimizer.state_dict()['param_groups'][0]),
    }


def schedule(make, adam):
    p = torch.nn.Parameter(torch.zeros(1))
    optimizer = Adam([p], lr=0.2) if adam else SGD([p], lr=0.2, momentum=0.9)
    scheduler = make(optimizer)
    rows = []
    for _ in range(STEPS):
        g = optimizer.param_groups[0]
        rows.append([g['lr'], g['betas'][0] if adam else g['momentum']])
        optimizer.step()
        scheduler.step() if len(rows) < STEPS else None
    return rows


def plateau():
    metrics = [1, 0.9, 0.91, 0.92, 0.93, 0.94, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.49999, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4]
    runs = []
    for options in [dict(patience=2, factor=0.5), dict(mode='max', patience=1, cooldown=2, min_lr=0.01),
                    dict(patience=1, threshold=0.05, threshold_mode='abs')]:
        optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.2)
        scheduler = S.ReduceLROnPlateau(optimizer, **options)
        rates = []
        for m in metrics:
            scheduler.step(m)
            rates.append(optimizer.param_groups[0]['lr'])
        runs.append({'options': options, 'rates': rates})
    return {'metrics': metrics, 'runs': runs}


print(json.dumps({
    'initial': [flat(t) for t in initial],
    'gradients': [[flat(t) for t in step] for step in gradients],
    'optimizers': {name: [run(cls, o) for o in options] for name, (cls, options) in OPTIMIZERS.items()},
    'schedulers': {name: {'sgd': schedule(make, False), 'adam': schedule(make, True)} for name, make in SCHEDULERS.items()},
    'plateau': plateau(),
}))
