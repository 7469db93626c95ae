"""Training and its accuracies."""

from result_tables._parts import Table, conditions, duration, results


def training():
    """Accuracy of trained networks beside their float twins."""
    data = results("training_accuracy")
    cells = {(row["task"], row["model"]): row for row in data["results"]}
    models = list(dict.fromkeys(row["model"] for row in data["results"]))
    rows = []
    for task in dict.fromkeys(row["task"] for row in data["results"]):
        found = [_mean_and_deviation(cells.get((task, model))) for model in models]
        first = next(row for row in data["results"] if row["task"] == task)
        rows.append((task, first["measure"], str(len(first["scores"])), *found))
    caption = conditions(
        data,
        "Mean and standard deviation over seeds, which split the data (but MNIST: its "
        "60,000 training images, and 3,000 of its test images; “held-out rows”: 50,000 "
        "of the training images, and the other 10,000) and start the training; "
        "accuracies in percent. “Upright”: every image, of training and of test, is "
        "sheared by one fixed rule until its ink does not lean; “moved”: each time a "
        "training image comes, it is shifted, turned, scaled and bent by a little, at "
        "random (`augment`), in as many steps as without; test images never are. "
        '“Schedule only”: `step_controller="schedule"`. “From” is another first '
        "learning rate, far too small but for MNIST's 2e-3. scikit-learn's perceptrons "
        "have equal sizes and epochs, and standardized inputs.",
    )
    header = ("data and network", "score", "seeds", *models)
    return Table(header, rows, caption, words=(0, 1))


def _mean_and_deviation(row):
    if row is None:
        return ""
    scores = row["scores"]
    mean = sum(scores) / len(scores)
    deviation = (sum((s - mean) ** 2 for s in scores) / len(scores)) ** 0.5
    if row["measure"] == "accuracy":
        return f"{100 * mean:.2f} ± {100 * deviation:.2f}"
    return f"{mean:.3f} ± {deviation:.3f}"


def training_regret():
    """Step controllers beside the schedule alone, in pairs."""
    data = results("training_regret")
    bases, rows = {}, []
    for row in data["results"]:
        key = row["data"], row["rate"]
        bases.setdefault(key, row)  # the schedule comes first
        if row is bases[key]:
            continue
        base = bases[key]
        shares = (row["accept_rate"], row["descent_rate"], row["meta_hit_rate"])
        rows.append(
            (
                row["data"],
                row["controller"],
                f"{row['rate']:g}",
                _difference(row["loss"], base["loss"], 1, 4),
                _difference(row["score"], base["score"], 100, 2),
                *("–" if x is None else f"{100 * x:.0f}%" for x in shares),
            )
        )
    n = len(data["results"][0]["loss"])
    caption = conditions(
        data,
        f"{n} pairs of equal seeds, splits and orders; means of the differences, with "
        "their 95 % intervals. Regret is the training loss over the last tenth of the "
        "steps minus that of the schedule alone; below 0 the controller helps. "
        "“Steps accepted”: of those that the ratio test judged, every tenth; “loss "
        "fell”: the running average of the loss; “meta hits”: increments that had the "
        "sign of the alignment that came next.",
    )
    header = (
        "data",
        "controller",
        "first learning rate",
        "regret",
        "accuracy, points",
        "steps accepted",
        "loss fell",
        "meta hits",
    )
    return Table(header, rows, caption, words=(0, 1))


def _difference(mine, base, unit, digits):
    """Mean of paired differences, and half of its 95 % interval."""
    from scipy.stats import t

    d = [unit * (a - b) for a, b in zip(mine, base, strict=True)]
    n, mean = len(d), sum(d) / len(d)
    variance = sum((x - mean) ** 2 for x in d) / (n - 1)
    half = t.ppf(0.975, n - 1) * (variance / n) ** 0.5
    return f"{mean:+.{digits}f} ± {half:.{digits}f}"


def training_gradients():
    """Losses with ternary gradients beside those with float ones."""
    data = results("training_gradients")
    ways = list(data["results"][0]["losses"])
    rows = []
    for row in data["results"]:
        means = [sum(row["losses"][way]) / len(row["losses"][way]) for way in ways]
        others = [f"{100 * (mean / means[0] - 1):+.1f}%" for mean in means[1:]]
        weights = row["quantize_weights"] or "float"
        rows.append(
            (row["data"], weights, row["optimizer"], f"{means[0]:.4f}", *others)
        )
    n = len(data["results"][0]["losses"][ways[0]])
    caption = conditions(
        data,
        f"Training loss of the last of {data['epochs']} epochs with float gradients, "
        "and how much more it is with ternary ones; means over "
        f"{n} seeds, the same in each row.",
    )
    header = ("data", "weights", "optimizer", ways[0], *ways[1:])
    return Table(header, rows, caption, words=(0, 1, 2))


def training_speed():
    """Steps of training and predictions of one sample beside peers."""
    data = results("training")
    peers = {
        "torch ternary": "torch b1.58 takes",
        "torch float": "torch float takes",
        "MLPClassifier": "scikit-learn takes",
        "NumPy float": "NumPy float takes",
        "float": "our float twin takes",
        "float program": "our float32 program takes",
    }
    additions = {
        "with controller": "controller adds",
        "with auxiliary network and trust region": "auxiliary network and radius add",
        "with radii of clusters and inverse scaling": "radii of clusters add",
    }
    tasks = {
        "step": "training step",
        "layers": "layers of a sample",
        "predict": "``predict`` of a sample",
    }
    rows = [
        (
            tasks[row["task"]],
            "-".join(map(str, row["widths"])),
            str(row["n"]),
            duration(row["seconds"]["ternary"]),
            *(
                f"{row['speedup'][peer]:.2g}×" if peer in row["speedup"] else "–"
                for peer in peers
            ),
            *(
                f"{100 * row['overhead'][what]:+.0f}%" if row["overhead"] else "–"
                for what in additions
            ),
            f"{100 * row['of_peak']:.0f}%",
        )
        for row in data["results"]
    ]
    header = (
        "",
        "widths",
        "rows",
        "ternary",
        *peers.values(),
        *additions.values(),
        "of peak",
    )
    caption = conditions(
        data,
        "Processor time of one thread; a step is forward, backward and Adam on one "
        "batch; torch runs eagerly; the shortest of several rounds, in turns, in one "
        f"process. torch {data['torch']}. Predictions are of one "
        "sample, with packed weights; the float twin is what its `predict` computes, "
        "with sums in float64 so that a row does not depend on those beside it, the "
        "float32 program is BLAS without that. What the controller adds is all that "
        "the trainer does at a step beyond gradient, Adam and move: features, "
        "controller, radius, history, copies to go back to. “Of peak” is the "
        "time that the multiplications and additions would take at the "
        f"{data['float_peak'] / 1e9:.0f} GFLOP/s of float32 vectors, measured in the "
        "same run, as a share of the time; 8-bit products are faster than that.",
    )
    return Table(header, rows, caption, words=(0, 1))


def training_fits():
    """Whole fits beside scikit-learn's perceptron."""
    data = results("training")
    rows, first = [], data["fits"][0]
    for row in data["fits"]:
        rows += [
            (
                name,
                str(row["n_threads"]),
                duration(seconds),
                f"{row['seconds']['MLPClassifier'] / seconds:.2g}×",
                f"{100 * row['accuracy'][name]:.2f}",
            )
            for name, seconds in row["seconds"].items()
        ]
    header = ("", "threads", "fit", "MLPClassifier takes", "accuracy, %")
    caption = conditions(
        data,
        f"Digits, {'-'.join(map(str, first['widths']))}, {first['n']:,} samples, "
        f"{first['epochs']} epochs, batches of {first['batch_size']}: the shortest of "
        "three fits, in turns.",
    )
    return Table(header, rows, caption, words=(0,))
