#include "../compat/host.h"
#include "../shared/probes.entry.h"
EMU_UNIT(probes)
