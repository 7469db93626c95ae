// The race detector. Kernels are compiled with -fsanitize=thread, whose calls at every
// access are these functions instead of its library's. Each byte of shared
// memory and of the arguments remembers its last accesses: two of which one is a
// write, by different threads with no barrier between them, are a race, and so are
// two from different blocks, unless both are atomic.
#pragma once

namespace emulator {

struct Access {
    unsigned write_epoch, read_epoch, write_block, read_block, write_sync, read_sync;
    unsigned short writer, reader;
    bool written, read, atomic;
    unsigned char readers; // 0: one thread, 1: several of its warp, 2: of several warps
};

struct Memory {
    char *begin, *end;
    Access *bytes;
    bool shared;
    int argument;
};

static std::vector<Memory> memories;
volatile int in_atomic;

static void remember(char *begin, size_t size, bool shared, int argument) {
    if (size)
        memories.push_back({begin, begin + size, (Access *)calloc(size, sizeof(Access)),
                            shared, argument});
}

#ifndef DETECT_RACES
static inline void touch(void *, int, bool) {}
#else
static void race(const Memory &memory, size_t offset, const char *what,
                           unsigned thread, unsigned block) {
    const std::string where =
        memory.shared ? "shared memory" : "argument " + std::to_string(memory.argument);
    fail("race: " + std::string(what) + " " + where + ", byte " +
         std::to_string(offset) + ", by thread " + std::to_string(thread) +
         " of block " + std::to_string(block));
}

static void touch_byte(const Memory &memory, size_t offset, bool write) {
    Access &a = memory.bytes[offset];
    const unsigned block =
        blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
    const unsigned thread = current - fibers.data(), warp = thread / 32;
    const unsigned sync = warps[warp].n_syncs;
    const bool atomic = in_atomic > 0;
    const char *after_write = write ? "write after write to" : "read after write to";
    if (a.written && !(atomic && a.atomic)) {
        if (a.write_block != block) {
            if (!memory.shared)
                race(memory, offset, after_write, a.writer, a.write_block);
        } else if (a.writer != thread && a.write_epoch == n_barriers &&
                   !(a.writer / 32 == warp && a.write_sync != sync))
            race(memory, offset, after_write, a.writer, a.write_block);
    }
    if (write && a.read) {
        const char *what = "write after read of";
        if (a.read_block != block) {
            if (!memory.shared && !atomic)
                race(memory, offset, what, a.reader, a.read_block);
        } else if (a.read_epoch == n_barriers) {
            const bool synced = a.reader / 32 == warp && a.read_sync != sync;
            if (a.readers == 2 || ((a.readers || a.reader != thread) && !synced))
                race(memory, offset, what, a.reader, a.read_block);
        }
    }
    if (write) {
        a.written = true;
        a.write_epoch = n_barriers;
        a.write_block = block;
        a.write_sync = sync;
        a.writer = thread;
        a.atomic = atomic;
    } else if (!atomic) {
        const bool again =
            a.read && a.read_block == block && a.read_epoch == n_barriers;
        if (!again)
            a.readers = 0;
        else if (a.reader / 32 != warp)
            a.readers = 2;
        else if (a.reader != thread && a.readers < 2)
            a.readers = 1;
        a.read = true;
        a.read_epoch = n_barriers;
        a.read_block = block;
        a.read_sync = sync;
        a.reader = thread;
    }
}

static void touch(void *address, int size, bool write) {
    if (!current || current->state == DONE) return;
    // Most accesses are to variables of the thread itself.
    if ((char *)address >= current->stack && (char *)address < current->stack + STACK)
        return;
    for (auto &memory : memories) {
        if ((char *)address < memory.begin || (char *)address >= memory.end) continue;
        const size_t offset = (char *)address - memory.begin;
        for (int i = 0; i < size && memory.begin + offset + i < memory.end; i++)
            touch_byte(memory, offset + i, write);
        break;
    }
}
#endif

} // namespace emulator

EXPORT void emulator_arguments(void **begins, const unsigned long long *sizes,
                                   const int *arguments, int n) {
    for (auto &memory : emulator::memories) free(memory.bytes);
    emulator::memories.clear();
    for (int i = 0; i < n; i++)
        emulator::remember((char *)begins[i], sizes[i], false, arguments[i]);
}

#ifdef DETECT_RACES
#define HOOK(NAME, SIZE, WRITE)                                                        \
    extern "C" void __tsan_##NAME##SIZE(void *p) {                           \
        emulator::touch(p, SIZE, WRITE);                                               \
    }
#define HOOKS(SIZE)                                                                    \
    HOOK(read, SIZE, false)                                                            \
    HOOK(write, SIZE, true)                                                            \
    HOOK(unaligned_read, SIZE, false)                                                  \
    HOOK(unaligned_write, SIZE, true)
HOOKS(1)
HOOKS(2)
HOOKS(4)
HOOKS(8)
HOOKS(16)
extern "C" {
void __tsan_init() {}
void __tsan_func_entry(void *) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void **, void *) {}
void __tsan_vptr_read(void **) {}
void __tsan_read_range(void *p, unsigned long n) {
    emulator::touch(p, (int)n, false);
}
void __tsan_write_range(void *p, unsigned long n) {
    emulator::touch(p, (int)n, true);
}
}
#endif
