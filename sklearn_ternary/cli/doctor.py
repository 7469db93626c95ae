"""``doctor``: does this installation work, and what does it use here."""

import os
import sys

import click
import numpy as np

from sklearn_ternary import _dispatch, _reference, cuda
from sklearn_ternary._config import effective_config, get_config
from sklearn_ternary._show_versions import collect_versions
from sklearn_ternary.cli._console import console, json_option, plain, print_json, table
from sklearn_ternary.cli._operation_choices import choices_table, operation_choices

OK, WARNING, FAILED = "ok", "warning", "failed"
_STYLES = {OK: "green", WARNING: "yellow", FAILED: "red"}


@click.command()
@click.option("--gpu", is_flag=True, help="Import CuPy, and try the devices.")
@click.option(
    "--full",
    is_flag=True,
    help="Import scikit-learn too, to see the libraries that come with it.",
)
@click.option(
    "--operations",
    is_flag=True,
    help="List where each operation would run, by the number of values.",
)
@json_option
@click.pass_context
def doctor(context, gpu, full, operations, as_json):
    """Check this machine and installation.

    Compares every instruction set of the compiled kernels with the NumPy
    definitions, and with --gpu each device. The exit code is 1 if something is broken,
    or if a GPU is asked for and none can be used.
    """
    versions = collect_versions()
    checks = [
        _configuration(),
        *_kernels(versions["kernels"]),
        _openmp(full),
        *_gpu(gpu),
    ]
    broken = any(check["status"] == FAILED for check in checks)
    report = {"ok": not broken, "checks": checks, **versions}
    if operations and not broken:
        report["operations"] = operation_choices()
    if as_json:
        print_json(report)
    else:
        _print(report)
    if broken:
        context.exit(1)


def _check(name, status, detail):
    return {"name": name, "status": status, "detail": detail}


def _configuration():
    try:
        config = get_config()
    except ValueError as error:
        return _check("configuration", FAILED, str(error))
    changed = {
        key: value
        for key, value in config.items()
        if f"SKLEARN_TERNARY_{key.upper()}".replace("N_THREADS", "NUM_THREADS")
        in os.environ
    }
    detail = ", ".join(f"{key}={value!r}" for key, value in changed.items())
    return _check("configuration", OK, f"set in the environment: {detail or 'nothing'}")


def _kernels(kernels):
    """What the kernels say of themselves, and whether they compute right."""
    if not kernels["built"]:
        yield _check("kernels", FAILED, f"cannot be imported: {kernels['reason']}")
        return
    options = " ".join(kernels["build options"])
    yield _check("kernels", OK, f"compiled kernels can be imported: {options}")
    if "configuration" in kernels:
        yield _check("instruction set", FAILED, kernels["configuration"])
    else:
        features = " ".join(kernels["cpu features"]) or "none that matter"
        yield _check("instruction set", OK, f"{kernels['isa']} (processor: {features})")
        threads = f"{kernels['threads']} of {os.cpu_count()} processors"
        if kernels["openmp"]:
            yield _check("threads", OK, f"{threads}, with OpenMP")
        else:
            yield _check("threads", WARNING, "1: built without OpenMP")
    for isa in kernels["isas"]:
        yield _self_check(isa, backend="cpu", isa=isa)


def _self_check(where, **options):
    """Compare the operations there with their definitions."""
    name = f"self-check {where}"
    try:
        config = effective_config(**options, strict=True)
        wrong = [
            operation
            for operation, expected, args in _cases()
            if _is_there(operation, args, config)
            if not _equal(getattr(_dispatch, operation)(*args, config=config), expected)
        ]
    except Exception as error:  # whatever it is, the doctor reports it
        return _check(name, FAILED, f"{type(error).__name__}: {error}")
    if wrong:
        return _check(name, FAILED, f"differs from NumPy in {', '.join(wrong)}")
    return _check(name, OK, "every operation equals its NumPy definition")


def _is_there(operation, args, config):
    """Whether the backend has it: devices lack some scales and layouts."""
    if not config.backend.startswith("cuda"):
        return True
    return not {"mse", "q3"}.intersection(a for a in args if isinstance(a, str))


def _equal(result, expected):
    if isinstance(expected, tuple):
        return all(map(_equal, result, expected))
    return np.array_equal(result, expected) and (
        np.asarray(result).dtype == np.asarray(expected).dtype
    )


def _cases():
    """Yield an operation, the result of its definition, and its arguments."""
    rng = np.random.default_rng(0)
    for dtype in (np.float32, np.float64):
        X = rng.normal(size=(5, 203)).astype(dtype)
        for n_levels, layouts in ((3, ("t2", "t5")), (5, ("q3",))):
            for scale in ("absmean", "mse"):
                scales, threshold = yield from _case(
                    "group_scale", X, 64, scale, n_levels
                )
            yield from _case("quantize_codes", X, threshold, 64, n_levels)
            yield from _case("quantize_values", X, threshold, scales, 64, n_levels)
            for layout in layouts:
                packed = yield from _case(
                    "quantize_pack", X, threshold, 64, n_levels, layout
                )
                yield from _case("unpack", packed, X.shape[1], layout)
                yield from _case(
                    "unpack_values", packed, X.shape[1], layout, scales, 64
                )
                yield from _case("count_codes", packed, X.shape[1], layout)
                yield from _case("code_sums", packed, X.shape[1], layout, 64)
                yield from _case("find_invalid", packed, layout)
        X[3, 100] = np.nan
        yield from _case("find_nonfinite", X)


def _case(operation, *args):
    expected = getattr(_reference, operation)(*args)
    yield operation, expected, args
    return expected


def _openmp(full):
    """Two OpenMP runtimes in one process can start twice the threads, or hang."""
    if full:
        import sklearn.cluster  # noqa: F401
    from threadpoolctl import threadpool_info

    runtimes = [lib for lib in threadpool_info() if lib["user_api"] == "openmp"]
    when = "after importing scikit-learn" if full else "in this process"
    paths = ", ".join(f"{r['filepath']} ({r['num_threads']} threads)" for r in runtimes)
    if len(runtimes) > 1:
        return _check(
            "OpenMP runtimes",
            WARNING,
            f"{len(runtimes)} loaded {when}: {paths}. Use n_threads=1 on one side "
            "if they compete",
        )
    return _check("OpenMP runtimes", OK, f"{when}: {paths or 'none loaded'}")


def _gpu(try_it):
    if not try_it:
        yield _check("GPU", OK, "not looked for; --gpu does, and imports CuPy")
        return
    info = cuda.device_info()
    if not info["available"]:
        yield _check("GPU", FAILED, f"cannot be used: {info['reason']}")
        return
    yield _check("GPU", OK, f"CuPy {info['cupy']}")
    for row in info["devices"]:
        name = f"GPU {row['number']}"
        major, minor = row["capability"]
        gigabytes = row["total_memory"] / 1e9
        detail = (
            f"{row['name']}, compute capability {major}.{minor}, {gigabytes:.0f} GB"
        )
        if not row["tensor_cores"]:
            detail += "; before 8.0 operations are expressions of CuPy"
        yield _check(name, OK, detail)
        yield _self_check(f"cuda:{row['number']}", backend=f"cuda:{row['number']}")


def _print(report):
    out = console()
    checks = table(None, ["check", "", "detail"])
    for check in report["checks"]:
        status = check["status"]
        checks.add_row(
            plain(check["name"]),
            f"[{_STYLES[status]}]{status}",
            plain(check["detail"]),
        )
    out.print(checks)
    if "operations" in report:
        out.print(choices_table(report["operations"]))
    installed = {k: v for k, v in report["versions"].items() if v is not None}
    out.print(
        f"python {sys.version.split()[0]}, "
        + ", ".join(f"{name} {version}" for name, version in installed.items()),
        markup=False,
    )
    out.print(report["system"]["machine"], markup=False, soft_wrap=True)
    failed = [c["name"] for c in report["checks"] if c["status"] == FAILED]
    text = f"Something is broken: {', '.join(failed)}." if failed else None
    out.print("\n" + (text or "Everything works."))
