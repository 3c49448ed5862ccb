#include "../compat/host.h"
#include "../shared/mamba3.entry.h"
EMU_UNIT(mamba3)
