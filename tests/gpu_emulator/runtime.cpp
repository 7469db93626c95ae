// What runs kernels: compiled once, and linked to those of each text.
#include "emulator.h"

#include "threads.h"

#include "races.h"

#include "warp.h"

#include "tensor.h"

#include "launch.h"
