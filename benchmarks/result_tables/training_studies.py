"""Studies of the options of training."""

from result_tables._parts import Table, conditions, duration, results


def _rows(name):
    data = results("training_studies")
    return data, data["studies"][name]


def _spread(scores):
    """Mean and standard deviation in percent."""
    mean = sum(scores) / len(scores)
    deviation = (sum((s - mean) ** 2 for s in scores) / len(scores)) ** 0.5
    return f"{100 * mean:.2f} ± {100 * deviation:.2f}"


def training_success():
    """How often steps reduce the loss, beside a fixed learning rate."""
    data, found = _rows("success")
    ways = list(dict.fromkeys(row["way"] for row in found))
    shares = {(r["problem"], r["rate"], r["way"]): _interval(r) for r in found}
    rows = [
        (problem, f"{rate:.2g}", *(shares[problem, rate, way] for way in ways))
        for problem, rate in dict.fromkeys((r["problem"], r["rate"]) for r in found)
    ]
    caption = conditions(
        data,
        f"{found[0]['seeds']} seeds each, which split the data and start the training; "
        "every step was judged. Percent of all steps, and Wilson's 95 % interval.",
    )
    return Table(("data", "first learning rate", *ways), rows, caption)


def _interval(row):
    low, high = row["interval"]
    return f"{100 * row['share']:.1f} ({100 * low:.1f} to {100 * high:.1f})"


def training_schedules():
    """Schedules from several first learning rates."""
    data, found = _rows("schedules")
    names = list(dict.fromkeys(row["name"] for row in found))
    columns = list(dict.fromkeys((row["problem"], row["factor"]) for row in found))
    cells = {
        (r["name"], r["problem"], r["factor"]): _spread(r["scores"]) for r in found
    }
    rows = [(name, *(cells[(name, *column)] for column in columns)) for name in names]
    times = {1 / 30: "a thirtieth", 1: "the usual rate", 10: "ten times"}
    header = ("", *(f"{problem}, {times[factor]}" for problem, factor in columns))
    caption = conditions(
        data,
        "Accuracy in percent, mean and standard deviation of "
        f"{len(found[0]['scores'])} seeds, which split the data. 64-64 "
        "hidden units with AdamW; the usual rate is 0.005, and 0.01 for "
        "scikit-learn's, which have standardized inputs; "
        "“adaptive” waits for two epochs. `SGDClassifier` is a linear model.",
    )
    return Table(header, rows, caption)


def training_line_search():
    """Whether the step predictor tells what a line search finds."""
    data, found = _rows("line_search")
    rows = [
        (
            row["problem"],
            str(row["n_states"]),
            *(f"{row[name]:.2f}" for name in ("factor", "rate", "mean", "kept")),
        )
        for row in found
    ]
    caption = conditions(
        data,
        "R² on problems that nothing was learned from (the predictor was fitted to "
        f"{found[0]['n_learned_from']} states of others): 1 is perfect, 0 as good as "
        "the mean of the problem, which nobody knows beforehand.",
    )
    header = (
        "held-out problem",
        "states",
        "of the logarithm of the factor",
        "of that of the learning rate",
        "with the mean factor instead",
        "with the rate as it is",
    )
    return Table(header, rows, caption)


def training_clusters():
    """What shares second moments or radii."""
    data, found = _rows("clusters")
    problems = list(dict.fromkeys(row["problem"] for row in found))
    cells = {(row["name"], row["problem"]): row for row in found}
    rows = []
    for name in dict.fromkeys(row["name"] for row in found):
        mine = [cells[name, problem] for problem in problems]
        share = mine[0]["optimizer_bytes"] / mine[0]["float_bytes"]
        bounded = f"{100 * mine[0]['bounded']:.0f}%" if mine[0]["bounded"] else "–"
        spreads = (_spread(r["scores"]) for r in mine)
        rows.append((name, *spreads, bounded, f"{4 * share:.1f}"))
    caption = conditions(
        data,
        "Accuracy in percent, mean and standard deviation of "
        f"{len(found[0]['scores'])} seeds, which split the data; 64-64 "
        "hidden units. “Long steps”: ten times the usual learning rate and no "
        "controller; so have the radii, of `trust_radius=0.005`. “Bounded”: steps of "
        "digits that were as long as they may be in all their parts.",
    )
    header = ("", *problems, "bounded", "optimizer, bytes a parameter")
    return Table(header, rows, caption)


def training_recipes():
    """Time and accuracy of faster trainings."""
    data, found = _rows("recipes")
    rows = [
        (
            row["name"],
            ", ".join(f"`{k}={v!r}`" for k, v in _tuples(row["change"])),
            duration(row["fit_seconds"]),
            duration(row["predict_seconds"]),
            f"{row['packed_bytes']:,}",
            _spread(row["scores"]),
        )
        for row in found
    ]
    caption = conditions(
        data,
        "Digits, 64-128-128-10, 60 epochs of batches of 32. Processor time, the "
        f"shortest of {len(found[0]['scores'])} seeds; accuracy in percent, mean and "
        "standard deviation.",
    )
    header = ("", "change", "fit", "a prediction", "bytes", "accuracy")
    return Table(header, rows, caption, words=(0, 1))


def _tuples(change):
    for name, value in change.items():
        yield name, tuple(value) if isinstance(value, list) else value
