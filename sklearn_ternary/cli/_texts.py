"""Texts from files and from stdin, of bounded length."""

MAX_BYTES = 1 << 20


def read_text(stream, name):
    """Read a stream of bytes to its end as UTF-8.

    Raises
    ------
    ValueError
        If it has more than `MAX_BYTES` bytes, or is not UTF-8; it says so of `name`.
    """
    data = stream.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError(f"{name} has more than {MAX_BYTES} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} is not UTF-8 ({error})") from None
