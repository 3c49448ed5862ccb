#include "../compat/metal.h"
#include "../shared/probes.entry.h"
