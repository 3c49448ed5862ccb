#include "../compat/cuda.h"
#include "../shared/probes.entry.h"
