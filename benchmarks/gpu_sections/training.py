"""Steps of ternary networks: gradient, AdamW and numbers for a controller."""

from itertools import pairwise

import numpy as np
from gpu_sections.sizes import training_work

from sklearn_ternary import ConstrainedTrainer
from sklearn_ternary.neural_network._networks.losses import SoftmaxLoss
from sklearn_ternary.neural_network._networks.perceptron import build_network
from sklearn_ternary.neural_network._training.run import Run
from sklearn_ternary.neural_network._training.training_data import TrainingData


def training(bench):
    """Measure them beside the same network in torch."""
    torch = bench.torch()
    for layers, batch in bench.sizes.training:
        work = training_work(layers, batch)
        if not bench.in_time(work):
            continue
        others = _torch_steps(torch, layers, batch) if torch else {}
        bench.measure(work, _step(bench, layers, batch), None, others)


def _step(bench, layers, batch):
    options = ConstrainedTrainer(layers[1:-1]).get_params()
    X = bench.rng.standard_normal((batch, layers[0]), dtype=np.float32)
    y = bench.rng.integers(0, layers[-1], batch).astype(np.int32)
    state = np.random.RandomState(0)
    args = layers[0], layers[-1], SoftmaxLoss(), options
    network = build_network(*args, config=bench.config)
    network.initialize(state)
    run = Run(network, options, 1e-4, 1e-3, 0, state, bench.config)
    data = TrainingData(X, y, None)
    data.move(network.parameters)
    X, y, weight, share = data.batch(np.arange(batch))
    return lambda: run.step(X, y, weight, share)


def _torch_steps(torch, sizes, batch):
    """The same network in torch: ternary weights, RMSNorm, ReLU, AdamW."""
    from torch import nn
    from torch.nn import functional

    class Linear(nn.Linear):
        def forward(self, x):
            w, most = self.weight, x.abs().amax(1, keepdim=True).clamp(min=1e-5)
            scale, step = w.abs().mean(), most / 127
            q = torch.clip(torch.round(w / scale), -1, 1) * scale
            r = torch.clip(torch.round(x / step), -128, 127) * step
            return functional.linear(
                x + (r - x).detach(), w + (q - w).detach(), self.bias
            )

    def steps(compiled):
        layers = []
        for i, (n, m) in enumerate(pairwise(sizes)):
            layers += [nn.ReLU(), nn.RMSNorm(n)] if i else []
            layers.append(Linear(n, m))
        network = nn.Sequential(*layers).cuda()
        X = torch.randn(batch, sizes[0], device="cuda")
        y = torch.randint(0, sizes[-1], (batch,), device="cuda")
        forward = torch.compile(network) if compiled else network
        optimizer = torch.optim.AdamW(network.parameters(), 1e-4, fused=True)

        def step():
            optimizer.zero_grad()
            loss = functional.cross_entropy(forward(X), y)
            loss.backward()
            optimizer.step()
            return loss.item()

        return step

    return {"torch": lambda: steps(False), "torch.compile": lambda: steps(True)}
