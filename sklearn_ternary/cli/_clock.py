"""How fast the processors run, where the system tells."""


def clock_mhz(path="/proc/cpuinfo"):
    """Return the mean clock of the processors in MHz, or None where it is not known.

    Linux tells it. Virtual machines tend to have one number for ever.
    """
    found = []
    try:
        with open(path, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                name, _, value = line.partition(":")
                if name.strip() == "cpu MHz":
                    found.append(float(value))
    except (OSError, ValueError):
        return None
    return sum(found) / len(found) if found else None
