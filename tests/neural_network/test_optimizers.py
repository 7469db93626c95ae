"""Optimizers, schedules, trust region and controllers reduce to known methods."""

import math
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.neural_network import MLPRegressor

from sklearn_ternary._reference import steps
from sklearn_ternary.neural_network import AuxiliaryStepPredictor
from sklearn_ternary.neural_network._networks.layout import ParameterSlice
from sklearn_ternary.neural_network._steps.optimizers import SGD, AdamW
from sklearn_ternary.neural_network._steps.schedules import base_schedule
from sklearn_ternary.neural_network._steps.segments import Segments
from sklearn_ternary.neural_network._steps.signals import TrainingSignals
from sklearn_ternary.neural_network._steps.step_controller import (
    AuxiliaryController,
    HypergradientController,
    StepController,
)
from sklearn_ternary.neural_network._steps.trust_region import (
    TrustRegion,
    reduction_ratio,
)

SHAPES = ((7, 5), (7,), (7,), (3, 7), (3,))


def make_segments(shapes=SHAPES, by_rows=False):
    layout, start = [], 0
    for i, shape in enumerate(shapes):
        stop = start + math.prod(shape)
        kind = "weight" if len(shape) > 1 else "bias"
        where = slice(start, stop)
        layout.append(
            ParameterSlice(f"{i}.{kind}", i // 2, kind, shape, where, len(shape) > 1)
        )
        start = stop
    return Segments(layout, by_rows)


def gradients(n, count=80):
    rng = np.random.default_rng(0)
    scale = np.exp(rng.normal(size=n))
    return [scale * rng.normal(size=n) for _ in range(count)]


def run(optimizer, segments, count=80, rate=0.01, weight_decay=0.1):
    """Parameters after steps with given gradients."""
    p = np.random.default_rng(1).normal(size=segments.n_values)
    decay = segments.decay(weight_decay, p.dtype)
    factors = np.full(len(segments), rate)
    for g in gradients(len(p), count):
        optimizer.find_direction(g, p, decay)
        steps.apply_step(p, optimizer.direction, segments.bounds, factors)
    return p


def adamw(segments, **options):
    return AdamW(segments, steps, np.float64, **options)


def test_adamw_is_that_of_the_paper():
    segments = make_segments()
    found = run(adamw(segments, beta_2=0.95, epsilon=1e-6), segments)
    p = np.random.default_rng(1).normal(size=segments.n_values)
    m = v = np.zeros_like(p)
    decay = np.concatenate([np.full(math.prod(s), 0.1 * (len(s) > 1)) for s in SHAPES])
    for t, g in enumerate(gradients(len(p)), start=1):
        m = 0.9 * m + 0.1 * g
        v = 0.95 * v + 0.05 * g**2
        step = (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.95**t)) + 1e-6)
        p = p - 0.01 * (step + decay * p)
    assert np.allclose(found, p, rtol=1e-12)


def test_adamw_is_torchs():
    torch = pytest.importorskip("torch", reason="pip install torch")
    segments = make_segments(((6, 4),))
    found = run(adamw(segments, epsilon=1e-8), segments)
    p = torch.tensor(np.random.default_rng(1).normal(size=24), requires_grad=True)
    peer = torch.optim.AdamW([p], lr=0.01, betas=(0.9, 0.99), weight_decay=0.1)
    for g in gradients(24):
        p.grad = torch.tensor(g)
        peer.step()
    assert np.allclose(found, p.detach().numpy(), rtol=1e-10)


def test_sgd_momentum_is_that_of_the_textbook():
    segments = make_segments()
    found = run(SGD(segments, steps, np.float64, momentum=0.8), segments)
    p = np.random.default_rng(1).normal(size=segments.n_values)
    decay = np.concatenate([np.full(math.prod(s), 0.1 * (len(s) > 1)) for s in SHAPES])
    velocity = 0
    for g in gradients(len(p)):
        velocity = 0.8 * velocity + g
        p = p - 0.01 * (velocity + decay * p)
    assert np.allclose(found, p, rtol=1e-12)


def test_rows_of_one_value_have_adams_second_moment():
    segments = make_segments(((9, 1), (4, 1)))
    element = run(adamw(segments), segments)
    for kind in ("row", "cluster"):
        shared = adamw(segments, second_moment=kind, n_clusters=13)
        if kind == "cluster":
            shared.shared.clusters.observe = lambda *_: False
            shared.shared.set_groups(np.arange(13))
        assert np.allclose(run(shared, segments), element, rtol=1e-12)


def test_one_cluster_is_momentum_of_normalized_length():
    segments = make_segments(((8, 6),))
    found = run(
        adamw(segments, second_moment="cluster", n_clusters=1, epsilon=1e-300),
        segments,
        weight_decay=0,
    )
    assert np.allclose(
        found,
        run(
            adamw(segments, second_moment="tensor", epsilon=1e-300),
            segments,
            weight_decay=0,
        ),
        rtol=1e-12,
    )
    p = np.random.default_rng(1).normal(size=48)
    m, v = np.zeros(48), 0.0
    for t, g in enumerate(gradients(48), start=1):
        m = 0.9 * m + 0.1 * g
        v = 0.99 * v + 0.01 * np.mean(g**2)
        p -= 0.01 * (m / (1 - 0.9**t)) / math.sqrt(v / (1 - 0.99**t))
    assert np.allclose(found, p, rtol=1e-12)


def test_numbers_of_clusters_mean_nothing_and_empty_ones_keep_their_moment():
    segments = make_segments(((6, 4),))
    results = []
    for names in ([0, 0, 1, 1, 2, 2], [2, 2, 0, 0, 1, 1]):
        optimizer = adamw(segments, second_moment="cluster", n_clusters=4)
        shared = optimizer.shared
        shared.clusters.observe = lambda *_: False
        shared.set_groups(names)
        shared.values[3] = 7.0
        results.append(run(optimizer, segments))
        assert shared.values[3] == 7.0
    assert np.array_equal(*results)


def test_clusters_are_found_and_take_less_memory():
    segments = make_segments(((40, 30), (40,), (20, 40)))
    optimizer = adamw(segments, second_moment="cluster", n_clusters=5)
    run(optimizer, segments)
    assert len(np.unique(optimizer.shared.groups)) == 5
    element = adamw(segments)
    assert optimizer.n_bytes < 0.6 * element.n_bytes
    again = adamw(segments, second_moment="cluster", n_clusters=5)
    again.state = {k: np.array(v) for k, v in optimizer.state.items()}
    g = gradients(segments.n_values, 1)[0]
    p, decay = np.ones(segments.n_values), segments.decay(0, np.float64)
    for one in (optimizer, again):
        one.find_direction(g, p, decay)
    assert np.array_equal(optimizer.direction, again.direction)


def test_schedules():
    cosine = [base_schedule("cosine", t, 100, 10) for t in range(100)]
    assert cosine[0] == 0.1
    assert cosine[50] == pytest.approx(0.5)
    assert 0 < min(cosine) == cosine[-1] < 1e-3
    wsd = [base_schedule("wsd", t, 100, 0) for t in range(100)]
    assert wsd[:80] == [1.0] * 80
    assert wsd[90] == pytest.approx(0.5)
    assert all(base_schedule("constant", t, 0, 0) == 1 for t in range(5))
    inverse = [base_schedule("invscaling", t, 0, 0, 0.25) for t in range(20)]
    assert np.allclose(inverse, np.arange(1, 21) ** -0.25, rtol=1e-15)


def sums_of(s, p, segments):
    """Those of the direction of a step down the gradient s."""
    velocity, direction = np.zeros_like(s), np.zeros_like(s)
    decay = segments.decay(0, s.dtype)
    args = s, p, velocity, direction, segments.bounds, decay, 0, 1
    return steps.sgd_direction(*args)


@pytest.mark.parametrize("kind", ["global", "layer", "cluster"])
def test_steps_are_never_longer_than_the_radius(kind):
    rng = np.random.default_rng(0)
    segments = make_segments(by_rows=kind == "cluster")
    n = segments.n_values
    for _ in range(500 if kind != "cluster" else 50):
        s = (rng.normal(size=n) * 10.0 ** rng.uniform(-8, 8)).astype(np.float32)
        p = (rng.normal(size=n) * 10.0 ** rng.uniform(-3, 3)).astype(np.float32)
        sums = sums_of(s, p, segments)
        trust = TrustRegion(kind, 0.05, segments, float(np.linalg.norm(p)), 3)
        if kind == "cluster":
            trust.regroup(sums)
        factors, norm, radius, is_active = trust.bound(
            10.0 ** rng.uniform(-6, 3), rng.uniform(0, 1), sums
        )
        factors = np.repeat(np.float32(factors), np.diff(segments.bounds))
        d = np.linalg.norm((factors * s).astype(np.float64))
        assert d <= radius * (1 + 1e-6)
        assert d == pytest.approx(norm, rel=1e-5)
        if kind == "global":
            assert is_active == (norm >= radius * (1 - 1e-6))
        if kind == "cluster":
            assert set(trust.groups) == {0, 1, 2}
            assert math.hypot(*trust.radii) == pytest.approx(radius, rel=1e-12)
            for k, limit in enumerate(trust.radii):
                group = np.flatnonzero(trust.groups == k)
                parts = [slice(*segments.bounds[i : i + 2]) for i in group]
                steps_ = [(factors[part] * s[part]).astype(float) for part in parts]
                assert np.linalg.norm(np.concatenate(steps_)) <= limit * (1 + 1e-6)


def test_radii_of_clusters_follow_the_norms_of_their_parameters():
    """r_k = r |p_k| / |p|, and a tenth of the share by number where that is more."""
    segments = make_segments(((4, 5), (4, 5)), by_rows=True)
    trust = TrustRegion("cluster", 0.1, segments, 2.0, 4)  # one stays empty

    def find(sizes):
        trust.clusters.labels = np.array([2, 2, 0, 0, 3, 3, 3, 3])

    trust.clusters.find = find
    p = np.repeat([3.0, 4.0, 0.0], [10, 10, 20])
    s = np.ones(40)
    sums = sums_of(s, p, segments)
    trust.regroup(sums)
    factors, _, radius, is_active = trust.bound(1e3, 0.5, sums)
    assert radius == 0.1 * 2.0 * 0.5
    assert is_active
    squares = np.array([160.0, 90.0, 0.01 * 250 * 20 / 40])  # in the order of labels
    expected = radius * np.sqrt(squares / squares.sum())
    assert trust.radii[1] == 0
    assert np.allclose(trust.radii[[0, 2, 3]], expected, rtol=1e-12)
    lengths = np.sqrt([10, 10, 20])
    assert np.allclose([factors[2], factors[0], factors[4]], expected / lengths)


def test_layers_that_are_always_bounded_are_lars():
    """Without momentum and decay: d = -kappa |p| g / |g| for each layer."""
    segments = make_segments()
    p = np.random.default_rng(1).normal(size=segments.n_values)
    q = p.copy()
    trust = TrustRegion("layer", 0.02, segments, 1.0)
    optimizer = SGD(segments, steps, np.float64, momentum=0.0)
    no_decay = segments.decay(0, np.float64)
    starts = segments.bounds
    for g in gradients(len(p), 20):
        sums = optimizer.find_direction(g, p, no_decay)
        factors, *_, is_active = trust.bound(1e6, 1.0, sums)
        assert is_active
        steps.apply_step(p, optimizer.direction, starts, np.array(factors))
        for k in range(segments.layers.max() + 1):
            layer = np.flatnonzero(segments.layers == k)
            part = slice(starts[layer[0]], starts[layer[-1] + 1])
            ratio = np.linalg.norm(q[part]) / np.linalg.norm(g[part])
            q[part] -= 0.02 * ratio * g[part]
    assert np.allclose(p, q, rtol=1e-5)


def test_ratio_test_of_a_quadratic():
    """For d = -eta g / P on a quadratic of curvature P the prediction is exact."""
    rng = np.random.default_rng(0)
    P = rng.uniform(1, 3, 20)
    p = rng.normal(size=20)
    g = P * p
    d = -g / P  # eta = 1
    loss, new_loss = (P * p**2).sum() / 2, (P * (p + d) ** 2).sum() / 2
    rho = reduction_ratio(loss, new_loss, g @ d, d @ (P * d), 1.0)
    assert rho == pytest.approx(1)
    trust = TrustRegion("global", 0.1, make_segments(), 1.0)
    assert trust.judge(0.9, 1.0, 1.0, True)
    assert trust.scale == 2.0
    assert not trust.judge(-1.0, 1.0, 2.0, False)
    assert trust.scale == 0.5
    # The fourth in a row is accepted: noise must not stop everything.
    assert [trust.judge(-1.0, 1.0, 1.0, True) for _ in range(3)] == [False, False, True]


def features(alignment):
    return [0.1, -0.2, alignment, 0.0, 0.3, -1.0]


def drive(controller, count=200):
    rng = np.random.default_rng(0)
    for _ in range(count):
        alignment = float(rng.uniform(-0.3, 1.0))
        controller.update(features(alignment), bool(rng.random() < 0.3))
    return controller.log_rate, controller.log_radius


def test_controllers_reduce_to_one_another():
    scalar = drive(HypergradientController())
    assert drive(HypergradientController(gain=0.0)) == drive(StepController()) == (0, 0)
    still = AuxiliaryController(np.random.RandomState(0), learns=False)
    assert drive(still) == scalar
    learning = AuxiliaryController(np.random.RandomState(0))
    assert drive(learning) != scalar
    assert learning.network.parameters.size == 146


def test_hypergradient_rule():
    controller = HypergradientController()
    controller.update(features(0.2), is_active=False)
    assert controller.log_rate == pytest.approx(0.03 * math.tanh(1.0))
    assert controller.log_radius == 0
    controller.update(features(-0.2), is_active=True)
    assert controller.log_radius == pytest.approx(-0.03 * math.tanh(1.0))
    for _ in range(1000):
        controller.update(features(1.0), is_active=False)
    assert controller.rate_multiplier == pytest.approx(100)
    assert (controller.n_hits, controller.n_judged) == (999, 1001)


def test_controller_states_go_on():
    for make in (HypergradientController, lambda: AuxiliaryController(rng())):
        one, two = make(), make()
        drive(one, 50)
        two.state = {k: np.array(v) for k, v in one.state.items()}
        assert drive(one, 50) == drive(two, 50)


def rng():
    return np.random.RandomState(3)


def test_copies_of_the_auxiliary_predictor_learn_as_it_does():
    X = np.random.RandomState(0).standard_normal((9, 6))
    one = AuxiliaryStepPredictor(random_state=0).feed_back(X, 0.5)
    two = pickle.loads(pickle.dumps(one))
    for model in (one, two):
        model.feed_back(X, 0.5)
    for a, b in zip(one.coefs_, two.coefs_, strict=True):
        assert a.any()
        assert np.array_equal(a, b)
    assert np.array_equal(one.predict(X), two.predict(X))


def test_signals_are_bounded_and_free_of_scale():
    small, large = TrainingSignals(), TrainingSignals()
    source = np.random.default_rng(0)
    for t in range(50):
        loss, norm, c = source.uniform(0.1, 2), source.uniform(0.1, 9), 0.1
        one = small.observe(loss, norm, c, 3.0, t, 100)
        two = large.observe(1e4 * loss, 1e3 * norm, c, 3e5, t, 100)
        assert np.allclose(one, two)
        small.step_norm, large.step_norm = 0.01 * t, 1e3 * t
    odd = TrainingSignals().observe(math.nan, math.inf, math.nan, 0.0, 5, 0)
    assert all(-3 <= value <= 3 for value in odd)


def test_auxiliary_predictor_is_a_perceptron():
    X = np.random.default_rng(0).normal(size=(40, 6))
    y = np.stack([np.sin(X[:, 0]), X[:, 2]], axis=1)
    predictor = AuxiliaryStepPredictor(max_iter=300, random_state=0).fit(X, y)
    peer = MLPRegressor(hidden_layer_sizes=(16,), activation="tanh", max_iter=1).fit(
        X, y
    )
    peer.coefs_, peer.intercepts_ = predictor.coefs_, predictor.intercepts_
    assert np.allclose(predictor.predict(X), peer.predict(X), rtol=1e-12, atol=1e-12)
    assert sum(w.size for w in [*predictor.coefs_, *predictor.intercepts_]) == 146
    assert predictor.score(X, y) > 0.8


def test_predicted_steps_are_bounded():
    X = np.random.default_rng(0).normal(size=(10**5, 6)) * 1e3
    predictor = AuxiliaryStepPredictor(random_state=0)
    for k in range(20):
        predictor.feed_back(X[k : k + 5], np.ones(5), k % 2 == 0)
    rate, radius = predictor.predict_step(X, learning_rate=0.1, radius=2.0)
    low, high = math.exp(-0.030001), math.exp(0.030001)
    assert ((rate > 0.1 * low) & (rate < 0.1 * high)).all()
    assert ((radius > 2 * low) & (radius < 2 * high)).all()
    with pytest.raises(ValueError, match="NaN"):
        predictor.predict_step(np.full((1, 6), np.nan), learning_rate=1, radius=1)
    with pytest.raises(ValueError, match="6"):
        predictor.predict_step(np.ones((1, 5)), learning_rate=1, radius=1)
    other = AuxiliaryStepPredictor(max_iter=1).fit(X[:9], X[:9, 0])
    with pytest.raises(ValueError, match="fitted to y of 1"):
        other.predict_step(X, learning_rate=1, radius=1)


def test_rewards_grow_on_a_bowl():
    """From a tenth of the right rate, losses fall faster and faster."""
    for seed in range(20):
        source = np.random.RandomState(seed)
        P = source.uniform(0.5, 1.5, 10)
        p = source.normal(size=10)
        controller = AuxiliaryController(source)
        state = SimpleNamespace(step=np.zeros(10), rewards=[])
        for _ in range(60):
            g = P * p
            length = np.linalg.norm(g) * np.linalg.norm(state.step)
            c = float(-g @ state.step / length) if length else 0.0
            controller.update(features(c), False)
            before = P @ p**2
            state.step = -0.01 * controller.rate_multiplier * g
            p = p + state.step
            state.rewards.append(1 - P @ p**2 / before)
        assert np.mean(state.rewards[30:]) > 1.5 * np.mean(state.rewards[:10])
