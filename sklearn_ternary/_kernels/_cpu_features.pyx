"""What the processor can do."""

cdef extern from "cpu_features.h" nogil:
    int STERN_GENERIC
    int STERN_AVX2
    int STERN_AVX512
    const char *stern_build_options() noexcept
    int stern_isa_supported(int isa) noexcept
    int stern_n_cpu_flags() noexcept
    const char *stern_cpu_flag_name(int i) noexcept
    int stern_cpu_flag(int i) noexcept

ISA_LEVELS = {
    "avx512": STERN_AVX512,
    "avx2": STERN_AVX2,
    "generic": STERN_GENERIC,
}


def cpu_features():
    """Flags of the processor that matter here, by name."""
    return {
        stern_cpu_flag_name(i).decode(): bool(stern_cpu_flag(i))
        for i in range(stern_n_cpu_flags())
    }


def build_options():
    """Values of the build options that matter here, by name."""
    options = stern_build_options().decode().split()
    return dict(option.split("=") for option in options)


def supported_isas():
    """Levels that were built and can run here, best first."""
    return [name for name, level in ISA_LEVELS.items() if stern_isa_supported(level)]
