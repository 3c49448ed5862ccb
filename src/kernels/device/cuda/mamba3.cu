#include "../compat/cuda.h"
#include "../shared/mamba3.entry.h"
