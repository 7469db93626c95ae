"""Operations on values, codes and packed bytes."""

from sklearn_ternary._config import current_config
from sklearn_ternary._dispatch._choice import (
    choose,
    device_numbers,
    on_host,
    ready,
    run,
    try_device,
    wants_device,
)
from sklearn_ternary._gpu.arrays import is_device_array


def group_scale(X, group_size, scale, n_levels, *, config=None):
    """Scale and threshold of every group of X."""
    args = ready(X), group_size, scale, n_levels
    return run("group_scale", X.size, X.dtype, args, config)


def column_abs_sum(X, total, *, config=None):
    """Add the magnitudes of the rows of X to `total`; all of it or, on error, none."""
    run("column_abs_sum", X.size, X.dtype, (ready(X), total), config)


def column_abs_max(X, largest, *, config=None):
    """Raise `largest` to the largest magnitudes of X; all of it or, on error, none."""
    run("column_abs_max", X.size, X.dtype, (ready(X), largest), config)


def search_groups(values, bounds, search, parameters, *, config=None):
    """What ``search(groups, *parameters)`` finds on a device, or None without one.

    Parameters
    ----------
    values : ndarray of shape (n_values,)
        A CuPy array, or one that goes to the device that is asked for.
    bounds : ndarray of shape (n_groups + 1,), int64
        Where each group starts, and the last ends.
    search : callable
        Is given `SortedGroups`, and the parameters of these groups.
    parameters : list of ndarray of shape (n_groups,)

    Returns
    -------
    found : list or None
        One result for each batch of groups; None where the host has to search.
    """
    config = config or current_config()
    on_device = is_device_array(values)
    if not (on_device or wants_device(config)):
        return None
    choice = choose(
        "group_scale", values.size, values.dtype, config=config, on_device=on_device
    )
    if choice.backend != "cuda":
        return None
    from sklearn_ternary._gpu.clipping import search_sorted

    device = values.device.id if on_device else device_numbers(config)[0]
    args = values, bounds, search, parameters, config.max_device_fraction, device
    return try_device("best_step", lambda: search_sorted(*args), config)


def columns(X, start, stop, *, config=None):
    """Columns of X as rows."""
    size = len(X) * (stop - start)
    return run("columns", size, X.dtype, (ready(X), start, stop), config)


def quantize_codes(X, threshold, group_size, n_levels, *, config=None):
    """Codes of X."""
    args = ready(X), ready(threshold), group_size, n_levels
    return run("quantize_codes", X.size, X.dtype, args, config)


def quantize_pack(X, threshold, group_size, n_levels, layout, *, config=None):
    """Codes of X, packed."""
    args = ready(X), ready(threshold), group_size, n_levels, layout
    return run("quantize_pack", X.size, X.dtype, args, config)


def absmean_pack(X, n_levels, layout, *, config=None):
    """Codes of X for its mean magnitude, packed, and that scale."""
    args = ready(X), n_levels, layout
    return run("absmean_pack", X.size, X.dtype, args, config)


def quantize_values(X, threshold, scale, group_size, n_levels, *, config=None):
    """X rounded to its levels."""
    args = ready(X), ready(threshold), ready(scale), group_size, n_levels
    return run("quantize_values", X.size, X.dtype, args, config)


def code_values(codes, scale, group_size, n_levels, *, config=None):
    """Values of codes."""
    args = ready(codes), ready(scale), group_size, n_levels
    return run("code_values", codes.size, scale.dtype, args, config)


def pack(codes, layout, *, config=None):
    """Codes, packed."""
    return run("pack", codes.size, codes.dtype, (ready(codes), layout), config)


def unpack(packed, n_values, layout, *, config=None):
    """Codes of packed bytes."""
    args = ready(packed), n_values, layout
    return run("unpack", len(packed) * n_values, packed.dtype, args, config)


def unpack_values(packed, n_values, layout, scale, group_size, *, config=None):
    """Values of packed bytes."""
    args = ready(packed), n_values, layout, ready(scale), group_size
    return run("unpack_values", len(packed) * n_values, scale.dtype, args, config)


def count_codes(packed, n_values, layout, *, config=None):
    """How often each code occurs in packed bytes."""
    args = ready(packed), n_values, layout
    return run("count_codes", len(packed) * n_values, packed.dtype, args, config)


def code_sums(packed, n_values, layout, group_size, *, config=None):
    """Sums of magnitudes and of squares of the codes of each group, and the largest."""
    args = ready(packed), n_values, layout, group_size
    return run("code_sums", len(packed) * n_values, packed.dtype, args, config)


def find_invalid(packed, layout, *, config=None):
    """Index of the first byte or unit that no codes pack to, or -1."""
    args = ready(packed), layout
    return run("find_invalid", packed.size, packed.dtype, args, config)


def encode_codes(codes, frequencies, *, config=None):
    """Codes, entropy coded. It is for files, and always done on the host."""
    args = ready(codes), ready(frequencies)
    return run("encode_codes", codes.size, codes.dtype, args, on_host(config))


def decode_codes(coded, n_codes, frequencies, *, config=None):
    """Codes of what `encode_codes` returned, on the host too."""
    args = ready(coded), n_codes, ready(frequencies)
    return run("decode_codes", n_codes, coded.dtype, args, on_host(config))


def find_nonfinite(X, *, config=None):
    """Flat index of the first NaN or infinity of X, or -1."""
    return run("find_nonfinite", X.size, X.dtype, (ready(X),), config)


def affine_codes(X, scale, zero_point, group_size, lowest, highest, *, config=None):
    """Integer codes of X with a zero point."""
    args = ready(X), ready(scale), ready(zero_point), group_size, lowest, highest
    return run("affine_codes", X.size, X.dtype, args, config)


def affine_values(codes, scale, zero_point, group_size, *, config=None):
    """Values of integer codes with a zero point."""
    args = ready(codes), ready(scale), ready(zero_point), group_size
    return run("affine_values", codes.size, scale.dtype, args, config)
